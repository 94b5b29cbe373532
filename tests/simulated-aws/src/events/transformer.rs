//! Input transformers: what a rule's target is sent instead of the event.
//!
//! As the EventBridge user guide describes them ("Amazon EventBridge input transformation"): variables are read from the
//! event by JSON paths and put into a template. A placeholder outside quotes becomes a JSON value (text gets its
//! quotes), one inside quotes becomes text. Text is **not** escaped, so an event can make the result invalid; then the
//! delivery fails. A variable whose path leads nowhere leaves nothing behind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// The longest template, in characters (EventBridge API reference, `InputTransformer`).
const MAX_TEMPLATE: usize = 8_192;
/// The most variables (the same).
const MAX_PATHS: usize = 100;

const PREDEFINED: [&str; 5] = [
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event.ingestion-time",
    "aws.events.event",
    "aws.events.event.json",
];

/// What is wrong with a transformer, or with what it made of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    /// `PutTargets` refuses it.
    #[error("Invalid InputTransformer: {0}")]
    Malformed(String),
    /// The result for one event is not JSON.
    #[error("the input template made invalid JSON: {0}")]
    InvalidResult(String),
}

/// What a template may refer to beside the event.
#[derive(Debug, Clone, Copy)]
pub struct RuleContext<'a> {
    /// The rule's ARN.
    pub rule_arn: &'a str,
    /// The rule's name.
    pub rule_name: &'a str,
    /// When EventBridge received the event.
    pub ingestion_time: Timestamp,
}

/// A checked `InputTransformer`.
#[derive(Debug, Clone, PartialEq)]
pub struct InputTransformer {
    paths: BTreeMap<String, JsonPath>,
    template: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(String),
    Placeholder { name: String, quoted: bool },
}

impl InputTransformer {
    /// Checks a transformer as `PutTargets` does.
    ///
    /// # Errors
    /// [`TransformError::Malformed`]: too long, an unknown or reserved variable, a path that is not one, a template that
    /// would not be JSON.
    pub fn new(paths: &BTreeMap<String, String>, template: &str) -> Result<Self, TransformError> {
        let malformed = |reason: String| Err(TransformError::Malformed(reason));
        if template.is_empty() || template.chars().count() > MAX_TEMPLATE {
            return malformed(format!("the InputTemplate must have 1 to {MAX_TEMPLATE} characters"));
        }
        if paths.len() > MAX_PATHS {
            return malformed(format!("at most {MAX_PATHS} entries in InputPathsMap"));
        }
        let mut checked = BTreeMap::new();
        for (name, path) in paths {
            let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
            if name.is_empty() || name.len() > 256 || !characters {
                return malformed(format!("the variable {name:?} does not match [A-Za-z0-9_-]+"));
            }
            let Some(parsed) = JsonPath::parse(path) else {
                return malformed(format!("{path:?} is not a valid JSON path"));
            };
            checked.insert(name.clone(), parsed);
        }
        let parts = split(template, |name| checked.contains_key(name) || PREDEFINED.contains(&name))?;
        let sample: String = parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Placeholder { quoted: true, .. } => "x",
                Part::Placeholder { .. } => "0",
            })
            .collect();
        if let Err(reason) = check_json(&sample) {
            return malformed(format!("Invalid InputTemplate: {reason}"));
        }
        Ok(Self { paths: checked, template: parts })
    }

    /// The text that the target is sent for `event`.
    ///
    /// # Errors
    /// [`TransformError::InvalidResult`] if that is not JSON.
    pub fn apply(&self, event: &Value, context: RuleContext<'_>) -> Result<String, TransformError> {
        let mut result = String::new();
        for part in &self.template {
            match part {
                Part::Literal(text) => result.push_str(text),
                Part::Placeholder { name, quoted } => {
                    if let Some(value) = self.value(name, event, context) {
                        result.push_str(&render(&value, *quoted));
                    }
                }
            }
        }
        check_json(&result).map_err(TransformError::InvalidResult)?;
        Ok(result)
    }

    fn value(&self, name: &str, event: &Value, context: RuleContext<'_>) -> Option<Value> {
        match name {
            "aws.events.rule-arn" => Some(Value::from(context.rule_arn)),
            "aws.events.rule-name" => Some(Value::from(context.rule_name)),
            "aws.events.event.ingestion-time" => {
                Some(Value::from(context.ingestion_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
            }
            "aws.events.event.json" => Some(event.clone()),
            "aws.events.event" => {
                let mut event = event.clone();
                if let Some(fields) = event.as_object_mut() {
                    fields.remove("detail");
                }
                Some(event)
            }
            _ => self.paths.get(name)?.find(event),
        }
    }
}

/// Cuts a template into literals and placeholders. What stands between `<` and `>` and is no name is literal text.
fn split(template: &str, known: impl Fn(&str) -> bool) -> Result<Vec<Part>, TransformError> {
    let mut parts = vec![];
    let (mut literal, mut quoted, mut escaped) = (String::new(), false, false);
    let mut rest = template;
    while let Some(character) = rest.chars().next() {
        let name =
            rest.strip_prefix('<').and_then(|inside| inside.split_once('>')).map(|(name, _)| name).filter(|name| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
            });
        if let Some(name) = name {
            if !known(name) {
                return Err(TransformError::Malformed(format!(
                    "the InputTemplate uses <{name}>, which is not in InputPathsMap"
                )));
            }
            // The whole event is inserted as it is, so it "can only be used as a value for a JSON field".
            if quoted && name.starts_with("aws.events.event") && name != "aws.events.event.ingestion-time" {
                return Err(TransformError::Malformed(format!("<{name}> cannot stand inside quotes")));
            }
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            parts.push(Part::Placeholder { name: name.to_owned(), quoted });
            rest = &rest[name.len() + 2..];
            continue;
        }
        match character {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        literal.push(character);
        rest = &rest[character.len_utf8()..];
    }
    parts.push(Part::Literal(literal));
    Ok(parts)
}

/// Inside quotes, text stands for itself and of other values "EventBridge removes any internal quotes".
fn render(value: &Value, quoted: bool) -> String {
    match value {
        Value::String(text) if quoted => text.clone(),
        Value::String(text) => format!("\"{text}\""),
        other if quoted => other.to_string().replace('"', ""),
        other => other.to_string(),
    }
}

/// A template is one JSON object, or quoted text on one or more lines.
fn check_json(text: &str) -> Result<(), String> {
    let mut values = 0;
    let mut only_text = true;
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.map_err(|error| error.to_string())?;
        only_text &= value.is_string();
        values += 1;
    }
    if values == 1 || values > 1 && only_text {
        Ok(())
    } else {
        Err("neither a JSON value nor lines of quoted text".to_owned())
    }
}

