//! What a request wants, as plain values: made of the properties and of what `infra-templates/provider.yaml` sets.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::types::CallAs;
use provider_schema::{CallAs as Caller, KeepOrCheck, Properties, Rollout, WorkloadSource, scalar};
use serde_json::{Value, json};

use super::request::{Request, RequestType};
use crate::names::{CHECK_DUE, EVENT_SOURCE, Kind, Names, SWEEP_DUE, sha256_hex};
use crate::opt_in::OptInTag;
use crate::region::Region;
use crate::settings::{Action, Choices, Handling, Hub, Organization, OutsidePullers, Settings};

/// The tag that says which EcrCleanup made a part. Its value is [`Identity::owner`].
pub(super) const OWNER_TAG: &str = "ecr-cleanup:owner";
/// The workload template's parameter that lets a stack make the aggregation authorization.
pub(super) const CREATE_AUTHORIZATION: &str = "CreateAggregationAuthorization";
/// The limit of a bus policy, in characters (EventBridge quotas).
const LONGEST_BUS_POLICY: usize = 10_240;
/// The template that the stack set deploys.
const WORKLOAD_TEMPLATE: &str = include_str!("../../../infra-templates/workload.yaml");

/// What `infra-templates/provider.yaml` tells the function.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Keys of the tags on which IAM makes the right to delete conditional.
    pub opt_in_tag_keys: BTreeSet<String>,
    /// The role that EventBridge Scheduler assumes.
    pub scheduler_role_arn: String,
    /// The group of resumptions.
    pub resume_group: String,
    /// The role that CloudFormation assumes for self-managed stack sets.
    pub administration_role_arn: String,
}

/// What the function's environment lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider function has no {0}; it is deployed by infra-templates/provider.yaml, which sets it")]
pub struct EnvironmentError(String);

impl EnvironmentError {
    pub(super) fn missing(what: &str) -> Self {
        Self(what.to_owned())
    }
}

impl Environment {
    /// Reads the environment variables.
    ///
    /// # Errors
    /// When one is missing.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let read = |name: &str| variable(name).ok_or_else(|| EnvironmentError::missing(name));
        Ok(Self {
            opt_in_tag_keys: read("OPT_IN_TAG_KEYS")?.split(',').map(|key| key.trim().to_owned()).collect(),
            scheduler_role_arn: read("SCHEDULER_ROLE_ARN")?,
            resume_group: read("RESUME_SCHEDULE_GROUP")?,
            administration_role_arn: read("STACK_SET_ADMINISTRATION_ROLE_ARN")?,
        })
    }
}

/// Which EcrCleanup it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name and its kind of workloads, from which its parts are named; so both kinds can live side by side during a
    /// replacement.
    pub names: Names,
    /// The value of the ownership tag: stack and logical id, hashed.
    pub owner: String,
    /// As whom stack sets are addressed.
    pub(super) call_as: Option<CallAs>,
    /// How stack set operations go about it.
    pub(super) rollout: Rollout,
    /// The regions of the workloads, and those that an update takes away; none that are not known.
    pub(super) regions: BTreeSet<Region>,
    pub(super) former_regions: BTreeSet<Region>,
    pub(super) request_id: String,
    pub(super) hub: Hub,
}

/// Where the stack is, as its ARN tells: `arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/NAME/UUID`.
fn hub_of(stack_id: &str) -> Option<Hub> {
    let mut parts = stack_id.split(':').skip(3);
    Some(Hub { region: parts.next()?.parse().ok()?, account: parts.next()?.parse().ok()? })
}

/// The first 16 hexadecimal digits of a SHA-256.
pub(super) fn short_hash(text: &str) -> String {
    let mut hash = sha256_hex(text);
    hash.truncate(16);
    hash
}

/// The value of the ownership tag: stack and logical id, hashed.
pub(super) fn owner(request: &Request) -> String {
    short_hash(&format!("{}/{}", request.stack_id, request.logical_id))
}

