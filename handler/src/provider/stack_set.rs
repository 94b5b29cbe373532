//! The stack set that puts `infra-templates/workload.yaml` into every workload account and region.
//!
//! Each operation of a stack set goes on by itself; a look at it either finds one under way, or plans the next. No operation
//! is begun twice for one request, whatever came of it.
//!
//! Instances that failed are tried once more by each request. Those that still fail stay instances: their accounts are not
//! covered, which keeps every image that they may pull. Only when no workload account has the stack does the request fail.
//!
//! An account and region has one aggregation authorization for the hub, whoever made it, and the stacks of the set retain
//! theirs. Where the stack fails because there is one already (of another EcrCleanup, a landing zone, or an earlier
//! installation), the instance is told by a parameter override not to make it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{
    AutoDeployment, CallAs, Capability, ConcurrencyMode, DeploymentTargets, ManagedExecution, Parameter,
    PermissionModels, RegionConcurrencyType, StackInstanceDetailedStatus, StackSet, StackSetOperationPreferences,
    StackSetOperationStatus, Tag,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use provider_schema::{ConcurrencyMode as Concurrency, RegionConcurrencyType as Regions, Rollout};

use super::desired::{CREATE_AUTHORIZATION, Desired, Identity, OWNER_TAG, Targets, short_hash};
use super::step::{Progress, StepError, failed, first_of, owned};

/// An account (or organizational unit) and a region.
type Place = (String, String);

/// Why an instance is left out of operations.
const SUSPENDED: &str = "the account is suspended";

/// Where the set should be and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedInstance {
    pub(super) account: String,
    pub(super) region: String,
    pub(super) reason: String,
}

/// What is there.
struct State {
    set: StackSet,
    /// The newest operations and whether they have ended.
    operations: BTreeMap<String, bool>,
    /// By account and region.
    instances: BTreeMap<Place, Instance>,
}

/// An instance as it is.
struct Instance {
    /// The organizational unit that it came with.
    unit: Option<String>,
    /// Why its last operation failed.
    failure: Option<String>,
    /// Whether its account is suspended, which operations skip.
    suspended: bool,
}

impl State {
    /// The id of an operation that has not ended.
    fn running(&self) -> Option<&String> {
        self.operations.iter().find(|(_, ended)| !**ended).map(|(id, _)| id)
    }

    /// The instances whose last operation failed.
    fn failures(&self) -> impl Iterator<Item = (&Place, &Instance, &str)> {
        self.instances.iter().filter_map(|(place, instance)| Some((place, instance, instance.failure.as_deref()?)))
    }

    /// The instances that are not as they should be, in words: first those that failed.
    fn failures_in_words(&self) -> Vec<String> {
        let failed = self.failures().map(|((account, region), _, reason)| format!("{account}/{region}: {reason}"));
        let suspended = self.instances.iter().filter(|(_, instance)| instance.suspended);
        failed.chain(suspended.map(|((account, region), _)| format!("{account}/{region}: {SUSPENDED}"))).collect()
    }
}

/// By default parallel regions, full concurrency, and failures that stop nobody else: thousands of instances one account at a
/// time would take days.
fn preferences(rollout: &Rollout) -> StackSetOperationPreferences {
    let percent = |number: u32| i32::try_from(number).ok();
    StackSetOperationPreferences::builder()
        .region_concurrency_type(match rollout.region_concurrency_type {
            Regions::Parallel => RegionConcurrencyType::Parallel,
            Regions::Sequential => RegionConcurrencyType::Sequential,
        })
        .set_max_concurrent_percentage(percent(rollout.max_concurrent_percentage.get()))
        .set_failure_tolerance_percentage(percent(rollout.failure_tolerance_percentage.get()))
        .concurrency_mode(match rollout.concurrency_mode {
            Concurrency::SoftFailureTolerance => ConcurrencyMode::SoftFailureTolerance,
            Concurrency::StrictFailureTolerance => ConcurrencyMode::StrictFailureTolerance,
        })
        .build()
}

