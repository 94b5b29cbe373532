//! Amazon EventBridge: buses, rules, and the delivery of events.
//!
//! An event that reaches a bus is held against the patterns of its rules; for each target of a rule that matches, a
//! delivery is made, which is authorized as AWS authorizes it: by the queue's or function's policy for
//! `events.amazonaws.com` with the rule as `aws:SourceArn`, or for a bus by the rights of the target's role and the
//! receiving bus's policy. What is refused there is not retried but goes to the target's dead-letter queue.
//!
//! (EventBridge User Guide and API reference.) Schedules, archives, replays, partner sources, customer-managed keys and
//! targets other than queues, functions, buses and tasks in ECS clusters are refused by name.

pub(crate) mod delivery;
pub mod pattern;
mod rule;
#[cfg(test)]
pub(crate) mod tests;
pub mod transformer;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::pattern::EventPattern;
use self::rule::Rule;
use crate::World;
use crate::delivery::DeliveryFaults;
use crate::identity::{AccountId, Region};
use crate::members::{
    arn_parts, check_name, integer, invalid, only, required, tag_list, tags, text, texts, with_resource_tags,
};
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError, epoch};
use crate::paging::page;

static SERVICE: Service = Service {
    signing_name: "events",
    model: "events",
    protocol: Protocol::AwsJson { target_prefix: "AWSEvents", version: "1.1" },
};

/// The service principal that delivers.
const PRINCIPAL: &str = "events.amazonaws.com";
/// The longest policy of a bus, in characters.
const MAX_POLICY: usize = 10_240;
/// The largest `PutEvents`: 1 MiB.
const MAX_PUT: usize = 1_048_576;

/// The state of Amazon EventBridge in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By ARN. The default buses come into being when something is put on them.
    buses: BTreeMap<String, Bus>,
    pub(crate) faults: DeliveryFaults,
    undelivered: Vec<Undelivered>,
}

#[derive(Debug, Clone)]
struct Bus {
    description: Option<String>,
    tags: BTreeMap<String, String>,
    statements: Vec<Value>,
    rules: BTreeMap<String, Rule>,
    created: Timestamp,
    modified: Timestamp,
}

/// Something that did not reach its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Undelivered {
    /// When it was given up.
    pub at: Timestamp,
    /// The ARN of the rule, schedule, function or mapping that was to deliver it.
    pub source: String,
    /// The ARN of the target.
    pub target: String,
    /// Why, as AWS words it.
    pub reason: ServiceError,
}

/// An event that an AWS service publishes about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEvent {
    /// Such as `aws.ecs`.
    pub source: String,
    /// Such as `AWS API Call via CloudTrail`.
    pub detail_type: String,
    /// The ARNs it is about.
    pub resources: Vec<String>,
    /// When what it tells of happened.
    pub time: Timestamp,
    /// The `detail` object.
    pub detail: Value,
}

impl World {
    /// Publishes an event of an AWS service on the default bus of an account and region: best effort, as
    /// [`DeliveryFaults`] has it.
    pub fn emit(&mut self, account: &AccountId, region: &Region, event: ServiceEvent) {
        if self.loses_service_event() {
            return;
        }
        let event = json!({
            "version": "0", "id": self.fresh_uuid(), "detail-type": event.detail_type, "source": event.source,
            "account": account.as_str(), "time": seconds(event.time), "region": region.as_str(),
            "resources": event.resources, "detail": event.detail,
        });
        let bus = bus_arn(account, region, "default");
        for late in self.arrivals() {
            let (bus, event) = (bus.clone(), event.clone());
            self.after(late, move |world| delivery::arrive(world, &bus, &event, false));
        }
    }

    /// What did not reach its target, whether or not it went to a dead-letter queue, in order.
    pub fn undelivered(&self) -> &[Undelivered] {
        &self.events.undelivered
    }

    pub(crate) fn note_undelivered(&mut self, source: &str, target: &str, reason: &ServiceError) {
        let (at, reason) = (self.now(), reason.clone());
        let undelivered = Undelivered { at, source: source.to_owned(), target: target.to_owned(), reason };
        self.events.undelivered.push(undelivered);
    }

