//! Stack sets of both kinds, and their operations, which take virtual time.
//!
//! Self-managed sets deploy through the administration and execution roles, and fail in accounts that lack them.
//! Service-managed sets live in the management account (also for a delegated administrator), deploy to the accounts of
//! organizational units, never to the management account, skip suspended accounts, and follow accounts that join or leave.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::stack::{self, Stack};
use super::{SERVICE, flag, invalid, items, plan, text, texts};
use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::{Access, Call, Handler, Operation, ServiceError, iso};
use crate::organizations::AccountStatus;
use crate::paging::page;

/// The service principal of StackSets in an organization.
const TRUSTED_SERVICE: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// Where a set lives.
type Key = (AccountId, Region, String);

/// All stack sets.
#[derive(Default)]
pub(crate) struct State {
    sets: BTreeMap<Key, StackSet>,
    /// Accounts in which deployments fail, and why.
    failing: BTreeMap<AccountId, String>,
}

enum Model {
    SelfManaged { administration_role: String, execution_role: String },
    ServiceManaged { automatic: bool, retain: bool },
}

struct Instance {
    stack_id: Option<String>,
    status: &'static str,
    detailed: &'static str,
    reason: String,
    unit: Option<String>,
    overrides: BTreeMap<String, String>,
}

struct StackSet {
    id: String,
    body: String,
    description: Option<String>,
    given: BTreeMap<String, String>,
    capabilities: Vec<String>,
    tags: Value,
    model: Model,
    managed: bool,
    instances: BTreeMap<(AccountId, Region), Instance>,
    /// Units and regions that instances were asked for.
    targets: BTreeSet<(String, Region)>,
    operations: Vec<StackSetOperation>,
}

struct StackSetOperation {
    id: String,
    action: &'static str,
    status: &'static str,
    created: Timestamp,
    ended: Option<Timestamp>,
    preferences: Value,
    retain: bool,
    todo: Vec<(AccountId, Region)>,
    running: usize,
    accounts: usize,
    failed: BTreeMap<Region, usize>,
    results: BTreeMap<(AccountId, Region), (&'static str, String)>,
}

impl StackSetOperation {
    fn number(&self, count: &str, percentage: &str) -> Option<usize> {
        let read = |name: &str| text(&self.preferences, name).and_then(|text| text.parse::<usize>().ok());
        read(count).or_else(|| read(percentage).map(|percent| self.accounts * percent / 100))
    }

    fn tolerance(&self) -> usize {
        self.number("FailureToleranceCount", "FailureTolerancePercentage").unwrap_or(0)
    }

    /// How many instances may run at once in a region.
    fn concurrency(&self) -> usize {
        let wanted = self.number("MaxConcurrentCount", "MaxConcurrentPercentage").unwrap_or(1).max(1);
        match text(&self.preferences, "ConcurrencyMode") {
            Some("SOFT_FAILURE_TOLERANCE") => wanted,
            _ => wanted.min(self.tolerance() + 1),
        }
    }

    fn parallel_regions(&self) -> bool {
        text(&self.preferences, "RegionConcurrencyType") == Some("PARALLEL")
    }