async fn observe(client: &Client, identity: &Identity, call_as: Option<&CallAs>) -> Result<Option<State>, StepError> {
    let name = identity.part_name();
    let described = client.describe_stack_set().stack_set_name(&name).set_call_as(call_as.cloned()).send().await;
    let set = match described {
        Ok(described) => described
            .stack_set
            .ok_or(StepError::Answer { call: "cloudformation:DescribeStackSet", what: "the stack set" })?,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_stack_set_not_found_exception()) => {
            return Ok(None);
        }
        Err(error) => return Err(failed("cloudformation:DescribeStackSet", &name)(error)),
    };
    let owner = set.tags().iter().find(|tag| tag.key() == Some(OWNER_TAG)).and_then(Tag::value);
    owned(owner, &identity.owner, &format!("the stack set {name}"))?;
    Ok(Some(State {
        operations: operations(client, &name, call_as).await?,
        instances: instances(client, &name, call_as).await?,
        set,
    }))
}

/// The newest operations, and whether they have ended.
async fn operations(
    client: &Client,
    name: &str,
    call_as: Option<&CallAs>,
) -> Result<BTreeMap<String, bool>, StepError> {
    // Newest first: those that have not ended, and those of this request, are on the first page.
    let page = client
        .list_stack_set_operations()
        .stack_set_name(name)
        .set_call_as(call_as.cloned())
        .send()
        .await
        .map_err(failed("cloudformation:ListStackSetOperations", name))?;
    let ended = |status: Option<&StackSetOperationStatus>| {
        matches!(
            status,
            Some(
                StackSetOperationStatus::Succeeded | StackSetOperationStatus::Failed | StackSetOperationStatus::Stopped
            )
        )
    };
    let operations = page.summaries().iter();
    Ok(operations.filter_map(|one| Some((one.operation_id()?.to_owned(), ended(one.status())))).collect())
}

async fn instances(
    client: &Client,
    name: &str,
    call_as: Option<&CallAs>,
) -> Result<BTreeMap<Place, Instance>, StepError> {
    let mut instances = BTreeMap::new();
    let mut token = None;
    loop {
        let page = client
            .list_stack_instances()
            .stack_set_name(name)
            .set_call_as(call_as.cloned())
            .set_next_token(token)
            .send()
            .await
            .map_err(failed("cloudformation:ListStackInstances", name))?;
        for instance in page.summaries() {
            let account = instance.account().unwrap_or_default().to_owned();
            let status = instance.stack_instance_status().and_then(|status| status.detailed_status());
            let failed = matches!(
                status,
                Some(
                    StackInstanceDetailedStatus::Failed
                        | StackInstanceDetailedStatus::Cancelled
                        | StackInstanceDetailedStatus::Inoperable
                )
            );
            let failure = failed.then(|| instance.status_reason().unwrap_or("no reason given").to_owned());
            let unit = instance.organizational_unit_id().map(str::to_owned);
            let suspended = status == Some(&StackInstanceDetailedStatus::SkippedSuspendedAccount);
            let region = instance.region().unwrap_or_default().to_owned();
            instances.insert((account, region), Instance { unit, failure, suspended });
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(instances);
        }
    }
}

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    Wait(String),
    Update(String),
    AddInstances(Operation),
    RemoveInstances(Operation),
    RetryInstances(Operation, Authorization),
}

/// An operation on the instances of targets in regions.
#[derive(Debug, PartialEq, Eq)]
struct Operation {
    id: String,
    targets: BTreeSet<String>,
    regions: BTreeSet<String>,
}

/// Whether a stack failed because there was an aggregation authorization already. CloudFormation names the resource and
/// repeats what its handler said.
fn is_authorized_before(reason: &str) -> bool {
    let said = reason.to_ascii_lowercase();
    reason.contains("AggregationAuthorization") && (said.contains("already exist") || said.contains("alreadyexist"))
}

/// Whether an instance makes the aggregation authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Authorization {
    AsTheSetSays,
    IsThere,
}

