//! EventBridge Scheduler: groups, schedules and their invocations.
//!
//! A schedule calls its target with its execution role and all of the target's own authorization: `PutEvents` on a bus,
//! `Invoke` of a function (templated or universal target), `SendMessage` to a queue. What fails goes to the schedule's
//! dead-letter queue, with the same role. Invocations come at least once ([`crate::DeliveryFaults`]).
//!
//! (EventBridge Scheduler User Guide and API reference.) Flexible windows, `cron(…)`, zones other than UTC, keys and other
//! targets are refused by name.

pub mod expression;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::expression::{ExpressionError, ScheduleExpression};
use crate::World;
use crate::behaviours::PastSchedule;
use crate::events::delivery::backoff;
use crate::identity::{AccountId, Principal, Region};
use crate::members::{
    arn_parts, check_name, integer, invalid, only, required, tag_list, tags, text, texts, with_request_tags,
    with_resource_tags,
};
use crate::operation::{Access, Call, Http, Operation, Protocol, QueryKind, Service, ServiceError, epoch};
use crate::paging::page;
use crate::service_role::{assume, pass_role};

static SERVICE: Service = Service { signing_name: "scheduler", model: "scheduler", protocol: Protocol::RestJson };

/// The service principal that invokes.
const PRINCIPAL: &str = "scheduler.amazonaws.com";
/// The ARN of the universal target that invokes a function.
const UNIVERSAL_INVOKE: &str = "arn:aws:scheduler:::aws-sdk:lambda:invoke";

/// The state of EventBridge Scheduler in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By ARN. The default groups are there from the beginning and not in here.
    groups: BTreeMap<String, Group>,
    /// By ARN, which holds the group's name.
    schedules: BTreeMap<String, Schedule>,
}

#[derive(Debug, Clone)]
struct Group {
    tags: BTreeMap<String, String>,
    token: Option<String>,
    created: Timestamp,
    modified: Timestamp,
    deleting: bool,
}

#[derive(Debug, Clone)]
struct Schedule {
    /// The members of `CreateSchedule` as they were given, without the token.
    given: serde_json::Map<String, Value>,
    token: Option<String>,
    expression: ScheduleExpression,
    created: Timestamp,
    modified: Timestamp,
    /// Which schedule of this name it is: a deletion that is under way concerns no later one.
    identity: u64,
    /// Which version of it: invocations that were planned for an earlier one are off.
    version: u64,
}

impl Schedule {
    fn target(&self, member: &str) -> Option<&str> {
        text(self.given.get("Target")?, member)
    }

    fn enabled(&self) -> bool {
        self.given.get("State").and_then(Value::as_str) != Some("DISABLED")
    }

    fn time(&self, member: &str) -> Option<Timestamp> {
        Timestamp::from_second(self.given.get(member)?.as_f64()? as i64).ok()
    }
}

fn conflict(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ConflictException", message).with_status(409)
}

fn missing(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ResourceNotFoundException", message).with_status(404)
}

fn group_name(input: &Value) -> &str {
    text(input, "GroupName").unwrap_or("default")
}

fn group_arn(call: &Call, name: &str) -> String {
    call.arn("scheduler", &format!("schedule-group/{name}"))
}

fn schedule_arn(call: &Call, input: &Value) -> String {
    call.arn("scheduler", &format!("schedule/{}/{}", group_name(input), text(input, "Name").unwrap_or_default()))
}

/// Group and name of a schedule's ARN.
fn names(arn: &str) -> (&str, &str) {
    let (_, _, _, resource) = arn_parts(arn).unwrap_or_default();
    resource.strip_prefix("schedule/").and_then(|names| names.split_once('/')).unwrap_or_default()
}

