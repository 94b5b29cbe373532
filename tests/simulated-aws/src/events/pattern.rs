//! Event patterns: which events a rule is for.
//!
//! An event is seen as its leaves, each with its path from the root; a pattern is a condition on such paths. The pattern
//! matches when every path it names has a leaf that one of the path's matchers accepts, and when the chosen leaves agree
//! on the element wherever they lie in the same array of objects. `$or` makes alternatives of that.
//!
//! The language is that of the EventBridge user guide, "Comparison operators for use in event patterns", with the rules of
//! what is malformed taken from the open-source `aws/event-ruler`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Number, Value};

/// More alternatives than this, after `$or` inside `$or` is multiplied out, are refused (EventBridge user guide: "the
/// combination of all fields in `$or` must not exceed 1,000").
const MAX_ALTERNATIVES: usize = 1_000;

/// Numbers beyond ± this value can neither stand in a `numeric` matcher nor be found by one.
const NUMERIC_BOUND: f64 = 5.0e9;

/// Names of operators, which cannot be field names inside `$or` (`Constants.RESERVED_FIELD_NAMES_IN_OR_RELATIONSHIP` of
/// `aws/event-ruler`).
const OPERATORS: [&str; 8] =
    ["prefix", "suffix", "wildcard", "equals-ignore-case", "anything-but", "numeric", "exists", "cidr"];

/// A pattern that is not well-formed. EventBridge answers such a pattern with `InvalidEventPatternException`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Event pattern is not valid. Reason: {0}")]
pub struct MalformedPattern(String);

fn malformed<T>(reason: impl Into<String>) -> Result<T, MalformedPattern> {
    Err(MalformedPattern(reason.into()))
}

/// A well-formed event pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPattern {
    /// At least one; the pattern matches when one of them does.
    alternatives: Vec<Conditions>,
}

/// For each path (its steps joined by dots) the matchers of which one must accept a leaf at that path.
type Conditions = BTreeMap<String, Vec<Matcher>>;

#[derive(Debug, Clone, PartialEq)]
enum Matcher {
    Null,
    Bool(bool),
    Number(Number),
    Text(TextMatcher),
    AnythingBut(Vec<Matcher>),
    Numeric { above: Option<Bound>, below: Option<Bound> },
    Cidr { network: IpAddr, bits: u8 },
    Exists(bool),
}

#[derive(Debug, Clone, PartialEq)]
enum TextMatcher {
    Equals(String),
    EqualsIgnoringCase(String),
    StartsWith(String),
    StartsWithIgnoringCase(String),
    EndsWith(String),
    EndsWithIgnoringCase(String),
    /// The literal parts between the asterisks.
    Wildcard(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    value: f64,
    inclusive: bool,
}

impl EventPattern {
    /// Reads a pattern from its JSON text.
    ///
    /// # Errors
    /// [`MalformedPattern`] when the text is not JSON or not a pattern.
    pub fn parse(text: &str) -> Result<Self, MalformedPattern> {
        let json: Value = serde_json::from_str(text).or_else(|error| malformed(format!("not JSON: {error}")))?;
        let Value::Object(fields) = json else { return malformed("Filter is not an object") };
        let mut alternatives = vec![Conditions::new()];
        read_object(&fields, "", false, &mut alternatives)?;
        Ok(Self { alternatives })
    }

    /// Whether the pattern matches an event, given as the JSON object that EventBridge delivers.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        let mut leaves = Leaves::default();
        leaves.collect(event, "", &mut Vec::new());
        self.alternatives.iter().any(|conditions| {
            let conditions: Vec<_> = conditions.iter().collect();
            leaves.satisfy(&conditions, &BTreeMap::new())
        })
    }
}

fn read_object(
    fields: &serde_json::Map<String, Value>,
    path: &str,
    inside_or: bool,
    alternatives: &mut Vec<Conditions>,
) -> Result<(), MalformedPattern> {
    if fields.is_empty() {
        return malformed("Empty objects are not allowed");
    }
    for (name, value) in fields {
        if name == "$or" {
            read_or(value, path, alternatives)?;
            continue;
        }
        if inside_or && OPERATORS.contains(&name.as_str()) {
            return malformed(format!("{name} is Ruler reserved fieldName which cannot be used inside $or."));
        }
        let path = joined(path, name);
        match value {
            Value::Object(inner) => read_object(inner, &path, inside_or, alternatives)?,
            Value::Array(elements) if elements.is_empty() => return malformed("Empty arrays are not allowed"),
            Value::Array(elements) => {
                let matchers = elements.iter().map(read_matcher).collect::<Result<Vec<_>, _>>()?;
                for conditions in &mut *alternatives {
                    conditions.insert(path.clone(), matchers.clone());
                }
            }
            _ => return malformed(format!("\"{name}\" must be an object or an array")),
        }
    }
    Ok(())
}