/// The regions that properties name, as the type that the functions use.
fn regions(properties: Option<&Properties>) -> BTreeSet<Region> {
    let regions = properties.into_iter().flat_map(|properties| &properties.workloads.regions);
    regions.filter_map(|region| region.as_str().parse().ok()).collect()
}

impl Identity {
    fn new(request: &Request, names: Names, properties: Option<&Properties>) -> Option<Self> {
        let former = request.old_properties.as_ref();
        let former = former.and_then(|properties| Properties::parse(properties, &default_name(request)).ok());
        let regions_now = regions(properties);
        Some(Self {
            names,
            owner: owner(request),
            call_as: properties.and_then(|properties| call_as(&properties.workloads.source)),
            rollout: properties.map(|properties| properties.rollout).unwrap_or_default(),
            former_regions: regions(former.as_ref()).difference(&regions_now).cloned().collect(),
            regions: regions_now,
            request_id: request.request_id.clone(),
            hub: hub_of(&request.stack_id)?,
        })
    }

    /// What a Delete is about: what our physical id says, or else (CloudFormation made one up) what the properties would
    /// have made. `None` if they would have made nothing.
    pub fn of_delete(request: &Request) -> Option<Self> {
        let properties = Properties::parse(&request.properties, &default_name(request)).ok();
        let ours = request.physical_id.as_deref().and_then(|id| Self::parse_physical_id(id, &owner(request)));
        let names = ours.or_else(|| names(properties.as_ref()?))?;
        Self::new(request, names, properties.as_ref())
    }

    /// A role of the hub's functions.
    fn role(&self, function: &str) -> String {
        let Hub { account, region } = &self.hub;
        format!("arn:{}:iam::{account}:role/ecr-cleanup-{function}-{region}", region.partition().as_str())
    }

    /// The roles that read images, which must not count as pulls.
    pub(super) fn reading_roles(&self) -> [String; 2] {
        [self.role("check-images"), self.role("sweep")]
    }

    /// The account of the hub.
    pub(super) fn hub_account(&self) -> &str {
        self.hub.account.as_str()
    }

    /// The physical id: deterministic, and another one exactly when the resource must be replaced.
    pub fn physical_id(&self) -> String {
        format!("ecr-cleanup/{}/{}/{}", self.names.name, self.names.kind, self.owner)
    }

    fn parse_physical_id(id: &str, owner: &str) -> Option<Names> {
        let mut parts = id.strip_prefix("ecr-cleanup/")?.split('/');
        let name = parts.next()?.parse().ok()?;
        let kind = match parts.next()? {
            "accounts" => Kind::Accounts,
            "organization" => Kind::Organization,
            _ => return None,
        };
        (parts.next() == Some(owner) && parts.next().is_none()).then_some(Names { name, kind })
    }

    /// The physical ids that a request concerns: first that to which it leads, and, should it replace another, then that one.
    pub(super) fn of_request(request: &Request) -> Vec<String> {
        let wanted = || {
            let properties = Properties::parse(&request.properties, &default_name(request)).ok()?;
            Self::new(request, names(&properties)?, Some(&properties))
        };
        let is = Self::of_delete(request);
        let leads_to = if request.kind == RequestType::Delete { None } else { wanted() };
        let mut ids: Vec<_> = leads_to.iter().chain(&is).map(Self::physical_id).collect();
        ids.dedup();
        if ids.is_empty() { vec![Self::of_answer(request)] } else { ids }
    }

    /// The physical id of an answer that nothing better is known for: the request's own, or that of what its properties
    /// would make, so that all answers to it agree.
    pub fn of_answer(request: &Request) -> String {
        request.physical_id.clone().unwrap_or_else(|| match Self::of_delete(request) {
            Some(identity) => identity.physical_id(),
            None => format!("ecr-cleanup/failed/{}", owner(request)),
        })
    }

