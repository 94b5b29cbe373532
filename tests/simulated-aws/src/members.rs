//! Reading an input member by member, and ARNs part by part.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::operation::{Access, ServiceError};

/// A text member.
pub(crate) fn text<'a>(input: &'a Value, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

/// A text member that must be there and not empty.
pub(crate) fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, ServiceError> {
    text(input, name).filter(|text| !text.is_empty()).ok_or_else(|| invalid(format!("{name} is required")))
}

/// A whole number between bounds, if it is there.
pub(crate) fn integer(
    input: &Value,
    name: &str,
    bounds: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, ServiceError> {
    match input.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64().filter(|value| bounds.contains(value)) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(invalid(format!("{name} must be between {} and {}, not {value}", bounds.start(), bounds.end())))
            }
        },
    }
}

/// A name that AWS takes: `characters` beside letters and digits, at most `longest`.
pub(crate) fn check_name(what: &str, name: &str, characters: &str, longest: usize) -> Result<(), ServiceError> {
    let fits = name.chars().all(|character| character.is_ascii_alphanumeric() || characters.contains(character));
    if fits && (1..=longest).contains(&name.len()) {
        return Ok(());
    }
    Err(invalid(format!("{what} {name:?} must have 1 to {longest} letters, digits or any of {characters:?}")))
}

/// `ValidationException`.
pub(crate) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ValidationException", message)
}

/// Refuses members of a nested structure that are not simulated.
pub(crate) fn only(structure: &Value, what: &str, known: &[&str]) -> Result<(), ServiceError> {
    let Some(members) = structure.as_object() else { return Ok(()) };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(ServiceError::not_simulated(format_args!("the member {unknown} of {what}"))),
        None => Ok(()),
    }
}

/// Tags given as a list of `{Key, Value}`.
pub(crate) fn tags(input: &Value, name: &str) -> BTreeMap<String, String> {
    let list = input.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|tag| (text(tag, "Key").unwrap_or_default().to_owned(), text(tag, "Value").unwrap_or_default().to_owned()))
        .collect()
}

/// Tags given as a map.
pub(crate) fn tag_map(input: &Value, name: &str) -> BTreeMap<String, String> {
    let map = input.get(name).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Tags as a list of `{Key, Value}`.
pub(crate) fn tag_list(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// A list of texts.
pub(crate) fn texts<'a>(input: &'a Value, name: &str) -> Vec<&'a str> {
    input.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An action with the condition keys of the tags that the request carries (`aws:RequestTag/…`, `aws:TagKeys`).
pub(crate) fn with_request_tags(access: Access, tags: &BTreeMap<String, String>) -> Access {
    tags.iter().fold(access, |access, (key, value)| {
        access.with(format!("aws:RequestTag/{key}"), value.clone()).with("aws:TagKeys", key.clone())
    })
}

/// An action with the condition keys of the tags that the resource has (`aws:ResourceTag/…`).
pub(crate) fn with_resource_tags(access: Access, tags: &BTreeMap<String, String>) -> Access {
    tags.iter().fold(access, |access, (key, value)| access.with(format!("aws:ResourceTag/{key}"), value.clone()))
}

/// The parts of an ARN: service, region, account and resource.
pub(crate) fn arn_parts(arn: &str) -> Option<(&str, &str, &str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let (Some("arn"), Some("aws")) = (parts.next(), parts.next()) else { return None };
    Some((parts.next()?, parts.next()?, parts.next()?, parts.next()?))
}