    fn is_open(&self) -> bool {
        matches!(self.status, "RUNNING" | "QUEUED" | "STOPPING")
    }
}

pub(super) fn operations() -> Vec<Operation> {
    const SET: &[&str] = &[
        "StackSetName",
        "Description",
        "TemplateBody",
        "UsePreviousTemplate",
        "Parameters",
        "Capabilities",
        "Tags",
        "AdministrationRoleARN",
        "ExecutionRoleName",
        "PermissionModel",
        "AutoDeployment",
        "ManagedExecution",
        "CallAs",
        "ClientRequestToken",
        "OperationId",
        "OperationPreferences",
    ];
    const INSTANCES: &[&str] = &[
        "StackSetName",
        "Accounts",
        "DeploymentTargets",
        "Regions",
        "ParameterOverrides",
        "OperationPreferences",
        "OperationId",
        "RetainStacks",
        "CallAs",
    ];
    const ONE: &[&str] = &["StackSetName", "CallAs", "OperationId", "NextToken", "MaxResults"];
    let row = |name, members, handle: Handler, authorize| Operation {
        service: &SERVICE,
        name,
        members,
        http: None,
        authorize,
        handle,
    };
    macro_rules! on_set {
        ($name:literal, $members:expr, $handle:expr) => {
            row($name, $members, $handle, |world, call, input| {
                Ok(accesses(world, call, input, concat!("cloudformation:", $name)))
            })
        };
    }
    macro_rules! anywhere {
        ($name:literal, $members:expr, $handle:expr) => {
            row($name, $members, $handle, |_, _, _| Ok(vec![Access::new(concat!("cloudformation:", $name), "*")]))
        };
    }
    vec![
        on_set!("CreateStackSet", SET, create_set),
        on_set!("UpdateStackSet", SET, update_set),
        on_set!("DeleteStackSet", ONE, delete_set),
        on_set!("DescribeStackSet", ONE, describe_set),
        on_set!("CreateStackInstances", INSTANCES, |world, call, input| change_instances(world, call, input, "CREATE")),
        on_set!("UpdateStackInstances", INSTANCES, |world, call, input| change_instances(world, call, input, "UPDATE")),
        on_set!("DeleteStackInstances", INSTANCES, |world, call, input| change_instances(world, call, input, "DELETE")),
        on_set!(
            "ListStackInstances",
            &["StackSetName", "StackInstanceAccount", "StackInstanceRegion", "CallAs", "NextToken", "MaxResults"],
            list_instances
        ),
        on_set!(
            "DescribeStackInstance",
            &["StackSetName", "StackInstanceAccount", "StackInstanceRegion", "CallAs"],
            |world, call, input| {
                let (_, set) = set_named(world, call, input)?;
                let wanted = |name| text(input, name).unwrap_or_default();
                let (account, region) = (wanted("StackInstanceAccount"), wanted("StackInstanceRegion"));
                let found = set.instances.iter().find(|(at, _)| at.0.as_str() == account && at.1.as_str() == region);
                let (at, instance) = found.ok_or_else(|| {
                    let message = format!("Stack instance for {account} in {region} is not found");
                    ServiceError::new("StackInstanceNotFoundException", message).with_status(404)
                })?;
                Ok(json!({"StackInstance": instance_item(set, at, instance)}))
            }
        ),
        on_set!("ListStackSetOperations", ONE, |world, call, input| {
            let (_, set) = set_named(world, call, input)?;
            let items: Vec<_> = set.operations.iter().rev().map(operation_summary).collect();
            paged(&items, "Summaries", input)
        }),
        on_set!("DescribeStackSetOperation", ONE, |world, call, input| {
            let (_, set) = set_named(world, call, input)?;
            Ok(json!({"StackSetOperation": operation_item(set, operation_named(set, input)?)}))
        }),
        on_set!("ListStackSetOperationResults", ONE, |world, call, input| {
            let (_, set) = set_named(world, call, input)?;
            let items: Vec<_> = operation_named(set, input)?
                .results
                .iter()
                .map(|((account, region), (status, reason))| {
                    json!({
                        "Account": account.as_str(),
                        "Region": region.as_str(),
                        "Status": status,
                        "StatusReason": if reason.is_empty() { Value::Null } else { json!(reason) },
                    })
                })
                .collect();
            paged(&items, "Summaries", input)
        }),
        on_set!("StopStackSetOperation", ONE, |world, call, input| {
            let key = set_named(world, call, input)?.0;
            let wanted = text(input, "OperationId").unwrap_or_default().to_owned();
            operation_named(&world.cloudformation.stack_sets.sets[&key], input)?;
            if let Some(operation) = operation_mut(world, &key, &wanted)
                && operation.is_open()
            {
                operation.status = "STOPPING";
            }
            world.after(world.behaviours.stack_set_operation_pause, move |world| go_on(world, &key, &wanted));
            Ok(json!({}))
        }),
        anywhere!("ListStackSets", &["Status", "CallAs", "NextToken", "MaxResults"], |world, call, input| {
            let (account, region) = home(world, call, input)?;
            let sets: Vec<_> = world
                .cloudformation
                .stack_sets
                .sets
                .iter()
                .filter(|(key, _)| key.0 == account && key.1 == region && text(input, "Status") != Some("DELETED"))
                .map(|(key, set)| json!({"StackSetName": key.2, "StackSetId": set.id, "Status": "ACTIVE"}))
                .collect();
            paged(&sets, "Summaries", input)
        }),
        anywhere!("ActivateOrganizationsAccess", &[], |world, call, _| {
            let input = json!({"ServicePrincipal": TRUSTED_SERVICE});
            world.call(&call.account, &call.region, "organizations", "EnableAWSServiceAccess", input)?;
            Ok(json!({}))
        }),
        anywhere!("DescribeOrganizationsAccess", &["CallAs"], |world, call, input| {
            home(world, call, input)?;
            let enabled = world.organization_of(&call.account).is_some_and(|found| found.trusts(TRUSTED_SERVICE));
            Ok(json!({"Status": if enabled { "ENABLED" } else { "DISABLED" }}))
        }),
    ]
}

/// What an operation on a set needs: the set, for instances also what they are made of, for roles the right to pass them.
fn accesses(world: &World, call: &Call, input: &Value, action: &str) -> Vec<Access> {
    let name = text(input, "StackSetName").unwrap_or("*");
    let (account, region) = home(world, call, input).unwrap_or_else(|_| (call.account.clone(), call.region.clone()));
    let key = (account.clone(), region.clone(), name.to_owned());
    let id = world.cloudformation.stack_sets.sets.get(&key).map_or_else(|| format!("{name}:*"), |set| set.id.clone());
    let arn = |kind: &str| format!("arn:aws:cloudformation:{region}:{account}:{kind}/{id}");
    // A delegated administrator is allowed by its own policies what it does with the sets of the management account.
    let on = |kind| {
        let resource_policy = Some((call.account.clone(), Value::Null));
        Access { resource_policy, ..Access::new(action, arn(kind)) }
    };
    let mut needed = vec![on("stackset")];
    if action.ends_with("StackInstances") && !action.contains("List") {
        needed.push(on("stackset-target"));
    }
    if let Some(role) = text(input, "AdministrationRoleARN") {
        needed.push(Access::new("iam:PassRole", role).with("iam:PassedToService", "cloudformation.amazonaws.com"));
    }
    needed
}

/// The account and region in which the caller's sets live.
fn home(world: &World, call: &Call, input: &Value) -> Result<(AccountId, Region), ServiceError> {
    match text(input, "CallAs") {
        None | Some("SELF") => Ok((call.account.clone(), call.region.clone())),
        Some("DELEGATED_ADMIN") => match world.organization_of(&call.account) {
            Some(organization) if organization.administers(&call.account, TRUSTED_SERVICE) => {
                Ok((organization.management().clone(), call.region.clone()))
            }
            _ => Err(invalid(format_args!("Account used is not a delegated administrator: {}", call.account))),
        },
        Some(other) => Err(invalid(format_args!("CallAs {other}"))),
    }
}

fn set_named<'a>(world: &'a World, call: &Call, input: &Value) -> Result<(Key, &'a StackSet), ServiceError> {
    let name = text(input, "StackSetName").unwrap_or_default();
    // A set may be named by its id, too.
    let name = name.split(':').next().unwrap_or_default();
    let (account, region) = home(world, call, input)?;
    let key = (account, region, name.to_owned());
    match world.cloudformation.stack_sets.sets.get(&key) {
        Some(set) => Ok((key, set)),
        None => {
            Err(ServiceError::new("StackSetNotFoundException", format!("StackSet {name} not found")).with_status(404))
        }
    }
}