fn plan(state: Option<&State>, desired: &Desired) -> Option<Step> {
    let Some(state) = state else { return Some(Step::Create) };
    if let Some(operation) = state.running() {
        return Some(Step::Wait(operation.clone()));
    }
    let parameters: BTreeMap<&str, &str> = state
        .set
        .parameters()
        .iter()
        .filter_map(|parameter| Some((parameter.parameter_key()?, parameter.parameter_value()?)))
        .collect();
    let wanted: BTreeMap<&str, &str> =
        desired.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let update = operation_id("update", &BTreeSet::new(), &BTreeSet::new(), &desired.request_id);
    let differs = parameters != wanted || state.set.template_body() != Some(desired.template) || {
        let administered = matches!(desired.targets, Targets::Accounts(_));
        let managed = state.set.managed_execution().and_then(|managed| managed.active()).unwrap_or(false);
        managed != desired.identity.rollout.managed_execution
            || administered && state.set.administration_role_arn() != Some(&desired.administration_role_arn)
    };
    if differs && !state.operations.contains_key(&update) {
        return Some(Step::Update(update));
    }
    // The first operation on these places that the request has not begun before.
    let next = |what: &str, places: BTreeSet<Place>| {
        rectangles(&places)
            .into_iter()
            .map(|(targets, regions)| Operation {
                id: operation_id(what, &targets, &regions, &desired.request_id),
                targets,
                regions,
            })
            .find(|operation| !state.operations.contains_key(&operation.id))
    };
    let present = deployed(state, &desired.targets);
    let wanted = desired.targets.places(&desired.regions);
    let added = || next("add", wanted.difference(&present).cloned().collect()).map(Step::AddInstances);
    let removed = || next("remove", present.difference(&wanted).cloned().collect()).map(Step::RemoveInstances);
    let failing = |blocked: bool| {
        let of_that_kind = state.failures().filter(|(.., reason)| is_authorized_before(reason) == blocked);
        of_that_kind
            .map(|((account, region), instance, _)| {
                (instance.unit.clone().unwrap_or_else(|| account.clone()), region.clone())
            })
            .collect()
    };
    let retried = |what, blocked, authorization| {
        next(what, failing(blocked)).map(|operation| Step::RetryInstances(operation, authorization))
    };
    added()
        .or_else(removed)
        .or_else(|| retried("without authorization", true, Authorization::IsThere))
        .or_else(|| retried("retry", false, Authorization::AsTheSetSays))
}

/// Whether the set is still to reach a place. One that cannot be looked at is.
pub(super) async fn reaches_further(client: &Client, desired: &Desired) -> bool {
    match observe(client, &desired.identity, desired.targets.call_as().as_ref()).await {
        Ok(Some(state)) => {
            let present = deployed(&state, &desired.targets);
            !desired.targets.places(&desired.regions).is_subset(&present)
        }
        Ok(None) | Err(_) => true,
    }
}

/// Where the set should be and is not.
pub(super) async fn failed_instances(client: &Client, desired: &Desired) -> Result<Vec<FailedInstance>, StepError> {
    let state = observe(client, &desired.identity, desired.targets.call_as().as_ref()).await?;
    let instances = state.iter().flat_map(|state| &state.instances);
    Ok(instances
        .filter_map(|((account, region), instance)| {
            let suspended = instance.suspended.then_some(SUSPENDED);
            let reason = instance.failure.as_deref().or(suspended)?.to_owned();
            Some(FailedInstance { account: account.clone(), region: region.clone(), reason })
        })
        .collect())
}

/// Fails if the stack is in no workload account; names those that lack it otherwise.
fn judge(state: &State, desired: &Desired) -> Result<(), StepError> {
    let failures = state.failures_in_words();
    if failures.is_empty() {
        return Ok(());
    }
    // The hub, which is always among the targets, tells nothing of the others.
    let hub = desired.identity.hub_account();
    // Nor does an account that is suspended.
    let reached = || state.instances.iter().filter(|(_, instance)| !instance.suspended);
    let of_workloads = || reached().filter(|((account, _), _)| account != hub);
    let none_works = if of_workloads().next().is_some() {
        of_workloads().all(|(_, instance)| instance.failure.is_some())
    } else {
        reached().all(|(_, instance)| instance.failure.is_some())
    };
    let set = desired.identity.part_name();
    if none_works && reached().next().is_some() {
        return Err(StepError::Instances { action: "the deployment", set, failures, advice: "" });
    }
    tracing::warn!(
        stack_set = %set, count = failures.len(), failures = %first_of(&failures),
        "accounts without the workload stack are not covered: what they may pull is kept"
    );
    Ok(())
}

