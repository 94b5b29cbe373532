//! The `Condition` element: operators, set operators, and what an absent key means.
//!
//! - A key that the request does not have: the condition is false, true with a negated operator (`StringNotEquals`) and
//!   true with `…IfExists`.
//! - Several values in the policy are alternatives; with a negated operator none of them may match.
//! - `ForAllValues:` is true when the request has no values for the key (absent, or only the empty string), `ForAnyValue:`
//!   is false then. Without a set operator, a key with several values is a mistake whose outcome AWS does not
//!   document; here it never helps: all values must match in an `Allow`, one is enough in a `Deny`.
//! - A policy variable without a value makes the condition false, whatever the operator.
//!
//! (IAM User Guide, "IAM JSON policy elements: Condition operators" and "Set operators for multivalued context keys".)
//! Operators for addresses and binary values are refused by name: no request of the simulation carries such keys.

use jiff::Timestamp;

use super::context::Context;
use super::pattern::{ArnPattern, Incomplete, Pattern, Syntax};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    None,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equals,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, request: &T, policy: &T) -> bool {
        match self {
            Self::Equals => request == policy,
            Self::Less => request < policy,
            Self::LessOrEqual => request <= policy,
            Self::Greater => request > policy,
            Self::GreaterOrEqual => request >= policy,
        }
    }
}

/// The policy's values, parsed for their operator.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Text { values: Vec<Pattern>, ignore_case: bool },
    Arn(Vec<ArnPattern>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<Timestamp>),
    Bool(Vec<bool>),
    Null(bool),
}

impl Test {
    /// Whether one value of the request matches one of the policy's; `None` for an unresolved variable.
    fn matches(&self, value: &str, context: &Context) -> Option<bool> {
        match self {
            Self::Text { values, ignore_case } => any(values, |pattern| pattern.matches(value, context, *ignore_case)),
            Self::Arn(values) => any(values, |pattern| pattern.matches(value, context)),
            Self::Number(order, values) => {
                Some(value.parse().is_ok_and(|request: f64| values.iter().any(|policy| order.holds(&request, policy))))
            }
            Self::Date(order, values) => {
                Some(date(value).is_some_and(|request| values.iter().any(|policy| order.holds(&request, policy))))
            }
            Self::Bool(values) => Some(boolean(value).is_some_and(|request| values.contains(&request))),
            Self::Null(_) => Some(false),
        }
    }
}

/// True if one is; unresolved only if none is true and one is unresolved.
fn any<T>(values: &[T], test: impl Fn(&T) -> Option<bool>) -> Option<bool> {
    let mut undecided = false;
    for value in values {
        match test(value) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => undecided = true,
        }
    }
    if undecided { None } else { Some(false) }
}

/// One operator applied to one key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    key: String,
    quantifier: Quantifier,
    negated: bool,
    if_exists: bool,
    test: Test,
}

