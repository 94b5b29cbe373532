//! Tags of aggregators, authorizations and recorders.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{State, error, limit, page, put, required, text, texts};
use crate::World;
use crate::operation::{Access, Call, ServiceError};

/// Reads a list of `{Key, Value}`.
pub(super) fn read(input: &Value) -> Result<BTreeMap<String, String>, ServiceError> {
    let mut tags = BTreeMap::new();
    for tag in input.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        let key = required(tag, "Key")?;
        let value = text(tag, "Value").unwrap_or_default();
        if key.chars().count() > 128 || value.chars().count() > 256 || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(error("ValidationException", format!("The tag {key} is not valid.")));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(error("ValidationException", format!("The tag {key} is given twice.")));
        }
    }
    if tags.len() > 50 { Err(error("TooManyTagsException", "A resource has at most 50 tags.")) } else { Ok(tags) }
}

/// The conditions under which something is made or tagged.
pub(super) fn with_request_tags(mut access: Access, tags: &BTreeMap<String, String>) -> Access {
    for (key, value) in tags {
        access = access.with(format!("aws:RequestTag/{key}"), value).with("aws:TagKeys", key);
    }
    access
}

/// The conditions under which something that exists is used.
pub(super) fn with_resource_tags(mut access: Access, state: &State, arn: &str) -> Access {
    for (key, value) in state.tags.get(arn).into_iter().flatten() {
        access = access.with(format!("aws:ResourceTag/{key}"), value);
    }
    access
}

pub(super) fn may(action: &str, world: &World, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let arn = required(input, "ResourceArn")?;
    let mut access = with_resource_tags(Access::new(format!("config:{action}"), arn), &world.config, arn);
    access = with_request_tags(access, &read(input)?);
    for key in texts(input, "TagKeys") {
        access = access.with("aws:TagKeys", key);
    }
    Ok(vec![access])
}

/// The tags of a resource of the caller's account and region. Everything that can have tags has an entry, maybe empty.
fn tags_of<'a>(
    state: &'a mut State,
    call: &Call,
    input: &Value,
) -> Result<&'a mut BTreeMap<String, String>, ServiceError> {
    let arn = required(input, "ResourceArn")?;
    let ours = arn.starts_with(&call.arn("config", ""));
    state
        .tags
        .get_mut(arn)
        .filter(|_| ours)
        .ok_or_else(|| error("ResourceNotFoundException", format!("The resource {arn} does not exist.")))
}

pub(super) fn tag(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let new = read(input)?;
    let tags = tags_of(&mut world.config, call, input)?;
    let mut all = tags.clone();
    all.extend(new);
    if all.len() > 50 {
        return Err(error("TooManyTagsException", "A resource has at most 50 tags."));
    }
    *tags = all;
    Ok(json!({}))
}

pub(super) fn untag(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let keys = texts(input, "TagKeys");
    tags_of(&mut world.config, call, input)?.retain(|key, _| !keys.contains(key));
    Ok(json!({}))
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let tags = tags_of(&mut world.config, call, input)?;
    let all: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    let (some, next) = page(&all, input, limit(input, "Limit", 50)?)?;
    let mut output = json!({"Tags": some});
    put(&mut output, "NextToken", next);
    Ok(output)
}