    /// The names of the buses that were made in an account and region, in order.
    pub fn event_bus_names(&self, account: &AccountId, region: &Region) -> Vec<String> {
        let prefix = bus_arn(account, region, "");
        self.events
            .buses
            .keys()
            .filter_map(|arn| arn.strip_prefix(&prefix))
            .filter(|name| *name != "default")
            .map(str::to_owned)
            .collect()
    }
}

/// A time as events carry it: whole seconds.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn bus_arn(account: &AccountId, region: &Region, name: &str) -> String {
    format!("arn:aws:events:{region}:{account}:event-bus/{name}")
}

fn bus_name(arn: &str) -> &str {
    arn.split_once('/').map_or("default", |(_, name)| name)
}

/// The ARN of the bus that `member` means: a name, an ARN, or nothing for the default bus.
fn bus_of(call: &Call, input: &Value, member: &str) -> String {
    match text(input, member) {
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        name => bus_arn(&call.account, &call.region, name.unwrap_or("default")),
    }
}

fn no_such_bus(arn: &str) -> ServiceError {
    ServiceError::new("ResourceNotFoundException", format!("Event bus {} does not exist.", bus_name(arn)))
}

impl State {
    fn has_bus(&self, arn: &str) -> bool {
        self.buses.contains_key(arn) || bus_name(arn) == "default"
    }

    /// `null` while nothing was permitted.
    fn policy(&self, arn: &str) -> Value {
        match self.buses.get(arn) {
            Some(bus) if !bus.statements.is_empty() => json!({"Version": "2012-10-17", "Statement": bus.statements}),
            _ => Value::Null,
        }
    }
}

/// The bus, to change it. Default buses are there from the beginning.
fn bus_mut<'a>(world: &'a mut World, arn: &str) -> Result<&'a mut Bus, ServiceError> {
    let now = world.now();
    if !world.events.has_bus(arn) {
        return Err(no_such_bus(arn));
    }
    Ok(world.events.buses.entry(arn.to_owned()).or_insert_with(|| Bus {
        description: None,
        tags: BTreeMap::new(),
        statements: Vec::new(),
        rules: BTreeMap::new(),
        created: now,
        modified: now,
    }))
}

/// What a principal needs for an action on a bus, with the bus's policy.
fn bus_access(world: &World, action: &str, arn: &str) -> Result<Access, ServiceError> {
    let owner =
        arn_parts(arn).and_then(|(_, _, account, _)| AccountId::new(account)).ok_or_else(|| no_such_bus(arn))?;
    let mut access = Access::new(action, arn);
    if let Some(bus) = world.events.buses.get(arn) {
        access = with_resource_tags(access, &bus.tags);
    }
    access.resource_policy = Some((owner, world.events.policy(arn)));
    Ok(access)
}

