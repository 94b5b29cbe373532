//! CloudFormation: stacks, custom resources and stack sets.
//!
//! It deploys any template made of the resource types in [`resource`] and the intrinsic functions in [`template`]; all
//! others are refused by name. Resources are made by calling the simulation's own operations with the permissions of the
//! caller, or of the role that the stack was given.

mod custom_resource;
mod property;
mod resource;
mod stack;
mod stack_sets;
mod template;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::World;
use crate::connector::Served;
use crate::fault::Fault;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::{Access, Call, Handler, Operation, Protocol, Service, ServiceError, iso};
use crate::protocol::{WireRequest, WireResponse};
use resource::Type;
use stack::{Plan, Stack};
use template::{Template, TemplateError};

/// The largest template that is sent in the call itself, in bytes.
const MOST_TEMPLATE_BYTES: usize = 51_200;

static SERVICE: Service = Service {
    signing_name: "cloudformation",
    model: "cloudformation",
    protocol: Protocol::Query { namespace: "http://cloudformation.amazonaws.com/doc/2010-05-15/" },
};

/// The state of CloudFormation in all accounts and regions.
#[derive(Default)]
pub(crate) struct State {
    /// By id; deleted stacks stay.
    stacks: BTreeMap<String, Stack>,
    /// Requests to custom resources, by id.
    requests: BTreeMap<String, custom_resource::Pending>,
    /// Every request to a custom resource, in order.
    sent: Vec<Value>,
    /// Every answer of a custom resource that was taken, in order.
    answers: Vec<Value>,
    /// What befalls the next answers.
    answer_faults: VecDeque<Fault>,
    stack_sets: stack_sets::State,
}

pub(crate) fn operations() -> Vec<Operation> {
    const PLAN: &[&str] = &[
        "StackName",
        "TemplateBody",
        "UsePreviousTemplate",
        "Parameters",
        "Capabilities",
        "Tags",
        "RoleARN",
        "DisableRollback",
        "OnFailure",
        "ClientRequestToken",
    ];
    let row = |name, members, handle: Handler, authorize| Operation {
        service: &SERVICE,
        name,
        members,
        http: None,
        authorize,
        handle,
    };
    macro_rules! on_stack {
        ($name:literal, $members:expr, $handle:expr) => {
            row($name, $members, $handle, |world, call, input| {
                let mut needed = vec![stack_access(world, call, input, concat!("cloudformation:", $name))];
                if let Some(role) = text(input, "RoleARN") {
                    needed.push(
                        Access::new("iam:PassRole", role).with("iam:PassedToService", "cloudformation.amazonaws.com"),
                    );
                }
                Ok(needed)
            })
        };
    }
    let mut operations = vec![
        on_stack!("CreateStack", PLAN, create_stack),
        on_stack!("UpdateStack", PLAN, update_stack),
        on_stack!("DeleteStack", &["StackName", "RetainResources", "RoleARN", "ClientRequestToken"], delete_stack),
        on_stack!("DescribeStacks", &["StackName", "NextToken"], describe_stacks),
        on_stack!("DescribeStackEvents", &["StackName", "NextToken"], |world, call, input| {
            let stack = stack_named(world, call, input)?;
            Ok(json!({"StackEvents": stack.events.iter().rev().collect::<Vec<_>>()}))
        }),
        on_stack!("DescribeStackResources", &["StackName", "LogicalResourceId"], |world, call, input| {
            let stack = stack_named(world, call, input)?;
            let wanted = text(input, "LogicalResourceId");
            Ok(json!({"StackResources": resources(stack, "Timestamp", wanted)}))
        }),
        on_stack!("ListStackResources", &["StackName", "NextToken"], |world, call, input| {
            let stack = stack_named(world, call, input)?;
            Ok(json!({"StackResourceSummaries": resources(stack, "LastUpdatedTimestamp", None)}))
        }),
        on_stack!("GetTemplate", &["StackName"], |world, call, input| {
            Ok(json!({"TemplateBody": stack_named(world, call, input)?.plan.body}))
        }),
        row(
            "ListExports",
            &["NextToken"],
            |world, call, _| {
                let exports: Vec<_> = stack::exports(world, &call.account, &call.region)
                    .filter_map(|(stack, output)| {
                        let name = output.export.as_ref()?;
                        Some(json!({"ExportingStackId": stack.id, "Name": name, "Value": output.value}))
                    })
                    .collect();
                Ok(json!({"Exports": exports}))
            },
            |_, _, _| Ok(vec![Access::new("cloudformation:ListExports", "*")]),
        ),
    ];
    operations.extend(stack_sets::operations());
    operations
}

