//! Event source mappings: Lambda takes messages from a queue and invokes a function with batches of them.
//!
//! A mapping looks at its queue when messages become visible and when an invocation of its ends. It acts with the role of
//! the function. A failed batch is left alone until its visibility timeout ends; of a good one what the function did not
//! report is deleted (Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Implementing partial batch responses").

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{SERVICE, function_named, invalid, role_of, start};
use crate::World;
use crate::function::InvocationError;
use crate::identity::Principal;
use crate::members::{arn_parts, integer, only, text, texts};
use crate::operation::{Access, Call, Http, Operation, QueryKind, ServiceError, epoch};
use crate::paging::page;
use crate::sqs::{self, Message};

/// "the payload size of the batch reaches 6 MB": what fits into one invocation.
const MAX_BATCH_BYTES: usize = 6 * 1024 * 1024;
/// Beyond this nothing is said of concurrency; the default quota of a whole account.
const MAX_CONCURRENCY: i64 = 1_000;
/// How long a mapping waits after a refusal before it looks at its queue again.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug, Clone)]
pub(super) struct Mapping {
    queue: String,
    function: String,
    settings: Settings,
    enabled: bool,
    modified: Timestamp,
    last_result: String,
    running: i64,
    /// When the batching window that is open ends.
    window_ends: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Settings {
    batch_size: i64,
    window: SignedDuration,
    reports_failures: bool,
    max_concurrency: Option<i64>,
}

impl Mapping {
    fn describe(&self, uuid: &str) -> Value {
        let (_, region, account, _) = arn_parts(&self.function).unwrap_or_default();
        let reports = if self.settings.reports_failures { json!(["ReportBatchItemFailures"]) } else { json!([]) };
        let mut output = json!({
            "UUID": uuid,
            "EventSourceMappingArn": format!("arn:aws:lambda:{region}:{account}:event-source-mapping:{uuid}"),
            "EventSourceArn": self.queue,
            "FunctionArn": self.function,
            "BatchSize": self.settings.batch_size,
            "MaximumBatchingWindowInSeconds": self.settings.window.as_secs(),
            "FunctionResponseTypes": reports,
            "State": if self.enabled { "Enabled" } else { "Disabled" },
            "StateTransitionReason": "USER_INITIATED",
            "LastModified": epoch(self.modified),
        });
        if let Some(most) = self.settings.max_concurrency {
            output["ScalingConfig"] = json!({"MaximumConcurrency": most});
        }
        if !self.last_result.is_empty() {
            output["LastProcessingResult"] = json!(self.last_result);
        }
        output
    }
}

/// Messages of a queue become visible at `at`: its mappings look at it then.
pub(crate) fn messages_at(world: &mut World, queue: &str, at: Timestamp) {
    let mappings = world.lambda.mappings.iter().filter(|(_, mapping)| mapping.queue == queue);
    let uuids: Vec<String> = mappings.map(|(uuid, _)| uuid.clone()).collect();
    for uuid in uuids {
        world.at(at, move |world| poll(world, &uuid));
    }
}

/// Starts as many invocations as messages and concurrency allow.
fn poll(world: &mut World, uuid: &str) {
    loop {
        let Some(mapping) = world.lambda.mappings.get(uuid).cloned() else { return };
        if !mapping.enabled || mapping.running >= mapping.settings.max_concurrency.unwrap_or(MAX_CONCURRENCY) {
            return;
        }
        let waiting = sqs::visible_messages(world, &mapping.queue) as i64;
        if waiting == 0 {
            return set_window(world, uuid, None);
        }
        let now = world.now();
        if mapping.settings.window > SignedDuration::ZERO && waiting < mapping.settings.batch_size {
            match mapping.window_ends {
                Some(ends) if ends <= now => {}
                Some(_) => return,
                None => {
                    let ends = now + mapping.settings.window;
                    set_window(world, uuid, Some(ends));
                    let uuid = uuid.to_owned();
                    return world.at(ends, move |world| poll(world, &uuid));
                }
            }
        }
        set_window(world, uuid, None);
        if let Err(error) = take_batch(world, uuid, &mapping) {
            if let Some(mapping) = world.lambda.mappings.get_mut(uuid) {
                mapping.last_result = format!("PROBLEM: {}", error.message);
            }
            let uuid = uuid.to_owned();
            return world.after(PAUSE, move |world| poll(world, &uuid));
        }
    }
}

fn set_window(world: &mut World, uuid: &str, ends: Option<Timestamp>) {
    if let Some(mapping) = world.lambda.mappings.get_mut(uuid) {
        mapping.window_ends = ends;
    }
}

fn role(world: &World, mapping: &Mapping) -> Result<Principal, ServiceError> {
    role_of(world.lambda.functions.get(&mapping.function).ok_or_else(|| super::not_found(&mapping.function))?)
}

fn authorize(world: &World, role: &Principal, action: &str, queue: &str) -> Result<(), ServiceError> {
    crate::iam::authorize(world, role, &sqs::access(world, action, queue)?)
}

/// Receives one batch, if there are messages, and invokes the function with it.
fn take_batch(world: &mut World, uuid: &str, mapping: &Mapping) -> Result<(), ServiceError> {
    let role = role(world, mapping)?;
    authorize(world, &role, "sqs:ReceiveMessage", &mapping.queue)?;
    let batch = sqs::receive(world, &mapping.queue, mapping.settings.batch_size as usize, MAX_BATCH_BYTES, None)?;
    if batch.is_empty() {
        return Ok(());
    }
    let (_, region, ..) = arn_parts(&mapping.queue).unwrap_or_default();
    let records: Vec<Value> = batch
        .iter()
        .map(|message| {
            json!({
                "messageId": message.id,
                "receiptHandle": message.receipt,
                "body": message.body,
                "attributes": sqs::system_attributes(message),
                "messageAttributes": {},
                "md5OfBody": sqs::md5_of(&message.body),
                "eventSource": "aws:sqs",
                "eventSourceARN": mapping.queue,
                "awsRegion": region,
            })
        })
        .collect();
    if let Some(mapping) = world.lambda.mappings.get_mut(uuid) {
        mapping.running += 1;
    }
    let (now, request_id, uuid) = (world.now(), world.fresh_uuid(), uuid.to_owned());
    start(world, &mapping.function, now, request_id, json!({"Records": records}), move |world, outcome| {
        finish_batch(world, &uuid, &batch, outcome);
    })
}

fn finish_batch(world: &mut World, uuid: &str, batch: &[Message], outcome: Result<Value, InvocationError>) {
    let Some(mapping) = world.lambda.mappings.get_mut(uuid) else { return };
    mapping.running -= 1;
    let (done, result) = match outcome {
        Err(error) => (Vec::new(), format!("PROBLEM: {error}")),
        Ok(_) if !mapping.settings.reports_failures => (batch.iter().collect(), "OK".to_owned()),
        Ok(response) => match failed_items(&response, batch) {
            Some(failed) => {
                let done = batch.iter().filter(|message| !failed.contains(&message.id.as_str())).collect();
                (done, "OK".to_owned())
            }
            None => (Vec::new(), "PROBLEM: the function's batch response is malformed".to_owned()),
        },
    };
    mapping.last_result = result;
    let mapping = mapping.clone();
    let deleted = role(world, &mapping).and_then(|role| {
        authorize(world, &role, "sqs:DeleteMessage", &mapping.queue)?;
        done.iter().try_for_each(|message: &&Message| sqs::delete(world, &mapping.queue, &message.receipt))
    });
    if let Err(error) = deleted {
        world.note_undelivered(uuid, &mapping.queue, &error);
    }
    poll(world, uuid);
}

/// The message ids that the function reported, or `None` if the whole batch counts as failed.
///
/// As documented, an empty or null list and an empty or null response are complete successes; a response of another form, an empty
/// or null `itemIdentifier`, another key in its place or an id that is not of the batch are complete failures.
fn failed_items<'a>(response: &'a Value, batch: &[Message]) -> Option<Vec<&'a str>> {
    let list = match response {
        Value::Null => return Some(Vec::new()),
        Value::String(text) if text.is_empty() => return Some(Vec::new()),
        Value::Object(members) if members.is_empty() => return Some(Vec::new()),
        Value::Object(members) => members.get("batchItemFailures")?,
        _ => return None,
    };
    match list {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items
            .iter()
            .map(|item| text(item, "itemIdentifier").filter(|id| batch.iter().any(|message| message.id == *id)))
            .collect(),
        _ => None,
    }
}

