//! Rules and their targets. Whatever becomes of a rule is told to Config, with its targets.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::pattern::EventPattern;
use super::transformer::InputTransformer;
use super::{Bus, PRINCIPAL, SERVICE, add, bus_mut, bus_name, bus_of, listing, no_such_bus, read_pattern};
use crate::World;
use crate::config::{self, items};
use crate::members::{
    arn_parts, check_name, integer, invalid, only, required, tag_map, tags, text, texts, with_request_tags,
    with_resource_tags,
};
use crate::operation::{Access, Call, Operation, ServiceError};
use crate::service_role::pass_role;

/// The default quota of targets of a rule.
const MAX_TARGETS: usize = 5;
/// The default quota of rules of a bus.
const MAX_RULES: usize = 300;
/// The default quota of a pattern's length, in characters.
const MAX_PATTERN: usize = 2_048;

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) arn: String,
    pattern_text: String,
    pub(super) pattern: EventPattern,
    pub(super) enabled: bool,
    description: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) targets: BTreeMap<String, Target>,
}

#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As it was put.
    given: Value,
    pub(super) arn: String,
    pub(super) role: Option<String>,
    pub(super) input: TargetInput,
    pub(super) dead_letters: Option<String>,
    pub(super) retries: u32,
    pub(super) max_age: SignedDuration,
    /// What the target `arn`, a cluster, is to run.
    pub(super) task: Option<Task>,
}

/// `EcsParameters` of a target.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) definition: String,
    pub(super) count: i64,
    pub(super) launch_type: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum TargetInput {
    WholeEvent,
    Constant(String),
    Part(InputTransformer),
}

pub(super) fn operations() -> Vec<Operation> {
    /// Authorizes an action on the rule of `$member`.
    macro_rules! on_rule {
        ($name:literal, $member:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: None,
                authorize: |world, call, input| {
                    let rule = rule_arn(call, input, $member)?;
                    let mut access =
                        with_request_tags(Access::new(concat!("events:", $name), rule), &tags(input, "Tags"));
                    let bus = world.events.buses.get(&bus_of(call, input, "EventBusName"));
                    if let Some(rule) = text(input, $member).and_then(|name| bus?.rules.get(name)) {
                        access = with_resource_tags(access, &rule.tags);
                    }
                    let mut needed = vec![];
                    for target in targets(input) {
                        access = access.with("events:TargetArn", text(target, "Arn").unwrap_or_default());
                        needed.extend(text(target, "RoleArn").map(|role| pass_role(role, PRINCIPAL)));
                    }
                    needed.push(access);
                    Ok(needed)
                },
                handle: $handle,
            }
        };
    }
    vec![
        on_rule!(
            "PutRule",
            "Name",
            &["Name", "EventPattern", "State", "Description", "Tags", "EventBusName"],
            put_rule
        ),
        on_rule!("DescribeRule", "Name", &["Name", "EventBusName"], |world, call, input| {
            let (bus, name) = (bus_of(call, input, "EventBusName"), required(input, "Name")?);
            let mut output = describe(rule_mut(world, &bus, name)?, name, &bus);
            output["CreatedBy"] = json!(call.account.as_str());
            Ok(output)
        }),
        on_rule!("DeleteRule", "Name", &["Name", "EventBusName", "Force"], |world, call, input| {
            let (arn, name) = (bus_of(call, input, "EventBusName"), required(input, "Name")?);
            let bus = bus_mut(world, &arn)?;
            if bus.rules.get(name).is_some_and(|rule| !rule.targets.is_empty()) {
                return Err(invalid("Rule can't be deleted since it has targets."));
            }
            // A rule that does not exist is deleted (API reference, DeleteRule).
            if let Some(rule) = bus.rules.remove(name) {
                config::record(world, &call.account, &call.region, item(&rule, name, &arn).deleted());
            }
            Ok(json!({}))
        }),
        on_rule!("EnableRule", "Name", &["Name", "EventBusName"], |world, call, input| {
            rule_mut(world, &bus_of(call, input, "EventBusName"), required(input, "Name")?)?.enabled = true;
            record(world, call, input, "Name");
            Ok(json!({}))
        }),
        on_rule!("DisableRule", "Name", &["Name", "EventBusName"], |world, call, input| {
            rule_mut(world, &bus_of(call, input, "EventBusName"), required(input, "Name")?)?.enabled = false;
            record(world, call, input, "Name");
            Ok(json!({}))
        }),
        on_rule!("PutTargets", "Rule", &["Rule", "EventBusName", "Targets"], put_targets),
        on_rule!("RemoveTargets", "Rule", &["Rule", "EventBusName", "Ids", "Force"], |world, call, input| {
            let rule = rule_mut(world, &bus_of(call, input, "EventBusName"), required(input, "Rule")?)?;
            for id in texts(input, "Ids") {
                rule.targets.remove(id);
            }
            record(world, call, input, "Rule");
            Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
        }),
        on_rule!("ListTargetsByRule", "Rule", &["Rule", "EventBusName", "NextToken", "Limit"], |world, call, input| {
            let rule = rule_mut(world, &bus_of(call, input, "EventBusName"), required(input, "Rule")?)?;
            let targets: Vec<Value> = rule.targets.values().map(|target| target.given.clone()).collect();
            listing(&targets, "Targets", input)
        }),
        Operation {
            service: &SERVICE,
            name: "ListRules",
            members: &["NamePrefix", "EventBusName", "NextToken", "Limit"],
            http: None,
            authorize: |_, call, input| Ok(vec![Access::new("events:ListRules", any_rule(call, input))]),
            handle: |world, call, input| {
                let arn = bus_of(call, input, "EventBusName");
                let prefix = text(input, "NamePrefix").unwrap_or_default();
                let rules = &bus_mut(world, &arn)?.rules;
                let rules: Vec<Value> = rules
                    .iter()
                    .filter(|(name, _)| name.starts_with(prefix))
                    .map(|(name, rule)| describe(rule, name, &arn))
                    .collect();
                listing(&rules, "Rules", input)
            },
        },
        Operation {
            service: &SERVICE,
            name: "ListRuleNamesByTarget",
            members: &["TargetArn", "EventBusName", "NextToken", "Limit"],
            http: None,
            authorize: |_, call, input| Ok(vec![Access::new("events:ListRuleNamesByTarget", any_rule(call, input))]),
            handle: |world, call, input| {
                let target = required(input, "TargetArn")?;
                let rules = &bus_mut(world, &bus_of(call, input, "EventBusName"))?.rules;
                let names: Vec<Value> = rules
                    .iter()
                    .filter(|(_, rule)| rule.targets.values().any(|other| other.arn == target))
                    .map(|(name, _)| json!(name))
                    .collect();
                listing(&names, "RuleNames", input)
            },
        },
    ]
}