fn text<'a>(input: &'a Value, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

/// A list of the input; an empty list arrives as empty text.
fn items<'a>(input: &'a Value, name: &str) -> &'a [Value] {
    input.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(input: &Value, name: &str) -> Vec<String> {
    items(input, name).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn flag(input: &Value, name: &str) -> bool {
    matches!(input.get(name), Some(Value::Bool(true))) || text(input, name) == Some("true")
}

fn invalid(message: impl std::fmt::Display) -> ServiceError {
    ServiceError::new("ValidationError", message.to_string())
}

fn refused(error: &TemplateError) -> ServiceError {
    if error.not_simulated { ServiceError::not_simulated(error) } else { invalid(error) }
}

fn stack_access(world: &World, call: &Call, input: &Value, action: &str) -> Access {
    let name = text(input, "StackName").unwrap_or("*");
    let arn = match find(world, call, name) {
        Some(stack) => stack.id.clone(),
        None => call.arn("cloudformation", &format!("stack/{name}/*")),
    };
    Access::new(action, arn)
}

/// A stack by name or id. A deleted one is found by its id only.
fn find<'a>(world: &'a World, call: &Call, name: &str) -> Option<&'a Stack> {
    if let Some(stack) = world.cloudformation.stacks.get(name) {
        return (stack.account == call.account && stack.region == call.region).then_some(stack);
    }
    world.cloudformation.stacks.values().find(|stack| {
        stack.name == name && stack.account == call.account && stack.region == call.region && stack.deleted.is_none()
    })
}

fn stack_named<'a>(world: &'a World, call: &Call, input: &Value) -> Result<&'a Stack, ServiceError> {
    let name = text(input, "StackName").ok_or_else(|| invalid("StackName is required"))?;
    find(world, call, name).ok_or_else(|| invalid(format_args!("Stack with id {name} does not exist")))
}

fn resources(stack: &Stack, at: &str, wanted: Option<&str>) -> Vec<Value> {
    let begun = stack.begun().filter(|(logical, _)| !stack.resources.contains_key(*logical));
    stack
        .resources
        .iter()
        .chain(begun)
        .filter(|(logical, _)| wanted.is_none_or(|wanted| wanted == logical.as_str()))
        .map(|(logical, resource)| {
            let mut item = json!({
                "LogicalResourceId": logical,
                "PhysicalResourceId": resource.made.id,
                "ResourceType": resource.kind,
                "ResourceStatus": resource.status,
            });
            item[at] = iso(resource.changed);
            item
        })
        .collect()
}