fn read_or(value: &Value, path: &str, alternatives: &mut Vec<Conditions>) -> Result<(), MalformedPattern> {
    let Value::Array(branches) = value else {
        return malformed("It must be an Array followed with $or.");
    };
    if branches.len() < 2 {
        return malformed("There must have at least 2 Objects in $or relationship.");
    }
    let before = std::mem::take(alternatives);
    for branch in branches {
        let Value::Object(fields) = branch else {
            return malformed("Only JSON object is allowed in array of $or relationship.");
        };
        let mut branch_alternatives = before.clone();
        read_object(fields, path, true, &mut branch_alternatives)?;
        alternatives.append(&mut branch_alternatives);
        if alternatives.len() > MAX_ALTERNATIVES {
            return malformed(format!("more than {MAX_ALTERNATIVES} combinations of $or"));
        }
    }
    Ok(())
}

fn read_matcher(element: &Value) -> Result<Matcher, MalformedPattern> {
    match element {
        Value::Null => Ok(Matcher::Null),
        Value::Bool(value) => Ok(Matcher::Bool(*value)),
        Value::Number(value) => Ok(Matcher::Number(value.clone())),
        Value::String(value) => Ok(Matcher::Text(TextMatcher::Equals(value.clone()))),
        Value::Array(_) => malformed("Match value must be String, number, true, false, or null"),
        Value::Object(expression) => {
            let mut entries = expression.iter();
            let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
                return malformed("Only one key allowed in match expression");
            };
            read_expression(operator, operand)
        }
    }
}

fn read_expression(operator: &str, operand: &Value) -> Result<Matcher, MalformedPattern> {
    match operator {
        "anything-but" => read_anything_but(operand),
        "numeric" => read_numeric(operand),
        "cidr" => read_cidr(operand),
        "exists" => match operand {
            Value::Bool(wanted) => Ok(Matcher::Exists(*wanted)),
            _ => malformed("exists match pattern must be either true or false."),
        },
        _ => read_text_matcher(operator, operand).map(Matcher::Text),
    }
}

fn read_text_matcher(operator: &str, operand: &Value) -> Result<TextMatcher, MalformedPattern> {
    if let ("prefix" | "suffix", Value::Object(nested)) = (operator, operand) {
        let mut entries = nested.iter();
        return match (entries.next(), entries.next()) {
            (Some((name, Value::String(text))), None) if name == "equals-ignore-case" => Ok(match operator {
                "prefix" => TextMatcher::StartsWithIgnoringCase(text.to_lowercase()),
                _ => TextMatcher::EndsWithIgnoringCase(text.to_lowercase()),
            }),
            _ => malformed(format!("Unsupported {operator} match pattern")),
        };
    }
    if !["prefix", "suffix", "equals-ignore-case", "wildcard"].contains(&operator) {
        return malformed(format!("Unrecognized match type {operator}"));
    }
    let Value::String(text) = operand else {
        return malformed(format!("{operator} match pattern must be a string"));
    };
    match operator {
        "prefix" => Ok(TextMatcher::StartsWith(text.clone())),
        "suffix" => Ok(TextMatcher::EndsWith(text.clone())),
        "equals-ignore-case" => Ok(TextMatcher::EqualsIgnoringCase(text.to_lowercase())),
        _ => read_wildcard(text).map(TextMatcher::Wildcard),
    }
}

fn read_wildcard(text: &str) -> Result<Vec<String>, MalformedPattern> {
    let mut parts = vec![String::new()];
    let mut after_asterisk = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '*' {
            if after_asterisk {
                return malformed("Consecutive wildcard characters are not allowed");
            }
            after_asterisk = true;
            parts.push(String::new());
            continue;
        }
        after_asterisk = false;
        let literal = match character {
            '\\' => match characters.next() {
                Some(escaped @ ('*' | '\\')) => escaped,
                _ => return malformed("Invalid escape character in wildcard match pattern"),
            },
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(literal);
        }
    }
    Ok(parts)
}