pub(super) fn operations() -> Vec<Operation> {
    const ROOT: &str = "/2015-03-31/event-source-mappings";
    const ONE: &str = "/2015-03-31/event-source-mappings/{UUID}";
    /// Authorizes an action on the mapping of `UUID`.
    macro_rules! on_mapping {
        ($name:literal, $method:literal, $status:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http { status: $status, ..Http::new($method, ONE) }),
                authorize: |_, call, input| {
                    let uuid = text(input, "UUID").unwrap_or_default();
                    let arn = call.arn("lambda", &format!("event-source-mapping:{uuid}"));
                    Ok(vec![Access::new(concat!("lambda:", $name), arn)])
                },
                handle: $handle,
            }
        };
    }
    vec![
        Operation {
            service: &SERVICE,
            name: "CreateEventSourceMapping",
            members: &[
                "EventSourceArn",
                "FunctionName",
                "Enabled",
                "BatchSize",
                "MaximumBatchingWindowInSeconds",
                "FunctionResponseTypes",
                "ScalingConfig",
            ],
            http: Some(Http { status: 202, ..Http::new("POST", ROOT) }),
            authorize: |_, call, input| {
                let function = function_named(call, text(input, "FunctionName").unwrap_or_default())?;
                Ok(vec![Access::new("lambda:CreateEventSourceMapping", "*").with("lambda:FunctionArn", function)])
            },
            handle: create,
        },
        Operation {
            service: &SERVICE,
            name: "ListEventSourceMappings",
            members: &["EventSourceArn", "FunctionName", "Marker", "MaxItems"],
            http: Some(Http {
                query: &[
                    ("EventSourceArn", "EventSourceArn", QueryKind::Text),
                    ("FunctionName", "FunctionName", QueryKind::Text),
                    ("Marker", "Marker", QueryKind::Text),
                    ("MaxItems", "MaxItems", QueryKind::Integer),
                ],
                ..Http::new("GET", ROOT)
            }),
            authorize: |_, _, _| Ok(vec![Access::new("lambda:ListEventSourceMappings", "*")]),
            handle: list,
        },
        on_mapping!("GetEventSourceMapping", "GET", 200, &["UUID"], |world, _, input| {
            let uuid = text(input, "UUID").unwrap_or_default();
            Ok(world.lambda.mappings.get(uuid).ok_or_else(|| unknown(uuid))?.describe(uuid))
        }),
        on_mapping!("DeleteEventSourceMapping", "DELETE", 202, &["UUID"], |world, _, input| {
            let uuid = text(input, "UUID").unwrap_or_default();
            let mut output = world.lambda.mappings.remove(uuid).ok_or_else(|| unknown(uuid))?.describe(uuid);
            output["State"] = json!("Deleting");
            Ok(output)
        }),
        on_mapping!(
            "UpdateEventSourceMapping",
            "PUT",
            202,
            &[
                "UUID",
                "FunctionName",
                "Enabled",
                "BatchSize",
                "MaximumBatchingWindowInSeconds",
                "FunctionResponseTypes",
                "ScalingConfig"
            ],
            update
        ),
    ]
}

