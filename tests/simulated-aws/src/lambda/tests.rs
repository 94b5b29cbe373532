//! Event source mappings and asynchronous invocation.

use std::sync::{Arc, Mutex};

use aws_smithy_async::rt::sleep::AsyncSleep;

use super::*;
use crate::events::tests::Stage;
use crate::function::Function;

/// What a function was given, with the time.
type Seen = Arc<Mutex<Vec<(Timestamp, Value)>>>;

const QUEUE_RIGHTS: &[&str] = &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"];

/// A function in the hub whose answers `answer` makes.
pub(crate) fn function(
    stage: &Stage,
    name: &str,
    answer: impl Fn(&Value) -> Result<Value, String> + Send + Sync + 'static,
) -> Seen {
    let role = stage.role(&stage.hub, name, "lambda.amazonaws.com", QUEUE_RIGHTS);
    let seen = Seen::default();
    let (aws, inside) = (stage.aws.clone(), Arc::clone(&seen));
    let code = Function::new(move |_, payload| {
        inside.lock().unwrap().push((aws.now(), payload.clone()));
        let answer = answer(&payload);
        async move { answer }
    });
    stage.aws.world().register_function(name, code);
    stage.call(
        "lambda",
        "CreateFunction",
        json!({
            "FunctionName": name, "Handler": name, "Runtime": "provided.al2023", "Role": role, "Timeout": 30,
            "Code": {"S3Bucket": "artifacts", "S3Key": "k"},
        }),
    );
    seen
}

pub(crate) fn map(stage: &Stage, queue: &str, function: &str, settings: Value) -> Result<Value, ServiceError> {
    let mut input = json!({"EventSourceArn": stage.queue_arn(queue), "FunctionName": function});
    input.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    stage.try_call("lambda", "CreateEventSourceMapping", input)
}

fn send(stage: &Stage, queue: &str, bodies: &[&str]) {
    let url = format!("https://sqs.{}.amazonaws.com/{}/{queue}", stage.region, stage.hub);
    for body in bodies {
        stage.call("sqs", "SendMessage", json!({"QueueUrl": url, "MessageBody": body}));
    }
}

/// The bodies of each batch, in order.
fn batches(seen: &Seen) -> Vec<Vec<String>> {
    let bodies = |payload: &Value| {
        let records = payload["Records"].as_array().unwrap().iter();
        records.map(|record| record["body"].as_str().unwrap().to_owned()).collect()
    };
    seen.lock().unwrap().iter().map(|(_, payload)| bodies(payload)).collect()
}