    /// The name of each part that is named after the EcrCleanup alone.
    pub fn part_name(&self) -> String {
        self.names.part()
    }
}

/// The name of an EcrCleanup whose template gives none.
fn default_name(request: &Request) -> scalar::Name {
    scalar::Name::derive(request.stack_name(), &request.logical_id)
}

fn names(properties: &Properties) -> Option<Names> {
    let kind = match properties.workloads.source {
        WorkloadSource::Accounts(_) => Kind::Accounts,
        WorkloadSource::Organization(_) => Kind::Organization,
    };
    Some(Names { name: properties.name.as_str().parse().ok()?, kind })
}

fn call_as(source: &WorkloadSource) -> Option<CallAs> {
    match source {
        WorkloadSource::Accounts(_) => None,
        WorkloadSource::Organization(organization) => Some(match organization.call_as {
            Caller::Management => CallAs::SelfValue,
            Caller::DelegatedAdmin => CallAs::DelegatedAdmin,
        }),
    }
}

/// Where the aggregator reads from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// These accounts.
    Accounts(BTreeSet<String>),
    /// The organization.
    Organization {
        /// The role by which AWS Config lists its accounts.
        role_arn: String,
    },
}

/// Where the stack set goes.
#[derive(Debug, Clone)]
pub(super) enum Targets {
    /// These accounts.
    Accounts(BTreeSet<String>),
    /// The accounts of these organizational units.
    Units {
        /// Their ids.
        ids: BTreeSet<String>,
        /// As whom they are addressed.
        call_as: CallAs,
    },
}

impl Targets {
    /// Each target in each region.
    pub(super) fn places(&self, regions: &BTreeSet<String>) -> BTreeSet<(String, String)> {
        let (Self::Accounts(ids) | Self::Units { ids, .. }) = self;
        ids.iter().flat_map(|id| regions.iter().map(move |region| (id.clone(), region.clone()))).collect()
    }

    pub(super) fn call_as(&self) -> Option<CallAs> {
        match self {
            Self::Accounts(_) => None,
            Self::Units { call_as, .. } => Some(call_as.clone()),
        }
    }
}

/// A rule on the EcrCleanup's bus.
#[derive(Debug, Clone)]
pub(super) struct HubRule {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) pattern: Value,
    pub(super) queue_arn: String,
    pub(super) input_template: String,
}

/// Everything that a Create or Update should lead to.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Which EcrCleanup it is.
    pub identity: Identity,
    pub(super) name: scalar::Name,
    pub(super) request_id: String,
    pub(super) bus_policy: Value,
    pub(super) rules: [HubRule; 3],
    /// When sweeps are due; never if there is none.
    pub(super) sweep_schedule: Option<String>,
    pub(super) settings: Settings,
    pub(super) targets: Targets,
    pub(super) regions: BTreeSet<String>,
    pub(super) template: &'static str,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) administration_role_arn: String,
    pub(super) source: Source,
    /// The organization that the workloads are part of, if they are given so.
    pub(super) organization_id: Option<String>,
    /// The ARN of the bus.
    pub event_bus_arn: String,
}