fn operation_named<'a>(set: &'a StackSet, input: &Value) -> Result<&'a StackSetOperation, ServiceError> {
    let id = text(input, "OperationId").unwrap_or_default();
    set.operations.iter().find(|operation| operation.id == id).ok_or_else(|| {
        ServiceError::new("OperationNotFoundException", format!("Operation {id} not found")).with_status(404)
    })
}

fn operation_mut<'a>(world: &'a mut World, key: &Key, id: &str) -> Option<&'a mut StackSetOperation> {
    let set = world.cloudformation.stack_sets.sets.get_mut(key)?;
    set.operations.iter_mut().find(|operation| operation.id == id)
}

fn paged(all: &[Value], name: &str, input: &Value) -> Result<Value, ServiceError> {
    let size = text(input, "MaxResults").and_then(|text| text.parse().ok()).unwrap_or(100).min(100);
    let (items, next) = page(all, text(input, "NextToken"), size, "ValidationError")?;
    let mut output = json!({"NextToken": next});
    output[name] = Value::from(items.to_vec());
    Ok(output)
}

fn create_set(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "StackSetName").unwrap_or_default().to_owned();
    let (account, region) = home(world, call, input)?;
    let key = (account.clone(), region.clone(), name.clone());
    if world.cloudformation.stack_sets.sets.contains_key(&key) {
        let message = format!("StackSet {name} already exists");
        return Err(ServiceError::new("NameAlreadyExistsException", message).with_status(409));
    }
    let model = match text(input, "PermissionModel") {
        None | Some("SELF_MANAGED") => Model::SelfManaged {
            administration_role: text(input, "AdministrationRoleARN").map_or_else(
                || format!("arn:aws:iam::{account}:role/AWSCloudFormationStackSetAdministrationRole"),
                str::to_owned,
            ),
            execution_role: text(input, "ExecutionRoleName")
                .unwrap_or("AWSCloudFormationStackSetExecutionRole")
                .to_owned(),
        },
        Some("SERVICE_MANAGED") => {
            match world.organization_of(&account) {
                Some(found) if *found.management() == account && found.trusts(TRUSTED_SERVICE) => {}
                _ => {
                    return Err(invalid("You must enable organizations access to operate a service managed stack set"));
                }
            }
            let automatic = &input["AutoDeployment"];
            Model::ServiceManaged {
                automatic: flag(automatic, "Enabled"),
                retain: flag(automatic, "RetainStacksOnAccountRemoval"),
            }
        }
        Some(other) => return Err(invalid(format_args!("PermissionModel {other}"))),
    };
    let body = text(input, "TemplateBody").unwrap_or_default();
    let set = StackSet {
        id: format!("{name}:{}", world.fresh_uuid()),
        body: body.to_owned(),
        description: text(input, "Description").map(str::to_owned),
        given: super::given(input, &BTreeMap::new())?,
        capabilities: texts(input, "Capabilities"),
        tags: input.get("Tags").cloned().unwrap_or_else(|| json!([])),
        model,
        managed: flag(&input["ManagedExecution"], "Active"),
        instances: BTreeMap::new(),
        targets: BTreeSet::new(),
        operations: Vec::new(),
    };
    check(world, call, &set)?;
    let id = set.id.clone();
    world.cloudformation.stack_sets.sets.insert(key, set);
    Ok(json!({"StackSetId": id}))
}