impl World {
    /// The names of the schedule groups that were made in an account and region, in order.
    pub fn schedule_group_names(&self, account: &AccountId, region: &Region) -> Vec<String> {
        let prefix = format!("arn:aws:scheduler:{region}:{account}:schedule-group/");
        self.scheduler.groups.keys().filter_map(|arn| arn.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// The schedules of a group, each with its next time if it has one, in the order of their names.
    pub fn schedules_in(&self, account: &AccountId, region: &Region, group: &str) -> Vec<(String, String)> {
        let prefix = format!("arn:aws:scheduler:{region}:{account}:schedule/{group}/");
        let schedules = self.scheduler.schedules.iter();
        schedules
            .filter_map(|(arn, schedule)| {
                let expression = schedule.given.get("ScheduleExpression").and_then(Value::as_str).unwrap_or_default();
                Some((arn.strip_prefix(&prefix)?.to_owned(), expression.to_owned()))
            })
            .collect()
    }
}

const SCHEDULE: &[&str] = &[
    "Name",
    "GroupName",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "EndDate",
    "Description",
    "State",
    "Target",
    "FlexibleTimeWindow",
    "ClientToken",
    "ActionAfterCompletion",
];

pub(crate) fn operations() -> Vec<Operation> {
    /// Authorizes an action on the schedule of `GroupName` and `Name`, and the role that the target is given.
    macro_rules! on_schedule {
        ($name:literal, $method:literal, $query:expr, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http { query: $query, ..Http::new($method, "/schedules/{Name}") }),
                authorize: |world, call, input| {
                    let access = Access::new(concat!("scheduler:", $name), schedule_arn(call, input));
                    let group = world.scheduler.groups.get(&group_arn(call, group_name(input)));
                    let mut needed = vec![match group {
                        Some(group) => with_resource_tags(access, &group.tags),
                        None => access,
                    }];
                    if let Some(role) = input.get("Target").and_then(|target| text(target, "RoleArn")) {
                        needed.push(pass_role(role, PRINCIPAL));
                    }
                    Ok(needed)
                },
                handle: $handle,
            }
        };
    }
    macro_rules! on_group {
        ($name:literal, $method:literal, $query:expr, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http { query: $query, ..Http::new($method, "/schedule-groups/{Name}") }),
                authorize: |world, call, input| {
                    let arn = group_arn(call, text(input, "Name").unwrap_or_default());
                    Ok(vec![group_access(world, concat!("scheduler:", $name), &arn, input)])
                },
                handle: $handle,
            }
        };
    }
    macro_rules! on_tags {
        ($name:literal, $method:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http {
                    query: &[("TagKeys", "TagKeys", QueryKind::List)],
                    ..Http::new($method, "/tags/{ResourceArn+}")
                }),
                authorize: |world, _, input| {
                    let arn = text(input, "ResourceArn").unwrap_or("*");
                    Ok(vec![group_access(world, concat!("scheduler:", $name), arn, input)])
                },
                handle: $handle,
            }
        };
    }
    const IN_GROUP: &[(&str, &str, QueryKind)] =
        &[("groupName", "GroupName", QueryKind::Text), ("clientToken", "ClientToken", QueryKind::Text)];
    vec![
        on_schedule!("CreateSchedule", "POST", &[], SCHEDULE, create_schedule),
        on_schedule!("UpdateSchedule", "PUT", &[], SCHEDULE, update_schedule),
        on_schedule!("GetSchedule", "GET", IN_GROUP, &["Name", "GroupName"], |world, call, input| {
            let arn = schedule_arn(call, input);
            let schedule = world.scheduler.schedules.get(&arn).ok_or_else(|| no_such_schedule(input))?;
            let mut output = schedule.given.clone();
            output.extend([
                ("Arn".to_owned(), json!(arn)),
                ("CreationDate".to_owned(), epoch(schedule.created)),
                ("LastModificationDate".to_owned(), epoch(schedule.modified)),
            ]);
            Ok(Value::Object(output))
        }),
        on_schedule!(
            "DeleteSchedule",
            "DELETE",
            IN_GROUP,
            &["Name", "GroupName", "ClientToken"],
            |world, call, input| {
                let removed = world.scheduler.schedules.remove(&schedule_arn(call, input));
                removed.map(|_| json!({})).ok_or_else(|| no_such_schedule(input))
            }
        ),
        Operation {
            service: &SERVICE,
            name: "ListSchedules",
            members: &["GroupName", "NamePrefix", "State", "NextToken", "MaxResults"],
            http: Some(Http {
                query: &[
                    ("ScheduleGroup", "GroupName", QueryKind::Text),
                    ("NamePrefix", "NamePrefix", QueryKind::Text),
                    ("State", "State", QueryKind::Text),
                    ("NextToken", "NextToken", QueryKind::Text),
                    ("MaxResults", "MaxResults", QueryKind::Integer),
                ],
                ..Http::new("GET", "/schedules")
            }),
            authorize: |_, call, input| {
                let group = text(input, "GroupName").unwrap_or("*");
                Ok(vec![Access::new("scheduler:ListSchedules", call.arn("scheduler", &format!("schedule/{group}/*")))])
            },
            handle: list_schedules,
        },
        on_group!("CreateScheduleGroup", "POST", &[], &["Name", "Tags", "ClientToken"], create_group),
        on_group!("GetScheduleGroup", "GET", &[], &["Name"], |world, call, input| {
            let arn = group_arn(call, text(input, "Name").unwrap_or_default());
            describe_group(world, &arn).ok_or_else(|| missing(format!("Schedule group {arn} does not exist.")))
        }),
        on_group!(
            "DeleteScheduleGroup",
            "DELETE",
            &[("clientToken", "ClientToken", QueryKind::Text)],
            &["Name", "ClientToken"],
            delete_group
        ),
        Operation {
            service: &SERVICE,
            name: "ListScheduleGroups",
            members: &["NamePrefix", "NextToken", "MaxResults"],
            http: Some(Http {
                query: &[
                    ("NamePrefix", "NamePrefix", QueryKind::Text),
                    ("NextToken", "NextToken", QueryKind::Text),
                    ("MaxResults", "MaxResults", QueryKind::Integer),
                ],
                ..Http::new("GET", "/schedule-groups")
            }),
            authorize: |_, call, _| Ok(vec![Access::new("scheduler:ListScheduleGroups", group_arn(call, "*"))]),
            handle: |world, call, input| {
                let prefix = group_arn(call, text(input, "NamePrefix").unwrap_or_default());
                let default = group_arn(call, "default");
                let mut arns: Vec<&String> = world.scheduler.groups.keys().chain([&default]).collect();
                arns.retain(|arn| arn.starts_with(&prefix));
                arns.sort();
                let groups: Vec<Value> = arns.into_iter().filter_map(|arn| describe_group(world, arn)).collect();
                listing(&groups, "ScheduleGroups", input)
            },
        },
        on_tags!("ListTagsForResource", "GET", &["ResourceArn"], |world, _, input| {
            Ok(json!({"Tags": tag_list(tagged(world, input)?)}))
        }),
        on_tags!("TagResource", "POST", &["ResourceArn", "Tags"], |world, _, input| {
            tagged(world, input)?.extend(tags(input, "Tags"));
            Ok(json!({}))
        }),
        on_tags!("UntagResource", "DELETE", &["ResourceArn", "TagKeys"], |world, _, input| {
            let keys = texts(input, "TagKeys");
            tagged(world, input)?.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        }),
    ]
}

