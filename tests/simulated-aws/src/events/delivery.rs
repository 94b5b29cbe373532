//! The way of an event from a bus to the targets of its rules.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::rule::{Target, TargetInput};
use super::transformer::RuleContext;
use super::{PRINCIPAL, bus_access, no_such_bus, put_context};
use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::members::{arn_parts, invalid, text};
use crate::operation::{Access, ServiceError};
use crate::{lambda, service_role, sqs};

/// An event for one target.
#[derive(Debug, Clone)]
struct Delivery {
    rule_arn: String,
    rule_name: String,
    target: Target,
    event: Value,
    /// When the bus received the event.
    received: Timestamp,
    attempts: u32,
}

/// An event reaches a bus. One that a rule of another bus sent (`forwarded`) is not sent on to a third bus: "EventBridge
/// can't route events received from a sender event bus to a third event bus."
pub(super) fn arrive(world: &mut World, bus: &str, event: &Value, forwarded: bool) {
    let Some(state) = world.events.buses.get(bus) else { return };
    let received = world.now();
    let matching = state.rules.iter().filter(|(_, rule)| rule.enabled && rule.pattern.matches(event));
    let deliveries: Vec<Delivery> = matching
        .flat_map(|(name, rule)| {
            rule.targets.values().map(|target| Delivery {
                rule_arn: rule.arn.clone(),
                rule_name: name.clone(),
                target: target.clone(),
                event: event.clone(),
                received,
                attempts: 0,
            })
        })
        .collect();
    for delivery in deliveries {
        if forwarded && is_bus(&delivery.target.arn) {
            let reason = invalid("An event that came from another event bus is not sent to a third one.");
            world.note_undelivered(&delivery.rule_arn, &delivery.target.arn, &reason);
            continue;
        }
        for late in world.arrivals() {
            let delivery = delivery.clone();
            world.after(late, move |world| attempt(world, delivery));
        }
    }
}

fn is_bus(arn: &str) -> bool {
    arn_parts(arn).is_some_and(|(service, ..)| service == "events")
}

fn attempt(world: &mut World, mut delivery: Delivery) {
    delivery.attempts += 1;
    if world.fails_delivery() {
        let next = world.now() + backoff(delivery.attempts);
        let error = ServiceError::new("THROTTLING", "The target is overloaded.");
        if delivery.attempts > delivery.target.retries {
            return give_up(world, &delivery, &error, Some("MaximumRetryAttempts"));
        }
        if next > delivery.received + delivery.target.max_age {
            return give_up(world, &delivery, &error, Some("MaximumEventAgeInSeconds"));
        }
        return world.at(next, move |world| attempt(world, delivery));
    }
    if let Err(error) = deliver(world, &delivery) {
        give_up(world, &delivery, &error, None);
    }
}

/// "exponential back off": doubling from a second to an hour.
pub(crate) fn backoff(attempts: u32) -> SignedDuration {
    SignedDuration::from_secs(1 << attempts.saturating_sub(1).min(11)).min(SignedDuration::from_hours(1))
}

fn deliver(world: &mut World, delivery: &Delivery) -> Result<(), ServiceError> {
    let Delivery { rule_arn, target, event, .. } = delivery;
    let payload = match &target.input {
        TargetInput::WholeEvent => event.to_string(),
        TargetInput::Constant(constant) => constant.clone(),
        TargetInput::Part(transformer) => {
            let context = RuleContext { rule_arn, rule_name: &delivery.rule_name, ingestion_time: delivery.received };
            transformer.apply(event, context).map_err(|error| ServiceError::new("INVALID_JSON", error.to_string()))?
        }
    };
    let service = Principal::Service { name: PRINCIPAL.to_owned() };
    match arn_parts(&target.arn) {
        Some(("sqs", ..)) => {
            send_as_service(world, &service, rule_arn, &target.arn, &payload, BTreeMap::new())?;
        }
        Some(("lambda", ..)) => {
            let access = from_rule(lambda::access(world, "lambda:InvokeFunction", &target.arn)?, rule_arn);
            crate::iam::authorize(world, &service, &access)?;
            let payload = serde_json::from_str(&payload).unwrap_or(Value::String(payload));
            lambda::invoke_async(world, &target.arn, payload)?;
        }
        Some(("events", ..)) => forward(world, delivery)?,
        Some(("ecs", ..)) => run_tasks(world, delivery)?,
        _ => return Err(ServiceError::not_simulated(format_args!("the target {}", target.arn))),
    }
    Ok(())
}

