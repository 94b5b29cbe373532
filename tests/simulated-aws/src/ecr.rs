//! Amazon ECR: private registries, one for each account and region.
//!
//! Everything in it behaves as the ECR API reference and user guide say: digests are those of the manifests' bytes, an
//! index holds its children, tags obey the repository's mutability. What they leave open is in
//! [`Behaviours`](crate::Behaviours) under `ecr_`.
//!
//! Besides the API there is a driver's view, for tests and oracles: [`push_image`] and its siblings push without the
//! ceremony of layers, [`images`] tells the truth about a repository, [`pull`] is what a container runtime does,
//! [`removals`] is all that was ever deleted, untagged or archived.

mod deletion;
mod image;
mod layer;
mod manifest;
mod mutability;
mod pull;
mod push;
mod reference;
mod registry;
mod repository;
mod storage;
mod tagging;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError};

pub use image::{ImageStatus, StoredImage};
pub use pull::{PullError, Pulled, pull};
pub use push::{CosignPart, push_cosign, push_image, push_index, push_referrer, put_manifest};
pub use reference::ImageReference;
pub use repository::Repository;

static SERVICE: Service = Service {
    signing_name: "ecr",
    model: "ecr",
    protocol: Protocol::AwsJson { target_prefix: "AmazonEC2ContainerRegistry_V20150921", version: "1.1" },
};

/// The code of ECR's complaint about an input.
const INVALID: &str = "InvalidParameterException";

/// The state of Amazon ECR in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    registries: BTreeMap<Home, registry::Registry>,
    removals: Vec<Removal>,
    /// The chance that `BatchDeleteImage` fails for one of its ids.
    deletion_failures: f64,
}

/// The account and the region of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Home {
    account: AccountId,
    region: Region,
}

/// What was taken away from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A tag, from an image that stays.
    Tag(String),
    /// The image, with the tags it had.
    Image(Vec<String>),
    /// The image went into the archive, and cannot be pulled.
    Archived,
}

/// A removal, as it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub principal: Principal,
    /// The registry's account.
    pub account: AccountId,
    /// The registry's region.
    pub region: Region,
    /// The repository.
    pub repository: String,
    /// The image's digest.
    pub digest: String,
    /// What was removed.
    pub removed: Removed,
}

/// Everything that was ever removed through the API, in order.
pub fn removals(world: &World) -> &[Removal] {
    &world.ecr.removals
}

/// Lets `BatchDeleteImage` fail from now on for each of its ids with this chance, as it does when a repository's key cannot
/// be used; the others are deleted.
pub fn fail_deletions(world: &mut World, chance: f64) {
    world.ecr.deletion_failures = chance;
}

/// A repository as it is, or `None` if there is none of that name.
pub fn repository<'a>(world: &'a World, account: &AccountId, region: &Region, name: &str) -> Option<&'a Repository> {
    let home = Home { account: account.clone(), region: region.clone() };
    world.ecr.registries.get(&home)?.repositories.get(name)
}

/// The images of a repository, by digest; none if there is no such repository.
pub fn images<'a>(
    world: &'a World,
    account: &AccountId,
    region: &Region,
    name: &str,
) -> impl Iterator<Item = &'a StoredImage> {
    repository(world, account, region, name).into_iter().flat_map(|repository| repository.images.values())
}

/// All repositories everywhere, with the registry's account and region.
pub fn repositories(world: &World) -> impl Iterator<Item = (&AccountId, &Region, &Repository)> {
    world.ecr.registries.iter().flat_map(|(home, registry)| {
        registry.repositories.values().map(|repository| (&home.account, &home.region, repository))
    })
}

impl State {
    fn repository(&self, home: &Home, name: &str) -> Result<&Repository, ServiceError> {
        self.registries
            .get(home)
            .and_then(|registry| registry.repositories.get(name))
            .ok_or_else(|| repository_not_found(home, name))
    }

    fn repository_mut(&mut self, home: &Home, name: &str) -> Result<&mut Repository, ServiceError> {
        self.registries
            .get_mut(home)
            .and_then(|registry| registry.repositories.get_mut(name))
            .ok_or_else(|| repository_not_found(home, name))
    }

    fn registry_mut(&mut self, home: &Home) -> &mut registry::Registry {
        self.registries.entry(home.clone()).or_default()
    }
}