fn read_anything_but(operand: &Value) -> Result<Matcher, MalformedPattern> {
    let values = |operand: &Value| match operand {
        Value::Array(values) => values.clone(),
        single => vec![single.clone()],
    };
    let refused: Vec<Matcher> = match operand {
        Value::Object(nested) => {
            let mut entries = nested.iter();
            let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
                return malformed("Only one key allowed in anything-but match expression");
            };
            let operands = values(operand);
            if operands.contains(&Value::from("")) && (operator == "prefix" || operator == "suffix") {
                return malformed("Null prefix/suffix not allowed");
            }
            operands
                .iter()
                .map(|operand| read_text_matcher(operator, operand).map(Matcher::Text))
                .collect::<Result<_, _>>()?
        }
        _ => {
            let operands = values(operand);
            if !operands.iter().all(Value::is_string) && !operands.iter().all(Value::is_number) {
                return malformed(
                    "Inside anything-but list, either all values are number or string, mixed type is not supported",
                );
            }
            operands.iter().map(read_matcher).collect::<Result<_, _>>()?
        }
    };
    if refused.is_empty() {
        return malformed("Empty lists are not allowed in anything-but");
    }
    Ok(Matcher::AnythingBut(refused))
}

fn read_numeric(operand: &Value) -> Result<Matcher, MalformedPattern> {
    let Value::Array(elements) = operand else {
        return malformed("Value of numeric must be an array.");
    };
    let mut comparisons = Vec::new();
    for pair in elements.chunks(2) {
        let [Value::String(operator), Value::Number(number)] = pair else {
            return malformed("numeric takes pairs of a comparison and a number");
        };
        let value = number.as_f64().unwrap_or(f64::INFINITY);
        if value.abs() > NUMERIC_BOUND {
            return malformed(format!("Value must be between -{NUMERIC_BOUND} and {NUMERIC_BOUND}, inclusive"));
        }
        comparisons.push((operator.as_str(), value));
    }
    let bound = |operator: &str, value| Some(Bound { value, inclusive: operator.ends_with('=') });
    match comparisons[..] {
        [("=", value)] => Ok(Matcher::Numeric { above: bound("=", value), below: bound("=", value) }),
        [(operator @ ("<" | "<="), value)] => Ok(Matcher::Numeric { above: None, below: bound(operator, value) }),
        [(operator @ (">" | ">="), value)] => Ok(Matcher::Numeric { above: bound(operator, value), below: None }),
        [(low @ (">" | ">="), from), (high @ ("<" | "<="), to)] if from < to => {
            Ok(Matcher::Numeric { above: bound(low, from), below: bound(high, to) })
        }
        [(">" | ">=", _), ("<" | "<=", _)] => malformed("Bottom must be less than top"),
        _ => malformed("Unrecognized numeric range operator"),
    }
}

fn read_cidr(operand: &Value) -> Result<Matcher, MalformedPattern> {
    let parsed = operand.as_str().and_then(|text| {
        let (network, bits) = text.split_once('/')?;
        let (network, bits): (IpAddr, u8) = (network.parse().ok()?, bits.parse().ok()?);
        (u32::from(bits) <= if network.is_ipv4() { 32 } else { 128 }).then_some(Matcher::Cidr { network, bits })
    });
    parsed.map_or_else(|| malformed("Malformed CIDR"), Ok)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Where a leaf lies: which element of which array. Arrays are numbered in the order in which they are met.
type Membership = Vec<(usize, usize)>;

#[derive(Default)]
struct Leaves<'a> {
    by_path: BTreeMap<String, Vec<(&'a Value, Membership)>>,
    arrays: usize,
}

impl<'a> Leaves<'a> {
    fn collect(&mut self, value: &'a Value, path: &str, membership: &mut Membership) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.collect(value, &joined(path, name), membership);
                }
            }
            Value::Array(elements) => {
                let array = self.arrays;
                self.arrays += 1;
                for (index, element) in elements.iter().enumerate() {
                    membership.push((array, index));
                    self.collect(element, path, membership);
                    membership.pop();
                }
            }
            leaf => self.by_path.entry(path.to_owned()).or_default().push((leaf, membership.clone())),
        }
    }

    /// Whether leaves can be chosen for all conditions that agree with the elements chosen so far and with each other.
    fn satisfy(&self, conditions: &[(&String, &Vec<Matcher>)], chosen: &BTreeMap<usize, usize>) -> bool {
        let Some(((path, matchers), rest)) = conditions.split_first() else { return true };
        let Some(leaves) = self.by_path.get(*path) else {
            return matchers.contains(&Matcher::Exists(false)) && self.satisfy(rest, chosen);
        };
        leaves.iter().any(|(leaf, membership)| {
            let agrees = membership.iter().all(|(array, index)| chosen.get(array).is_none_or(|seen| seen == index));
            if !agrees || !matchers.iter().any(|matcher| matcher.accepts(leaf)) {
                return false;
            }
            let mut chosen = chosen.clone();
            chosen.extend(membership.iter().copied());
            self.satisfy(rest, &chosen)
        })
    }
}