/// Refuses a template, parameters or capabilities that no stack could be made from.
fn check(world: &mut World, call: &Call, set: &StackSet) -> Result<(), ServiceError> {
    let about = (set.capabilities.clone(), set.tags.clone());
    plan(world, &call.principal, &call.account, &call.region, &set.body, set.given.clone(), about).map(drop)
}

fn update_set(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (key, set) = set_named(world, call, input)?;
    if let Some(id) = known_operation(set, input, "UPDATE")? {
        return Ok(json!({"OperationId": id}));
    }
    let given = super::given(input, &set.given)?;
    let mut body = set.body.clone();
    match text(input, "TemplateBody") {
        Some(new) => body = new.to_owned(),
        None if flag(input, "UsePreviousTemplate") => {}
        None => return Err(invalid("either TemplateBody or UsePreviousTemplate must be given")),
    }
    let about = (texts(input, "Capabilities"), input.get("Tags").cloned().unwrap_or_else(|| set.tags.clone()));
    let places = set.instances.keys().cloned().collect();
    plan(world, &call.principal, &call.account, &call.region, &body, given.clone(), about.clone())?;
    let operation = begin(world, &key, input, "UPDATE", places)?;
    if let Some(set) = world.cloudformation.stack_sets.sets.get_mut(&key) {
        set.body = body;
        set.given = given;
        (set.capabilities, set.tags) = about;
        if let Some(description) = text(input, "Description") {
            set.description = Some(description.to_owned());
        }
        if input.get("ManagedExecution").is_some() {
            set.managed = flag(&input["ManagedExecution"], "Active");
        }
        match &mut set.model {
            Model::SelfManaged { administration_role, execution_role } => {
                if let Some(role) = text(input, "AdministrationRoleARN") {
                    *administration_role = role.to_owned();
                }
                if let Some(role) = text(input, "ExecutionRoleName") {
                    *execution_role = role.to_owned();
                }
            }
            Model::ServiceManaged { automatic, retain } => {
                if let Some(given) = input.get("AutoDeployment") {
                    (*automatic, *retain) = (flag(given, "Enabled"), flag(given, "RetainStacksOnAccountRemoval"));
                }
            }
        }
        for instance in set.instances.values_mut() {
            instance.status = "OUTDATED";
        }
    }
    Ok(json!({"OperationId": operation}))
}

fn delete_set(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (key, set) = match set_named(world, call, input) {
        Ok(found) => found,
        // The operation's model knows no error for a set that is gone.
        Err(error) if error.code == "StackSetNotFoundException" => return Ok(json!({})),
        Err(error) => return Err(error),
    };
    if !set.instances.is_empty() {
        return Err(ServiceError::new("StackSetNotEmptyException", "StackSet is not empty").with_status(409));
    }
    if set.operations.iter().any(StackSetOperation::is_open) {
        return Err(in_progress());
    }
    world.cloudformation.stack_sets.sets.remove(&key);
    Ok(json!({}))
}

fn in_progress() -> ServiceError {
    let message = "Another Operation on StackSet is in progress";
    ServiceError::new("OperationInProgressException", message).with_status(409)
}

fn describe_set(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (key, set) = set_named(world, call, input)?;
    let parameters: Vec<_> =
        set.given.iter().map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value})).collect();
    let units: BTreeSet<_> = set.targets.iter().map(|(unit, _)| unit).collect();
    let regions: BTreeSet<_> = set.instances.keys().map(|(_, region)| region.as_str()).collect();
    let mut output = json!({
        "StackSetName": key.2,
        "StackSetId": set.id,
        "StackSetARN": format!("arn:aws:cloudformation:{}:{}:stackset/{}", key.1, key.0, set.id),
        "Description": set.description,
        "Status": "ACTIVE",
        "TemplateBody": set.body,
        "Parameters": parameters,
        "Capabilities": set.capabilities,
        "Tags": set.tags,
        "ManagedExecution": {"Active": set.managed},
        "OrganizationalUnitIds": units,
        "Regions": regions,
    });
    match &set.model {
        Model::SelfManaged { administration_role, execution_role } => {
            output["PermissionModel"] = json!("SELF_MANAGED");
            output["AdministrationRoleARN"] = json!(administration_role);
            output["ExecutionRoleName"] = json!(execution_role);
        }
        Model::ServiceManaged { automatic, retain } => {
            output["PermissionModel"] = json!("SERVICE_MANAGED");
            output["AutoDeployment"] = json!({"Enabled": automatic, "RetainStacksOnAccountRemoval": retain});
        }
    }
    Ok(json!({"StackSet": output}))
}