fn group_access(world: &World, action: &str, arn: &str, input: &Value) -> Access {
    let access = with_request_tags(Access::new(action, arn), &tags(input, "Tags"));
    match world.scheduler.groups.get(arn) {
        Some(group) => with_resource_tags(access, &group.tags),
        None => access,
    }
}

fn listing(items: &[Value], member: &str, input: &Value) -> Result<Value, ServiceError> {
    let size = integer(input, "MaxResults", 1..=100)?.unwrap_or(100) as usize;
    let (items, next) = page(items, text(input, "NextToken"), size, "ValidationException")?;
    let mut output = json!({member: items});
    if let Some(next) = next {
        output["NextToken"] = json!(next);
    }
    Ok(output)
}

fn no_such_schedule(input: &Value) -> ServiceError {
    missing(format!("Schedule {} does not exist.", text(input, "Name").unwrap_or_default()))
}

fn tagged<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut BTreeMap<String, String>, ServiceError> {
    let arn = text(input, "ResourceArn").unwrap_or_default();
    let group =
        world.scheduler.groups.get_mut(arn).ok_or_else(|| missing(format!("Resource {arn} does not exist.")))?;
    Ok(&mut group.tags)
}

fn check_token(input: &Value) -> Result<Option<String>, ServiceError> {
    let token = text(input, "ClientToken");
    token.map(|token| check_name("the ClientToken", token, "-_", 64)).transpose()?;
    Ok(token.map(str::to_owned))
}

fn describe_group(world: &World, arn: &str) -> Option<Value> {
    let name = arn.rsplit('/').next().unwrap_or_default();
    match world.scheduler.groups.get(arn) {
        Some(group) => Some(json!({
            "Arn": arn, "Name": name, "State": if group.deleting { "DELETING" } else { "ACTIVE" },
            "CreationDate": epoch(group.created), "LastModificationDate": epoch(group.modified),
        })),
        None if name == "default" => Some(json!({"Arn": arn, "Name": name, "State": "ACTIVE"})),
        None => None,
    }
}