/// Where the set is deployed: for accounts its instances; for organizational units what it was deployed to, since a unit
/// may have no account yet.
fn deployed(state: &State, targets: &Targets) -> BTreeSet<Place> {
    match targets {
        Targets::Accounts(_) => state.instances.keys().cloned().collect(),
        Targets::Units { .. } => {
            let regions = state.set.regions();
            let pair = |unit: &String| regions.iter().map(|region| (unit.clone(), region.clone())).collect::<Vec<_>>();
            state.set.organizational_unit_ids().iter().flat_map(pair).collect()
        }
    }
}

/// An operation names targets and regions and means each in each: the places as such rectangles, one for all targets with
/// the same regions.
fn rectangles(places: &BTreeSet<Place>) -> Vec<(BTreeSet<String>, BTreeSet<String>)> {
    let mut regions: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for (target, region) in places {
        regions.entry(target).or_default().insert(region.clone());
    }
    let mut rectangles: BTreeMap<BTreeSet<String>, BTreeSet<String>> = BTreeMap::new();
    for (target, regions) in regions {
        rectangles.entry(regions).or_default().insert(target.clone());
    }
    rectangles.into_iter().map(|(regions, targets)| (targets, regions)).collect()
}

/// The id of an operation: the same step of the same request is the same operation, so that a retry whose first answer
/// was lost does not start a second one.
fn operation_id(what: &str, targets: &BTreeSet<String>, regions: &BTreeSet<String>, request_id: &str) -> String {
    format!("ecr-cleanup-{}", short_hash(&format!("{request_id}\n{what}\n{targets:?}\n{regions:?}")))
}

fn deployment_targets(units: &BTreeSet<String>) -> DeploymentTargets {
    DeploymentTargets::builder().set_organizational_unit_ids(Some(units.iter().cloned().collect())).build()
}