fn instance_item(set: &StackSet, at: &(AccountId, Region), instance: &Instance) -> Value {
    json!({
        "StackSetId": set.id,
        "Account": at.0.as_str(),
        "Region": at.1.as_str(),
        "StackId": instance.stack_id,
        "Status": instance.status,
        "StatusReason": if instance.reason.is_empty() { Value::Null } else { json!(instance.reason) },
        "StackInstanceStatus": {"DetailedStatus": instance.detailed},
        "OrganizationalUnitId": instance.unit,
    })
}

fn list_instances(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (_, set) = set_named(world, call, input)?;
    let matches = |name: &str, value: &str| text(input, name).is_none_or(|wanted| wanted == value);
    let items: Vec<_> = set
        .instances
        .iter()
        .filter(|((account, region), _)| {
            matches("StackInstanceAccount", account.as_str()) && matches("StackInstanceRegion", region.as_str())
        })
        .map(|(at, instance)| instance_item(set, at, instance))
        .collect();
    paged(&items, "Summaries", input)
}

fn operation_item(set: &StackSet, operation: &StackSetOperation) -> Value {
    let mut item = operation_summary(operation);
    item["StackSetId"] = json!(set.id);
    item
}

/// As a list of operations shows it, which does not repeat the set.
fn operation_summary(operation: &StackSetOperation) -> Value {
    let failed: usize = operation.failed.values().sum();
    json!({
        "OperationId": operation.id,
        "Action": operation.action,
        "Status": operation.status,
        "CreationTimestamp": iso(operation.created),
        "EndTimestamp": operation.ended.map(iso),
        "StatusDetails": {"FailedStackInstancesCount": failed},
    })
}

/// The operation that a repeated request means.
fn known_operation(set: &StackSet, input: &Value, action: &str) -> Result<Option<String>, ServiceError> {
    let Some(id) = text(input, "OperationId") else { return Ok(None) };
    match set.operations.iter().find(|operation| operation.id == id) {
        None => Ok(None),
        Some(operation) if operation.action == action => Ok(Some(id.to_owned())),
        Some(_) => {
            let message = format!("The operation id {id} was used for another operation");
            Err(ServiceError::new("OperationIdAlreadyExistsException", message).with_status(409))
        }
    }
}

fn change_instances(
    world: &mut World,
    call: &Call,
    input: &Value,
    action: &'static str,
) -> Result<Value, ServiceError> {
    let (key, set) = set_named(world, call, input)?;
    if let Some(id) = known_operation(set, input, action)? {
        return Ok(json!({"OperationId": id}));
    }
    let regions: Vec<Region> = texts(input, "Regions").into_iter().filter_map(Region::new).collect();
    let targets = &input["DeploymentTargets"];
    let units = texts(targets, "OrganizationalUnitIds");
    let mut accounts: BTreeMap<AccountId, Option<String>> = BTreeMap::new();
    match &set.model {
        Model::SelfManaged { .. } => {
            if !units.is_empty() {
                return Err(invalid("OrganizationalUnitIds are for service-managed stack sets"));
            }
            let listed =
                if items(input, "Accounts").is_empty() { texts(targets, "Accounts") } else { texts(input, "Accounts") };
            accounts.extend(listed.into_iter().filter_map(AccountId::new).map(|account| (account, None)));
        }
        Model::ServiceManaged { .. } => {
            if units.is_empty() || targets.get("AccountFilterType").is_some() {
                return Err(ServiceError::not_simulated("deployment targets other than OrganizationalUnitIds"));
            }
            let organization = world.organization_of(&key.0).ok_or_else(|| invalid("no organization"))?;
            for unit in &units {
                if !organization.has_parent(unit) {
                    return Err(invalid(format_args!("Organizational unit {unit} not found")));
                }
                for account in organization.accounts_below(unit) {
                    if account != organization.management() {
                        accounts.insert(account.clone(), Some(unit.clone()));
                    }
                }
            }
            // Instances of accounts that have left go with the unit they came with.
            for ((account, _), instance) in &set.instances {
                if action == "DELETE" && instance.unit.as_ref().is_some_and(|unit| units.contains(unit)) {
                    accounts.insert(account.clone(), instance.unit.clone());
                }
            }
        }
    }
    if regions.is_empty() {
        return Err(invalid("Regions must not be empty"));
    }
    let all = accounts.keys().flat_map(|account| regions.iter().map(|region| (account.clone(), region.clone())));
    let exists = |at: &(AccountId, Region)| set.instances.contains_key(at);
    let places: Vec<_> = all.filter(|at| action == "CREATE" || exists(at)).collect();
    if action != "CREATE" && places.is_empty() && units.is_empty() {
        let message = "Stack instances are not found";
        return Err(ServiceError::new("StackInstanceNotFoundException", message).with_status(404));
    }
    let overrides = super::given(&json!({"Parameters": input.get("ParameterOverrides")}), &BTreeMap::new())?;
    let operation = begin(world, &key, input, action, places.clone())?;
    if let Some(set) = world.cloudformation.stack_sets.sets.get_mut(&key) {
        let asked = units.iter().flat_map(|unit| regions.iter().map(move |region| (unit.clone(), region.clone())));
        for target in asked {
            if action == "DELETE" {
                set.targets.remove(&target);
            } else {
                set.targets.insert(target);
            }
        }
        if action != "DELETE" {
            for at in places {
                let unit = accounts.get(&at.0).cloned().flatten();
                let instance = set.instances.entry(at).or_insert_with(|| Instance {
                    stack_id: None,
                    status: "OUTDATED",
                    detailed: "PENDING",
                    reason: String::new(),
                    unit,
                    overrides: BTreeMap::new(),
                });
                if !overrides.is_empty() {
                    instance.overrides = overrides.clone();
                }
            }
        }
    }
    Ok(json!({"OperationId": operation}))
}

