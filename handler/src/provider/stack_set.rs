//! The stack set that puts `infra-templates/workload.yaml` into every workload account and region.
//!
//! Each operation of a stack set goes on by itself; a look at it either finds one under way, or plans the next. Instances
//! that failed stay instances: their accounts are not covered, which keeps every image that they may pull.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{
    AutoDeployment, CallAs, Capability, ConcurrencyMode, DeploymentTargets, ManagedExecution, Parameter,
    PermissionModels, RegionConcurrencyType, StackInstanceStatus, StackSet, StackSetOperationPreferences,
    StackSetOperationStatus, Tag,
};

use super::desired::{CREATE_AUTHORIZATION, Desired, Identity, OWNER_TAG, Targets, short_hash};
use super::step::{Progress, StepError, failed, owned};

/// An account (or organizational unit) and a region.
type Place = (String, String);

/// What is there.
struct State {
    set: StackSet,
    running: Option<String>,
    instances: BTreeSet<Place>,
    /// Those that failed because the aggregation authorization was there before: left by an EcrCleanup that was removed,
    /// or made by another stack.
    authorized_before: BTreeSet<Place>,
}

/// Parallel regions, full concurrency, and failures that stop nobody else: thousands of instances one account at a time
/// would take days.
fn preferences() -> StackSetOperationPreferences {
    StackSetOperationPreferences::builder()
        .region_concurrency_type(RegionConcurrencyType::Parallel)
        .max_concurrent_percentage(100)
        .failure_tolerance_percentage(100)
        .concurrency_mode(ConcurrencyMode::SoftFailureTolerance)
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
    let running = running_operation(client, &name, call_as).await?;
    let (instances, authorized_before) = instances(client, &name, call_as).await?;
    Ok(Some(State { set, running, instances, authorized_before }))
}

/// The id of an operation that has not ended.
async fn running_operation(client: &Client, name: &str, call_as: Option<&CallAs>) -> Result<Option<String>, StepError> {
    // Newest first; operations that have not ended are among the newest.
    let page = client
        .list_stack_set_operations()
        .stack_set_name(name)
        .set_call_as(call_as.cloned())
        .send()
        .await
        .map_err(failed("cloudformation:ListStackSetOperations", name))?;
    let unfinished = |status: Option<&StackSetOperationStatus>| {
        matches!(
            status,
            Some(
                StackSetOperationStatus::Running | StackSetOperationStatus::Queued | StackSetOperationStatus::Stopping
            )
        )
    };
    Ok(page
        .summaries()
        .iter()
        .find(|operation| unfinished(operation.status()))
        .and_then(|operation| operation.operation_id())
        .map(str::to_owned))
}

/// All instances, and those that failed because of an aggregation authorization.
async fn instances(
    client: &Client,
    name: &str,
    call_as: Option<&CallAs>,
) -> Result<(BTreeSet<Place>, BTreeSet<Place>), StepError> {
    let (mut places, mut authorized_before) = (BTreeSet::new(), BTreeSet::new());
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
            let place = (account, instance.region().unwrap_or_default().to_owned());
            let outdated = instance.status() == Some(&StackInstanceStatus::Outdated);
            if outdated && is_authorized_before(instance.status_reason().unwrap_or_default()) {
                authorized_before.insert(place.clone());
            }
            places.insert(place);
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok((places, authorized_before));
        }
    }
}

/// Whether a stack failed because there was an aggregation authorization already. CloudFormation names the resource and
/// repeats what its handler said.
fn is_authorized_before(reason: &str) -> bool {
    let said = reason.to_ascii_lowercase();
    reason.contains("AggregationAuthorization") && (said.contains("already exist") || said.contains("alreadyexist"))
}

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    Wait(String),
    Update,
    AddInstances {
        targets: BTreeSet<String>,
        regions: BTreeSet<String>,
    },
    RemoveInstances {
        targets: BTreeSet<String>,
        regions: BTreeSet<String>,
    },
    /// Deploy again where the aggregation authorization was there before, without one of the stack's own.
    KeepAuthorizations {
        accounts: BTreeSet<String>,
        regions: BTreeSet<String>,
    },
}

