//! The template with the EcrCleanup: what it needs to be deployed, what is wrong with it, and properties that change.

use serde_json::{Value, json};

use crate::source::{Key, Kind, Node, Position, Refusal, Source};

/// The type of the resource.
const CUSTOM_TYPE: &str = "Custom::EcrCleanup";

/// A template, as it was given.
#[derive(Debug, Clone)]
pub struct Template {
    file: String,
    text: String,
}

impl Template {
    /// A template with the name of its file.
    pub fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn source(&self) -> Source<'_> {
        Source { file: &self.file, text: &self.text }
    }

    /// What `CreateStack` wants as `Parameters`: a value for each parameter that has one of the `known` names.
    ///
    /// # Errors
    /// The text is no YAML, declares no EcrCleanup, or has a parameter without a default and with another name.
    pub fn parameters(&self, known: &[(&str, String)]) -> Result<Value, Refusal> {
        let (source, root) = (self.source(), self.source().read()?);
        if let (Some((key, _)), None) = (root.entry("Resources"), properties(&root)) {
            return Err(source.refuse(key.at, format!("no resource of type {CUSTOM_TYPE} has properties")));
        }
        let mut parameters = Vec::new();
        for (key, declared) in root.get("Parameters").map_or(&[][..], Node::entries) {
            if let Some((_, value)) = known.iter().find(|(name, _)| *name == key.name) {
                parameters.push(json!({"ParameterKey": key.name, "ParameterValue": value}));
            } else if declared.get("Default").is_none() {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let reason = format!(
                    "the parameter {} needs a Default: the quickstart has values only for {}",
                    key.name,
                    names.join(", ")
                );
                return Err(source.refuse(key.at, reason));
            }
        }
        Ok(parameters.into())
    }

    /// The key of the tag by which repositories opt in.
    pub fn opt_in_key(&self) -> String {
        let root = self.source().read().ok();
        let properties = root.as_ref().and_then(|root| properties(root));
        let key = properties.and_then(|(_, properties)| properties.get("OptInTag")?.get("Key")?.text());
        key.unwrap_or("ecr-cleanup").to_owned()
    }

    /// A refusal of the whole template, at what the reason names, if it names something.
    pub fn refused(&self, reason: &str) -> Refusal {
        self.source().refuse_line(self.named_line(reason).unwrap_or(1), reason)
    }

    /// A refusal of a resource: at the line or property that the reason names, or at the resource.
    pub fn refused_resource(&self, resource: &str, reason: &str) -> Refusal {
        let text = format!("{resource}: {reason}");
        let root = self.source().read().ok();
        let declared = root.as_ref().and_then(|root| root.get("Resources")?.entry(resource));
        match (declared, reason.starts_with("line ")) {
            (Some((key, declared)), false) => {
                let properties = declared.get("Properties").map_or(&[][..], Node::entries);
                self.source().refuse(named(properties, reason).unwrap_or(key.at), text)
            }
            _ => self.source().refuse_line(self.named_line(reason).unwrap_or(1), text),
        }
    }

    /// The line of what CloudFormation complains of: `line N` in its words, or where the first of the names stands that it
    /// has in brackets. Of a section it says the line of the content.
    fn named_line(&self, reason: &str) -> Option<usize> {
        let numbered: Option<usize> = reason.match_indices("line ").find_map(|(at, found)| {
            let digits: String = reason[at + found.len()..].chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        let bracketed = reason.split_once('[').and_then(|(_, rest)| rest.split([',', ']']).next());
        let Some(name) = bracketed.filter(|name| !name.is_empty()) else { return numbered };
        let lines = || (1..).zip(self.text.lines());
        let says = |line: usize| lines().any(|(number, text)| number == line && text.contains(name));
        numbered
            .filter(|line| says(*line))
            .or_else(|| {
                lines().find(|(_, text)| text.trim_start().starts_with(&format!("{name}:"))).map(|(line, _)| line)
            })
            .or(numbered)
            .or_else(|| lines().find(|(_, text)| text.contains(name)).map(|(line, _)| line))
    }

    /// The template with another value of a property of the EcrCleanup, given as YAML in one line.
    ///
    /// # Errors
    /// There is no EcrCleanup with properties in it.
    pub fn with_property(&self, name: &str, value: &str) -> Result<Self, Refusal> {
        let (source, root) = (self.source(), self.source().read()?);
        let (key, all) = properties(&root)
            .ok_or_else(|| source.refuse_line(1, format!("no resource of type {CUSTOM_TYPE} has properties")))?;
        let characters: Vec<char> = self.text.chars().collect();
        let piece = |from: usize, to: usize| characters[from..to].iter().collect::<String>();
        let text = match all.entry(name) {
            Some((key, old)) => {
                // The end of a block is where the next thing begins: what is between stays.
                let written = piece(old.at.index, old.end);
                let end = old.at.index + written.trim_end().chars().count();
                // A function's `!Name` stands before its argument.
                let before = piece(key.at.index, old.at.index);
                let function = before.rfind(": !").map(|at| key.at.index + before[..at].chars().count() + 2);
                format!("{}{value}{}", piece(0, function.unwrap_or(old.at.index)), piece(end, characters.len()))
            }
            None => {
                let first = all.entries().first().ok_or_else(|| source.refuse(key.at, "it has no properties"))?.0.at;
                let flow = characters.get(all.at.index) == Some(&'{');
                let after = if flow { ", ".to_owned() } else { format!("\n{}", " ".repeat(first.column - 1)) };
                let (before, rest) = (piece(0, first.index), piece(first.index, characters.len()));
                format!("{before}{}: {value}{after}{rest}", json!(name))
            }
        };
        Ok(Self { file: self.file.clone(), text })
    }
}

/// The properties of the first EcrCleanup.
fn properties(root: &Node) -> Option<&(Key, Node)> {
    let resources = root.get("Resources")?.entries();
    let (_, found) = resources.iter().find(|(_, node)| node.get("Type").and_then(Node::text) == Some(CUSTOM_TYPE))?;
    found.entry("Properties")
}

/// The key that the reason names first as a whole word, or the one inside it that is named as well.
fn named(entries: &[(Key, Node)], reason: &str) -> Option<Position> {
    let mut words = reason.split(|next: char| !next.is_ascii_alphanumeric());
    let (key, node) = words.find_map(|word| entries.iter().find(|(key, _)| key.name == word))?;
    let inner = match &node.kind {
        Kind::Map(entries) => named(entries, reason),
        _ => None,
    };
    Some(inner.unwrap_or(key.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "Parameters:
  Regions: {Type: String}
  Version: {Type: String, Default: '1'}
Resources:
  Cleanup:
    Type: Custom::EcrCleanup
    Properties:
      ServiceToken: !ImportValue token
      # kept
      OptInTag:
        Key: team-tag
      RollbackWindowHours: 24
      Workloads:
        Accounts: {AccountIds: []}
";

    #[test]
    fn parameters_get_the_values_that_are_known() {
        let template = Template::new("t.yaml", TEMPLATE);
        let expected = json!([{"ParameterKey": "Regions", "ParameterValue": "r"}]);
        assert_eq!(template.parameters(&[("Regions", "r".to_owned())]), Ok(expected));
        let refused = template.parameters(&[]).unwrap_err().to_string();
        assert!(refused.starts_with("t.yaml:2:3: the parameter Regions needs a Default"), "{refused}");
    }

    #[test]
    fn a_template_without_an_ecr_cleanup_is_refused() {
        let template = Template::new("t.yaml", "Description: x\nResources:\n  Q: {Type: AWS::SQS::Queue}\n");
        let refused = template.parameters(&[]).unwrap_err().to_string();
        assert_eq!(refused, "t.yaml:2:1: no resource of type Custom::EcrCleanup has properties");
    }

    #[test]
    fn a_property_is_replaced_or_added_and_the_rest_stays() {
        let template = Template::new("t.yaml", TEMPLATE);
        assert_eq!(template.opt_in_key(), "team-tag");
        let replaced = template.with_property("RollbackWindowHours", "\"48\"").unwrap();
        assert_eq!(replaced.text(), TEMPLATE.replace("Hours: 24", "Hours: \"48\""));
        let replaced = template.with_property("OptInTag", "{\"Key\": \"x\"}").unwrap();
        assert_eq!(
            replaced.text(),
            TEMPLATE.replace("OptInTag:\n        Key: team-tag", "OptInTag:\n        {\"Key\": \"x\"}")
        );
        assert_eq!(replaced.opt_in_key(), "x");
        for value in
            ["!If [Long, 48, 24]", "!Ref Hours", "{Ref: Hours}", "!If\n        - Long\n        - 48\n        - 24"]
        {
            let given = TEMPLATE.replace("Hours: 24", &format!("Hours: {value}"));
            let replaced = Template::new("t.yaml", &given).with_property("RollbackWindowHours", "\"48\"").unwrap();
            assert_eq!(replaced.text(), TEMPLATE.replace("Hours: 24", "Hours: \"48\""), "{value}");
        }
        let added = template.with_property("DryRun", "\"true\"").unwrap();
        let expected = "Properties:\n      \"DryRun\": \"true\"\n      ServiceToken";
        assert_eq!(added.text(), TEMPLATE.replace("Properties:\n      ServiceToken", expected));
        let json = Template::new(
            "t.json",
            r#"{"Resources": {"C": {"Type": "Custom::EcrCleanup", "Properties": {"Name": "a"}}}}"#,
        );
        let added = json.with_property("DryRun", "true").unwrap();
        assert!(added.text().contains(r#""Properties": {"DryRun": true, "Name": "a"}"#), "{}", added.text());
    }

    #[test]
    fn a_refusal_is_placed_at_what_it_names() {
        let template = Template::new("t.yaml", TEMPLATE);
        for (refusal, place) in [
            (template.refused("line 6: bad type"), "t.yaml:6:5"),
            (template.refused("the resource type X (line 12)"), "t.yaml:12:7"),
            (template.refused("nothing in particular"), "t.yaml:1:1"),
            (template.refused("Circular dependency between resources: [Cleanup, Q]"), "t.yaml:5:3"),
            (template.refused("line 5: Invalid template property or properties [Resources]"), "t.yaml:4:1"),
            (template.refused("line 8: Unresolved resource dependencies [token]"), "t.yaml:8:7"),
            (template.refused("Unable to fetch parameters [team-tag]"), "t.yaml:11:9"),
            (template.refused_resource("Cleanup", "line 8: No export named token found."), "t.yaml:8:7"),
            (template.refused_resource("Outputs", "line 3: Resource Cleanup has no attribute Bus"), "t.yaml:3:3"),
            (template.refused_resource("Cleanup", "RollbackWindowHours: too long"), "t.yaml:12:7"),
            (template.refused_resource("Cleanup", "Workloads.Accounts.AccountIds is empty"), "t.yaml:14:20"),
            (template.refused_resource("Cleanup", "OptInTag is unknown; known is Workloads"), "t.yaml:10:7"),
            (template.refused_resource("Cleanup", "no idea"), "t.yaml:5:3"),
            (template.refused_resource("Other", "no idea"), "t.yaml:1:1"),
        ] {
            let text = refusal.to_string();
            assert!(text.starts_with(&format!("{place}: ")), "{text} should be at {place}");
        }
    }
}