pub(crate) fn operations() -> Vec<Operation> {
    /// Authorizes an action on the bus that `$member` means.
    macro_rules! on_bus {
        ($name:literal, $member:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: None,
                authorize: |world, call, input| {
                    let access = bus_access(world, concat!("events:", $name), &bus_of(call, input, $member))?;
                    Ok(vec![crate::members::with_request_tags(access, &tags(input, "Tags"))])
                },
                handle: $handle,
            }
        };
    }
    /// Authorizes an action on the resource of `ResourceARN`.
    macro_rules! on_tags {
        ($name:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: None,
                authorize: |_, _, input| {
                    let access = Access::new(concat!("events:", $name), text(input, "ResourceARN").unwrap_or("*"));
                    Ok(vec![crate::members::with_request_tags(access, &tags(input, "Tags"))])
                },
                handle: $handle,
            }
        };
    }
    let mut operations = vec![
        on_bus!("CreateEventBus", "Name", &["Name", "Description", "Tags"], create_event_bus),
        on_bus!("UpdateEventBus", "Name", &["Name", "Description"], |world, call, input| {
            let (now, arn) = (world.now(), bus_of(call, input, "Name"));
            let bus = bus_mut(world, &arn)?;
            bus.description = text(input, "Description").map(str::to_owned);
            bus.modified = now;
            let mut output = json!({"Arn": arn, "Name": bus_name(&arn)});
            add(&mut output, "Description", bus.description.as_deref());
            Ok(output)
        }),
        on_bus!("DeleteEventBus", "Name", &["Name"], |world, call, input| {
            let arn = bus_of(call, input, "Name");
            if bus_name(&arn) == "default" {
                return Err(invalid("Cannot delete event bus default."));
            }
            if world.events.buses.get(&arn).is_some_and(|bus| !bus.rules.is_empty()) {
                return Err(invalid(format!("Event bus {} cannot be deleted since it has rules.", bus_name(&arn))));
            }
            world.events.buses.remove(&arn);
            Ok(json!({}))
        }),
        on_bus!("DescribeEventBus", "Name", &["Name"], |world, call, input| {
            let arn = bus_of(call, input, "Name");
            bus_mut(world, &arn)?;
            Ok(describe_bus(&world.events, &arn))
        }),
        Operation {
            service: &SERVICE,
            name: "ListEventBuses",
            members: &["NamePrefix", "NextToken", "Limit"],
            http: None,
            authorize: |_, _, _| Ok(vec![Access::new("events:ListEventBuses", "*")]),
            handle: |world, call, input| {
                bus_mut(world, &bus_arn(&call.account, &call.region, "default"))?;
                let prefix = bus_arn(&call.account, &call.region, text(input, "NamePrefix").unwrap_or_default());
                let state = &world.events;
                let buses: Vec<Value> = state
                    .buses
                    .keys()
                    .filter(|arn| arn.starts_with(&prefix))
                    .map(|arn| describe_bus(state, arn))
                    .collect();
                listing(&buses, "EventBuses", input)
            },
        },
        on_bus!(
            "PutPermission",
            "EventBusName",
            &["EventBusName", "Action", "Principal", "StatementId", "Condition", "Policy"],
            put_permission
        ),
        on_bus!(
            "RemovePermission",
            "EventBusName",
            &["EventBusName", "StatementId", "RemoveAllPermissions"],
            |world, call, input| {
                let bus = bus_mut(world, &bus_of(call, input, "EventBusName"))?;
                let before = bus.statements.len();
                if input.get("RemoveAllPermissions").and_then(Value::as_bool) == Some(true) {
                    bus.statements.clear();
                    return Ok(json!({}));
                }
                bus.statements.retain(|statement| text(statement, "Sid") != text(input, "StatementId"));
                if bus.statements.len() == before {
                    let message = "Statement with the provided id does not exist.";
                    return Err(ServiceError::new("ResourceNotFoundException", message));
                }
                Ok(json!({}))
            }
        ),
        Operation {
            service: &SERVICE,
            name: "PutEvents",
            members: &["Entries"],
            http: None,
            authorize: authorize_put_events,
            handle: put_events,
        },
        Operation {
            service: &SERVICE,
            name: "TestEventPattern",
            members: &["EventPattern", "Event"],
            http: None,
            authorize: |_, _, _| Ok(vec![Access::new("events:TestEventPattern", "*")]),
            handle: |_, _, input| {
                let pattern = read_pattern(required(input, "EventPattern")?)?;
                let event: Value = serde_json::from_str(required(input, "Event")?)
                    .map_err(|error| invalid(format!("Parameter Event is not valid. Reason: {error}")))?;
                Ok(json!({"Result": pattern.matches(&event)}))
            },
        },
        on_tags!("ListTagsForResource", &["ResourceARN"], |world, _, input| {
            Ok(json!({"Tags": tag_list(tagged(world, input)?)}))
        }),
        on_tags!("TagResource", &["ResourceARN", "Tags"], |world, _, input| {
            tagged(world, input)?.extend(tags(input, "Tags"));
            Ok(json!({}))
        }),
        on_tags!("UntagResource", &["ResourceARN", "TagKeys"], |world, _, input| {
            let keys = texts(input, "TagKeys");
            tagged(world, input)?.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        }),
    ];
    operations.extend(rule::operations());
    operations
}

fn add(output: &mut Value, member: &str, value: Option<&str>) {
    if let Some(value) = value {
        output[member] = json!(value);
    }
}

fn listing(items: &[Value], member: &str, input: &Value) -> Result<Value, ServiceError> {
    let size = integer(input, "Limit", 1..=100)?.unwrap_or(100) as usize;
    let (items, next) = page(items, text(input, "NextToken"), size, "ValidationException")?;
    let mut output = json!({member: items});
    add(&mut output, "NextToken", next.as_deref());
    Ok(output)
}