fn plan(state: Option<&State>, desired: &Desired) -> Option<Step> {
    let Some(state) = state else { return Some(Step::Create) };
    if let Some(operation) = &state.running {
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
    if parameters != wanted || state.set.template_body() != Some(desired.template) {
        return Some(Step::Update);
    }
    let present = deployed(state, &desired.targets);
    let wanted = desired.targets.places(&desired.regions);
    let group = |places: BTreeSet<Place>| rectangle(&places);
    let missing = wanted.difference(&present).cloned().collect();
    if let Some((targets, regions)) = group(missing) {
        return Some(Step::AddInstances { targets, regions });
    }
    let surplus = present.difference(&wanted).cloned().collect();
    if let Some((targets, regions)) = group(surplus) {
        return Some(Step::RemoveInstances { targets, regions });
    }
    let (accounts, regions) = group(state.authorized_before.clone())?;
    Some(Step::KeepAuthorizations { accounts, regions })
}

/// Where the set is deployed: for accounts its instances; for organizational units what it was deployed to, since a unit
/// may have no account yet.
fn deployed(state: &State, targets: &Targets) -> BTreeSet<Place> {
    match targets {
        Targets::Accounts(_) => state.instances.clone(),
        Targets::Units { .. } => {
            let regions = state.set.regions();
            let pair = |unit: &String| regions.iter().map(|region| (unit.clone(), region.clone())).collect::<Vec<_>>();
            state.set.organizational_unit_ids().iter().flat_map(pair).collect()
        }
    }
}

/// An operation names targets and regions and means each in each. The largest such rectangle at the first target's
/// regions: all targets that miss exactly these.
fn rectangle(places: &BTreeSet<Place>) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let mut regions: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (target, region) in places {
        regions.entry(target).or_default().insert(region);
    }
    let (_, first) = regions.first_key_value()?;
    let targets = regions.iter().filter(|(_, regions)| *regions == first).map(|(target, _)| (*target).clone());
    Some((targets.collect(), first.iter().map(|region| (*region).clone()).collect()))
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
    let Some(step) = plan(state.as_ref(), desired) else { return Ok(Progress::Done) };
    let parameters = || {
        desired
            .parameters
            .iter()
            .map(|(key, value)| Parameter::builder().parameter_key(key).parameter_value(value).build())
            .collect::<Vec<_>>()
    };
    let tag = || Tag::builder().key(OWNER_TAG).value(&desired.identity.owner).build();
    match step {
        Step::Wait(operation) => {
            return Ok(Progress::Waiting(format!("the operation {operation} of the stack set {name}")));
        }
        Step::Create => {
            let mut create = client
                .create_stack_set()
                .stack_set_name(&name)
                .description("What EcrCleanup needs in an account that runs containers")
                .template_body(desired.template)
                .set_parameters(Some(parameters()))
                .capabilities(Capability::CapabilityNamedIam)
                .tags(tag())
                .managed_execution(ManagedExecution::builder().active(true).build())
                .set_call_as(call_as.clone());
            create = match &desired.targets {
                Targets::Accounts(_) => create
                    .permission_model(PermissionModels::SelfManaged)
                    .administration_role_arn(&desired.administration_role_arn),
                Targets::Units { .. } => create.permission_model(PermissionModels::ServiceManaged).auto_deployment(
                    AutoDeployment::builder().enabled(true).retain_stacks_on_account_removal(false).build(),
                ),
            };
            create.send().await.map_err(failed("cloudformation:CreateStackSet", &name))?;
        }
        Step::Update => {
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
                .operation_preferences(preferences())
                .set_call_as(call_as.clone())
                .send()
                .await;
            match update {
                Ok(_) => {}
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_operation_in_progress_exception()) =>
                {
                    return Ok(Progress::Waiting(format!("another operation of the stack set {name}")));
                }
                Err(error) => return Err(failed("cloudformation:UpdateStackSet", &name)(error)),
            }
        }
        Step::AddInstances { targets, regions } => {
            let mut add = client
                .create_stack_instances()
                .stack_set_name(&name)
                .set_regions(Some(regions.iter().cloned().collect()))
                .operation_id(operation_id("add", &targets, &regions, &desired.request_id))
                .operation_preferences(preferences())
                .set_call_as(call_as.clone());
            add = match &desired.targets {
                Targets::Accounts(_) => add.set_accounts(Some(targets.iter().cloned().collect())),
                Targets::Units { .. } => add.deployment_targets(deployment_targets(&targets)),
            };
            match add.send().await {
                Ok(_) => {}
                Err(error)
                    if error.as_service_error().is_some_and(|error| {
                        error.is_operation_in_progress_exception() || error.is_operation_id_already_exists_exception()
                    }) =>
                {
                    return Ok(Progress::Waiting(format!("another operation of the stack set {name}")));
                }
                Err(error) => return Err(failed("cloudformation:CreateStackInstances", &name)(error)),
            }
        }
        Step::RemoveInstances { targets, regions } => {
            let units = matches!(desired.targets, Targets::Units { .. });
            return remove_instances(client, &name, call_as, &targets, &regions, units, &desired.request_id).await;
        }
        Step::KeepAuthorizations { accounts, regions } => {
            let without = Parameter::builder().parameter_key(CREATE_AUTHORIZATION).parameter_value("false").build();
            let update = client
                .update_stack_instances()
                .stack_set_name(&name)
                .set_accounts(Some(accounts.iter().cloned().collect()))
                .set_regions(Some(regions.iter().cloned().collect()))
                .parameter_overrides(without)
                .operation_id(operation_id("keep-authorizations", &accounts, &regions, &desired.request_id))
                .operation_preferences(preferences())
                .set_call_as(call_as)
                .send()
                .await;
            match update {
                Ok(_) => {}
                // It was tried and did not help: these accounts stay uncovered.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|error| error.is_operation_id_already_exists_exception()) =>
                {
                    return Ok(Progress::Done);
                }
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_operation_in_progress_exception()) =>
                {
                    return Ok(Progress::Waiting(format!("another operation of the stack set {name}")));
                }
                Err(error) => return Err(failed("cloudformation:UpdateStackInstances", &name)(error)),
            }
        }
    }
    Ok(Progress::Stepped)
}

