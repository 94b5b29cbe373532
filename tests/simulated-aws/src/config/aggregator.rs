//! Aggregators: what they collect from, and who may make them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::source::{Regions, Sources};
use super::{PRINCIPAL, State, error, flag, limit, members, page, put, required, site, tagging, texts};
use crate::World;
use crate::iam::{Context, assume_for_service, authorize_pass_role};
use crate::identity::{AccountId, Region};
use crate::operation::{Access, Call, NOT_SIMULATED, ServiceError, epoch};

/// Aggregators for each account and region.
const MOST_AGGREGATORS: usize = 50;
/// Source accounts of an aggregator.
const MOST_ACCOUNTS: usize = 10_000;

/// An aggregator.
#[derive(Debug, Clone)]
pub(super) struct Aggregator {
    name: String,
    arn: String,
    pub(super) sources: Sources,
    created: Timestamp,
    updated: Timestamp,
    /// When each account became a source.
    pub(super) since: BTreeMap<AccountId, Timestamp>,
}

impl Aggregator {
    /// When the account became a source.
    pub(super) fn source_since(&self, account: &AccountId) -> Timestamp {
        self.since.get(account).copied().unwrap_or(self.created)
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "ConfigurationAggregatorName": self.name, "ConfigurationAggregatorArn": self.arn,
            "CreationTime": epoch(self.created), "LastUpdatedTime": epoch(self.updated),
        });
        match &self.sources {
            Sources::Accounts { accounts, regions } => {
                let mut source = json!({"AccountIds": accounts.iter().map(AccountId::as_str).collect::<Vec<_>>()});
                show_regions(&mut source, regions);
                shown["AccountAggregationSources"] = json!([source]);
            }
            Sources::Organization { role, regions } => {
                let mut source = json!({"RoleArn": role});
                show_regions(&mut source, regions);
                shown["OrganizationAggregationSource"] = source;
            }
        }
        shown
    }
}

fn show_regions(source: &mut Value, regions: &Regions) {
    match regions {
        Regions::All => source["AllAwsRegions"] = Value::from(true),
        Regions::These(regions) => {
            source["AllAwsRegions"] = Value::from(false);
            source["AwsRegions"] = regions.iter().map(|region| Value::from(region.as_str())).collect();
        }
    }
}

fn name(input: &Value) -> Result<&str, ServiceError> {
    let name = required(input, "ConfigurationAggregatorName")?;
    let valid = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_' || char == '-');
    if valid && name.len() <= 256 {
        Ok(name)
    } else {
        Err(error("ValidationException", format!("'{name}' is not the name of an aggregator.")))
    }
}