/// Adds an operation, which begins now or when those before it have ended.
fn begin(
    world: &mut World,
    key: &Key,
    input: &Value,
    action: &'static str,
    mut todo: Vec<(AccountId, Region)>,
) -> Result<String, ServiceError> {
    let id = text(input, "OperationId").map_or_else(|| world.fresh_uuid(), str::to_owned);
    let now = world.now();
    let set = world.cloudformation.stack_sets.sets.get_mut(key).ok_or_else(|| invalid("no such stack set"))?;
    let busy = set.operations.iter().any(StackSetOperation::is_open);
    if busy && !set.managed {
        return Err(in_progress());
    }
    todo.sort_by(|left, right| (&left.1, &left.0).cmp(&(&right.1, &right.0)));
    let accounts = todo.iter().map(|(account, _)| account).collect::<BTreeSet<_>>().len();
    set.operations.push(StackSetOperation {
        id: id.clone(),
        action,
        status: if busy { "QUEUED" } else { "RUNNING" },
        created: now,
        ended: None,
        preferences: input.get("OperationPreferences").cloned().unwrap_or_else(|| json!({})),
        retain: flag(input, "RetainStacks"),
        todo,
        running: 0,
        accounts,
        failed: BTreeMap::new(),
        results: BTreeMap::new(),
    });
    if !busy {
        let (key, id) = (key.clone(), id.clone());
        world.after(world.behaviours.stack_set_operation_pause, move |world| go_on(world, &key, &id));
    }
    Ok(id)
}

/// Starts as many instances as may run, or ends the operation.
fn go_on(world: &mut World, key: &Key, id: &str) {
    loop {
        let now = world.now();
        let Some(operation) = operation_mut(world, key, id) else { return };
        if !operation.is_open() || operation.status == "QUEUED" {
            return;
        }
        let tolerance = operation.tolerance();
        let too_many = operation.failed.values().any(|failed| *failed > tolerance);
        if (too_many || operation.status == "STOPPING") && !operation.todo.is_empty() {
            let reason = if too_many { "Cancelled since failure tolerance has exceeded" } else { "Cancelled by user" };
            let cancelled = std::mem::take(&mut operation.todo);
            operation.results.extend(cancelled.iter().map(|at| (at.clone(), ("CANCELLED", reason.to_owned()))));
            let Some(set) = world.cloudformation.stack_sets.sets.get_mut(key) else { return };
            for at in &cancelled {
                if let Some(instance) = set.instances.get_mut(at) {
                    (instance.status, instance.detailed) = ("OUTDATED", "CANCELLED");
                    instance.reason = reason.to_owned();
                }
            }
            continue;
        }
        if operation.todo.is_empty() && operation.running == 0 {
            operation.status = match (too_many, operation.status) {
                (_, "STOPPING") => "STOPPED",
                (true, _) => "FAILED",
                _ => "SUCCEEDED",
            };
            operation.ended = Some(now);
            return start_queued(world, key);
        }
        let (limit, parallel) = (operation.concurrency(), operation.parallel_regions());
        let running_in = |region: &Region| {
            operation.results.iter().filter(|(at, (status, _))| at.1 == *region && *status == "RUNNING").count()
        };
        let may_start = |at: &(AccountId, Region)| {
            let here = running_in(&at.1);
            here < limit && (parallel || operation.running == here)
        };
        let Some(next) = operation.todo.iter().position(may_start) else { return };
        let at = operation.todo.remove(next);
        operation.running += 1;
        operation.results.insert(at.clone(), ("RUNNING", String::new()));
        start_instance(world, key, id, at);
    }
}

fn start_queued(world: &mut World, key: &Key) {
    let Some(set) = world.cloudformation.stack_sets.sets.get_mut(key) else { return };
    if let Some(next) = set.operations.iter_mut().find(|operation| operation.status == "QUEUED") {
        next.status = "RUNNING";
        let (key, id) = (key.clone(), next.id.clone());
        world.after(world.behaviours.stack_set_operation_pause, move |world| go_on(world, &key, &id));
    }
}