impl Desired {
    /// What a Create or Update wants.
    ///
    /// # Errors
    /// All that is wrong with it, as the reason that CloudFormation shows.
    pub fn new(request: &Request, environment: &Environment) -> Result<Self, String> {
        let properties =
            Properties::parse(&request.properties, &default_name(request)).map_err(|problems| problems.to_string())?;
        let source = &properties.workloads.source;
        let identity = names(&properties)
            .and_then(|names| Identity::new(request, names, Some(&properties)))
            .ok_or_else(|| format!("StackId: {} is not the ARN of a stack", request.stack_id))?;
        let key = properties.opt_in_tag.key.as_str();
        if !environment.opt_in_tag_keys.contains(key) {
            return Err(format!(
                "OptInTag.Key: {key} is not among the keys that the hub stack lets images be deleted by ({}); add it to its \
                 parameter OptInTagKeys first",
                environment.opt_in_tag_keys.iter().cloned().collect::<Vec<_>>().join(", ")
            ));
        }
        let settings = settings(&identity, &properties, environment)?;
        let input_template = settings.input_template().map_err(|error| error.to_string())?;
        let hub = &identity.hub;
        let partition = hub.region.partition().as_str();
        let queue = |name: &str| format!("arn:{partition}:sqs:{}:{}:{name}", hub.region, hub.account);
        let rules = [
            HubRule {
                name: identity.names.task_definitions_rule(),
                description: "Hands task definition events to schedule-checks".to_owned(),
                pattern: json!({
                    "source": ["aws.ecs", "aws.config"],
                    "detail-type": ["AWS API Call via CloudTrail", "Config Configuration Item Change"],
                }),
                queue_arn: queue("ecr-cleanup-schedule-checks"),
                input_template: input_template.clone(),
            },
            HubRule {
                name: identity.names.checks_rule(),
                description: "Hands due image deletion checks to check-images".to_owned(),
                // Only the hub itself says that a check is due, whoever else may put events on the bus.
                pattern: json!({
                    "source": [EVENT_SOURCE],
                    "account": [hub.account.as_str()],
                    "detail-type": [CHECK_DUE],
                }),
                queue_arn: queue("ecr-cleanup-check-images"),
                input_template: input_template.clone(),
            },
            HubRule {
                name: identity.names.sweeps_rule(),
                description: "Hands due sweeps to sweep".to_owned(),
                pattern: json!({
                    "source": [EVENT_SOURCE],
                    "account": [hub.account.as_str()],
                    "detail-type": [SWEEP_DUE],
                }),
                queue_arn: queue("ecr-cleanup-sweep"),
                input_template,
            },
        ];
        let regions = texts(&properties.workloads.regions);
        let event_bus_arn = settings.event_bus_arn.to_string();
        let by_account = matches!(source, WorkloadSource::Accounts(_));
        let parameters = BTreeMap::from(
            [
                ("Name", identity.names.name.to_string()),
                ("Kind", identity.names.kind.to_string()),
                ("HubAccountId", hub.account.to_string()),
                ("HubRegion", hub.region.to_string()),
                ("EventBusArn", event_bus_arn.clone()),
                ("EvidenceRoleNamePrefix", identity.names.evidence_role_prefix()),
                ("ForwardingNamePrefix", identity.names.forward_role_prefix()),
                ("CheckingRoleArns", identity.role("check-images")),
                (CREATE_AUTHORIZATION, by_account.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let organization_id = match source {
            WorkloadSource::Accounts(_) => None,
            WorkloadSource::Organization(organization) => Some(organization.organization_id.to_string()),
        };
        let (source, targets) = match source {
            WorkloadSource::Accounts(listed) => {
                let mut accounts = texts(&listed.account_ids);
                accounts.insert(hub.account.to_string());
                (Source::Accounts(accounts.clone()), Targets::Accounts(accounts))
            }
            WorkloadSource::Organization(organization) => (
                Source::Organization { role_arn: organization.aggregator_role_arn.to_string() },
                Targets::Units {
                    ids: texts(&organization.organizational_unit_ids),
                    call_as: identity.call_as.clone().unwrap_or(CallAs::SelfValue),
                },
            ),
        };
        Ok(Self {
            name: properties.name.clone(),
            request_id: request.request_id.clone(),
            bus_policy: bus_policy(&properties, &event_bus_arn)?,
            rules,
            targets,
            regions,
            template: WORKLOAD_TEMPLATE,
            parameters,
            administration_role_arn: environment.administration_role_arn.clone(),
            source,
            organization_id,
            event_bus_arn,
            identity,
            sweep_schedule: Some(properties.sweep_schedule.to_string()).filter(|schedule| schedule != "off"),
            settings,
        })
    }
}

fn texts<T: ToString>(values: &BTreeSet<T>) -> BTreeSet<String> {
    values.iter().map(T::to_string).collect()
}

/// A value of the schema as the type that the functions use for it; both say the same in two crates.
fn same<T, U>(path: &str, value: &T) -> Result<U, String>
where
    T: ToString,
    U: std::str::FromStr<Err: std::fmt::Display>,
{
    value.to_string().parse().map_err(|error| format!("{path}: {error}"))
}

fn handling(value: KeepOrCheck) -> Handling {
    match value {
        KeepOrCheck::Keep => Handling::Keep,
        KeepOrCheck::Check => Handling::Check,
    }
}

fn settings(identity: &Identity, properties: &Properties, environment: &Environment) -> Result<Settings, String> {
    let organization = match &properties.workloads.source {
        WorkloadSource::Accounts(_) => None,
        WorkloadSource::Organization(organization) => Some(Organization {
            organization_id: same("Workloads.Organization.OrganizationId", &organization.organization_id)?,
            organizational_unit_ids: organization
                .organizational_unit_ids
                .iter()
                .map(|id| same("Workloads.Organization.OrganizationalUnitIds", id))
                .collect::<Result<_, _>>()?,
        }),
    };
    let value = properties.opt_in_tag.value.as_ref();
    let choices = Choices {
        regions: properties
            .workloads
            .regions
            .iter()
            .map(|region| same("Workloads.Regions", region))
            .collect::<Result<_, _>>()?,
        opt_in_tag: OptInTag {
            key: same("OptInTag.Key", &properties.opt_in_tag.key)?,
            value: value.map(|value| same("OptInTag.Value", value)).transpose()?,
        },
        rollback_window_hours: same("RollbackWindowHours", &properties.rollback_window_hours.get())?,
        dry_run: properties.dry_run,
        keep_newest_images: same("KeepNewestImages", &properties.keep_newest_images.get())?,
        keep_tag_patterns: properties
            .keep_tag_patterns
            .iter()
            .map(|pattern| same("KeepTagPatterns", pattern))
            .collect::<Result<_, _>>()?,
        keep_pulled_within_hours: properties
            .keep_pulled_within_hours
            .map(|hours| same("KeepPulledWithinHours", &hours.get()))
            .transpose()?,
        uncovered_accounts: properties
            .uncovered_accounts
            .iter()
            .map(|account| same("UncoveredAccounts", account))
            .collect::<Result<_, _>>()?,
        outside_pullers: match properties.outside_pullers {
            provider_schema::OutsidePullers::Keep => OutsidePullers::Keep,
            provider_schema::OutsidePullers::Ignore => OutsidePullers::Ignore,
        },
        action: match properties.action {
            provider_schema::Action::Delete => Action::Delete,
            provider_schema::Action::Archive => Action::Archive,
        },
        never_deployed_images: handling(properties.never_deployed_images),
        never_deployed_after_hours: same("NeverDeployedAfterHours", &properties.never_deployed_after_hours.get())?,
        untagged_images: handling(properties.untagged_images),
        active_revisions_per_family: properties.active_revisions_per_family.get(),
        service_only_families: properties
            .service_only_families
            .iter()
            .map(|pattern| same("ServiceOnlyFamilies", pattern))
            .collect::<Result<_, _>>()?,
        organization,
    };
    let scheduler_role = same("SCHEDULER_ROLE_ARN", &environment.scheduler_role_arn)?;
    Settings::new(identity.names.clone(), identity.hub.clone(), scheduler_role, choices)
        .map_err(|error| error.to_string())
}

/// Who may put events on the bus: the workloads, and of theirs only those of ECS and Config, which nobody but AWS can
/// publish.
fn bus_policy(properties: &Properties, bus_arn: &str) -> Result<Value, String> {
    let (principal, mut condition) = match &properties.workloads.source {
        WorkloadSource::Accounts(accounts) => (json!({"AWS": texts(&accounts.account_ids)}), json!({})),
        WorkloadSource::Organization(organization) => {
            let id = &organization.organization_id;
            let paths: Vec<String> = organization
                .organizational_unit_ids
                .iter()
                .map(|unit| unit.to_string())
                .map(|unit| if unit.starts_with("r-") { format!("{id}/{unit}/*") } else { format!("{id}/*/{unit}/*") })
                .collect();
            let condition = json!({
                "StringEquals": {"aws:PrincipalOrgID": id},
                "ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": paths},
            });
            (json!("*"), condition)
        }
    };
    // One PutEvents may mix sources, and none at all must not pass as "all of them".
    condition["ForAllValues:StringEquals"] = json!({"events:source": ["aws.ecs", "aws.config"]});
    condition["Null"] = json!({"events:source": "false"});
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "TaskDefinitionEvents",
            "Effect": "Allow",
            "Principal": principal,
            "Action": "events:PutEvents",
            "Resource": bus_arn,
            "Condition": condition,
        }],
    });
    let length = policy.to_string().len();
    if length <= LONGEST_BUS_POLICY {
        return Ok(policy);
    }
    let (what, count) = match &properties.workloads.source {
        WorkloadSource::Accounts(accounts) => ("Accounts.AccountIds", accounts.account_ids.len()),
        WorkloadSource::Organization(organization) => {
            ("Organization.OrganizationalUnitIds", organization.organizational_unit_ids.len())
        }
    };
    // Each entry is as long as any other, give or take.
    let each = (length - LONGEST_BUS_POLICY).div_ceil(length / count);
    let fits = count - each.min(count);
    Err(format!(
        "Workloads.{what}: {count} do not fit the event bus policy of {LONGEST_BUS_POLICY} characters; {fits} would"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::request::RequestType;

    fn request(properties: Value) -> Request {
        Request {
            kind: RequestType::Create,
            request_id: "request".to_owned(),
            response_url: "https://example.com".to_owned(),
            stack_id: "arn:aws:cloudformation:eu-west-1:111111111111:stack/hub/1".to_owned(),
            logical_id: "Cleanup".to_owned(),
            physical_id: None,
            properties,
            old_properties: None,
        }
    }

    fn environment() -> Environment {
        Environment::read(|name| {
            Some(match name {
                "OPT_IN_TAG_KEYS" => "ecr-cleanup, other".to_owned(),
                "SCHEDULER_ROLE_ARN" => "arn:aws:iam::111111111111:role/ecr-cleanup-scheduler-eu-west-1".to_owned(),
                other => other.to_owned(),
            })
        })
        .unwrap()
    }

    fn accounts(ids: &[&str]) -> Value {
        json!({"Name": "prod", "Workloads": {"Accounts": {"AccountIds": ids}, "Regions": ["eu-west-1"]}})
    }

    fn organization() -> Value {
        json!({"Name": "prod", "Workloads": {
            "Organization": {
                "OrganizationId": "o-abcdefghij",
                "OrganizationalUnitIds": ["ou-abcd-12345678", "r-abcd"],
                "AggregatorRoleArn": "arn:aws:iam::111111111111:role/aggregator",
            },
            "Regions": ["eu-west-1"],
        }})
    }

    #[test]
    fn the_hub_is_always_aggregated_and_deployed_to() {
        let desired = Desired::new(&request(accounts(&["222222222222"])), &environment()).unwrap();
        let expected = BTreeSet::from(["111111111111".to_owned(), "222222222222".to_owned()]);
        assert!(matches!(&desired.source, Source::Accounts(accounts) if *accounts == expected));
        assert!(matches!(&desired.targets, Targets::Accounts(accounts) if *accounts == expected));
    }

    #[test]
    fn the_bus_admits_only_task_definition_events_of_the_workloads() {
        let desired = Desired::new(&request(accounts(&["222222222222"])), &environment()).unwrap();
        let statement = &desired.bus_policy["Statement"][0];
        assert_eq!(statement["Principal"], json!({"AWS": ["222222222222"]}));
        assert_eq!(
            statement["Condition"],
            json!({
                "ForAllValues:StringEquals": {"events:source": ["aws.ecs", "aws.config"]},
                "Null": {"events:source": "false"},
            })
        );
        let desired = Desired::new(&request(organization()), &environment()).unwrap();
        let condition = &desired.bus_policy["Statement"][0]["Condition"];
        assert_eq!(condition["StringEquals"], json!({"aws:PrincipalOrgID": "o-abcdefghij"}));
        assert_eq!(
            condition["ForAnyValue:StringLike"],
            json!({"aws:PrincipalOrgPaths": ["o-abcdefghij/*/ou-abcd-12345678/*", "o-abcdefghij/r-abcd/*"]})
        );
    }

    #[test]
    fn more_accounts_than_the_bus_policy_holds_are_refused_with_the_number_that_fits() {
        let ids: Vec<String> = (0..1000).map(|n| format!("{n:012}")).collect();
        let of = |count: usize| {
            let ids: Vec<&str> = ids[..count].iter().map(String::as_str).collect();
            Desired::new(&request(accounts(&ids)), &environment())
        };
        let refusal = of(1000).unwrap_err();
        let fits: usize = refusal.rsplit("; ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(of(fits).is_ok(), "{refusal}");
        assert!(of(fits + 20).is_err(), "{refusal}");
    }

    #[test]
    fn an_opt_in_tag_that_the_hub_stack_does_not_know_is_refused() {
        let mut properties = accounts(&["222222222222"]);
        properties["OptInTag"] = json!({"Key": "elsewhere"});
        let refusal = Desired::new(&request(properties), &environment()).unwrap_err();
        assert!(refusal.starts_with("OptInTag.Key: elsewhere is not among"), "{refusal}");
    }

    #[test]
    fn all_problems_of_the_properties_are_in_the_reason() {
        let properties = json!({"RollbackWindowHours": "0", "Colour": "red"});
        let refusal = Desired::new(&request(properties), &environment()).unwrap_err();
        for path in ["RollbackWindowHours", "Colour", "Workloads"] {
            assert!(refusal.contains(path), "{refusal}");
        }
    }

    #[test]
    fn a_delete_finds_what_the_physical_id_or_else_the_properties_name() {
        let created = request(accounts(&["222222222222"]));
        let made = Desired::new(&created, &environment()).unwrap().identity;
        let delete = |physical_id: &str, properties: Value| {
            Identity::of_delete(&Request { physical_id: Some(physical_id.to_owned()), ..request(properties) })
                .map(|identity| identity.part_name())
        };
        let part = Some("ecr-cleanup-prod-accounts".to_owned());
        assert_eq!(delete(&made.physical_id(), json!({})), part, "our own id is enough");
        assert_eq!(delete("hub-Cleanup-ABCDEF", accounts(&["222222222222"])), part, "made up by CloudFormation");
        assert_eq!(delete("hub-Cleanup-ABCDEF", json!({})), None, "nothing can have been made");
        assert_eq!(delete("ecr-cleanup/prod/accounts/0000000000000000", json!({})), None, "of another stack");
    }

    #[test]
    fn a_change_of_name_or_kind_is_a_replacement() {
        let id = |properties| Desired::new(&request(properties), &environment()).unwrap().identity.physical_id();
        let mut renamed = accounts(&["222222222222"]);
        renamed["Name"] = json!("other");
        let ids = BTreeSet::from([id(accounts(&["222222222222"])), id(renamed), id(organization())]);
        assert_eq!(ids.len(), 3);
        assert_eq!(id(accounts(&["222222222222"])), id(accounts(&["333333333333"])), "accounts change in place");
    }
}