/// Reads a template and the values of its parameters.
pub(crate) fn plan(
    world: &mut World,
    actor: &Principal,
    account: &AccountId,
    region: &Region,
    body: &str,
    given: BTreeMap<String, String>,
    (capabilities, tags): (Vec<String>, Value),
) -> Result<Plan, ServiceError> {
    if body.is_empty() || body.len() > MOST_TEMPLATE_BYTES {
        return Err(invalid(format_args!(
            "templateBody must have length between 1 and {MOST_TEMPLATE_BYTES}, not {}",
            body.len()
        )));
    }
    let template = Template::read(body).map_err(|error| refused(&error))?;
    for declared in template.resources.values() {
        let known = custom_resource::is_custom(&declared.kind) || Type::find(&declared.kind).is_some();
        if !known {
            let what = format!("the resource type {} (line {})", declared.kind, declared.line);
            return Err(ServiceError::not_simulated(what));
        }
    }
    let needed: BTreeSet<&str> = template
        .resources
        .values()
        .filter_map(|declared| {
            let names = |name: &str| declared.properties.as_ref().is_some_and(|node| node.get(name).is_some());
            Type::find(&declared.kind)?.capability(names)
        })
        .collect();
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let lacking = if needed.contains("CAPABILITY_NAMED_IAM") {
        (!has("CAPABILITY_NAMED_IAM")).then_some("CAPABILITY_NAMED_IAM")
    } else {
        let any = has("CAPABILITY_NAMED_IAM") || has("CAPABILITY_IAM");
        (!needed.is_empty() && !any).then_some("CAPABILITY_IAM")
    };
    if let Some(lacking) = lacking {
        let message = format!("Requires capabilities : [{lacking}]");
        return Err(ServiceError::new("InsufficientCapabilitiesException", message));
    }
    let shared = std::cell::RefCell::new(world);
    let ssm = |name: &str| stack::ssm_parameter(&mut shared.borrow_mut(), actor, account, region, name);
    let parameters =
        template::parameter::resolve_all(&template.parameters, &given, &ssm).map_err(|error| refused(&error))?;
    Ok(Plan { body: body.to_owned(), template: Arc::new(template), given, parameters, tags, capabilities })
}

/// Whom a stack acts as: the role it was given, or its caller.
fn actor(world: &mut World, call: &Call, role: Option<&str>) -> Result<Principal, ServiceError> {
    let Some(role) = role else { return Ok(call.principal.clone()) };
    let service = Principal::Service { name: "cloudformation.amazonaws.com".to_owned() };
    assume(world, &service, role, "AWSCloudFormation", &call.region)
}

/// A session of a role, if `caller` may assume it.
fn assume(
    world: &mut World,
    caller: &Principal,
    role: &str,
    session: &str,
    region: &Region,
) -> Result<Principal, ServiceError> {
    let not_a_role = || invalid(format_args!("{role} is not the ARN of a role"));
    let mut parts = role.splitn(6, ':').skip(4);
    let account = parts.next().and_then(AccountId::new).ok_or_else(not_a_role)?;
    let name = parts.next().and_then(|resource| resource.strip_prefix("role/")).ok_or_else(not_a_role)?;
    let input = json!({"RoleArn": role, "RoleSessionName": session});
    let home = caller.account().cloned().unwrap_or_else(|| account.clone());
    world.call_as(caller, &home, region, "sts", "AssumeRole", input)?;
    let role = name.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Principal::Role { account, role, session: session.to_owned() })
}

/// The values of `Parameters`; `previous` are those that `UsePreviousValue` means.
fn given(input: &Value, previous: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ServiceError> {
    let mut given = BTreeMap::new();
    for parameter in items(input, "Parameters") {
        let name = text(parameter, "ParameterKey").ok_or_else(|| invalid("a parameter without ParameterKey"))?;
        if flag(parameter, "UsePreviousValue") {
            if let Some(value) = previous.get(name) {
                given.insert(name.to_owned(), value.clone());
            }
        } else {
            let value = text(parameter, "ParameterValue").unwrap_or_default();
            given.insert(name.to_owned(), value.to_owned());
        }
    }
    Ok(given)
}

fn create_stack(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "StackName").unwrap_or_default();
    let well_formed = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !well_formed {
        return Err(invalid(format_args!("the stack name {name:?} must match [a-zA-Z][-a-zA-Z0-9]*")));
    }
    if find(world, call, name).is_some() {
        return Err(ServiceError::new("AlreadyExistsException", format!("Stack [{name}] already exists")));
    }
    if flag(input, "UsePreviousTemplate") {
        return Err(invalid("there is no previous template"));
    }
    let rollback = match text(input, "OnFailure") {
        None | Some("ROLLBACK") => !flag(input, "DisableRollback"),
        Some("DO_NOTHING") => false,
        Some(other) => return Err(ServiceError::not_simulated(format_args!("OnFailure {other}"))),
    };
    let role = text(input, "RoleARN");
    let actor = actor(world, call, role)?;
    let body = text(input, "TemplateBody").unwrap_or_default();
    let about = (texts(input, "Capabilities"), input.get("Tags").cloned().unwrap_or_else(|| json!([])));
    let plan = plan(world, &actor, &call.account, &call.region, body, given(input, &BTreeMap::new())?, about)?;
    let id = call.arn("cloudformation", &format!("stack/{name}/{}", world.fresh_uuid()));
    let stack = Stack::new(
        id.clone(),
        name.to_owned(),
        call.account.clone(),
        call.region.clone(),
        actor,
        role.map(str::to_owned),
        plan,
        rollback,
        world.now(),
    );
    stack::create(world, stack, None);
    Ok(json!({"StackId": id}))
}