fn targets(input: &Value) -> &[Value] {
    input.get("Targets").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The ARN of the rule that `member` names on the bus that is meant.
fn rule_arn(call: &Call, input: &Value, member: &str) -> Result<String, ServiceError> {
    let bus = bus_of(call, input, "EventBusName");
    match arn_parts(&bus) {
        Some(("events", region, account, _)) if region == call.region.as_str() && account == call.account.as_str() => {}
        _ => {
            return Err(ServiceError::not_simulated(format_args!(
                "rules on the bus {bus} of another account or region"
            )));
        }
    }
    let name = required(input, member)?;
    Ok(match bus_name(&bus) {
        "default" => call.arn("events", &format!("rule/{name}")),
        bus => call.arn("events", &format!("rule/{bus}/{name}")),
    })
}

fn any_rule(call: &Call, input: &Value) -> String {
    match bus_name(&bus_of(call, input, "EventBusName")) {
        "default" => call.arn("events", "rule/*"),
        bus => call.arn("events", &format!("rule/{bus}/*")),
    }
}

fn rule_mut<'a>(world: &'a mut World, bus: &str, name: &str) -> Result<&'a mut Rule, ServiceError> {
    if !world.events.has_bus(bus) {
        return Err(no_such_bus(bus));
    }
    bus_mut(world, bus)?.rules.get_mut(name).ok_or_else(|| {
        ServiceError::new(
            "ResourceNotFoundException",
            format!("Rule {name} does not exist on EventBus {}.", bus_name(bus)),
        )
    })
}

fn describe(rule: &Rule, name: &str, bus: &str) -> Value {
    let mut output = json!({
        "Name": name, "Arn": rule.arn, "EventPattern": rule.pattern_text, "EventBusName": bus_name(bus),
        "State": if rule.enabled { "ENABLED" } else { "DISABLED" },
    });
    add(&mut output, "Description", rule.description.as_deref());
    output
}