async fn remove_instances(
    client: &Client,
    name: &str,
    call_as: Option<CallAs>,
    targets: &BTreeSet<String>,
    regions: &BTreeSet<String>,
    units: bool,
    request_id: &str,
) -> Result<Progress, StepError> {
    let mut remove = client
        .delete_stack_instances()
        .stack_set_name(name)
        .set_regions(Some(regions.iter().cloned().collect()))
        .retain_stacks(false)
        .operation_id(operation_id("remove", targets, regions, request_id))
        .operation_preferences(preferences())
        .set_call_as(call_as);
    remove = if units {
        remove.deployment_targets(deployment_targets(targets))
    } else {
        remove.set_accounts(Some(targets.iter().cloned().collect()))
    };
    match remove.send().await {
        Ok(_) => Ok(Progress::Stepped),
        Err(error)
            if error.as_service_error().is_some_and(|error| {
                error.is_operation_in_progress_exception() || error.is_operation_id_already_exists_exception()
            }) =>
        {
            Ok(Progress::Waiting(format!("another operation of the stack set {name}")))
        }
        Err(error) => Err(failed("cloudformation:DeleteStackInstances", name)(error)),
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
    if let Some(operation) = state.running {
        return Ok(Progress::Waiting(format!("the operation {operation} of the stack set {name}")));
    }
    if !state.instances.is_empty() {
        let regions: BTreeSet<String> = state.instances.iter().map(|(_, region)| region.clone()).collect();
        let units: BTreeSet<String> = state.set.organizational_unit_ids().iter().cloned().collect();
        let accounts = state.instances.iter().map(|(account, _)| account.clone()).collect();
        let targets = if units.is_empty() { &accounts } else { &units };
        let by_unit = !units.is_empty();
        return remove_instances(client, &name, call_as, targets, &regions, by_unit, &identity.request_id).await;
    }
    match client.delete_stack_set().stack_set_name(&name).set_call_as(call_as).send().await {
        Ok(_) => Ok(Progress::Stepped),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_operation_in_progress_exception()) => {
            Ok(Progress::Waiting(format!("another operation of the stack set {name}")))
        }
        Err(error) => Err(failed("cloudformation:DeleteStackSet", &name)(error)),
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
        assert_eq!(rectangle(&places(&[])), None);
        assert_eq!(
            rectangle(&places(&[("1", "a"), ("1", "b"), ("2", "a"), ("2", "b"), ("3", "b")])),
            Some((set(&["1", "2"]), set(&["a", "b"])))
        );
        assert_eq!(rectangle(&places(&[("3", "b")])), Some((set(&["3"]), set(&["b"]))));
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