impl Home {
    /// The registry that is meant: the one named, or the caller's.
    fn of(call: &Call, registry_id: Option<&str>) -> Result<Self, ServiceError> {
        let account = match registry_id {
            None => call.account.clone(),
            Some(id) => AccountId::new(id).ok_or_else(|| {
                invalid(format!("Invalid parameter at 'registryId' failed to satisfy constraint: '[0-9]{{12}}': {id}"))
            })?,
        };
        Ok(Self { account, region: call.region.clone() })
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:ecr:{}:{}:repository/{name}", self.region, self.account)
    }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new(INVALID, message)
}

fn repository_not_found(home: &Home, name: &str) -> ServiceError {
    ServiceError::new(
        "RepositoryNotFoundException",
        format!("The repository with name '{name}' does not exist in the registry with id '{}'", home.account),
    )
}

/// A page size: what was asked for, or the default; out of bounds is refused.
fn page_size(asked: Option<u64>, default: usize, most: usize) -> Result<usize, ServiceError> {
    match asked {
        None => Ok(default),
        Some(size) => usize::try_from(size).ok().filter(|size| (1..=most).contains(size)).ok_or_else(|| {
            invalid(format!(
                "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must be between 1 and {most}'"
            ))
        }),
    }
}

/// Lists in a request hold 1 to 100 entries.
fn bounded<T>(list: &[T], member: &str) -> Result<(), ServiceError> {
    if (1..=100).contains(&list.len()) {
        return Ok(());
    }
    Err(invalid(format!(
        "Invalid parameter at '{member}' failed to satisfy constraint: 'Member must have length between 1 and 100'"
    )))
}

macro_rules! operation {
    ($name:literal, $handle:path, [$($member:literal),*]) => {
        Operation {
            service: &SERVICE,
            name: $name,
            members: &[$($member),*],
            http: None,
            authorize: |world, call, input| authorize(world, call, input, $name),
            handle: $handle,
        }
    };
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        operation!(
            "CreateRepository",
            repository::create,
            [
                "registryId",
                "repositoryName",
                "tags",
                "imageTagMutability",
                "imageTagMutabilityExclusionFilters",
                "imageScanningConfiguration",
                "encryptionConfiguration"
            ]
        ),
        operation!("DeleteRepository", repository::delete, ["registryId", "repositoryName", "force"]),
        operation!(
            "DescribeRepositories",
            repository::describe,
            ["registryId", "repositoryNames", "nextToken", "maxResults"]
        ),
        operation!(
            "PutImageTagMutability",
            mutability::put,
            ["registryId", "repositoryName", "imageTagMutability", "imageTagMutabilityExclusionFilters"]
        ),
        operation!("GetRepositoryPolicy", repository::get_policy, ["registryId", "repositoryName"]),
        operation!(
            "SetRepositoryPolicy",
            repository::set_policy,
            ["registryId", "repositoryName", "policyText", "force"]
        ),
        operation!("DeleteRepositoryPolicy", repository::delete_policy, ["registryId", "repositoryName"]),
        operation!("GetRegistryPolicy", registry::get_policy, []),
        operation!("PutRegistryPolicy", registry::put_policy, ["policyText"]),
        operation!("DeleteRegistryPolicy", registry::delete_policy, []),
        operation!("TagResource", tagging::tag, ["resourceArn", "tags"]),
        operation!("UntagResource", tagging::untag, ["resourceArn", "tagKeys"]),
        operation!("ListTagsForResource", tagging::list, ["resourceArn"]),
        operation!(
            "PutImage",
            image::put,
            ["registryId", "repositoryName", "imageManifest", "imageManifestMediaType", "imageTag", "imageDigest"]
        ),
        operation!(
            "BatchGetImage",
            image::batch_get,
            ["registryId", "repositoryName", "imageIds", "acceptedMediaTypes"]
        ),
        operation!(
            "DescribeImages",
            image::describe,
            ["registryId", "repositoryName", "imageIds", "nextToken", "maxResults", "filter"]
        ),
        operation!("ListImages", image::list, ["registryId", "repositoryName", "nextToken", "maxResults", "filter"]),
        operation!(
            "ListImageReferrers",
            image::list_referrers,
            ["registryId", "repositoryName", "subjectId", "filter", "nextToken", "maxResults"]
        ),
        operation!("BatchDeleteImage", deletion::batch_delete, ["registryId", "repositoryName", "imageIds"]),
        operation!(
            "UpdateImageStorageClass",
            storage::update,
            ["registryId", "repositoryName", "imageId", "targetStorageClass"]
        ),
        operation!("InitiateLayerUpload", layer::initiate, ["registryId", "repositoryName"]),
        operation!(
            "UploadLayerPart",
            layer::upload_part,
            ["registryId", "repositoryName", "uploadId", "partFirstByte", "partLastByte", "layerPartBlob"]
        ),
        operation!(
            "CompleteLayerUpload",
            layer::complete,
            ["registryId", "repositoryName", "uploadId", "layerDigests"]
        ),
        operation!("BatchCheckLayerAvailability", layer::check, ["registryId", "repositoryName", "layerDigests"]),
        operation!("RegisterPullTimeUpdateExclusion", registry::register_exclusion, ["principalArn"]),
        operation!("DeregisterPullTimeUpdateExclusion", registry::deregister_exclusion, ["principalArn"]),
        operation!("ListPullTimeUpdateExclusions", registry::list_exclusions, ["maxResults", "nextToken"]),
        operation!(
            "CreatePullThroughCacheRule",
            registry::create_cache_rule,
            [
                "ecrRepositoryPrefix",
                "upstreamRegistryUrl",
                "registryId",
                "upstreamRegistry",
                "upstreamRepositoryPrefix"
            ]
        ),
        operation!(
            "DescribePullThroughCacheRules",
            registry::describe_cache_rules,
            ["registryId", "ecrRepositoryPrefixes", "nextToken", "maxResults"]
        ),
        operation!("DeletePullThroughCacheRule", registry::delete_cache_rule, ["ecrRepositoryPrefix", "registryId"]),
    ]
}