fn create_group(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    check_name("the group name", name, "-_.", 64)?;
    let (arn, token) = (group_arn(call, name), check_token(input)?);
    if name == "default" {
        return Err(conflict("Schedule group default already exists."));
    }
    if let Some(group) = world.scheduler.groups.get(&arn) {
        if token.is_some() && group.token == token && !group.deleting {
            return Ok(json!({"ScheduleGroupArn": arn}));
        }
        return Err(conflict(format!("Schedule group {name} already exists.")));
    }
    let now = world.now();
    let group = Group { tags: tags(input, "Tags"), token, created: now, modified: now, deleting: false };
    world.scheduler.groups.insert(arn.clone(), group);
    Ok(json!({"ScheduleGroupArn": arn}))
}

/// The group is `DELETING` for a while, in which its schedules may still fire; then it and they are gone.
fn delete_group(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    let arn = group_arn(call, name);
    if name == "default" {
        return Err(invalid("The default schedule group cannot be deleted."));
    }
    let now = world.now();
    let Some(group) = world.scheduler.groups.get_mut(&arn) else {
        return Err(missing(format!("Schedule group {name} does not exist.")));
    };
    if group.deleting {
        return Err(conflict(format!("Schedule group {name} is being deleted.")));
    }
    group.deleting = true;
    group.modified = now;
    let schedules = call.arn("scheduler", &format!("schedule/{name}/"));
    world.after(world.behaviours.schedule_group_deletion_takes, move |world| {
        world.scheduler.groups.remove(&arn);
        world.scheduler.schedules.retain(|schedule, _| !schedule.starts_with(&schedules));
    });
    Ok(json!({}))
}

fn list_schedules(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let prefix = match text(input, "GroupName") {
        Some(group) => {
            if describe_group(world, &group_arn(call, group)).is_none() {
                return Err(missing(format!("Schedule group {group} does not exist.")));
            }
            call.arn("scheduler", &format!("schedule/{group}/"))
        }
        None => call.arn("scheduler", "schedule/"),
    };
    let (name_prefix, state) = (text(input, "NamePrefix").unwrap_or_default(), text(input, "State"));
    let schedules: Vec<Value> = world
        .scheduler
        .schedules
        .iter()
        .filter(|(arn, _)| arn.starts_with(&prefix) && names(arn).1.starts_with(name_prefix))
        .map(|(arn, schedule)| {
            let (group, name) = names(arn);
            json!({
                "Arn": arn, "Name": name, "GroupName": group, "State": schedule.given.get("State"),
                "CreationDate": epoch(schedule.created), "LastModificationDate": epoch(schedule.modified),
                "Target": {"Arn": schedule.target("Arn")},
            })
        })
        .filter(|summary| state.is_none_or(|state| text(summary, "State") == Some(state)))
        .collect();
    listing(&schedules, "Schedules", input)
}