impl Matcher {
    fn accepts(&self, leaf: &Value) -> bool {
        match (self, leaf) {
            (Self::Exists(wanted), _) => *wanted,
            (Self::AnythingBut(refused), _) => !refused.iter().any(|matcher| matcher.accepts(leaf)),
            (Self::Null, Value::Null) => true,
            (Self::Bool(wanted), Value::Bool(seen)) => wanted == seen,
            (Self::Number(wanted), Value::Number(seen)) => wanted == seen || wanted.as_f64() == seen.as_f64(),
            (Self::Text(matcher), Value::String(seen)) => matcher.accepts(seen),
            (Self::Numeric { above, below }, Value::Number(seen)) => {
                let Some(seen) = seen.as_f64().filter(|seen| seen.abs() <= NUMERIC_BOUND) else { return false };
                above.is_none_or(|bound| seen > bound.value || bound.inclusive && seen == bound.value)
                    && below.is_none_or(|bound| seen < bound.value || bound.inclusive && seen == bound.value)
            }
            (Self::Cidr { network, bits }, Value::String(seen)) => {
                seen.parse().is_ok_and(|address| in_network(address, *network, *bits))
            }
            _ => false,
        }
    }
}

impl TextMatcher {
    fn accepts(&self, seen: &str) -> bool {
        match self {
            Self::Equals(text) => seen == text,
            Self::EqualsIgnoringCase(text) => seen.to_lowercase() == *text,
            Self::StartsWith(text) => seen.starts_with(text),
            Self::StartsWithIgnoringCase(text) => seen.to_lowercase().starts_with(text),
            Self::EndsWith(text) => seen.ends_with(text),
            Self::EndsWithIgnoringCase(text) => seen.to_lowercase().ends_with(text),
            Self::Wildcard(parts) => wildcard_accepts(parts, seen),
        }
    }
}