fn update_stack(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let stack = stack_named(world, call, input)?;
    let (id, former, role) = (stack.id.clone(), stack.plan.clone(), stack.role_arn.clone());
    let updatable = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"].contains(&stack.status.as_str());
    if !updatable {
        return Err(invalid(format_args!("Stack:{id} is in {} state and can not be updated.", stack.status)));
    }
    let role = text(input, "RoleARN").map(str::to_owned).or(role);
    let actor = actor(world, call, role.as_deref())?;
    let body = match text(input, "TemplateBody") {
        Some(body) => body,
        None if flag(input, "UsePreviousTemplate") => &former.body,
        None => return Err(invalid("Either Template URL or Template Body must be specified.")),
    };
    let tags = input.get("Tags").cloned().unwrap_or_else(|| former.tags.clone());
    let about = (texts(input, "Capabilities"), tags);
    let plan = plan(world, &actor, &call.account, &call.region, body, given(input, &former.given)?, about)?;
    if plan.body == former.body && plan.parameters == former.parameters && plan.tags == former.tags {
        return Err(invalid("No updates are to be performed."));
    }
    if let Some(stack) = world.cloudformation.stacks.get_mut(&id) {
        stack.actor = actor;
        stack.role_arn = role;
    }
    stack::update(world, &id, plan, None);
    Ok(json!({"StackId": id}))
}

fn delete_stack(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    // A stack that does not exist is deleted.
    let Ok(stack) = stack_named(world, call, input) else { return Ok(json!({})) };
    if stack.deleted.is_some() {
        return Ok(json!({}));
    }
    if stack.is_busy() && !stack.is_being_created() {
        if stack.status == "DELETE_IN_PROGRESS" {
            return Ok(json!({}));
        }
        return Err(invalid(format_args!("Stack [{}] cannot be deleted while in status {}", stack.name, stack.status)));
    }
    let retain = texts(input, "RetainResources");
    if !retain.is_empty() && stack.status != "DELETE_FAILED" {
        return Err(invalid("RetainResources can be given only for stacks in DELETE_FAILED"));
    }
    let id = stack.id.clone();
    let role = text(input, "RoleARN").map(str::to_owned).or_else(|| stack.role_arn.clone());
    let actor = actor(world, call, role.as_deref())?;
    if let Some(stack) = world.cloudformation.stacks.get_mut(&id) {
        stack.actor = actor;
    }
    stack::delete(world, &id, &retain, None);
    Ok(json!({}))
}

