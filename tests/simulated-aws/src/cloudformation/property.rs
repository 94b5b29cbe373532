//! The shape of a resource's properties: what is not in it is refused by name, and scalars are brought into the type that
//! the service wants, since parameters and templates give text where a number is meant.

use serde_json::{Map, Value};

use super::template::evaluation::scalar_text;
use crate::operation::ServiceError;

/// The shape of a property.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Text,
    Integer,
    Boolean,
    /// Any object, such as a policy; text that is JSON counts as the object.
    Json,
    List(&'static Shape),
    /// Names made up by the user, such as environment variables.
    Map(&'static Shape),
    Object(&'static [(&'static str, Shape)]),
}

/// `Tags` as most types have them.
pub(crate) const TAGS: Shape = Shape::List(&Shape::Object(&[("Key", Shape::Text), ("Value", Shape::Text)]));
/// A list of texts.
pub(crate) const TEXTS: Shape = Shape::List(&Shape::Text);

/// The properties of a resource in the types of their shape.
pub(crate) fn conform(value: &Value, shape: Shape, path: &str) -> Result<Value, ServiceError> {
    let mistyped = |expected: &str| {
        Err(ServiceError::new("ValidationError", format!("Properties validation failed: {path}: expected {expected}")))
    };
    match shape {
        Shape::Text => scalar_text(value).map_or_else(|| mistyped("a string"), |text| Ok(Value::from(text))),
        Shape::Integer => match scalar_text(value).and_then(|text| text.parse::<i64>().ok()) {
            Some(number) => Ok(Value::from(number)),
            None => mistyped("an integer"),
        },
        Shape::Boolean => match scalar_text(value).as_deref() {
            Some("true") => Ok(Value::Bool(true)),
            Some("false") => Ok(Value::Bool(false)),
            _ => mistyped("a boolean"),
        },
        Shape::Json => match value {
            Value::Object(_) => Ok(value.clone()),
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(object @ Value::Object(_)) => Ok(object),
                _ => mistyped("a JSON object"),
            },
            _ => mistyped("a JSON object"),
        },
        Shape::List(item) => match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, value)| conform(value, *item, &format!("{path}/{index}")))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array),
            // CloudFormation takes a single value where a list of texts is meant.
            _ if matches!(item, Shape::Text) => Ok(Value::Array(vec![conform(value, Shape::Text, path)?])),
            _ => mistyped("a list"),
        },
        Shape::Map(item) => match value {
            Value::Object(entries) => entries
                .iter()
                .map(|(name, value)| Ok((name.clone(), conform(value, *item, &format!("{path}/{name}"))?)))
                .collect::<Result<Map<_, _>, ServiceError>>()
                .map(Value::Object),
            _ => mistyped("an object"),
        },
        Shape::Object(members) => match value {
            Value::Object(entries) => entries
                .iter()
                .map(|(name, value)| {
                    let path = format!("{path}/{name}");
                    let (_, shape) = members
                        .iter()
                        .find(|(member, _)| member == name)
                        .ok_or_else(|| ServiceError::not_simulated(format_args!("the property {path}")))?;
                    Ok((name.clone(), conform(value, *shape, &path)?))
                })
                .collect::<Result<Map<_, _>, ServiceError>>()
                .map(Value::Object),
            _ => mistyped("an object"),
        },
    }
}

/// The same structure with the first letter of every key in lower case, as ECS and ECR write theirs. `keep` names the
/// keys below which names belong to the user.
pub(crate) fn lower_camel(value: &Value, keep: &[&str]) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| lower_camel(item, keep)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let mut letters = name.chars();
                let lower: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
                let value = if keep.contains(&name.as_str()) { value.clone() } else { lower_camel(value, keep) };
                (lower, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => value.clone(),
    }
}