/// Checks what `CreateSchedule` and `UpdateSchedule` are given; what is left out takes its default.
fn read_schedule(
    world: &World,
    call: &Call,
    input: &Value,
) -> Result<(serde_json::Map<String, Value>, ScheduleExpression), ServiceError> {
    check_name("the schedule name", required(input, "Name")?, "-_.", 64)?;
    check_name("the group name", group_name(input), "-_.", 64)?;
    let expression =
        ScheduleExpression::parse(required(input, "ScheduleExpression")?, text(input, "ScheduleExpressionTimezone"))
            .map_err(|error| match error {
                ExpressionError::Unsupported(what) => ServiceError::not_simulated(what),
                ExpressionError::Invalid(_) => invalid(error.to_string()),
            })?;
    let window = input.get("FlexibleTimeWindow").ok_or_else(|| invalid("FlexibleTimeWindow is required"))?;
    match text(window, "Mode") {
        Some("OFF") => only(window, "FlexibleTimeWindow", &["Mode"])?,
        mode => return Err(ServiceError::not_simulated(format_args!("the FlexibleTimeWindow mode {mode:?}"))),
    }
    for (member, values) in [("State", ["ENABLED", "DISABLED"]), ("ActionAfterCompletion", ["NONE", "DELETE"])] {
        if let Some(value) = text(input, member).filter(|value| !values.contains(value)) {
            return Err(invalid(format!("{member} cannot be {value}")));
        }
    }
    let group = describe_group(world, &group_arn(call, group_name(input)));
    let group = group.ok_or_else(|| missing(format!("Schedule group {} does not exist.", group_name(input))))?;
    if text(&group, "State") == Some("DELETING") {
        return Err(conflict(format!("Schedule group {} is being deleted.", group_name(input))));
    }
    if let ScheduleExpression::At(at) = expression
        && at <= world.now()
        && world.behaviours.past_schedule == PastSchedule::Rejected
    {
        return Err(invalid(format!(
            "Invalid Schedule Expression {}: the time is in the past.",
            text(input, "ScheduleExpression").unwrap_or_default()
        )));
    }
    let target = input.get("Target").ok_or_else(|| invalid("Target is required"))?;
    check_target(target)?;
    // User guide, "Confused deputy prevention": the source is the schedule's group.
    assume(world, PRINCIPAL, required(target, "RoleArn")?, &group_arn(call, group_name(input))).map_err(|_| {
        invalid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")
    })?;
    let mut given = input.as_object().cloned().unwrap_or_default();
    given.remove("ClientToken");
    for (member, default) in [
        ("GroupName", "default"),
        ("State", "ENABLED"),
        ("ActionAfterCompletion", "NONE"),
        ("ScheduleExpressionTimezone", "UTC"),
    ] {
        given.entry(member).or_insert(json!(default));
    }
    if let Some(target) = given.get_mut("Target").filter(|target| target.get("RetryPolicy").is_none()) {
        target["RetryPolicy"] = json!({"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185});
    }
    Ok((given, expression))
}

fn check_target(target: &Value) -> Result<(), ServiceError> {
    only(target, "Target", &["Arn", "RoleArn", "DeadLetterConfig", "RetryPolicy", "Input", "EventBridgeParameters"])?;
    let arn = required(target, "Arn")?;
    let parameters = target.get("EventBridgeParameters");
    let input = text(target, "Input");
    match arn_parts(arn) {
        _ if arn == UNIVERSAL_INVOKE => {
            let request: Value =
                serde_json::from_str(input.unwrap_or("{}")).map_err(|error| invalid(error.to_string()))?;
            only(&request, "the Input of lambda:invoke", &["FunctionName", "InvocationType", "Payload"])?;
            required(&request, "FunctionName")?;
        }
        Some(("events", _, _, resource)) if resource.starts_with("event-bus/") => {
            let parameters =
                parameters.ok_or_else(|| invalid("EventBridgeParameters is required for an event bus."))?;
            only(parameters, "EventBridgeParameters", &["DetailType", "Source"])?;
            let (detail_type, source) = (required(parameters, "DetailType")?, required(parameters, "Source")?);
            if detail_type.len() > 128 || source.len() > 256 || source.starts_with("aws.") {
                return Err(invalid("EventBridgeParameters are not valid."));
            }
            let detail = input.map(serde_json::from_str::<Value>);
            if !matches!(detail, Some(Ok(Value::Object(_)))) {
                return Err(invalid("Input must be a JSON object for an event bus."));
            }
        }
        Some(("lambda" | "sqs", ..)) => {}
        _ => return Err(ServiceError::not_simulated(format_args!("the target {arn}"))),
    }
    if let Some(config) = target.get("DeadLetterConfig") {
        only(config, "DeadLetterConfig", &["Arn"])?;
        if arn_parts(required(config, "Arn")?).is_none_or(|(service, ..)| service != "sqs") {
            return Err(invalid("The dead-letter queue is not a queue."));
        }
    }
    if let Some(retry) = target.get("RetryPolicy") {
        only(retry, "RetryPolicy", &["MaximumEventAgeInSeconds", "MaximumRetryAttempts"])?;
        integer(retry, "MaximumEventAgeInSeconds", 60..=86_400)?;
        integer(retry, "MaximumRetryAttempts", 0..=185)?;
    }
    Ok(())
}

fn create_schedule(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (arn, token) = (schedule_arn(call, input), check_token(input)?);
    let (given, expression) = read_schedule(world, call, input)?;
    if let Some(existing) = world.scheduler.schedules.get(&arn) {
        if token.is_some() && existing.token == token && existing.given == given {
            return Ok(json!({"ScheduleArn": arn}));
        }
        return Err(conflict(format!("Schedule {} already exists.", text(input, "Name").unwrap_or_default())));
    }
    let (now, identity) = (world.now(), world.fresh_number());
    let schedule = Schedule { given, token, expression, created: now, modified: now, identity, version: identity };
    world.scheduler.schedules.insert(arn.clone(), schedule);
    plan_first(world, &arn);
    Ok(json!({"ScheduleArn": arn}))
}

fn update_schedule(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = schedule_arn(call, input);
    check_token(input)?;
    if !world.scheduler.schedules.contains_key(&arn) {
        return Err(no_such_schedule(input));
    }
    let (given, expression) = read_schedule(world, call, input)?;
    let (now, version) = (world.now(), world.fresh_number());
    if let Some(schedule) = world.scheduler.schedules.get_mut(&arn) {
        schedule.given = given;
        schedule.expression = expression;
        schedule.modified = now;
        schedule.version = version;
    }
    plan_first(world, &arn);
    Ok(json!({"ScheduleArn": arn}))
}

/// Plans the first invocation of a new or changed schedule. "If you do not provide a StartDate for a rate-based schedule,
/// your schedule starts invoking the target immediately."
fn plan_first(world: &mut World, arn: &str) {
    let Some(schedule) = world.scheduler.schedules.get(arn) else { return };
    let due = match schedule.expression {
        ScheduleExpression::At(at) => at,
        ScheduleExpression::Rate(_) => schedule.time("StartDate").unwrap_or(world.now()),
    };
    plan(world, arn, due);
}

fn plan(world: &mut World, arn: &str, due: Timestamp) {
    let Some(schedule) = world.scheduler.schedules.get(arn) else { return };
    if !schedule.enabled() {
        return;
    }
    let (version, arn) = (schedule.version, arn.to_owned());
    let mut fires = due;
    if world.behaviours.schedules_fire_at_start_of_minute {
        let second = due.as_second();
        fires = Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(due);
    }
    world.at(fires, move |world| fire(world, &arn, version, due));
}

/// One invocation to be made.
#[derive(Debug, Clone)]
struct Due {
    arn: String,
    schedule: Schedule,
    scheduled: Timestamp,
    started: Timestamp,
    attempts: u32,
}

fn fire(world: &mut World, arn: &str, version: u64, scheduled: Timestamp) {
    let Some(schedule) = world.scheduler.schedules.get(arn).filter(|schedule| schedule.version == version) else {
        return;
    };
    let schedule = schedule.clone();
    let now = world.now();
    let ended = schedule.time("EndDate").is_some_and(|end| now >= end);
    if !ended || matches!(schedule.expression, ScheduleExpression::At(_)) {
        let due = Due { arn: arn.to_owned(), schedule: schedule.clone(), scheduled, started: now, attempts: 0 };
        for late in world.arrivals() {
            let due = due.clone();
            world.after(late, move |world| invoke(world, due));
        }
    }
    match schedule.expression {
        ScheduleExpression::Rate(rate) if !ended => plan(world, arn, scheduled + rate),
        _ => complete(world, arn, &schedule),
    }
}

/// After the last invocation, a schedule with `ActionAfterCompletion: DELETE` is there for a while, then gone, whatever it
/// was updated to meanwhile.
fn complete(world: &mut World, arn: &str, schedule: &Schedule) {
    if schedule.given.get("ActionAfterCompletion").and_then(Value::as_str) != Some("DELETE") {
        return;
    }
    let (arn, identity) = (arn.to_owned(), schedule.identity);
    world.after(world.behaviours.completed_schedule_remains, move |world| {
        if world.scheduler.schedules.get(&arn).is_some_and(|schedule| schedule.identity == identity) {
            world.scheduler.schedules.remove(&arn);
        }
    });
}

fn invoke(world: &mut World, mut due: Due) {
    due.attempts += 1;
    let failure = if world.fails_delivery() {
        let retry = due.schedule.given.get("Target").and_then(|target| target.get("RetryPolicy"));
        let setting = |name: &str| retry.and_then(|retry| retry.get(name)).and_then(Value::as_i64);
        let next = world.now() + backoff(due.attempts);
        let ends = due.started + SignedDuration::from_secs(setting("MaximumEventAgeInSeconds").unwrap_or(86_400));
        if i64::from(due.attempts) <= setting("MaximumRetryAttempts").unwrap_or(185) && next <= ends {
            return world.at(next, move |world| invoke(world, due));
        }
        Err(ServiceError::new("ThrottlingException", "The target is overloaded."))
    } else {
        call_target(world, &due)
    };
    if let Err(error) = failure {
        world.note_undelivered(&due.arn, due.schedule.target("Arn").unwrap_or_default(), &error);
        send_to_dead_letters(world, &due, &error);
    }
}

/// The session of the schedule's role, with the schedule's account and region.
fn execution_role(world: &World, due: &Due) -> Result<(Principal, AccountId, Region), ServiceError> {
    let (_, region, account, _) = arn_parts(&due.arn).unwrap_or_default();
    let (Some(account), Some(region)) = (AccountId::new(account), Region::new(region)) else {
        return Err(invalid(format!("{} is not the ARN of a schedule", due.arn)));
    };
    let role = due.schedule.target("RoleArn").unwrap_or_default();
    let group = format!("arn:aws:scheduler:{region}:{account}:schedule-group/{}", names(&due.arn).0);
    Ok((assume(world, PRINCIPAL, role, &group)?, account, region))
}

fn call_target(world: &mut World, due: &Due) -> Result<(), ServiceError> {
    let (role, account, region) = execution_role(world, due)?;
    let target = due.schedule.target("Arn").unwrap_or_default();
    let execution = world.fresh_uuid();
    // User guide, "Adding context attributes".
    let input = due
        .schedule
        .target("Input")
        .unwrap_or("{}")
        .replace("<aws.scheduler.schedule-arn>", &due.arn)
        .replace("<aws.scheduler.scheduled-time>", &due.scheduled.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .replace("<aws.scheduler.execution-id>", &execution)
        .replace("<aws.scheduler.attempt-number>", &due.attempts.to_string());
    let (service, operation, request) = match arn_parts(target) {
        _ if target == UNIVERSAL_INVOKE => {
            let mut request: Value = serde_json::from_str(&input).map_err(|error| invalid(error.to_string()))?;
            if let Some(payload) = request.get("Payload").filter(|payload| !payload.is_string()).map(Value::to_string) {
                request["Payload"] = json!(payload);
            }
            ("lambda", "Invoke", request)
        }
        Some(("lambda", ..)) => {
            ("lambda", "Invoke", json!({"FunctionName": target, "InvocationType": "Event", "Payload": input}))
        }
        Some(("sqs", region, account, name)) => {
            let url = format!("https://sqs.{region}.amazonaws.com/{account}/{name}");
            ("sqs", "SendMessage", json!({"QueueUrl": url, "MessageBody": input}))
        }
        _ => {
            let parameters = due.schedule.given.get("Target").and_then(|target| target.get("EventBridgeParameters"));
            let parameter = |name| parameters.and_then(|parameters| text(parameters, name));
            let entry = json!({
                "EventBusName": target, "Source": parameter("Source"), "DetailType": parameter("DetailType"),
                "Detail": input, "Resources": [due.arn],
            });
            ("events", "PutEvents", json!({"Entries": [entry]}))
        }
    };
    let output = world.call_as(&role, &account, &region, service, operation, request)?;
    match output.pointer("/Entries/0/ErrorCode").and_then(Value::as_str) {
        Some(code) => Err(ServiceError::new(code, output["Entries"][0]["ErrorMessage"].as_str().unwrap_or_default())),
        None => Ok(()),
    }
}

fn send_to_dead_letters(world: &mut World, due: &Due, error: &ServiceError) {
    let queue = due.schedule.given.get("Target").and_then(|target| text(target.get("DeadLetterConfig")?, "Arn"));
    let Some(queue) = queue else { return };
    let body = due.schedule.target("Input").unwrap_or("{}");
    let attributes = BTreeMap::from([
        ("SCHEDULE_ARN".to_owned(), due.arn.clone()),
        ("TARGET_ARN".to_owned(), due.schedule.target("Arn").unwrap_or_default().to_owned()),
        ("ERROR_CODE".to_owned(), error.code.clone()),
        ("ERROR_MESSAGE".to_owned(), error.message.clone()),
        ("RETRY_ATTEMPTS".to_owned(), due.attempts.saturating_sub(1).to_string()),
    ]);
    let sent = execution_role(world, due).and_then(|(role, ..)| {
        crate::iam::authorize(world, &role, &crate::sqs::access(world, "sqs:SendMessage", queue)?)?;
        crate::sqs::send(world, queue, &role, body, attributes, None)
    });
    if let Err(error) = sent {
        world.note_undelivered(&due.arn, queue, &error);
    }
}