/// What Config makes of a rule.
fn item(rule: &Rule, name: &str, bus: &str) -> items::Item {
    let targets = rule.targets.values().map(|target| target.given.clone()).collect();
    items::rule(&describe(rule, name, bus), &targets).with_tags(rule.tags.clone())
}

/// Tells Config of the rule that `member` names.
fn record(world: &mut World, call: &Call, input: &Value, member: &str) {
    let (bus, name) = (bus_of(call, input, "EventBusName"), text(input, member).unwrap_or_default());
    let rule = world.events.buses.get(&bus).and_then(|known| known.rules.get(name));
    if let Some(item) = rule.map(|rule| item(rule, name, &bus)) {
        config::record(world, &call.account, &call.region, item);
    }
}

fn put_rule(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    check_name("the rule name", name, ".-_", 64)?;
    let arn = rule_arn(call, input, "Name")?;
    let Some(pattern_text) = text(input, "EventPattern") else {
        return Err(invalid("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    };
    let length = pattern_text.chars().count();
    if length > MAX_PATTERN {
        let message = format!("Event pattern is too long: {length} characters, at most {MAX_PATTERN}");
        return Err(ServiceError::new("LimitExceededException", message));
    }
    let pattern = read_pattern(pattern_text)?;
    let enabled = match text(input, "State").unwrap_or("ENABLED") {
        "ENABLED" => true,
        "DISABLED" => false,
        other => return Err(ServiceError::not_simulated(format_args!("the rule state {other}"))),
    };
    let bus: &mut Bus = bus_mut(world, &bus_of(call, input, "EventBusName"))?;
    let before = bus.rules.remove(name);
    if before.is_none() && bus.rules.len() >= MAX_RULES {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ServiceError::new("LimitExceededException", message));
    }
    let (tags, targets) = match before {
        // "If you are updating an existing rule, any tags you specify in the PutRule operation are ignored."
        Some(before) => (before.tags, before.targets),
        None => (tags(input, "Tags"), BTreeMap::new()),
    };
    let rule = Rule {
        arn: arn.clone(),
        pattern_text: pattern_text.to_owned(),
        pattern,
        enabled,
        description: text(input, "Description").map(str::to_owned),
        tags,
        targets,
    };
    bus.rules.insert(name.to_owned(), rule);
    record(world, call, input, "Name");
    Ok(json!({"RuleArn": arn}))
}

fn put_targets(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let targets =
        targets(input).iter().map(|target| read_target(call, target)).collect::<Result<Vec<(String, Target)>, _>>()?;
    if targets.is_empty() {
        return Err(invalid("Targets is required"));
    }
    let rule = rule_mut(world, &bus_of(call, input, "EventBusName"), required(input, "Rule")?)?;
    let mut all = rule.targets.clone();
    all.extend(targets);
    if all.len() > MAX_TARGETS {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ServiceError::new("LimitExceededException", message));
    }
    rule.targets = all;
    record(world, call, input, "Rule");
    Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
}

fn read_target(call: &Call, target: &Value) -> Result<(String, Target), ServiceError> {
    const MEMBERS: [&str; 9] = [
        "Id",
        "Arn",
        "RoleArn",
        "Input",
        "InputPath",
        "InputTransformer",
        "DeadLetterConfig",
        "RetryPolicy",
        "EcsParameters",
    ];
    only(target, "a target", &MEMBERS)?;
    let (id, arn) = (required(target, "Id")?, required(target, "Arn")?);
    check_name("the target id", id, ".-_", 64)?;
    let here = (call.region.as_str(), call.account.as_str());
    let role = text(target, "RoleArn").map(str::to_owned);
    let inputs =
        ["Input", "InputPath", "InputTransformer"].into_iter().filter(|name| target.get(name).is_some()).count();
    match arn_parts(arn) {
        Some(("sqs" | "lambda", region, account, _)) => {
            if region != here.0 || account != here.1 {
                return Err(ServiceError::not_simulated(format_args!("the target {arn} in another account or region")));
            }
            if role.is_some() {
                return Err(ServiceError::not_simulated(format_args!("a role for the target {arn}")));
            }
        }
        Some(("events", region, account, resource)) if resource.starts_with("event-bus/") => {
            if role.is_none() {
                return Err(invalid(format!("RoleArn is required for target {id}.")));
            }
            if (region, account) != here && inputs > 0 {
                return Err(invalid(format!(
                    "Input, InputPath and InputTransformer are not supported for target {id}."
                )));
            }
        }
        Some(("ecs", region, account, resource)) if resource.starts_with("cluster/") => {
            if (region, account) != here || inputs > 0 {
                return Err(ServiceError::not_simulated(format_args!(
                    "the target {arn} in another account or region, or with overrides"
                )));
            }
            if role.is_none() {
                return Err(invalid(format!("RoleArn is required for target {id}.")));
            }
        }
        None => return Err(invalid("Parameter Arn is not valid. Reason: Provided Arn is not in correct format.")),
        Some(_) => return Err(ServiceError::not_simulated(format_args!("the target {arn}"))),
    }
    if inputs > 1 {
        return Err(invalid(format!("Only one of Input, InputPath and InputTransformer can be set for target {id}.")));
    }
    let dead_letters = match target.get("DeadLetterConfig") {
        Some(config) => {
            only(config, "DeadLetterConfig", &["Arn"])?;
            let queue = text(config, "Arn").unwrap_or_default();
            match arn_parts(queue) {
                Some(("sqs", region, ..)) if region == here.0 => Some(queue.to_owned()),
                _ => return Err(invalid(format!("{queue} is not a queue of the rule's region"))),
            }
        }
        None => None,
    };
    let retry = target.get("RetryPolicy").cloned().unwrap_or_else(|| json!({}));
    only(&retry, "RetryPolicy", &["MaximumRetryAttempts", "MaximumEventAgeInSeconds"])?;
    let target = Target {
        arn: arn.to_owned(),
        role,
        input: read_input(id, target)?,
        dead_letters,
        retries: integer(&retry, "MaximumRetryAttempts", 0..=185)?.unwrap_or(185) as u32,
        max_age: SignedDuration::from_secs(integer(&retry, "MaximumEventAgeInSeconds", 60..=86_400)?.unwrap_or(86_400)),
        task: read_task(id, arn, target)?,
        given: target.clone(),
    };
    Ok((id.to_owned(), target))
}

/// What a cluster runs for an event. A task definition is not looked for: neither does EventBridge.
fn read_task(id: &str, arn: &str, target: &Value) -> Result<Option<Task>, ServiceError> {
    let is_cluster = arn_parts(arn).is_some_and(|(service, ..)| service == "ecs");
    match target.get("EcsParameters") {
        Some(parameters) if is_cluster => {
            only(parameters, "EcsParameters", &["TaskDefinitionArn", "TaskCount", "LaunchType"])?;
            Ok(Some(Task {
                definition: required(parameters, "TaskDefinitionArn")?.to_owned(),
                count: integer(parameters, "TaskCount", 1..=10)?.unwrap_or(1),
                launch_type: text(parameters, "LaunchType").map(str::to_owned),
            }))
        }
        None if !is_cluster => Ok(None),
        _ => Err(invalid(format!("EcsParameters of target {id} and its Arn {arn} do not go together."))),
    }
}

fn read_input(id: &str, target: &Value) -> Result<TargetInput, ServiceError> {
    let refuse = |reason: String| invalid(format!("Invalid input for target {id} : {reason}."));
    if let Some(constant) = text(target, "Input") {
        serde_json::from_str::<Value>(constant).map_err(|error| refuse(error.to_string()))?;
        return Ok(TargetInput::Constant(constant.to_owned()));
    }
    if let Some(path) = text(target, "InputPath") {
        let paths = BTreeMap::from([("part".to_owned(), path.to_owned())]);
        return InputTransformer::new(&paths, "<part>")
            .map(TargetInput::Part)
            .map_err(|error| refuse(error.to_string()));
    }
    if let Some(transformer) = target.get("InputTransformer") {
        only(transformer, "InputTransformer", &["InputPathsMap", "InputTemplate"])?;
        let paths = tag_map(transformer, "InputPathsMap");
        let template = required(transformer, "InputTemplate")?;
        return InputTransformer::new(&paths, template)
            .map(TargetInput::Part)
            .map_err(|error| refuse(error.to_string()));
    }
    Ok(TargetInput::WholeEvent)
}