/// What a call needs: the action of the operation's name on each repository it names, with the repository's tags and
/// policy; on `*` where the service authorization reference knows no resource type.
fn authorize(world: &World, call: &Call, input: &Value, operation: &str) -> Result<Vec<Access>, ServiceError> {
    let text = |member: &str| input.get(member).and_then(Value::as_str);
    let home = Home::of(call, text("registryId"))?;
    let action = format!("ecr:{operation}");
    let mut accesses = Vec::new();
    if let Some(arn) = text("resourceArn") {
        let (home, name) = tagging::parse_arn(arn)?;
        accesses.push(access(world, &action, &home, &name));
    } else if let Some(name) = text("repositoryName") {
        accesses.push(access(world, &action, &home, name));
    } else if operation == "DescribeRepositories" {
        match input.get("repositoryNames").and_then(Value::as_array) {
            None => accesses.push(Access::new(&action, home.arn("*"))),
            Some(names) => {
                accesses.extend(names.iter().filter_map(Value::as_str).map(|name| access(world, &action, &home, name)));
            }
        }
    } else {
        accesses.push(Access::new(&action, "*"));
    }
    let tags = input.get("tags").and_then(Value::as_array);
    if let Some(tags) = tags.filter(|tags| !tags.is_empty())
        && let Some(mut first) = accesses.pop()
    {
        for tag in tags {
            let part = |member: &str| tag.get(member).and_then(Value::as_str).unwrap_or_default();
            first =
                first.with(format!("aws:RequestTag/{}", part("Key")), part("Value")).with("aws:TagKeys", part("Key"));
        }
        if operation == "CreateRepository" {
            // A tagged creation needs both rights (ECR user guide, "Tag a private repository": permissions).
            let mut tagging = first.clone();
            tagging.action = "ecr:TagResource".to_owned();
            accesses.push(tagging);
        }
        accesses.push(first);
    }
    Ok(accesses)
}

/// The policies of a repository and of its registry as one: new registries enforce theirs in every request (ECR user guide,
/// "Private registry permissions").
fn policy_of(world: &World, home: &Home, repository: &repository::Repository) -> Option<Value> {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let own = repository.policy.as_deref().and_then(read);
    let registry = world.ecr.registries.get(home).and_then(|registry| registry.policy.as_deref()).and_then(read);
    let (mut own, registry) = match (own, registry) {
        (Some(own), Some(registry)) => (own, registry),
        (own, registry) => return own.or(registry),
    };
    let statements = |policy: &Value| match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        statement => vec![statement.clone()],
    };
    own["Statement"] = statements(&own).into_iter().chain(statements(&registry)).collect();
    Some(own)
}

/// An action on a repository, which need not exist.
fn access(world: &World, action: &str, home: &Home, name: &str) -> Access {
    let mut access = Access::new(action, home.arn(name));
    if let Ok(repository) = world.ecr.repository(home, name) {
        for (key, value) in &repository.tags {
            access = access
                .with(format!("aws:ResourceTag/{key}"), value.as_str())
                .with(format!("ecr:ResourceTag/{key}"), value.as_str());
        }
        access.resource_policy = policy_of(world, home, repository).map(|policy| (home.account.clone(), policy));
    }
    access
}