/// One step towards the stack set and its instances.
pub(super) async fn converge(client: &Client, desired: &Desired) -> Result<Progress, StepError> {
    let name = desired.identity.part_name();
    let call_as = desired.targets.call_as();
    let state = observe(client, &desired.identity, call_as.as_ref()).await?;
    let Some(step) = plan(state.as_ref(), desired) else {
        if let Some(state) = &state {
            judge(state, desired)?;
        }
        return Ok(Progress::Done);
    };
    let parameters = || {
        desired
            .parameters
            .iter()
            .map(|(key, value)| Parameter::builder().parameter_key(key).parameter_value(value).build())
            .collect::<Vec<_>>()
    };
    let tag = || Tag::builder().key(OWNER_TAG).value(&desired.identity.owner).build();
    let managed = || ManagedExecution::builder().active(desired.identity.rollout.managed_execution).build();
    match step {
        Step::Wait(operation) => Ok(Progress::Waiting(format!("the operation {operation} of the stack set {name}"))),
        Step::Create => {
            let mut create = client
                .create_stack_set()
                .stack_set_name(&name)
                .description("What EcrCleanup needs in an account that runs containers")
                .template_body(desired.template)
                .set_parameters(Some(parameters()))
                .capabilities(Capability::CapabilityNamedIam)
                .tags(tag())
                .managed_execution(managed())
                .set_call_as(call_as.clone());
            create = match &desired.targets {
                Targets::Accounts(_) => create
                    .permission_model(PermissionModels::SelfManaged)
                    .administration_role_arn(&desired.administration_role_arn),
                Targets::Units { .. } => create.permission_model(PermissionModels::ServiceManaged).auto_deployment(
                    AutoDeployment::builder().enabled(true).retain_stacks_on_account_removal(false).build(),
                ),
            };
            match create.send().await {
                Ok(_) => Ok(Progress::Stepped),
                // Somebody was faster; the next look tells who.
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_name_already_exists_exception()) =>
                {
                    Ok(Progress::Waiting(format!("the stack set {name}")))
                }
                Err(error) => Err(failed("cloudformation:CreateStackSet", &name)(error)),
            }
        }
        Step::Update(id) => {
            let mut update = client.update_stack_set();
            if matches!(desired.targets, Targets::Accounts(_)) {
                // Without it CloudFormation goes back to its default role.
                update = update.administration_role_arn(&desired.administration_role_arn);
            }
            let update = update
                .stack_set_name(&name)
                .template_body(desired.template)
                .set_parameters(Some(parameters()))
                .capabilities(Capability::CapabilityNamedIam)
                .tags(tag())
                .managed_execution(managed())
                .operation_id(id)
                .operation_preferences(preferences(&desired.identity.rollout))
                .set_call_as(call_as.clone())
                .send()
                .await;
            begun("cloudformation:UpdateStackSet", &name, update)
        }
        Step::AddInstances(Operation { id, targets, regions }) => {
            let mut add = client
                .create_stack_instances()
                .stack_set_name(&name)
                .set_regions(Some(regions.iter().cloned().collect()))
                .operation_id(id)
                .operation_preferences(preferences(&desired.identity.rollout))
                .set_call_as(call_as.clone());
            add = match &desired.targets {
                Targets::Accounts(_) => add.set_accounts(Some(targets.iter().cloned().collect())),
                Targets::Units { .. } => add.deployment_targets(deployment_targets(&targets)),
            };
            begun("cloudformation:CreateStackInstances", &name, add.send().await)
        }
        Step::RemoveInstances(operation) => {
            let units = matches!(desired.targets, Targets::Units { .. });
            let removal = Removal { operation, units, retain: false, rollout: &desired.identity.rollout };
            remove_instances(client, &name, call_as, removal).await
        }
        Step::RetryInstances(Operation { id, targets, regions }, authorization) => {
            let mut retry = client
                .update_stack_instances()
                .stack_set_name(&name)
                .set_regions(Some(regions.into_iter().collect()))
                .operation_id(id)
                .operation_preferences(preferences(&desired.identity.rollout))
                .set_call_as(call_as.clone());
            if authorization == Authorization::IsThere {
                retry = retry.parameter_overrides(
                    Parameter::builder().parameter_key(CREATE_AUTHORIZATION).parameter_value("false").build(),
                );
            }
            retry = match &desired.targets {
                Targets::Accounts(_) => retry.set_accounts(Some(targets.into_iter().collect())),
                Targets::Units { .. } => retry.deployment_targets(deployment_targets(&targets)),
            };
            begun("cloudformation:UpdateStackInstances", &name, retry.send().await)
        }
    }
}

/// A deletion of instances.
struct Removal<'a> {
    operation: Operation,
    /// Whether the targets are organizational units.
    units: bool,
    /// Whether the stacks stay.
    retain: bool,
    rollout: &'a Rollout,
}

async fn remove_instances(
    client: &Client,
    name: &str,
    call_as: Option<CallAs>,
    Removal { operation: Operation { id, targets, regions }, units, retain, rollout }: Removal<'_>,
) -> Result<Progress, StepError> {
    let mut remove = client
        .delete_stack_instances()
        .stack_set_name(name)
        .set_regions(Some(regions.into_iter().collect()))
        .retain_stacks(retain)
        .operation_id(id)
        .operation_preferences(preferences(rollout))
        .set_call_as(call_as);
    remove = if units {
        remove.deployment_targets(deployment_targets(&targets))
    } else {
        remove.set_accounts(Some(targets.into_iter().collect()))
    };
    match remove.send().await {
        // They are gone already, or with the whole set; the next look tells.
        Err(error) if matches!(error.code(), Some("StackSetNotFoundException" | "StackInstanceNotFoundException")) => {
            Ok(waits_for_another(name))
        }
        outcome => begun("cloudformation:DeleteStackInstances", name, outcome),
    }
}

fn waits_for_another(set: &str) -> Progress {
    Progress::Waiting(format!("another operation of the stack set {set}"))
}

/// What follows from a call that begins an operation. One that comes between look and step is waited for, as is the same
/// operation, begun by another delivery.
fn begun<T, E>(
    call: &'static str,
    set: &str,
    outcome: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Progress, StepError>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match outcome {
        Ok(_) => Ok(Progress::Stepped),
        Err(error)
            if matches!(error.code(), Some("OperationInProgressException" | "OperationIdAlreadyExistsException")) =>
        {
            Ok(waits_for_another(set))
        }
        Err(error) => Err(failed(call, set)(error)),
    }
}