/// How an instance's part of an operation ended.
enum End {
    Done,
    Skipped,
    Failed(String),
}

fn finish(world: &mut World, key: &Key, id: &str, at: &(AccountId, Region), end: End) {
    let Some(operation) = operation_mut(world, key, id) else { return };
    operation.running -= 1;
    let action = operation.action;
    let (result, reason) = match &end {
        End::Done => ("SUCCEEDED", String::new()),
        End::Skipped => ("CANCELLED", "the account is suspended".to_owned()),
        End::Failed(reason) => ("FAILED", reason.clone()),
    };
    if matches!(end, End::Failed(_)) {
        *operation.failed.entry(at.1.clone()).or_default() += 1;
    }
    operation.results.insert(at.clone(), (result, reason.clone()));
    if let Some(set) = world.cloudformation.stack_sets.sets.get_mut(key) {
        if action == "DELETE" && matches!(end, End::Done) {
            set.instances.remove(at);
        } else if let Some(instance) = set.instances.get_mut(at) {
            (instance.status, instance.detailed) = match end {
                End::Done => ("CURRENT", "SUCCEEDED"),
                End::Skipped => ("OUTDATED", "SKIPPED_SUSPENDED_ACCOUNT"),
                End::Failed(_) if action == "DELETE" => ("INOPERABLE", "INOPERABLE"),
                End::Failed(_) => ("OUTDATED", "FAILED"),
            };
            instance.reason = reason;
        }
    }
    let (key, id) = (key.clone(), id.to_owned());
    world.after(world.behaviours.stack_set_operation_pause, move |world| go_on(world, &key, &id));
}

/// The principal that deploys in an account.
fn deployer(world: &mut World, key: &Key, at: &(AccountId, Region)) -> Result<Principal, String> {
    let set = world.cloudformation.stack_sets.sets.get(key).ok_or("the stack set is gone")?;
    let Model::SelfManaged { administration_role, execution_role } = &set.model else {
        return Ok(Principal::Administrator { account: at.0.clone() });
    };
    let (administration, execution) = (administration_role.clone(), execution_role.clone());
    let service = Principal::Service { name: "cloudformation.amazonaws.com".to_owned() };
    let missing = |error: ServiceError| {
        format!(
            "Account {} should have '{execution}' role with trust relationship to Role '{administration}'. {error}",
            at.0
        )
    };
    let administrator = super::assume(world, &service, &administration, "StackSets", &key.1).map_err(missing)?;
    let role = format!("arn:aws:iam::{}:role/{execution}", at.0);
    super::assume(world, &administrator, &role, "StackSets", &at.1).map_err(missing)
}

fn start_instance(world: &mut World, key: &Key, id: &str, at: (AccountId, Region)) {
    if let Err(end) = try_instance(world, key, id, &at) {
        let (key, id) = (key.clone(), id.to_owned());
        world.after(world.behaviours.stack_set_operation_pause, move |world| finish(world, &key, &id, &at, end));
    }
}