fn unknown(uuid: &str) -> ServiceError {
    ServiceError::new("ResourceNotFoundException", format!("The resource you requested does not exist: {uuid}"))
        .with_status(404)
}

/// The settings that result from `input` over those of before.
fn settings(input: &Value, before: Settings) -> Result<Settings, ServiceError> {
    let number = |name, bounds| integer(input, name, bounds).map_err(|error| invalid(error.message));
    let mut settings = before;
    if let Some(size) = number("BatchSize", 1..=10_000)? {
        settings.batch_size = size;
    }
    if let Some(window) = number("MaximumBatchingWindowInSeconds", 0..=300)? {
        settings.window = SignedDuration::from_secs(window);
    }
    if input.get("FunctionResponseTypes").is_some() {
        settings.reports_failures = texts(input, "FunctionResponseTypes").contains(&"ReportBatchItemFailures");
    }
    if let Some(scaling) = input.get("ScalingConfig") {
        only(scaling, "ScalingConfig", &["MaximumConcurrency"])?;
        settings.max_concurrency =
            integer(scaling, "MaximumConcurrency", 2..=1_000).map_err(|error| invalid(error.message))?;
    }
    if settings.batch_size > 10 && settings.window == SignedDuration::ZERO {
        return Err(invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    Ok(settings)
}

/// What Lambda checks before it takes a mapping: the role's rights and the queue's visibility timeout.
fn check(world: &World, mapping: &Mapping) -> Result<(), ServiceError> {
    let role = role(world, mapping)?;
    for action in ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"] {
        authorize(world, &role, &format!("sqs:{action}"), &mapping.queue).map_err(|error| match error.code.as_str() {
            "QueueDoesNotExist" => invalid(format!(
                "Error occurred while {action}. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: {}",
                error.message
            )),
            _ => invalid(format!("The provided execution role does not have permissions to call {action} on SQS")),
        })?;
    }
    let timeout = world.lambda.functions.get(&mapping.function).map(super::FunctionState::timeout);
    let visibility = sqs::visibility_timeout(world, &mapping.queue);
    if let (Some(timeout), Some(visibility)) = (timeout, visibility)
        && visibility < timeout
    {
        return Err(invalid(format!(
            "Queue visibility timeout: {} seconds is less than Function timeout: {} seconds",
            visibility.as_secs(),
            timeout.as_secs()
        )));
    }
    Ok(())
}

fn create(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let queue = text(input, "EventSourceArn").unwrap_or_default();
    match arn_parts(queue) {
        Some(("sqs", region, ..)) if region == call.region.as_str() => {}
        _ => return Err(ServiceError::not_simulated(format_args!("the event source {queue}"))),
    }
    let function = function_named(call, text(input, "FunctionName").unwrap_or_default())?;
    let default =
        Settings { batch_size: 10, window: SignedDuration::ZERO, reports_failures: false, max_concurrency: None };
    let mapping = Mapping {
        queue: queue.to_owned(),
        function,
        settings: settings(input, default)?,
        enabled: input.get("Enabled").and_then(Value::as_bool).unwrap_or(true),
        modified: world.now(),
        last_result: String::new(),
        running: 0,
        window_ends: None,
    };
    let twin = world
        .lambda
        .mappings
        .iter()
        .find(|(_, other)| other.queue == mapping.queue && other.function == mapping.function);
    if let Some((uuid, _)) = twin {
        let message = format!(
            "An event source mapping with SQS arn (\" {queue} \") and function (\" {} \") already exists. Please update or \
             delete the existing mapping with UUID {uuid}",
            mapping.function
        );
        return Err(ServiceError::new("ResourceConflictException", message).with_status(409));
    }
    check(world, &mapping)?;
    let uuid = world.fresh_uuid();
    let mut output = mapping.describe(&uuid);
    output["State"] = json!("Creating");
    world.lambda.mappings.insert(uuid.clone(), mapping);
    world.after(SignedDuration::ZERO, move |world| poll(world, &uuid));
    Ok(output)
}

fn update(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let uuid = text(input, "UUID").unwrap_or_default().to_owned();
    let mut mapping = world.lambda.mappings.get(&uuid).ok_or_else(|| unknown(&uuid))?.clone();
    mapping.settings = settings(input, mapping.settings)?;
    if let Some(function) = text(input, "FunctionName") {
        mapping.function = function_named(call, function)?;
    }
    if let Some(enabled) = input.get("Enabled").and_then(Value::as_bool) {
        mapping.enabled = enabled;
    }
    mapping.modified = world.now();
    check(world, &mapping)?;
    let mut output = mapping.describe(&uuid);
    output["State"] = json!("Updating");
    world.lambda.mappings.insert(uuid.clone(), mapping);
    world.after(SignedDuration::ZERO, move |world| poll(world, &uuid));
    Ok(output)
}

fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let function = text(input, "FunctionName").map(|name| function_named(call, name)).transpose()?;
    let source = text(input, "EventSourceArn");
    let here = format!("arn:aws:lambda:{}:{}:", call.region, call.account);
    let found: Vec<Value> = world
        .lambda
        .mappings
        .iter()
        .filter(|(_, mapping)| mapping.function.starts_with(&here))
        .filter(|(_, mapping)| function.as_ref().is_none_or(|function| mapping.function == *function))
        .filter(|(_, mapping)| source.is_none_or(|source| mapping.queue == source))
        .map(|(uuid, mapping)| mapping.describe(uuid))
        .collect();
    let size = integer(input, "MaxItems", 1..=10_000).map_err(|error| invalid(error.message))?.unwrap_or(100) as usize;
    let (found, next) = page(&found, text(input, "Marker"), size.min(100), "InvalidParameterValueException")?;
    let mut output = json!({"EventSourceMappings": found});
    if let Some(next) = next {
        output["NextMarker"] = json!(next);
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Lambda Developer Guide, "Implementing partial batch responses": success and failure conditions.
    #[test]
    fn a_batch_response_is_read_as_documented() {
        let aws = crate::SimulatedAws::new(1);
        let account = crate::AccountId::new("111111111111").unwrap();
        let region = crate::Region::new("eu-west-1").unwrap();
        let world = &mut *aws.world();
        world.add_account(&account);
        world.call(&account, &region, "sqs", "CreateQueue", json!({"QueueName": "q"})).unwrap();
        let arn = "arn:aws:sqs:eu-west-1:111111111111:q";
        let sender = Principal::Administrator { account };
        let first = sqs::send(world, arn, &sender, "1", BTreeMap::new(), None).unwrap();
        sqs::send(world, arn, &sender, "2", BTreeMap::new(), None).unwrap();
        let batch = sqs::receive(world, arn, 10, usize::MAX, None).unwrap();
        let none = Some(Vec::new());
        let table = [
            (json!({"batchItemFailures": []}), none.clone()),
            (json!({"batchItemFailures": null}), none.clone()),
            (json!({}), none.clone()),
            (Value::Null, none.clone()),
            (json!(""), none),
            (json!({"batchItemFailures": [{"itemIdentifier": first}]}), Some(vec![first.clone()])),
            (json!({"batchItemFailures": [{"itemIdentifier": ""}]}), None),
            (json!({"batchItemFailures": [{"itemIdentifier": null}]}), None),
            (json!({"batchItemFailures": [{"wrongKey": first}]}), None),
            (json!({"batchItemFailures": [{"itemIdentifier": first}, {"itemIdentifier": "unknown"}]}), None),
            (json!({"batchItemFailures": "all"}), None),
            (json!({"other": []}), None),
            (json!("text"), None),
            (json!([1]), None),
        ];
        for (response, expected) in table {
            let failed = failed_items(&response, &batch).map(|ids| ids.into_iter().map(str::to_owned).collect());
            assert_eq!(failed, expected, "{response}");
        }
    }
}