fn read_pattern(text: &str) -> Result<EventPattern, ServiceError> {
    EventPattern::parse(text).map_err(|error| ServiceError::new("InvalidEventPatternException", error.to_string()))
}

fn describe_bus(state: &State, arn: &str) -> Value {
    let mut output = json!({"Name": bus_name(arn), "Arn": arn});
    if let Some(bus) = state.buses.get(arn) {
        add(&mut output, "Description", bus.description.as_deref());
        output["CreationTime"] = epoch(bus.created);
        output["LastModifiedTime"] = epoch(bus.modified);
        if !bus.statements.is_empty() {
            output["Policy"] = json!(state.policy(arn).to_string());
        }
    }
    output
}

fn create_event_bus(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = required(input, "Name")?;
    check_name("the bus name", name, ".-_", 256)?;
    let arn = bus_arn(&call.account, &call.region, name);
    // The default bus counts as one that is there.
    if name == "default" || world.events.has_bus(&arn) {
        let message = format!("Event bus {name} already exists.");
        return Err(ServiceError::new("ResourceAlreadyExistsException", message));
    }
    let (now, description) = (world.now(), text(input, "Description").map(str::to_owned));
    let mut output = json!({"EventBusArn": arn});
    add(&mut output, "Description", description.as_deref());
    let tags = tags(input, "Tags");
    let bus = Bus { description, tags, statements: vec![], rules: BTreeMap::new(), created: now, modified: now };
    world.events.buses.insert(arn, bus);
    Ok(output)
}

fn put_permission(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = bus_of(call, input, "EventBusName");
    let bus = bus_mut(world, &arn)?;
    let statements = if let Some(policy) = text(input, "Policy") {
        if ["Action", "Principal", "StatementId", "Condition"].iter().any(|member| input.get(member).is_some()) {
            return Err(invalid("Policy cannot be combined with Action, Principal, StatementId or Condition."));
        }
        let malformed = || invalid("Parameter Policy is not valid. Reason: The policy is malformed.");
        let policy: Value = serde_json::from_str(policy).map_err(|_| malformed())?;
        match policy.get("Statement") {
            Some(Value::Array(statements)) => statements.clone(),
            Some(statement @ Value::Object(_)) => vec![statement.clone()],
            _ => return Err(malformed()),
        }
    } else {
        let (id, principal) = (required(input, "StatementId")?, required(input, "Principal")?);
        let principal =
            if principal == "*" { json!("*") } else { json!({"AWS": format!("arn:aws:iam::{principal}:root")}) };
        let mut statement = json!({
            "Sid": id, "Effect": "Allow", "Principal": principal, "Action": required(input, "Action")?, "Resource": arn,
        });
        if let Some(condition) = input.get("Condition") {
            only(condition, "Condition", &["Type", "Key", "Value"])?;
            let (kind, key) = (required(condition, "Type")?, required(condition, "Key")?);
            statement["Condition"] = json!({kind: {key: required(condition, "Value")?}});
        }
        let mut statements = bus.statements.clone();
        statements.retain(|other| text(other, "Sid") != Some(id));
        statements.push(statement);
        statements
    };
    let length = json!({"Version": "2012-10-17", "Statement": statements}).to_string().chars().count();
    if length > MAX_POLICY {
        let message = format!("The policy has {length} characters; at most {MAX_POLICY} are allowed.");
        return Err(ServiceError::new("PolicyLengthExceededException", message));
    }
    bus.statements = statements;
    Ok(json!({}))
}

/// The tags of the bus or rule of `ResourceARN`.
fn tagged<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut BTreeMap<String, String>, ServiceError> {
    let arn = text(input, "ResourceARN").unwrap_or_default();
    let missing = || ServiceError::new("ResourceNotFoundException", format!("{arn} does not exist."));
    match arn_parts(arn) {
        Some(("events", _, _, resource)) if resource.starts_with("event-bus/") => Ok(&mut bus_mut(world, arn)?.tags),
        Some(("events", ..)) => {
            let mut rules = world.events.buses.values_mut().flat_map(|bus| bus.rules.values_mut());
            Ok(&mut rules.find(|rule| rule.arn == arn).ok_or_else(missing)?.tags)
        }
        _ => Err(missing()),
    }
}