/// The part of JSONPath that EventBridge knows: dots, array indices and `*`.
#[derive(Debug, Clone, PartialEq)]
struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(usize),
    Every,
}

impl JsonPath {
    fn parse(path: &str) -> Option<Self> {
        let mut rest = path.strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(bracket) = rest.strip_prefix('[') {
                let (index, after) = bracket.split_once(']')?;
                steps.push(if index == "*" { Step::Every } else { Step::Index(index.parse().ok()?) });
                rest = after;
                continue;
            }
            let named = rest.strip_prefix('.')?;
            let end = named.find(['.', '[']).unwrap_or(named.len());
            let (name, after) = named.split_at(end);
            let allowed = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte));
            match name {
                "*" => steps.push(Step::Every),
                "" => return None,
                _ if allowed => steps.push(Step::Field(name.to_owned())),
                _ => return None,
            }
            rest = after;
        }
        Some(Self(steps))
    }

    /// What the path leads to; with `*` an array of all that it leads to.
    fn find(&self, event: &Value) -> Option<Value> {
        let mut found = vec![event];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| match (step, value) {
                    (Step::Field(name), value) => value.get(name).into_iter().collect::<Vec<_>>(),
                    (Step::Index(index), value) => value.get(index).into_iter().collect(),
                    (Step::Every, Value::Array(elements)) => elements.iter().collect(),
                    (Step::Every, Value::Object(fields)) => fields.values().collect(),
                    (Step::Every, _) => Vec::new(),
                })
                .collect();
        }
        if self.0.contains(&Step::Every) {
            return (!found.is_empty()).then(|| found.into_iter().cloned().collect());
        }
        found.first().copied().cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example event of the user guide.
    fn event() -> Value {
        json!({
            "version": "0",
            "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "detail-type": "EC2 Instance State-change Notification",
            "source": "aws.ec2",
            "account": "123456789012",
            "time": "2015-11-11T21:29:54Z",
            "region": "us-east-1",
            "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
            "detail": {
                "instance-id": "i-0123456789", "state": "RUNNING", "count": 3,
                "said": "\"quoted\"", "tags": [{ "key": "a" }, { "key": "b" }],
            },
        })
    }

    fn transformer(template: &str) -> Result<InputTransformer, TransformError> {
        let paths = [
            ("instance", "$.detail.instance-id"),
            ("state", "$.detail.state"),
            ("count", "$.detail.count"),
            ("said", "$.detail.said"),
            ("detail", "$.detail.tags[1]"),
            ("first", "$.resources[0]"),
            ("keys", "$.detail.tags[*].key"),
            ("missing", "$.detail.missing"),
        ];
        let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned())).into();
        InputTransformer::new(&paths, template)
    }

    fn transformed(template: &str) -> Result<String, TransformError> {
        let context = RuleContext {
            rule_arn: "arn:aws:events:us-east-1:123456789012:rule/example",
            rule_name: "example",
            ingestion_time: "2015-11-11T21:30:00Z".parse().unwrap(),
        };
        transformer(template)?.apply(&event(), context)
    }

    #[test]
    fn templates_are_filled_as_the_user_guide_shows() {
        let table = [
            (r#""instance <instance> is in <state>""#, r#""instance i-0123456789 is in RUNNING""#),
            ("\"instance <instance>\"\n\"state <state>\"", "\"instance i-0123456789\"\n\"state RUNNING\""),
            (r#"{"instance": <instance>, "state": <state>}"#, r#"{"instance": "i-0123456789", "state": "RUNNING"}"#),
            (r#"{"state": "<state>"}"#, r#"{"state": "RUNNING"}"#),
            (r#"{"state": "instance is \"<state>\""}"#, r#"{"state": "instance is \"RUNNING\""}"#),
            (r#"{"count": <count>, "text": "<count>"}"#, r#"{"count": 3, "text": "3"}"#),
            (r#"{"detail": <detail>}"#, r#"{"detail": {"key":"b"}}"#),
            (r#"{"text": "Detail is <detail>"}"#, r#"{"text": "Detail is {key:b}"}"#),
            (
                r#"{"first": <first>, "keys": <keys>}"#,
                r#"{"first": "arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111", "keys": ["a","b"]}"#,
            ),
            (r#"{"missing": "<missing>"}"#, r#"{"missing": ""}"#),
            (r#"{"rule": <aws.events.rule-name>}"#, r#"{"rule": "example"}"#),
            (
                r#"{"rule": "<aws.events.rule-arn>"}"#,
                r#"{"rule": "arn:aws:events:us-east-1:123456789012:rule/example"}"#,
            ),
            (r#"{"at": <aws.events.event.ingestion-time>}"#, r#"{"at": "2015-11-11T21:30:00Z"}"#),
            (r#"{"a": "1 < 2 > 0"}"#, r#"{"a": "1 < 2 > 0"}"#),
        ];
        for (template, expected) in table {
            assert_eq!(transformed(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn the_whole_event_is_inserted_with_or_without_its_detail() {
        let with: Value = serde_json::from_str(&transformed(r#"{"event": <aws.events.event.json>}"#).unwrap()).unwrap();
        assert_eq!(with, json!({"event": event()}));
        let without: Value = serde_json::from_str(&transformed(r#"{"event": <aws.events.event>}"#).unwrap()).unwrap();
        let mut expected = event();
        expected.as_object_mut().unwrap().remove("detail");
        assert_eq!(without, json!({"event": expected}));
    }

    #[test]
    fn text_is_not_escaped_so_an_event_can_break_the_result() {
        for template in [r#"{"said": <said>}"#, r#"{"said": "<said>"}"#, r#"{"missing": <missing>}"#] {
            assert!(matches!(transformed(template), Err(TransformError::InvalidResult(_))), "{template}");
        }
    }

    #[test]
    fn a_malformed_transformer_is_refused() {
        let long = format!("\"{}\"", "x".repeat(8_191));
        for template in [
            "",
            "<instance> is",
            r#"{"a": <unknown>}"#,
            r#"{"a": "<aws.events.event.json>"}"#,
            r#"{"a": }"#,
            "1 2",
            &long,
        ] {
            assert!(matches!(transformer(template), Err(TransformError::Malformed(_))), "{template}");
        }
        assert!(transformer(&long[1..]).is_err());
        assert!(transformer(&format!("\"{}\"", "x".repeat(8_190))).is_ok());
        for (name, path) in [
            ("a b", "$.a"),
            ("", "$.a"),
            ("a", "detail"),
            ("a", "$.a["),
            ("a", "$['a']"),
            ("a", "$..a"),
            ("a", "$.a b"),
        ] {
            let paths = BTreeMap::from([(name.to_owned(), path.to_owned())]);
            assert!(InputTransformer::new(&paths, "{}").is_err(), "{name} {path}");
        }
    }
}