impl State {
    /// The caller's aggregator that `input` names.
    pub(super) fn aggregator(&self, call: &Call, input: &Value) -> Result<&Aggregator, ServiceError> {
        let name = name(input)?;
        self.aggregators.get(&site(call)).and_then(|all| all.get(name)).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> ServiceError {
    error("NoSuchConfigurationAggregatorException", format!("The configuration aggregator does not exist: '{name}'."))
}

/// An action on an aggregator that exists.
pub(super) fn may(action: &str, world: &World, call: &Call, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let arn = match world.config.aggregator(call, input) {
        Ok(aggregator) => aggregator.arn.clone(),
        Err(_) => call.arn("config", "config-aggregator/*"),
    };
    Ok(vec![tagging::with_resource_tags(Access::new(format!("config:{action}"), &arn), &world.config, &arn)])
}

pub(super) fn may_put(world: &World, call: &Call, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let needed = may("PutConfigurationAggregator", world, call, input)?;
    let tags = tagging::read(input)?;
    Ok(needed.into_iter().map(|access| tagging::with_request_tags(access, &tags)).collect())
}

fn invalid(why: impl Into<String>) -> ServiceError {
    error("InvalidParameterValueException", why)
}

fn read_regions(source: &Value) -> Result<Regions, ServiceError> {
    let names = texts(source, "AwsRegions");
    match (flag(source, "AllAwsRegions"), names.is_empty()) {
        (true, true) => Ok(Regions::All),
        (false, false) => {
            let regions: Option<_> = names.into_iter().map(Region::new).collect();
            regions.map(Regions::These).ok_or_else(|| invalid("AwsRegions holds something that is not a region."))
        }
        _ => Err(invalid("A source needs either AllAwsRegions or AwsRegions.")),
    }
}

fn read_sources(input: &Value) -> Result<Sources, ServiceError> {
    let accounts = input.get("AccountAggregationSources").and_then(Value::as_array).cloned().unwrap_or_default();
    match (accounts.as_slice(), input.get("OrganizationAggregationSource")) {
        ([source], None) => {
            members(source, "AccountAggregationSources", &["AccountIds", "AllAwsRegions", "AwsRegions"])?;
            let ids: Option<Vec<_>> = texts(source, "AccountIds").into_iter().map(AccountId::new).collect();
            let ids = ids.filter(|ids| !ids.is_empty()).ok_or_else(|| invalid("AccountIds holds no account ids."))?;
            if ids.len() > MOST_ACCOUNTS {
                return Err(error(
                    "LimitExceededException",
                    format!("An aggregator has at most {MOST_ACCOUNTS} accounts."),
                ));
            }
            Ok(Sources::Accounts { accounts: ids.into_iter().collect(), regions: read_regions(source)? })
        }
        ([], Some(source)) => {
            members(source, "OrganizationAggregationSource", &["RoleArn", "AllAwsRegions", "AwsRegions"])?;
            let role = required(source, "RoleArn")?.to_owned();
            Ok(Sources::Organization { role, regions: read_regions(source)? })
        }
        ([_, _, ..], _) => Err(invalid("AccountAggregationSources has at most one entry.")),
        _ => Err(invalid("An aggregator has either account or organization sources.")),
    }
}

/// Makes or replaces an aggregator. Tags are set when it is made and not changed by this later.
pub(super) fn put_aggregator(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (name, sources, tags) = (name(input)?.to_owned(), read_sources(input)?, tagging::read(input)?);
    if let Sources::Organization { role, .. } = &sources {
        check_organization(world, call)?;
        check_role(world, call, role)?;
    }
    let (now, number) = (world.now(), world.fresh_number());
    let aggregators = world.config.aggregators.entry(site(call)).or_default();
    let full = aggregators.len() >= MOST_AGGREGATORS;
    let aggregator = match aggregators.entry(name.clone()) {
        Entry::Occupied(known) => {
            let aggregator = known.into_mut();
            if std::mem::discriminant(&aggregator.sources) != std::mem::discriminant(&sources) {
                return Err(invalid("The kind of source of an aggregator cannot be changed."));
            }
            aggregator.sources = sources;
            aggregator.updated = now;
            aggregator
        }
        Entry::Vacant(_) if full => {
            return Err(error("LimitExceededException", format!("There are at most {MOST_AGGREGATORS} aggregators.")));
        }
        Entry::Vacant(place) => {
            let arn = call.arn("config", &format!("config-aggregator/config-aggregator-{number:08x}"));
            world.config.tags.insert(arn.clone(), tags);
            let since = BTreeMap::new();
            let aggregator = Aggregator { name, arn, sources, created: now, updated: now, since };
            place.insert(aggregator)
        }
    };
    if let Sources::Accounts { accounts, .. } = &aggregator.sources {
        aggregator.since.retain(|account, _| accounts.contains(account));
        for account in accounts {
            aggregator.since.entry(account.clone()).or_insert(now);
        }
    }
    Ok(json!({"ConfigurationAggregator": aggregator.shown()}))
}

/// The caller is the management account of an organization, which thereby trusts Config, or a delegated administrator.
fn check_organization(world: &mut World, call: &Call) -> Result<(), ServiceError> {
    let Some(organization) = world.organization_of(&call.account) else {
        return Err(error("NoAvailableOrganizationException", "The account is not part of an organization."));
    };
    let needed = match organization.management() == &call.account {
        true => "EnableAWSServiceAccess",
        false => "ListDelegatedAdministrators",
    };
    if !organization.administers(&call.account, PRINCIPAL) {
        let why = format!("The account is not a delegated administrator for {PRINCIPAL}.");
        return Err(error("OrganizationAccessDeniedException", why));
    }
    let input = json!({"ServicePrincipal": PRINCIPAL});
    let answer = world.call_as(&call.principal, &call.account, &call.region, "organizations", needed, input);
    answer.map(drop).map_err(|refusal| match refusal.code.as_str() {
        NOT_SIMULATED => refusal,
        _ => error("OrganizationAccessDeniedException", format!("organizations:{needed}: {}", refusal.message)),
    })
}

/// The role is the caller's to pass, and trusts Config.
fn check_role(world: &World, call: &Call, role: &str) -> Result<(), ServiceError> {
    authorize_pass_role(world, &call.principal, role, PRINCIPAL)?;
    match assume_for_service(world, role, PRINCIPAL, "AWSConfig", Context::new()) {
        Ok(_) => Ok(()),
        Err(_) => {
            Err(error("InvalidRoleException", format!("The role {role} does not exist or does not trust {PRINCIPAL}.")))
        }
    }
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let none = BTreeMap::new();
    let aggregators = world.config.aggregators.get(&site(call)).unwrap_or(&none);
    let names = texts(input, "ConfigurationAggregatorNames");
    if let Some(name) = names.iter().find(|name| !aggregators.contains_key(*name)) {
        return Err(missing(name));
    }
    let asked = |aggregator: &&Aggregator| names.is_empty() || names.contains(&aggregator.name);
    let all: Vec<Value> = aggregators.values().filter(asked).map(Aggregator::shown).collect();
    let (some, next) = page(&all, input, limit(input, "Limit", 100)?)?;
    let mut output = json!({"ConfigurationAggregators": some});
    put(&mut output, "NextToken", next);
    Ok(output)
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (name, arn) = (name(input)?, world.config.aggregator(call, input)?.arn.clone());
    if let Some(aggregators) = world.config.aggregators.get_mut(&site(call)) {
        aggregators.remove(name);
    }
    world.config.tags.remove(&arn);
    Ok(json!({}))
}