fn entries(input: &Value) -> &[Value] {
    input.get("Entries").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One access for each bus, with the sources and detail types of all entries for it.
fn authorize_put_events(world: &World, call: &Call, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let mut needed: BTreeMap<String, Access> = BTreeMap::new();
    if entries(input).is_empty() {
        return Ok(vec![Access::new("events:PutEvents", "*")]);
    }
    for entry in entries(input) {
        let arn = bus_of(call, entry, "EventBusName");
        let access = match needed.remove(&arn) {
            Some(access) => access,
            None => bus_access(world, "events:PutEvents", &arn)?.with("events:eventBusInvocation", "false"),
        };
        needed.insert(arn, put_context(access, text(entry, "Source"), text(entry, "DetailType")));
    }
    Ok(needed.into_values().collect())
}

fn put_context(mut access: Access, source: Option<&str>, detail_type: Option<&str>) -> Access {
    for (key, value) in [("events:source", source), ("events:detail-type", detail_type)] {
        if let Some(value) = value {
            access = access.with(key, value);
        }
    }
    access
}

fn put_events(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let entries = entries(input);
    if entries.is_empty() || entries.len() > 10 {
        return Err(invalid(format!(
            "1 validation error detected: Value '{}' at 'entries' failed to satisfy constraint: Member must have length between 1 and 10",
            entries.len()
        )));
    }
    let size: usize = entries.iter().map(entry_size).sum();
    if size > MAX_PUT {
        return Err(invalid("Total size of the entries in the request is over the limit."));
    }
    let (mut answers, mut failed) = (vec![], 0);
    for entry in entries {
        only(entry, "a PutEvents entry", &["Time", "Source", "Resources", "DetailType", "Detail", "EventBusName"])?;
        let bus = bus_of(call, entry, "EventBusName");
        if arn_parts(&bus).is_none_or(|(_, region, ..)| region != call.region.as_str()) {
            return Err(ServiceError::not_simulated(format_args!("PutEvents on the bus {bus} of another region")));
        }
        match read_entry(world, call, entry) {
            Ok(event) => {
                answers.push(json!({"EventId": event["id"]}));
                if world.events.has_bus(&bus) {
                    world.after(jiff::SignedDuration::ZERO, move |world| delivery::arrive(world, &bus, &event, false));
                } else {
                    world.note_undelivered(&call.principal.arn(), &bus, &no_such_bus(&bus));
                }
            }
            Err(error) => {
                failed += 1;
                answers.push(json!({"ErrorCode": error.code, "ErrorMessage": error.message}));
            }
        }
    }
    Ok(json!({"FailedEntryCount": failed, "Entries": answers}))
}

/// "Calculating PutEvents event entry size" of the user guide.
fn entry_size(entry: &Value) -> usize {
    let texts = ["Source", "DetailType", "Detail"].into_iter().filter_map(|name| text(entry, name)).map(str::len);
    let time = if entry.get("Time").is_some() { 14 } else { 0 };
    time + texts.sum::<usize>() + self::texts(entry, "Resources").into_iter().map(str::len).sum::<usize>()
}

fn read_entry(world: &mut World, call: &Call, entry: &Value) -> Result<Value, ServiceError> {
    let member = |name: &str| {
        text(entry, name).filter(|text| !text.is_empty()).ok_or_else(|| {
            let message = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
            ServiceError::new("InvalidArgument", message)
        })
    };
    let (source, detail_type, detail) = (member("Source")?, member("DetailType")?, member("Detail")?);
    if source.starts_with("aws.") {
        return Err(ServiceError::new("NotAuthorizedForSourceException", "Not authorized for the source."));
    }
    let detail: Value = serde_json::from_str(detail)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| ServiceError::new("MalformedDetail", "Detail is malformed."))?;
    let time = entry.get("Time").and_then(Value::as_f64).and_then(|time| Timestamp::from_second(time as i64).ok());
    Ok(json!({
        "version": "0", "id": world.fresh_uuid(), "detail-type": detail_type, "source": source,
        "account": call.account.as_str(), "time": seconds(time.unwrap_or(world.now())), "region": call.region.as_str(),
        "resources": texts(entry, "Resources"), "detail": detail,
    }))
}
