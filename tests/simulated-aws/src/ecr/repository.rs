//! Repositories and their policies.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::image::StoredImage;
use super::layer::Layer;
use super::mutability::{Filter, Kind, Mutability};
use super::tagging::{self, Tag};
use super::{Home, INVALID, bounded, invalid, page_size};
use crate::World;
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;

/// A repository, as it is.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The text of its policy.
    pub policy: Option<String>,
    /// Its images, by digest.
    pub images: BTreeMap<String, StoredImage>,
    /// Where its image tags point, by tag.
    pub image_tags: BTreeMap<String, String>,
    pub(super) mutability: Mutability,
    pub(super) layers: BTreeMap<String, Layer>,
    scan_on_push: bool,
    encryption: Value,
}

impl Repository {
    /// The tags of an image, in order.
    pub fn tags_of<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a str> {
        self.image_tags.iter().filter(move |(_, target)| *target == digest).map(|(tag, _)| tag.as_str())
    }

    /// The digests of the indexes that hold the image.
    pub fn parents_of<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a str> {
        self.images
            .values()
            .filter(move |image| image.children.iter().any(|child| child == digest))
            .map(|image| image.digest.as_str())
    }

    fn describe(&self, home: &Home) -> Value {
        let mut members = Map::new();
        members.insert("repositoryArn".to_owned(), json!(home.arn(&self.name)));
        members.insert("registryId".to_owned(), json!(home.account.as_str()));
        members.insert("repositoryName".to_owned(), json!(self.name));
        let uri = format!("{}.dkr.ecr.{}.amazonaws.com/{}", home.account, home.region, self.name);
        members.insert("repositoryUri".to_owned(), json!(uri));
        members.insert("createdAt".to_owned(), epoch(self.created_at));
        self.mutability.write(&mut members);
        members.insert("imageScanningConfiguration".to_owned(), json!({"scanOnPush": self.scan_on_push}));
        members.insert("encryptionConfiguration".to_owned(), self.encryption.clone());
        Value::Object(members)
    }
}