impl Condition {
    /// Parses an operator's name with one key and its values; the error is the reason for the refusal.
    pub(super) fn parse(operator: &str, key: &str, values: &[String], variables: bool) -> Result<Self, String> {
        let (quantifier, rest) = match operator.split_once(':') {
            None => (Quantifier::None, operator),
            Some(("ForAllValues", rest)) => (Quantifier::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::ForAnyValue, rest),
            Some((other, _)) => return Err(format!("{other} is no set operator")),
        };
        let (name, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |name| (name, true));
        let text = |wildcards, ignore_case| {
            let syntax = Syntax { wildcards, variables };
            let values = values.iter().map(|value| Pattern::parse(value, syntax)).collect::<Result<_, _>>()?;
            Ok::<_, String>(Test::Text { values, ignore_case })
        };
        let arn = || {
            let parse = |value: &String| {
                ArnPattern::parse(value, variables, Incomplete::Refuse).map_err(|reason| format!("{value}: {reason}"))
            };
            values.iter().map(parse).collect::<Result<_, _>>().map(Test::Arn)
        };
        let number = |order| {
            let parse = |value: &String| value.parse::<f64>().map_err(|_| format!("{value} is not a number"));
            Ok::<_, String>(Test::Number(order, values.iter().map(parse).collect::<Result<_, _>>()?))
        };
        let date = |order| {
            let parse = |value: &String| date(value).ok_or_else(|| format!("{value} is not a date"));
            Ok::<_, String>(Test::Date(order, values.iter().map(parse).collect::<Result<_, _>>()?))
        };
        let booleans = || {
            let parse = |value: &String| boolean(value).ok_or_else(|| format!("{value} is neither true nor false"));
            values.iter().map(parse).collect::<Result<Vec<bool>, _>>()
        };
        let (test, negated) = match name {
            "StringEquals" => (text(false, false)?, false),
            "StringNotEquals" => (text(false, false)?, true),
            "StringEqualsIgnoreCase" => (text(false, true)?, false),
            "StringNotEqualsIgnoreCase" => (text(false, true)?, true),
            "StringLike" => (text(true, false)?, false),
            "StringNotLike" => (text(true, false)?, true),
            "ArnEquals" | "ArnLike" => (arn()?, false),
            "ArnNotEquals" | "ArnNotLike" => (arn()?, true),
            "NumericEquals" => (number(Order::Equals)?, false),
            "NumericNotEquals" => (number(Order::Equals)?, true),
            "NumericLessThan" => (number(Order::Less)?, false),
            "NumericLessThanEquals" => (number(Order::LessOrEqual)?, false),
            "NumericGreaterThan" => (number(Order::Greater)?, false),
            "NumericGreaterThanEquals" => (number(Order::GreaterOrEqual)?, false),
            "DateEquals" => (date(Order::Equals)?, false),
            "DateNotEquals" => (date(Order::Equals)?, true),
            "DateLessThan" => (date(Order::Less)?, false),
            "DateLessThanEquals" => (date(Order::LessOrEqual)?, false),
            "DateGreaterThan" => (date(Order::Greater)?, false),
            "DateGreaterThanEquals" => (date(Order::GreaterOrEqual)?, false),
            "Bool" => (Test::Bool(booleans()?), false),
            "Null" if if_exists || quantifier != Quantifier::None => {
                return Err("Null takes neither a set operator nor IfExists".to_owned());
            }
            "Null" => match booleans()?[..] {
                [absent] => (Test::Null(absent), false),
                _ => return Err("Null takes one value".to_owned()),
            },
            _ => return Err(format!("the condition operator {operator} is not supported")),
        };
        Ok(Self { key: key.to_owned(), quantifier, negated, if_exists, test })
    }

    /// Whether the condition holds. `cautious_any` says how a key with several values is read without a set operator:
    /// one match is enough (`Deny`) or all must match (`Allow`).
    pub(super) fn holds(&self, context: &Context, cautious_any: bool) -> bool {
        let values = context.get(&self.key);
        let without_values = values.is_none_or(|values| values.iter().all(String::is_empty));
        if let Test::Null(absent) = self.test {
            return without_values == absent;
        }
        let Some(values) = values else {
            return match self.quantifier {
                _ if self.if_exists => true,
                Quantifier::None => self.negated,
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => false,
            };
        };
        let one = |value: &String| self.test.matches(value, context).map(|matched| matched != self.negated);
        let outcomes: Option<Vec<bool>> = values.iter().map(one).collect();
        let Some(outcomes) = outcomes else { return false };
        match self.quantifier {
            Quantifier::ForAllValues => without_values || outcomes.into_iter().all(|held| held),
            Quantifier::ForAnyValue => !without_values && outcomes.into_iter().any(|held| held),
            Quantifier::None if outcomes.is_empty() => self.negated,
            Quantifier::None if cautious_any => outcomes.into_iter().any(|held| held),
            Quantifier::None => outcomes.into_iter().all(|held| held),
        }
    }

    /// The context keys that the condition names, as key or in a variable.
    pub(super) fn keys(&self) -> Vec<&str> {
        let mut keys = vec![self.key.as_str()];
        match &self.test {
            Test::Text { values, .. } => keys.extend(values.iter().flat_map(Pattern::variables)),
            Test::Arn(values) => keys.extend(values.iter().flat_map(|value| value.variables().map(|(key, _)| key))),
            _ => {}
        }
        keys
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// One of the W3C's ISO 8601 forms (a year, a month, a day, or a time with its offset), or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    let day = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    if let Ok(day) = day.parse::<jiff::civil::Date>()
        && !text.contains('T')
        && (text.len() == 4 || text.contains('-'))
    {
        return jiff::tz::TimeZone::UTC.to_timestamp(day.into()).ok();
    }
    text.parse::<Timestamp>().ok().or_else(|| Timestamp::from_second(text.parse().ok()?).ok())
}