/// Begins to create, update or delete the stack of an instance; an error is an end without a stack operation.
fn try_instance(world: &mut World, key: &Key, id: &str, at: &(AccountId, Region)) -> Result<(), End> {
    let suspended = world
        .organization_of(&at.0)
        .and_then(|organization| organization.members().get(&at.0))
        .is_some_and(|member| member.status == AccountStatus::Suspended);
    let Some(operation) = operation_mut(world, key, id) else { return Ok(()) };
    let (action, retain) = (operation.action, operation.retain);
    if suspended {
        // Nobody has to enter the account to forget its stack.
        return Err(if action == "DELETE" && retain { End::Done } else { End::Skipped });
    }
    if world.is_disabled(&at.0, &at.1) {
        return Err(End::Failed(format!("Region {} is not enabled in account {}", at.1, at.0)));
    }
    if let Some(reason) = world.cloudformation.stack_sets.failing.get(&at.0) {
        return Err(End::Failed(reason.clone()));
    }
    let ended: stack::Ended = {
        let (key, id, at) = (key.clone(), id.to_owned(), at.clone());
        Box::new(move |world, done, reason| {
            finish(world, &key, &id, &at, if done { End::Done } else { End::Failed(reason) });
        })
    };
    let actor = deployer(world, key, at);
    let Some(set) = world.cloudformation.stack_sets.sets.get(key) else { return Ok(()) };
    let Some(instance) = set.instances.get(at) else { return Err(End::Done) };
    let existing = instance
        .stack_id
        .clone()
        .filter(|id| world.cloudformation.stacks.get(id).is_some_and(|stack| stack.deleted.is_none()));
    let mut given = set.given.clone();
    given.extend(instance.overrides.clone());
    let (body, about) = (set.body.clone(), (set.capabilities.clone(), set.tags.clone()));
    if action == "DELETE" {
        let Some(existing) = existing.filter(|_| !retain) else { return Err(End::Done) };
        let actor = actor.map_err(End::Failed)?;
        if let Some(stack) = world.cloudformation.stacks.get_mut(&existing) {
            stack.actor = actor;
        }
        stack::delete(world, &existing, &[], Some(ended));
        return Ok(());
    }
    let actor = actor.map_err(End::Failed)?;
    let plan =
        plan(world, &actor, &at.0, &at.1, &body, given, about).map_err(|error| End::Failed(error.to_string()))?;
    let usable = existing.filter(|id| {
        let complete = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"];
        world.cloudformation.stacks.get(id).is_some_and(|stack| complete.contains(&stack.status.as_str()))
    });
    if let Some(existing) = usable {
        let Some(stack) = world.cloudformation.stacks.get_mut(&existing) else { return Err(End::Done) };
        stack.actor = actor;
        let same = stack.plan.body == plan.body && stack.plan.parameters == plan.parameters;
        if same && stack.status != "UPDATE_ROLLBACK_COMPLETE" {
            return Err(End::Done);
        }
        stack::update(world, &existing, plan, Some(ended));
        return Ok(());
    }
    // A stack that could not be created is deleted, so that the next attempt makes a new one (CloudFormation user guide,
    // Troubleshooting StackSets, "Retrying failed stack creation or update operations").
    let uuid = world.fresh_uuid();
    let name = format!("StackSet-{}-{uuid}", key.2);
    let stack_id = format!("arn:aws:cloudformation:{}:{}:stack/{name}/{uuid}", at.1, at.0);
    let stack = Stack::new(stack_id.clone(), name, at.0.clone(), at.1.clone(), actor, None, plan, true, world.now());
    if let Some(instance) = world.cloudformation.stack_sets.sets.get_mut(key).and_then(|set| set.instances.get_mut(at))
    {
        instance.stack_id = Some(stack_id.clone());
        instance.detailed = "RUNNING";
    }
    let deleted_on_failure: stack::Ended = Box::new(move |world, done, reason| {
        if done {
            return ended(world, true, reason);
        }
        stack::delete(world, &stack_id, &[], Some(Box::new(move |world, _, _| ended(world, false, reason))));
    });
    stack::create(world, stack, Some(deleted_on_failure));
    Ok(())
}

impl World {
    /// Makes stack set operations fail in an account, with a reason; `None` ends it.
    pub fn fail_stack_instances(&mut self, account: &AccountId, reason: Option<&str>) {
        let failing = &mut self.cloudformation.stack_sets.failing;
        match reason {
            Some(reason) => failing.insert(account.clone(), reason.to_owned()),
            None => failing.remove(account),
        };
    }

    /// Lets service-managed stack sets with automatic deployment follow an account that joined, moved or left.
    pub(crate) fn account_moved(&mut self, account: &AccountId) {
        let organization = self.organization_of(account);
        let mut due = Vec::new();
        for (key, set) in &self.cloudformation.stack_sets.sets {
            let Model::ServiceManaged { automatic: true, retain } = set.model else { continue };
            let mine = organization.filter(|found| *found.management() == key.0 && key.0 != *account);
            let within =
                |unit: &str| mine.is_some_and(|found| found.accounts_below(unit).any(|below| below == account));
            let added: Vec<_> = set
                .targets
                .iter()
                .filter(|(unit, region)| {
                    within(unit) && !set.instances.contains_key(&(account.clone(), region.clone()))
                })
                .map(|(unit, region)| (account.clone(), region.clone(), unit.clone()))
                .collect();
            let gone: Vec<_> = set
                .instances
                .iter()
                .filter(|(at, _)| {
                    at.0 == *account && !set.targets.iter().any(|(unit, region)| *region == at.1 && within(unit))
                })
                .map(|(at, instance)| (at.0.clone(), at.1.clone(), instance.unit.clone().unwrap_or_default()))
                .collect();
            due.push((key.clone(), "CREATE", false, added));
            due.push((key.clone(), "DELETE", retain, gone));
        }
        for (key, action, retain, places) in due.into_iter().filter(|(.., places)| !places.is_empty()) {
            let input = json!({"RetainStacks": retain, "OperationPreferences": {"MaxConcurrentPercentage": "100", "ConcurrencyMode": "SOFT_FAILURE_TOLERANCE"}});
            if let Some(set) = self.cloudformation.stack_sets.sets.get_mut(&key)
                && action == "CREATE"
            {
                for (account, region, unit) in &places {
                    set.instances.entry((account.clone(), region.clone())).or_insert_with(|| Instance {
                        stack_id: None,
                        status: "OUTDATED",
                        detailed: "PENDING",
                        reason: String::new(),
                        unit: Some(unit.clone()),
                        overrides: BTreeMap::new(),
                    });
                }
            }
            let places: Vec<_> = places.into_iter().map(|(account, region, _)| (account, region)).collect();
            if begin(self, &key, &input, action, places).is_err() {
                // Another operation runs: automatic deployment comes after it.
                let account = account.clone();
                self.after(SignedDuration::from_mins(1), move |world| world.account_moved(&account));
            }
        }
    }
}
