//! What belongs to a registry as a whole: its policy, pull-time exclusions and pull-through cache rules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::layer::Upload;
use super::repository::{Repository, with_next};
use super::{Home, INVALID, bounded, invalid, page_size};
use crate::World;
use crate::identity::AccountId;
use crate::input::read;
use crate::operation::{Call, ServiceError, epoch};
use crate::paging::page;

/// A registry.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) uploads: BTreeMap<String, Upload>,
    /// ARNs of principals whose pulls are not recorded.
    pub(super) exclusions: BTreeSet<String>,
    cache_rules: BTreeMap<String, CacheRule>,
    /// The text of its policy.
    pub(super) policy: Option<String>,
}

#[derive(Debug)]
struct CacheRule {
    upstream_url: String,
    upstream_registry: Option<String>,
    upstream_prefix: Option<String>,
    created_at: Timestamp,
}

impl CacheRule {
    fn describe(&self, prefix: &str, home: &Home) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("ecrRepositoryPrefix".to_owned(), json!(prefix));
        members.insert("upstreamRegistryUrl".to_owned(), json!(self.upstream_url));
        members.insert("createdAt".to_owned(), epoch(self.created_at));
        members.insert("registryId".to_owned(), json!(home.account.as_str()));
        if let Some(registry) = &self.upstream_registry {
            members.insert("upstreamRegistry".to_owned(), json!(registry));
        }
        if let Some(prefix) = &self.upstream_prefix {
            members.insert("upstreamRepositoryPrefix".to_owned(), json!(prefix));
        }
        members
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Exclusion {
    principal_arn: String,
}

impl Exclusion {
    /// `arn:PARTITION:iam::ACCOUNT:role/…` or `…:user/…`, at most 200 characters.
    fn check(&self) -> Result<(), ServiceError> {
        let parts: Vec<&str> = self.principal_arn.splitn(6, ':').collect();
        let well_formed = matches!(parts[..], ["arn", _, "iam", "", account, name]
            if AccountId::new(account).is_some() && (name.starts_with("role/") || name.starts_with("user/")));
        if well_formed && self.principal_arn.len() <= 200 {
            return Ok(());
        }
        Err(invalid(format!(
            "Invalid parameter at 'principalArn' failed to satisfy constraint: 'must be the ARN of a role or user': {}",
            self.principal_arn
        )))
    }
}

pub(super) fn register_exclusion(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: Exclusion = read(input, INVALID)?;
    input.check()?;
    let home = Home::of(call, None)?;
    let now = world.now();
    let exclusions = &mut world.ecr.registry_mut(&home).exclusions;
    if exclusions.len() >= 100 {
        return Err(ServiceError::new(
            "LimitExceededException",
            "A registry has at most 100 pull time update exclusions.",
        ));
    }
    if !exclusions.insert(input.principal_arn.clone()) {
        return Err(ServiceError::new(
            "ExclusionAlreadyExistsException",
            format!("The specified pull time update exclusion already exists: {}", input.principal_arn),
        ));
    }
    Ok(json!({"principalArn": input.principal_arn, "createdAt": epoch(now)}))
}

pub(super) fn deregister_exclusion(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: Exclusion = read(input, INVALID)?;
    input.check()?;
    let home = Home::of(call, None)?;
    if !world.ecr.registry_mut(&home).exclusions.remove(&input.principal_arn) {
        return Err(ServiceError::new(
            "ExclusionNotFoundException",
            format!("The specified pull time update exclusion was not found: {}", input.principal_arn),
        ));
    }
    Ok(json!({"principalArn": input.principal_arn}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListPullTimeUpdateExclusions {
    max_results: Option<u64>,
    next_token: Option<String>,
}

pub(super) fn list_exclusions(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: ListPullTimeUpdateExclusions = read(input, INVALID)?;
    let home = Home::of(call, None)?;
    let size = page_size(input.max_results, 100, 1000)?;
    let all: Vec<&String> =
        world.ecr.registries.get(&home).map(|registry| registry.exclusions.iter().collect()).unwrap_or_default();
    let (these, next) = page(&all, input.next_token.as_deref(), size, INVALID)?;
    Ok(with_next(json!({"pullTimeUpdateExclusions": these}), next))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreatePullThroughCacheRule {
    ecr_repository_prefix: String,
    upstream_registry_url: String,
    registry_id: Option<String>,
    upstream_registry: Option<String>,
    upstream_repository_prefix: Option<String>,
}

pub(super) fn create_cache_rule(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: CreatePullThroughCacheRule = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    if !(2..=30).contains(&input.ecr_repository_prefix.len()) {
        return Err(invalid(
            "Invalid parameter at 'ecrRepositoryPrefix' failed to satisfy constraint: '2 to 30 characters'",
        ));
    }
    let now = world.now();
    let rules = &mut world.ecr.registry_mut(&home).cache_rules;
    if rules.contains_key(&input.ecr_repository_prefix) {
        return Err(ServiceError::new(
            "PullThroughCacheRuleAlreadyExistsException",
            format!("A pull through cache rule with prefix '{}' already exists.", input.ecr_repository_prefix),
        ));
    }
    let rule = CacheRule {
        upstream_url: input.upstream_registry_url,
        upstream_registry: input.upstream_registry,
        upstream_prefix: input.upstream_repository_prefix,
        created_at: now,
    };
    let answer = rule.describe(&input.ecr_repository_prefix, &home);
    rules.insert(input.ecr_repository_prefix, rule);
    Ok(Value::Object(answer))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutRegistryPolicy {
    policy_text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn policy_answer(home: &Home, text: &str) -> Value {
    json!({"registryId": home.account.as_str(), "policyText": text})
}

fn policy_not_found(home: &Home) -> ServiceError {
    let message = format!("Registry policy does not exist in the registry with id '{}'", home.account);
    ServiceError::new("RegistryPolicyNotFoundException", message)
}

pub(super) fn get_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let Nothing {} = read(input, INVALID)?;
    let home = Home::of(call, None)?;
    let text = world.ecr.registry_mut(&home).policy.clone().ok_or_else(|| policy_not_found(&home))?;
    Ok(policy_answer(&home, &text))
}

pub(super) fn put_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: PutRegistryPolicy = read(input, INVALID)?;
    let home = Home::of(call, None)?;
    let parsed: Option<Value> = serde_json::from_str(&input.policy_text).ok();
    let statements = parsed.as_ref().and_then(|policy| policy.get("Statement"));
    if !statements.is_some_and(|it| it.is_array() || it.is_object()) || input.policy_text.len() > 10_240 {
        return Err(invalid(
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid registry policy provided'",
        ));
    }
    world.ecr.registry_mut(&home).policy = Some(input.policy_text.clone());
    Ok(policy_answer(&home, &input.policy_text))
}

pub(super) fn delete_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let Nothing {} = read(input, INVALID)?;
    let home = Home::of(call, None)?;
    let text = world.ecr.registry_mut(&home).policy.take().ok_or_else(|| policy_not_found(&home))?;
    Ok(policy_answer(&home, &text))
}

fn cache_rule_not_found(prefix: &str) -> ServiceError {
    ServiceError::new(
        "PullThroughCacheRuleNotFoundException",
        format!("The pull through cache rule with prefix '{prefix}' was not found."),
    )
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribePullThroughCacheRules {
    registry_id: Option<String>,
    ecr_repository_prefixes: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<u64>,
}

pub(super) fn describe_cache_rules(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DescribePullThroughCacheRules = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let size = page_size(input.max_results, 100, 1000)?;
    let registry = world.ecr.registry_mut(&home);
    let chosen: Vec<(&String, &CacheRule)> = match &input.ecr_repository_prefixes {
        None => registry.cache_rules.iter().collect(),
        Some(prefixes) => {
            bounded(prefixes, "ecrRepositoryPrefixes")?;
            let find = |prefix: &String| {
                registry.cache_rules.get_key_value(prefix).ok_or_else(|| cache_rule_not_found(prefix))
            };
            prefixes.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    let (these, next) = page(&chosen, input.next_token.as_deref(), size, INVALID)?;
    let rules: Vec<_> = these
        .iter()
        .map(|(prefix, rule)| {
            let mut members = rule.describe(prefix, &home);
            members.insert("updatedAt".to_owned(), epoch(rule.created_at));
            members
        })
        .collect();
    Ok(with_next(json!({"pullThroughCacheRules": rules}), next))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeletePullThroughCacheRule {
    ecr_repository_prefix: String,
    registry_id: Option<String>,
}

pub(super) fn delete_cache_rule(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let input: DeletePullThroughCacheRule = read(input, INVALID)?;
    let home = Home::of(call, input.registry_id.as_deref())?;
    let rule = world.ecr.registry_mut(&home).cache_rules.remove(&input.ecr_repository_prefix);
    let rule = rule.ok_or_else(|| cache_rule_not_found(&input.ecr_repository_prefix))?;
    let mut members = rule.describe(&input.ecr_repository_prefix, &home);
    members.remove("upstreamRegistry");
    Ok(Value::Object(members))
}
