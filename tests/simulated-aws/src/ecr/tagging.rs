//! Tags of repositories.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Home, INVALID, invalid};
use crate::World;
use crate::identity::{AccountId, Region};
use crate::input::read;
use crate::operation::{Call, ServiceError};

/// A tag in a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Tag {
    key: String,
    value: String,
}

/// Adds tags. Keys have 1 to 128 characters, values up to 256, both of letters, digits, spaces and `_.:/=+-@`; a
/// resource has at most 50 (ECR user guide, "Tag restrictions").
pub(super) fn add(to: &mut BTreeMap<String, String>, tags: Vec<Tag>) -> Result<(), ServiceError> {
    let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c));
    for Tag { key, value } in &tags {
        let lengths = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        if !lengths || !allowed(key) || !allowed(value) || key.starts_with("aws:") {
            return Err(ServiceError::new(
                "InvalidTagParameterException",
                format!("An invalid parameter has been specified: tag {key:?} = {value:?}"),
            ));
        }
    }
    let mut all = to.clone();
    all.extend(tags.into_iter().map(|tag| (tag.key, tag.value)));
    if all.len() > 50 {
        return Err(ServiceError::new("TooManyTagsException", "The list of tags on the repository is over the limit."));
    }
    *to = all;
    Ok(())
}

/// Registry and name of a repository's ARN.
pub(super) fn parse_arn(arn: &str) -> Result<(Home, String), ServiceError> {
    let bad =
        || invalid(format!("Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN': {arn}"));
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "ecr", region, account, resource] = parts[..] else { return Err(bad()) };
    let name = resource.strip_prefix("repository/").ok_or_else(bad)?;
    let home = Home { account: AccountId::new(account).ok_or_else(bad)?, region: Region::new(region).ok_or_else(bad)? };
    Ok((home, name.to_owned()))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TagResource {
    resource_arn: String,
    tags: Vec<Tag>,
}

pub(super) fn tag(world: &mut World, _: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: TagResource = read(input, INVALID)?;
    let (home, name) = parse_arn(&input.resource_arn)?;
    add(&mut world.ecr.repository_mut(&home, &name)?.tags, input.tags)?;
    Ok(json!({}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub(super) fn untag(world: &mut World, _: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: UntagResource = read(input, INVALID)?;
    let (home, name) = parse_arn(&input.resource_arn)?;
    let repository = world.ecr.repository_mut(&home, &name)?;
    for key in &input.tag_keys {
        repository.tags.remove(key);
    }
    Ok(json!({}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListTagsForResource {
    resource_arn: String,
}

pub(super) fn list(world: &mut World, _: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListTagsForResource = read(input, INVALID)?;
    let (home, name) = parse_arn(&input.resource_arn)?;
    let tags = &world.ecr.repository(&home, &name)?.tags;
    Ok(json!({"tags": tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect::<Vec<_>>()}))
}