fn describe_stacks(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let stacks: Vec<&Stack> = match text(input, "StackName") {
        Some(_) => vec![stack_named(world, call, input)?],
        None => {
            let here = |stack: &&Stack| {
                stack.account == call.account && stack.region == call.region && stack.deleted.is_none()
            };
            world.cloudformation.stacks.values().filter(here).collect()
        }
    };
    let stacks: Vec<_> = stacks
        .into_iter()
        .map(|stack| {
            let parameters: Vec<_> = stack
                .plan
                .template
                .parameters
                .values()
                .map(|parameter| {
                    let value = stack.plan.given.get(&parameter.name).or(parameter.default.as_ref());
                    let value = if parameter.no_echo { json!("****") } else { json!(value) };
                    json!({"ParameterKey": parameter.name, "ParameterValue": value})
                })
                .collect();
            let outputs: Vec<_> = stack
                .outputs
                .iter()
                .map(|output| {
                    json!({
                        "OutputKey": output.key,
                        "OutputValue": output.value,
                        "Description": output.description,
                        "ExportName": output.export,
                    })
                })
                .collect();
            json!({
                "StackId": stack.id,
                "StackName": stack.name,
                "Description": stack.plan.template.description,
                "Parameters": parameters,
                "CreationTime": iso(stack.created),
                "LastUpdatedTime": stack.updated.map(iso),
                "DeletionTime": stack.deleted.map(iso),
                "StackStatus": stack.status,
                "StackStatusReason": if stack.reason.is_empty() { Value::Null } else { json!(stack.reason) },
                "DisableRollback": !stack.rollback,
                "Capabilities": stack.plan.capabilities,
                "Outputs": outputs,
                "RoleARN": stack.role_arn,
                "Tags": stack.plan.tags,
            })
        })
        .collect();
    Ok(json!({"Stacks": stacks}))
}

/// Does what `aws cloudformation package` does to the templates of this repository: a `Code` that is a path becomes the
/// place in S3 that the artifact was uploaded to.
pub fn package(template: &str, bucket: &str) -> String {
    let lines = template.lines().map(|line| {
        let path = line.trim_start().strip_prefix("Code: ").filter(|path| path.ends_with(".zip"));
        match path {
            Some(path) => {
                let key = path.rsplit('/').next().unwrap_or(path);
                let indent = &line[..line.len() - line.trim_start().len()];
                format!("{indent}Code: {{S3Bucket: {bucket}, S3Key: {key}}}\n")
            }
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// Serves the pre-signed URLs of custom resources; `None` for any other request.
pub(crate) fn serve_unsigned(world: &mut World, request: &WireRequest) -> Option<Served> {
    if !custom_resource::is_answer(request) {
        return None;
    }
    let status = |status| Served::Answer(WireResponse { status, headers: Vec::new(), body: Vec::new() });
    Some(match world.cloudformation.answer_faults.pop_front() {
        None => Served::Answer(custom_resource::serve(world, request)),
        Some(Fault::Throttle | Fault::ServerError) => status(503),
        Some(Fault::Timeout) => Served::Silence,
        Some(Fault::Hang) => Served::Never,
        Some(Fault::LostAnswer) => {
            custom_resource::serve(world, request);
            Served::Silence
        }
        Some(Fault::CrashBefore) => Served::Crash,
        Some(Fault::CrashAfter) => {
            custom_resource::serve(world, request);
            Served::Crash
        }
        Some(Fault::Refuse(error)) => status(error.status),
        Some(Fault::Meanwhile(step)) => {
            step(world);
            Served::Answer(custom_resource::serve(world, request))
        }
        // There is nothing in the response of S3 to be altered.
        Some(Fault::Alter(_)) => Served::Answer(custom_resource::serve(world, request)),
    })
}

impl World {
    /// Every request to a custom resource, in order, as its function received it.
    pub fn custom_resource_requests(&self) -> &[Value] {
        &self.cloudformation.sent
    }

    /// Every answer of a custom resource that was taken, in order; CloudFormation reads the first to each request.
    pub fn custom_resource_answers(&self) -> &[Value] {
        &self.cloudformation.answers
    }

    /// Lets faults befall the next answers of custom resources, one each.
    pub fn spoil_custom_resource_answers(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.cloudformation.answer_faults.extend(faults);
    }
}

#[cfg(test)]
mod tests;