/// The first part is at the start, the last at the end, those between in order wherever they come first.
fn wildcard_accepts(parts: &[String], seen: &str) -> bool {
    match parts {
        [] => false,
        [only] => seen == only,
        [first, between @ .., last] => {
            let Some(rest) = seen.strip_prefix(first.as_str()) else { return false };
            let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
            for part in between {
                let Some(at) = rest.find(part.as_str()) else { return false };
                rest = &rest[at + part.len()..];
            }
            true
        }
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let as_bits = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    address.is_ipv4() == network.is_ipv4() && (as_bits(address) ^ as_bits(network)) & mask == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The sample event of the EventBridge user guide and of `aws/event-ruler`, with arrays added.
    fn sample() -> Value {
        json!({
            "version": "0",
            "detail-type": "EC2 Instance State-change Notification",
            "source": "aws.ec2",
            "account": "012345679012",
            "time": "2017-10-02T16:24:49Z",
            "region": "us-east-1",
            "resources": [
                "arn:aws:ec2:us-east-1:123456789012:instance/i-000000aaaaaa00000",
                "arn:aws:ec2:us-east-1:123456789012:instance/i-000000bbbbbb00000",
            ],
            "detail": {
                "c-count": 5, "d-count": 3, "x-limit": 301.8, "big": 6e9,
                "source-ip": "10.0.0.33", "source-ip6": "2001:db8::1",
                "state": "running", "empty": "", "nothing": null, "flag": true, "none": [], "hollow": {},
                "path": "dir/lib/a*b.PNG",
                "employees": [
                    { "firstName": "Anna", "lastName": "Smith", "tags": [{ "key": "a", "value": "1" }] },
                    { "firstName": "John", "lastName": "Doe", "tags": [{ "key": "a", "value": "2" }, { "key": "b", "value": "1" }] },
                ],
            },
        })
    }

    fn matches(pattern: &Value) -> bool {
        EventPattern::parse(&pattern.to_string())
            .unwrap_or_else(|error| panic!("{pattern}: {error}"))
            .matches(&sample())
    }

    #[test]
    fn a_pattern_matches_what_the_user_guide_says() {
        let table = [
            (true, json!({"source": ["aws.ec2"]})),
            (true, json!({"source": ["aws.ecs", "aws.ec2"], "region": ["us-east-1"]})),
            (false, json!({"source": ["aws.ec2"], "region": ["us-east-2"]})),
            (false, json!({"source": ["AWS.EC2"]})),
            // An array in the event: any element will do.
            (true, json!({"resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-000000bbbbbb00000"]})),
            (true, json!({"resources": [{"suffix": "aaaaaa00000"}]})),
            // Numbers, booleans, null, the empty string.
            (true, json!({"detail": {"c-count": [5]}})),
            (true, json!({"detail": {"c-count": [5.0]}})),
            (false, json!({"detail": {"c-count": ["5"]}})),
            (true, json!({"detail": {"x-limit": [3.018e2]}})),
            (true, json!({"detail": {"flag": [true]}})),
            (false, json!({"detail": {"flag": ["true"]}})),
            (true, json!({"detail": {"nothing": [null]}})),
            (false, json!({"detail": {"missing": [null]}})),
            (true, json!({"detail": {"empty": [""]}})),
            (false, json!({"detail": {"empty": [null]}})),
            // prefix, suffix, equals-ignore-case, and their combination.
            (true, json!({"time": [{"prefix": "2017-10-02"}]})),
            (false, json!({"detail": {"c-count": [{"prefix": "5"}]}})),
            (true, json!({"region": [{"prefix": {"equals-ignore-case": "US-"}}]})),
            (true, json!({"detail": {"path": [{"suffix": {"equals-ignore-case": ".png"}}]}})),
            (false, json!({"detail": {"path": [{"suffix": ".png"}]}})),
            (true, json!({"source": [{"equals-ignore-case": "AWS.Ec2"}]})),
            // wildcard
            (true, json!({"detail": {"path": [{"wildcard": "dir/*.PNG"}]}})),
            (true, json!({"detail": {"path": [{"wildcard": "*/lib/*"}]}})),
            (true, json!({"detail": {"path": [{"wildcard": "*a\\*b*"}]}})),
            (false, json!({"detail": {"path": [{"wildcard": "dir/lib/a\\*c.PNG"}]}})),
            (true, json!({"source": [{"wildcard": "aws.ec2"}]})),
            (false, json!({"source": [{"wildcard": "aws.ec2*2"}]})),
            (true, json!({"source": [{"wildcard": "*"}]})),
            // anything-but
            (true, json!({"detail": {"state": [{"anything-but": "initializing"}]}})),
            (false, json!({"detail": {"state": [{"anything-but": "running"}]}})),
            (false, json!({"detail": {"missing": [{"anything-but": "running"}]}})),
            (true, json!({"detail": {"state": [{"anything-but": ["stopped", "overloaded"]}]}})),
            (false, json!({"detail": {"state": [{"anything-but": ["stopped", "running"]}]}})),
            (true, json!({"detail": {"x-limit": [{"anything-but": [100, 200, 300]}]}})),
            (false, json!({"detail": {"c-count": [{"anything-but": 5}]}})),
            (true, json!({"detail": {"c-count": [{"anything-but": "5"}]}})),
            (true, json!({"detail": {"state": [{"anything-but": {"prefix": "init"}}]}})),
            (false, json!({"detail": {"state": [{"anything-but": {"prefix": ["init", "run"]}}]}})),
            (false, json!({"detail": {"state": [{"anything-but": {"suffix": "ing"}}]}})),
            (false, json!({"detail": {"state": [{"anything-but": {"equals-ignore-case": ["RUNNING"]}}]}})),
            (false, json!({"detail": {"path": [{"anything-but": {"wildcard": "*/lib/*"}}]}})),
            (true, json!({"detail": {"path": [{"anything-but": {"wildcard": ["*/bin/*", "*.gif"]}}]}})),
            // One element that is something else is enough.
            (true, json!({"detail": {"employees": {"firstName": [{"anything-but": "Anna"}]}}})),
            (false, json!({"detail": {"employees": {"firstName": [{"anything-but": ["Anna", "John"]}]}}})),
            // numeric
            (true, json!({"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}]}})),
            (false, json!({"detail": {"c-count": [{"numeric": [">", 0, "<", 5]}]}})),
            (true, json!({"detail": {"d-count": [{"numeric": ["<", 10]}]}})),
            (true, json!({"detail": {"x-limit": [{"numeric": ["=", 3.018e2]}]}})),
            (true, json!({"detail": {"c-count": [{"numeric": [">=", 5]}]}})),
            (false, json!({"detail": {"big": [{"numeric": [">", 0]}]}})),
            (false, json!({"account": [{"numeric": [">", 0]}]})),
            // cidr
            (true, json!({"detail": {"source-ip": [{"cidr": "10.0.0.0/24"}]}})),
            (false, json!({"detail": {"source-ip": [{"cidr": "10.0.1.0/24"}]}})),
            (true, json!({"detail": {"source-ip": [{"cidr": "1.2.3.4/0"}]}})),
            (true, json!({"detail": {"source-ip6": [{"cidr": "2001:db8::/32"}]}})),
            (false, json!({"detail": {"source-ip6": [{"cidr": "0.0.0.0/0"}]}})),
            // exists looks at leaves only.
            (true, json!({"detail": {"c-count": [{"exists": true}]}})),
            (false, json!({"detail": {"c-count": [{"exists": false}]}})),
            (true, json!({"detail": {"nothing": [{"exists": true}]}})),
            (true, json!({"detail": {"missing": [{"exists": false}]}})),
            (false, json!({"detail": [{"exists": true}]})),
            (true, json!({"detail": [{"exists": false}]})),
            (true, json!({"detail": {"none": [{"exists": false}], "hollow": [{"exists": false}]}})),
            (true, json!({"detail": {"missing": ["x", {"exists": false}]}})),
            (true, json!({"detail": {"state": ["running", {"exists": false}]}})),
            // $or
            (true, json!({"source": ["aws.ec2"], "$or": [{"region": ["x"]}, {"account": ["012345679012"]}]})),
            (false, json!({"source": ["aws.ecs"], "$or": [{"region": ["us-east-1"]}, {"account": ["012345679012"]}]})),
            (
                false,
                json!({"detail": {"$or": [{"c-count": [{"numeric": [">", 5]}]}, {"d-count": [{"numeric": ["<", 3]}]}, {"x-limit": [1]}]}}),
            ),
            (
                true,
                json!({"detail": {"$or": [{"c-count": [1], "d-count": [3]}, {"state": ["running"], "$or": [{"flag": [false]}, {"flag": [true]}]}]}}),
            ),
            (
                true,
                json!({"$or": [{"source": ["x"]}, {"region": ["us-east-1"]}], "detail": {"$or": [{"state": ["running"]}, {"state": ["x"]}]}}),
            ),
            (
                false,
                json!({"$or": [{"source": ["x"]}, {"region": ["us-east-1"]}], "detail": {"$or": [{"state": ["y"]}, {"state": ["x"]}]}}),
            ),
        ];
        for (expected, pattern) in table {
            assert_eq!(matches(&pattern), expected, "{pattern}");
        }
    }

    /// `aws/event-ruler`, "JSON Array Matching".
    #[test]
    fn fields_of_one_pattern_match_in_the_same_element_of_an_array_of_objects() {
        let table = [
            (true, json!({"firstName": ["Anna"], "lastName": ["Smith"]})),
            (false, json!({"firstName": ["Anna"], "lastName": ["Doe"]})),
            (true, json!({"firstName": ["Anna", "John"], "lastName": ["Doe"]})),
            (true, json!({"tags": {"key": ["a"], "value": ["2"]}})),
            (true, json!({"tags": {"key": ["b"], "value": ["1"]}})),
            (false, json!({"tags": {"key": ["b"], "value": ["2"]}})),
            (true, json!({"firstName": ["John"], "tags": {"key": ["a"], "value": ["2"]}})),
            (false, json!({"firstName": ["Anna"], "tags": {"key": ["a"], "value": ["2"]}})),
            (false, json!({"firstName": ["Anna"], "tags": {"value": ["2"]}})),
            (true, json!({"$or": [{"firstName": ["Anna"], "lastName": ["Doe"]}, {"lastName": ["Smith"]}]})),
            (false, json!({"firstName": ["Anna"], "$or": [{"lastName": ["Doe"]}, {"lastName": ["Other"]}]})),
        ];
        for (expected, employees) in table {
            assert_eq!(matches(&json!({"detail": {"employees": employees}})), expected, "{employees}");
        }
    }

    #[test]
    fn a_malformed_pattern_is_refused_with_the_reason() {
        let table = [
            (json!(["source"]), "Filter is not an object"),
            (json!({}), "Empty objects"),
            (json!({"detail": {}}), "Empty objects"),
            (json!({"source": []}), "Empty arrays"),
            (json!({"source": "aws.ecs"}), "must be an object or an array"),
            (json!({"source": [["aws.ecs"]]}), "Match value must be"),
            (json!({"source": [{}]}), "Only one key"),
            (json!({"source": [{"prefix": "a", "suffix": "b"}]}), "Only one key"),
            (json!({"source": [{"starts-with": "a"}]}), "Unrecognized match type starts-with"),
            (json!({"source": [{"prefix": 1}]}), "prefix match pattern must be a string"),
            (json!({"source": [{"prefix": {"wildcard": "a"}}]}), "Unsupported prefix"),
            (json!({"source": [{"wildcard": "a**b"}]}), "Consecutive wildcard"),
            (json!({"source": [{"wildcard": "a\\b"}]}), "Invalid escape"),
            (json!({"source": [{"anything-but": []}]}), "Empty lists"),
            (json!({"source": [{"anything-but": ["a", 1]}]}), "mixed type"),
            (json!({"source": [{"anything-but": null}]}), "mixed type"),
            (json!({"source": [{"anything-but": {"prefix": ""}}]}), "Null prefix"),
            (json!({"source": [{"anything-but": {"exists": true}}]}), "Unrecognized match type exists"),
            (json!({"source": [{"exists": "yes"}]}), "either true or false"),
            (json!({"source": [{"numeric": []}]}), "Unrecognized numeric"),
            (json!({"source": [{"numeric": ["<"]}]}), "pairs"),
            (json!({"source": [{"numeric": ["<", "5"]}]}), "pairs"),
            (json!({"source": [{"numeric": ["!=", 5]}]}), "Unrecognized numeric"),
            (json!({"source": [{"numeric": ["<", 5, ">", 1]}]}), "Unrecognized numeric"),
            (json!({"source": [{"numeric": [">", 5, "<", 1]}]}), "Bottom must be less than top"),
            (json!({"source": [{"numeric": ["<", 6e9]}]}), "between"),
            (json!({"source": [{"cidr": "10.0.0.0/33"}]}), "Malformed CIDR"),
            (json!({"source": [{"cidr": "ten/8"}]}), "Malformed CIDR"),
            (json!({"$or": {"source": ["a"]}}), "must be an Array"),
            (json!({"$or": [{"source": ["a"]}]}), "at least 2"),
            (json!({"$or": [{"source": ["a"]}, "b"]}), "Only JSON object"),
            (json!({"$or": [{"source": ["a"]}, {"prefix": ["b"]}]}), "reserved"),
        ];
        for (pattern, reason) in table {
            let error = EventPattern::parse(&pattern.to_string()).expect_err(&pattern.to_string());
            assert!(error.to_string().contains(reason), "{pattern}: {error}");
        }
        assert!(EventPattern::parse("{").is_err());
    }

    #[test]
    fn alternatives_that_multiply_beyond_the_limit_are_refused() {
        let branches: Vec<_> = (0..32).map(|number| json!({"field": [number]})).collect();
        let pattern = |outer: usize| json!({"a": {"$or": branches[..outer]}, "b": {"$or": branches}});
        assert!(EventPattern::parse(&pattern(31).to_string()).is_ok());
        assert!(EventPattern::parse(&pattern(32).to_string()).is_err());
    }
}