/// Sends the event to another bus, with the role of the target.
fn forward(world: &mut World, delivery: &Delivery) -> Result<(), ServiceError> {
    let (target, event) = (&delivery.target, &delivery.event);
    let role = target.role.as_ref().ok_or_else(|| invalid("RoleArn is required"))?;
    let principal = service_role::assume(world, PRINCIPAL, role, &delivery.rule_arn)?;
    if !world.events.has_bus(&target.arn) {
        return Err(no_such_bus(&target.arn));
    }
    let access = bus_access(world, "events:PutEvents", &target.arn)?.with("events:eventBusInvocation", "true");
    let access = put_context(access, text(event, "source"), text(event, "detail-type"));
    crate::iam::authorize(world, &principal, &access)?;
    let (bus, event) = (target.arn.clone(), event.clone());
    world.after(SignedDuration::ZERO, move |world| arrive(world, &bus, &event, true));
    Ok(())
}

/// Runs the tasks of the target in its cluster, with the role of the target.
fn run_tasks(world: &mut World, delivery: &Delivery) -> Result<(), ServiceError> {
    let Delivery { target, rule_arn, rule_name, .. } = delivery;
    let (Some(task), Some(role)) = (&target.task, &target.role) else {
        return Err(invalid("EcsParameters and RoleArn are required"));
    };
    let (_, region, account, _) = arn_parts(&target.arn).unwrap_or_default();
    let (Some(account), Some(region)) = (AccountId::new(account), Region::new(region)) else {
        return Err(invalid(format!("{} is not the ARN of a cluster", target.arn)));
    };
    let principal = service_role::assume(world, PRINCIPAL, role, rule_arn)?;
    let mut input = json!({
        "cluster": target.arn, "taskDefinition": task.definition, "count": task.count,
        "startedBy": format!("events-rule/{rule_name}"),
    });
    if let Some(launch_type) = &task.launch_type {
        input["launchType"] = json!(launch_type);
    }
    world.call_as(&principal, &account, &region, "ecs", "RunTask", input).map(drop)
}

/// The condition keys of a call that a rule makes.
fn from_rule(access: Access, rule_arn: &str) -> Access {
    let (_, _, account, _) = arn_parts(rule_arn).unwrap_or_default();
    access.with("aws:SourceArn", rule_arn).with("aws:SourceAccount", account)
}

fn send_as_service(
    world: &mut World,
    service: &Principal,
    rule_arn: &str,
    queue: &str,
    body: &str,
    attributes: BTreeMap<String, String>,
) -> Result<(), ServiceError> {
    let access = from_rule(sqs::access(world, "sqs:SendMessage", queue)?, rule_arn);
    crate::iam::authorize(world, service, &access)?;
    if sqs::closed_to_services(world, queue) {
        let message = format!("{PRINCIPAL} may not use the key of the encrypted queue {queue}");
        return Err(ServiceError::new("KMS.AccessDeniedException", message));
    }
    sqs::send(world, queue, service, body, attributes, None)?;
    Ok(())
}

fn give_up(world: &mut World, delivery: &Delivery, error: &ServiceError, exhausted: Option<&str>) {
    world.note_undelivered(&delivery.rule_arn, &delivery.target.arn, error);
    let Some(queue) = &delivery.target.dead_letters else { return };
    // User guide, "Using dead-letter queues to process undelivered events".
    let mut attributes = BTreeMap::from([
        ("RULE_ARN".to_owned(), delivery.rule_arn.clone()),
        ("TARGET_ARN".to_owned(), delivery.target.arn.clone()),
        ("ERROR_CODE".to_owned(), error.code.clone()),
        ("ERROR_MESSAGE".to_owned(), error.message.clone()),
        ("RETRY_ATTEMPTS".to_owned(), delivery.attempts.saturating_sub(1).to_string()),
    ]);
    attributes.extend(exhausted.map(|condition| ("EXHAUSTED_RETRY_CONDITION".to_owned(), condition.to_owned())));
    let service = Principal::Service { name: PRINCIPAL.to_owned() };
    let body = delivery.event.to_string();
    if let Err(error) = send_as_service(world, &service, &delivery.rule_arn, queue, &body, attributes) {
        world.note_undelivered(&delivery.rule_arn, queue, &error);
    }
}