/// One step towards no stack set: first its instances, then itself.
pub(super) async fn remove(client: &Client, identity: &Identity) -> Result<Progress, StepError> {
    let name = identity.part_name();
    let call_as = identity.call_as.clone();
    let state = match observe(client, identity, call_as.as_ref()).await {
        Ok(Some(state)) => state,
        Ok(None) | Err(StepError::Foreign { .. }) => return Ok(Progress::Done),
        Err(error) => return Err(error),
    };
    if let Some(operation) = state.running() {
        return Ok(Progress::Waiting(format!("the operation {operation} of the stack set {name}")));
    }
    if !state.instances.is_empty() {
        let regions: BTreeSet<String> = state.instances.keys().map(|(_, region)| region.clone()).collect();
        let units: BTreeSet<String> = state.set.organizational_unit_ids().iter().cloned().collect();
        let by_unit = !units.is_empty();
        let targets =
            if by_unit { units } else { state.instances.keys().map(|(account, _)| account.clone()).collect() };
        let id = operation_id("remove", &targets, &regions, &identity.request_id);
        let removal = |id, targets, regions, retain| Removal {
            operation: Operation { id, targets, regions },
            units: by_unit,
            retain,
            rollout: &identity.rollout,
        };
        if !state.operations.contains_key(&id) {
            return remove_instances(client, &name, call_as, removal(id, targets, regions, false)).await;
        }
        // A suspended account keeps its stack, which nobody can reach, and holds up nothing else.
        if state.instances.values().all(|instance| instance.suspended) {
            let id = operation_id("leave", &targets, &regions, &identity.request_id);
            if !state.operations.contains_key(&id) {
                return remove_instances(client, &name, call_as, removal(id, targets, regions, true)).await;
            }
        }
        let failures = state.failures_in_words();
        let advice = "; mend what failed there and delete the stack again, or delete it and retain the resource";
        return Err(StepError::Instances { action: "the deletion", set: name, failures, advice });
    }
    match client.delete_stack_set().stack_set_name(&name).set_call_as(call_as).send().await {
        Err(error) if error.code() == Some("StackSetNotFoundException") => Ok(Progress::Done),
        outcome => begun("cloudformation:DeleteStackSet", &name, outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pairs: &[(&str, &str)]) -> BTreeSet<Place> {
        pairs.iter().map(|(target, region)| ((*target).to_owned(), (*region).to_owned())).collect()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_operation_covers_exactly_the_places_that_are_meant() {
        assert_eq!(rectangles(&places(&[])), []);
        assert_eq!(
            rectangles(&places(&[("1", "a"), ("1", "b"), ("2", "a"), ("2", "b"), ("3", "b")])),
            [(set(&["1", "2"]), set(&["a", "b"])), (set(&["3"]), set(&["b"]))]
        );
    }

    #[test]
    fn only_an_authorization_that_was_there_before_is_told_from_the_reason() {
        let cases = [
            ("ResourceLogicalId:AggregationAuthorization, ResourceStatusReason:arn:… already exists", true),
            (
                "AggregationAuthorization: Resource handler returned message: null (HandlerErrorCode: AlreadyExists)",
                true,
            ),
            ("ResourceLogicalId:DeadLetters, ResourceStatusReason:the queue already exists", false),
            ("ResourceLogicalId:AggregationAuthorization, ResourceStatusReason:access denied", false),
            ("", false),
        ];
        for (reason, expected) in cases {
            assert_eq!(is_authorized_before(reason), expected, "{reason}");
        }
    }

    #[test]
    fn the_same_operation_of_the_same_request_has_the_same_id() {
        let id = |what, request| operation_id(what, &set(&["1"]), &set(&["a"]), request);
        assert_eq!(id("add", "r"), id("add", "r"));
        assert_ne!(id("add", "r"), id("remove", "r"));
        assert_ne!(id("add", "r"), id("add", "s"));
    }
}