#[test]
fn a_partial_failure_is_redelivered_and_then_dead() {
    let stage = Stage::new();
    stage.queue("dead", json!({}));
    let redrive = json!({"deadLetterTargetArn": stage.queue_arn("dead"), "maxReceiveCount": 2}).to_string();
    stage.queue("q", json!({"VisibilityTimeout": "180", "RedrivePolicy": redrive}));
    let seen = function(&stage, "f", |payload| {
        let bad = payload["Records"].as_array().unwrap().iter().filter(|record| record["body"] == "bad");
        Ok(
            json!({"batchItemFailures": bad.map(|record| json!({"itemIdentifier": record["messageId"]})).collect::<Vec<_>>()}),
        )
    });
    map(
        &stage,
        "q",
        "f",
        json!({"FunctionResponseTypes": ["ReportBatchItemFailures"], "MaximumBatchingWindowInSeconds": 5}),
    )
    .unwrap();
    send(&stage, "q", &["good", "bad"]);
    stage.aws.advance(SignedDuration::from_secs(4));
    assert!(batches(&seen).is_empty(), "the batching window is open");
    stage.aws.advance(SignedDuration::from_secs(60));
    assert_eq!(batches(&seen), [["good", "bad"]]);
    stage.aws.advance(SignedDuration::from_secs(180));
    assert_eq!(batches(&seen)[1..], [["bad"]], "after the visibility timeout");
    assert_eq!(seen.lock().unwrap()[1].1["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
    stage.aws.advance(SignedDuration::from_secs(600));
    assert_eq!(batches(&seen).len(), 2);
    assert_eq!(stage.aws.world().messages_in(&stage.hub, &stage.region, "dead"), ["bad"]);
    assert_eq!(stage.aws.world().messages_in(&stage.hub, &stage.region, "q").len(), 0);
}

#[test]
fn an_error_returns_the_whole_batch_and_without_reports_success_deletes_it() {
    let stage = Stage::new();
    stage.queue("q", json!({"VisibilityTimeout": "180"}));
    let first = std::sync::atomic::AtomicBool::new(true);
    let seen = function(&stage, "f", move |_| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
        true => Err("boom".to_owned()),
        false => Ok(json!("anything")),
    });
    send(&stage, "q", &["1", "2"]);
    map(&stage, "q", "f", json!({})).unwrap();
    stage.aws.advance(SignedDuration::from_secs(200));
    assert_eq!(batches(&seen), [["1", "2"], ["1", "2"]]);
    assert_eq!(stage.aws.world().messages_in(&stage.hub, &stage.region, "q").len(), 0);
}

#[test]
fn batches_are_no_larger_and_no_more_at_once_than_configured() {
    let stage = Stage::new();
    stage.queue("q", json!({"VisibilityTimeout": "180"}));
    let seen = function(&stage, "f", |_| Ok(json!({})));
    let slow = Function::new({
        let (seen, aws) = (Arc::clone(&seen), stage.aws.clone());
        move |context: crate::FunctionContext, payload| {
            let (seen, aws) = (Arc::clone(&seen), aws.clone());
            async move {
                seen.lock().unwrap().push((aws.now(), payload));
                context.sdk.sleep_impl().unwrap().sleep(std::time::Duration::from_secs(10)).await;
                Ok(json!({}))
            }
        }
    });
    stage.aws.world().register_function("f", slow);
    send(&stage, "q", &["1", "2", "3", "4", "5"]);
    map(&stage, "q", "f", json!({"BatchSize": 1, "ScalingConfig": {"MaximumConcurrency": 2}})).unwrap();
    stage.aws.advance(SignedDuration::from_secs(9));
    assert_eq!(batches(&seen), [["1"], ["2"]]);
    stage.aws.advance(SignedDuration::from_secs(30));
    assert_eq!(batches(&seen).len(), 5);
}

#[test]
fn a_mapping_that_could_not_work_is_refused() {
    let stage = Stage::new();
    stage.queue("q", json!({}));
    stage.queue("short", json!({"VisibilityTimeout": "29"}));
    function(&stage, "f", |_| Ok(json!({})));
    let table = [
        ("q", json!({"BatchSize": 11}), "Maximum batch window"),
        ("short", json!({}), "Queue visibility timeout: 29 seconds is less than Function timeout: 30 seconds"),
        ("q", json!({"ScalingConfig": {"MaximumConcurrency": 1}}), "MaximumConcurrency"),
        ("missing", json!({}), "NonExistentQueue"),
        ("q", json!({"FilterCriteria": {}}), "FilterCriteria"),
    ];
    for (queue, settings, reason) in table {
        let error = map(&stage, queue, "f", settings).unwrap_err();
        assert!(error.message.contains(reason), "{}", error.message);
    }
    let powerless = stage.role(&stage.hub, "powerless", "lambda.amazonaws.com", &["sqs:SendMessage"]);
    stage.call("lambda", "UpdateFunctionConfiguration", json!({"FunctionName": "f", "Role": powerless}));
    let error = map(&stage, "q", "f", json!({})).unwrap_err();
    assert!(error.message.contains("does not have permissions to call ReceiveMessage"), "{}", error.message);
}

#[test]
fn a_mapping_is_found_changed_disabled_and_deleted() {
    let stage = Stage::new();
    stage.queue("q", json!({}));
    let seen = function(&stage, "f", |_| Ok(json!({})));
    let made = map(&stage, "q", "f", json!({"Enabled": false})).unwrap();
    assert_eq!(map(&stage, "q", "f", json!({})).unwrap_err().code, "ResourceConflictException");
    send(&stage, "q", &["1"]);
    stage.settle();
    assert!(batches(&seen).is_empty());
    let listed = stage.call("lambda", "ListEventSourceMappings", json!({"FunctionName": "f"}));
    assert_eq!(listed["EventSourceMappings"][0]["UUID"], made["UUID"]);
    let change = json!({"UUID": made["UUID"], "Enabled": true, "BatchSize": 5});
    stage.call("lambda", "UpdateEventSourceMapping", change);
    stage.settle();
    assert_eq!(batches(&seen), [["1"]]);
    assert_eq!(stage.call("lambda", "GetEventSourceMapping", json!({"UUID": made["UUID"]}))["BatchSize"], 5);
    stage.call("lambda", "DeleteEventSourceMapping", json!({"UUID": made["UUID"]}));
    send(&stage, "q", &["2"]);
    stage.settle();
    assert_eq!(batches(&seen).len(), 1);
}

#[test]
fn an_asynchronous_event_is_tried_three_times_and_then_reported() {
    let stage = Stage::new();
    stage.queue("failures", json!({}));
    let seen = function(&stage, "f", |_| Err("boom".to_owned()));
    let destination = json!({"OnFailure": {"Destination": stage.queue_arn("failures")}});
    stage.call(
        "lambda",
        "PutFunctionEventInvokeConfig",
        json!({"FunctionName": "f", "DestinationConfig": destination}),
    );
    stage.call("lambda", "Invoke", json!({"FunctionName": "f", "InvocationType": "Event", "Payload": "{\"a\": 1}"}));
    let start = stage.aws.now();
    stage.aws.advance(SignedDuration::from_mins(10));
    let times: Vec<_> = seen.lock().unwrap().iter().map(|(at, _)| at.duration_since(start).as_secs()).collect();
    assert_eq!(times, [0, 60, 180]);
    let report = &stage.messages("failures")[0];
    assert_eq!(report["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(report["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(report["requestPayload"], json!({"a": 1}));
}

#[test]
fn a_service_invokes_only_with_permission() {
    let stage = Stage::new();
    let seen = function(&stage, "f", |_| Ok(json!({})));
    let arn = format!("arn:aws:lambda:{}:{}:function:f", stage.region, stage.hub);
    stage.rule("default", "r", &json!({"source": ["mine"]}), json!({"Id": "1", "Arn": arn}));
    let put = || {
        let entries = json!([{"Source": "mine", "DetailType": "t", "Detail": "{}"}]);
        stage.call("events", "PutEvents", json!({"Entries": entries}));
        stage.settle();
    };
    put();
    assert_eq!(stage.undelivered(), ["AccessDeniedException"]);
    let permission = json!({
        "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com",
        "SourceArn": stage.rule_arn("r"),
    });
    stage.call("lambda", "AddPermission", permission);
    put();
    assert_eq!(seen.lock().unwrap().len(), 1);
    stage.call("lambda", "RemovePermission", json!({"FunctionName": "f", "StatementId": "s"}));
    assert_eq!(
        stage.try_call("lambda", "GetPolicy", json!({"FunctionName": "f"})).unwrap_err().code,
        "ResourceNotFoundException"
    );
}

#[test]
fn a_function_is_described_changed_tagged_and_deleted() {
    let stage = Stage::new();
    function(&stage, "f", |_| Ok(json!({})));
    let arn = format!("arn:aws:lambda:{}:{}:function:f", stage.region, stage.hub);
    let before = stage.call("lambda", "GetFunction", json!({"FunctionName": arn}));
    assert_eq!(
        (&before["Configuration"]["Timeout"], &before["Configuration"]["MemorySize"]),
        (&json!(30), &json!(128))
    );
    let code = json!({"FunctionName": "f", "S3Bucket": "artifacts", "S3Key": "other"});
    let after = stage.call("lambda", "UpdateFunctionCode", code);
    assert_ne!(after["CodeSha256"], before["Configuration"]["CodeSha256"]);
    let change = json!({"FunctionName": "f", "Timeout": 60, "Environment": {"Variables": {"MODE": "1"}}});
    stage.call("lambda", "UpdateFunctionConfiguration", change);
    let configuration = stage.call("lambda", "GetFunctionConfiguration", json!({"FunctionName": "f"}));
    assert_eq!(
        (&configuration["Timeout"], &configuration["Environment"]["Variables"]["MODE"]),
        (&json!(60), &json!("1"))
    );
    stage.call("lambda", "TagResource", json!({"Resource": arn, "Tags": {"a": "1", "b": "2"}}));
    stage.call("lambda", "UntagResource", json!({"Resource": arn, "TagKeys": ["a"]}));
    assert_eq!(stage.call("lambda", "ListTags", json!({"Resource": arn})), json!({"Tags": {"b": "2"}}));
    stage.call("lambda", "PutFunctionEventInvokeConfig", json!({"FunctionName": "f", "MaximumRetryAttempts": 0}));
    let config =
        stage.call("lambda", "GetFunctionEventInvokeConfig", json!({"FunctionName": "f", "Qualifier": "$LATEST"}));
    assert_eq!(config["MaximumRetryAttempts"], 0);
    stage.call("lambda", "DeleteFunctionEventInvokeConfig", json!({"FunctionName": "f"}));
    let table = [
        ("GetFunctionEventInvokeConfig", json!({"FunctionName": "f"}), "ResourceNotFoundException"),
        ("Invoke", json!({"FunctionName": "f"}), crate::operation::NOT_SIMULATED),
        ("GetFunction", json!({"FunctionName": "f:1"}), crate::operation::NOT_SIMULATED),
        ("GetFunction", json!({"FunctionName": "g"}), "ResourceNotFoundException"),
        (
            "UpdateFunctionConfiguration",
            json!({"FunctionName": "f", "Environment": {"Variables": {"1": "1"}}}),
            "InvalidParameterValueException",
        ),
        ("UpdateFunctionConfiguration", json!({"FunctionName": "f", "Timeout": 901}), "InvalidParameterValueException"),
    ];
    for (operation, input, code) in table {
        assert_eq!(stage.try_call("lambda", operation, input).unwrap_err().code, code, "{operation}");
    }
    stage.call("lambda", "DeleteFunction", json!({"FunctionName": "f"}));
    assert_eq!(
        stage.try_call("lambda", "DeleteFunction", json!({"FunctionName": "f"})).unwrap_err().code,
        "ResourceNotFoundException"
    );
}