/// Whether a text may be a repository's name: 2 to 256 characters, components of lower-case letters and digits that are
/// joined by `.`, `_`, `__` or hyphens, separated by slashes.
fn is_name(text: &str) -> bool {
    let component = |component: &str| {
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = component.as_bytes();
        let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
        let separators = component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'));
        ends && separators
    };
    (2..=256).contains(&text.len()) && text.split('/').all(component)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRepository {
    registry_id: Option<String>,
    repository_name: String,
    #[serde(default)]
    tags: Vec<Tag>,
    image_tag_mutability: Option<Kind>,
    image_tag_mutability_exclusion_filters: Option<Vec<Filter>>,
    image_scanning_configuration: Option<ScanningConfiguration>,
    encryption_configuration: Option<EncryptionConfiguration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScanningConfiguration {
    #[serde(default)]
    scan_on_push: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EncryptionConfiguration {
    encryption_type: String,
}

pub(super) fn create(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: CreateRepository = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    if !is_name(&input.repository_name) {
        return Err(invalid(format!(
            "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression': {}",
            input.repository_name
        )));
    }
    let mutability = Mutability::new(input.image_tag_mutability, input.image_tag_mutability_exclusion_filters)?;
    let encryption = input.encryption_configuration.map_or_else(|| "AES256".to_owned(), |it| it.encryption_type);
    if encryption != "AES256" {
        return Err(ServiceError::not_simulated(format_args!("repositories encrypted with {encryption}")));
    }
    let mut tags = BTreeMap::new();
    tagging::add(&mut tags, input.tags)?;
    let now = world.now();
    let repositories = &mut world.ecr.registry_mut(&home).repositories;
    if repositories.contains_key(&input.repository_name) {
        return Err(ServiceError::new(
            "RepositoryAlreadyExistsException",
            format!(
                "The repository with name '{}' already exists in the registry with id '{}'",
                input.repository_name, home.account
            ),
        ));
    }
    let repository = Repository {
        name: input.repository_name.clone(),
        created_at: now,
        tags,
        policy: None,
        images: BTreeMap::new(),
        image_tags: BTreeMap::new(),
        mutability,
        layers: BTreeMap::new(),
        scan_on_push: input.image_scanning_configuration.is_some_and(|it| it.scan_on_push),
        encryption: json!({"encryptionType": encryption}),
    };
    let answer = json!({"repository": repository.describe(&home)});
    repositories.insert(input.repository_name, repository);
    Ok(answer)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteRepository {
    registry_id: Option<String>,
    repository_name: String,
    #[serde(default)]
    force: bool,
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeleteRepository = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let repository = world.ecr.repository(&home, &input.repository_name)?;
    if !repository.images.is_empty() && !input.force {
        return Err(ServiceError::new(
            "RepositoryNotEmptyException",
            format!(
                "The repository with name '{}' in registry with id '{}' cannot be deleted because it still contains images",
                input.repository_name, home.account
            ),
        ));
    }
    let answer = json!({"repository": repository.describe(&home)});
    world.ecr.registry_mut(&home).repositories.remove(&input.repository_name);
    Ok(answer)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeRepositories {
    registry_id: Option<String>,
    repository_names: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribeRepositories = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    if let Some(names) = &input.repository_names {
        bounded(names, "repositoryNames")?;
        if input.next_token.is_some() || input.max_results.is_some() {
            return Err(invalid("maxResults and nextToken cannot be used together with repositoryNames"));
        }
        let found = names
            .iter()
            .map(|name| Ok(world.ecr.repository(&home, name)?.describe(&home)))
            .collect::<Result<Vec<_>, ServiceError>>()?;
        return Ok(json!({"repositories": found}));
    }
    let size = page_size(input.max_results, 100, 1000)?;
    let all: Vec<&Repository> =
        world.ecr.registries.get(&home).map(|registry| registry.repositories.values().collect()).unwrap_or_default();
    let (these, next) = page(&all, input.next_token.as_deref(), size, INVALID)?;
    let these: Vec<Value> = these.iter().map(|repository| repository.describe(&home)).collect();
    Ok(with_next(json!({"repositories": these}), next))
}

/// Adds `nextToken`, if there is one.
pub(super) fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["nextToken"] = Value::from(next);
    }
    answer
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    registry_id: Option<String>,
    repository_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetRepositoryPolicy {
    registry_id: Option<String>,
    repository_name: String,
    policy_text: String,
    #[serde(default, rename = "force")]
    // It only guards against locking oneself out, which the simulation does not judge.
    _force: bool,
}

fn policy_answer(home: &Home, name: &str, text: &str) -> Value {
    json!({"registryId": home.account.as_str(), "repositoryName": name, "policyText": text})
}

fn policy_not_found(home: &Home, name: &str) -> ServiceError {
    ServiceError::new(
        "RepositoryPolicyNotFoundException",
        format!(
            "Repository policy does not exist for the repository with name '{name}' in the registry with id '{}'",
            home.account
        ),
    )
}

pub(super) fn get_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: Named = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let repository = world.ecr.repository(&home, &input.repository_name)?;
    let text = repository.policy.as_deref().ok_or_else(|| policy_not_found(&home, &input.repository_name))?;
    Ok(policy_answer(&home, &input.repository_name, text))
}

pub(super) fn set_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: SetRepositoryPolicy = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let parsed: Option<Value> = serde_json::from_str(&input.policy_text).ok();
    let statements = parsed.as_ref().and_then(|policy| policy.get("Statement"));
    if !statements.is_some_and(|it| it.is_array() || it.is_object()) || input.policy_text.len() > 10_240 {
        return Err(invalid(
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'",
        ));
    }
    world.ecr.repository_mut(&home, &input.repository_name)?.policy = Some(input.policy_text.clone());
    Ok(policy_answer(&home, &input.repository_name, &input.policy_text))
}

pub(super) fn delete_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: Named = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let repository = world.ecr.repository_mut(&home, &input.repository_name)?;
    let text = repository.policy.take().ok_or_else(|| policy_not_found(&home, &input.repository_name))?;
    Ok(policy_answer(&home, &input.repository_name, &text))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn repository_names_follow_the_models_pattern() {
        for name in ["app", "team/app", "a-b--c/d_e__f.g", "0a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a", "App", "app-", "-app", "a___b", "a..b", "a//b", "/a", "a b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
