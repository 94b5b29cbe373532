//! Queues: attributes, receiving, dead letters and what is refused.

use super::*;
use crate::events::tests::Stage;

fn url_of(name: &str) -> String {
    format!("https://sqs.eu-west-1.amazonaws.com/111111111111/{name}")
}

fn on(stage: &Stage, operation: &str, queue: &str, more: Value) -> Result<Value, ServiceError> {
    let mut input = json!({"QueueUrl": url_of(queue)});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    stage.try_call("sqs", operation, input)
}

fn bodies(received: &Value) -> Vec<&str> {
    let messages = received["Messages"].as_array().into_iter().flatten();
    messages.map(|message| message["Body"].as_str().unwrap()).collect()
}

#[test]
fn a_queue_is_made_found_described_changed_tagged_and_deleted() {
    let stage = Stage::new();
    let made = stage.call(
        "sqs",
        "CreateQueue",
        json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "60"}, "tags": {"a": "1"}}),
    );
    assert_eq!(made["QueueUrl"], url_of("q"));
    stage.call("sqs", "CreateQueue", json!({"QueueName": "q"}));
    let other =
        stage.try_call("sqs", "CreateQueue", json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "61"}}));
    assert_eq!(other.unwrap_err().code, "QueueNameExists");
    assert_eq!(stage.call("sqs", "GetQueueUrl", json!({"QueueName": "q"})), made);
    assert_eq!(stage.call("sqs", "ListQueues", json!({"QueueNamePrefix": "q"})), json!({"QueueUrls": [url_of("q")]}));
    on(&stage, "SetQueueAttributes", "q", json!({"Attributes": {"MessageRetentionPeriod": "60"}})).unwrap();
    let names = json!({"AttributeNames": ["VisibilityTimeout", "MessageRetentionPeriod", "QueueArn", "Policy"]});
    let attributes = on(&stage, "GetQueueAttributes", "q", names).unwrap();
    let expected = json!({"VisibilityTimeout": "60", "MessageRetentionPeriod": "60", "QueueArn": stage.queue_arn("q")});
    assert_eq!(attributes["Attributes"], expected);
    let all = on(&stage, "GetQueueAttributes", "q", json!({"AttributeNames": ["All"]})).unwrap();
    assert_eq!(all["Attributes"]["SqsManagedSseEnabled"], "true");
    on(&stage, "TagQueue", "q", json!({"Tags": {"b": "2"}})).unwrap();
    on(&stage, "UntagQueue", "q", json!({"TagKeys": ["a"]})).unwrap();
    assert_eq!(on(&stage, "ListQueueTags", "q", json!({})).unwrap(), json!({"Tags": {"b": "2"}}));
    on(&stage, "DeleteQueue", "q", json!({})).unwrap();
    assert_eq!(on(&stage, "PurgeQueue", "q", json!({})).unwrap_err().code, "QueueDoesNotExist");
    let again = || stage.try_call("sqs", "CreateQueue", json!({"QueueName": "q"}));
    assert_eq!(again().unwrap_err().code, "QueueDeletedRecently");
    stage.aws.advance(SignedDuration::from_secs(60));
    again().unwrap();
}

#[test]
fn a_received_message_comes_back_after_its_timeout_unless_it_was_deleted() {
    let stage = Stage::new();
    stage.queue("q", json!({"VisibilityTimeout": "60"}));
    let entries =
        json!({"Entries": [{"Id": "1", "MessageBody": "a"}, {"Id": "2", "MessageBody": "b", "DelaySeconds": 10}]});
    let sent = on(&stage, "SendMessageBatch", "q", entries).unwrap();
    // The MD5 of "a".
    assert_eq!(sent["Successful"][0]["MD5OfMessageBody"], "0cc175b9c0f1b6a831c399e269772661");
    let receive = || {
        on(&stage, "ReceiveMessage", "q", json!({"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}))
            .unwrap()
    };
    let first = receive();
    assert_eq!(bodies(&first), ["a"]);
    stage.aws.advance(SignedDuration::from_secs(10));
    assert_eq!(bodies(&receive()), ["b"]);
    stage.aws.advance(SignedDuration::from_secs(50));
    let again = receive();
    assert_eq!(bodies(&again), ["a"]);
    assert_eq!(again["Messages"][0]["Attributes"]["ApproximateReceiveCount"], "2");
    let stale = json!({"ReceiptHandle": first["Messages"][0]["ReceiptHandle"]});
    on(&stage, "DeleteMessage", "q", stale).expect("no error, and no effect");
    let handle = again["Messages"][0]["ReceiptHandle"].clone();
    on(&stage, "ChangeMessageVisibility", "q", json!({"ReceiptHandle": handle, "VisibilityTimeout": 0})).unwrap();
    let third = receive();
    assert_eq!(bodies(&third), ["a"]);
    let entries = json!([{"Id": "1", "ReceiptHandle": third["Messages"][0]["ReceiptHandle"], "VisibilityTimeout": 5}]);
    on(&stage, "ChangeMessageVisibilityBatch", "q", json!({"Entries": entries})).unwrap();
    let entries =
        json!([{"Id": "1", "ReceiptHandle": third["Messages"][0]["ReceiptHandle"]}, {"Id": "2", "ReceiptHandle": "?"}]);
    let deleted = on(&stage, "DeleteMessageBatch", "q", json!({"Entries": entries})).unwrap();
    assert_eq!(
        (&deleted["Successful"], &deleted["Failed"][0]["Code"]),
        (&json!([{"Id": "1"}]), &json!("ReceiptHandleIsInvalid"))
    );
    on(&stage, "PurgeQueue", "q", json!({})).unwrap();
    assert_eq!(on(&stage, "PurgeQueue", "q", json!({})).unwrap_err().code, "PurgeQueueInProgress");
    stage.aws.advance(SignedDuration::from_mins(5));
    assert_eq!(receive(), json!({}));
}

#[test]
fn dead_letters_are_moved_back_as_new_messages() {
    let stage = Stage::new();
    stage.queue("dead", json!({}));
    let redrive = json!({"deadLetterTargetArn": stage.queue_arn("dead"), "maxReceiveCount": 1}).to_string();
    stage.queue("q", json!({"VisibilityTimeout": "0", "RedrivePolicy": redrive}));
    let sent = on(&stage, "SendMessage", "q", json!({"MessageBody": "a"})).unwrap();
    assert_eq!(bodies(&on(&stage, "ReceiveMessage", "q", json!({})).unwrap()), ["a"]);
    assert_eq!(on(&stage, "ReceiveMessage", "q", json!({})).unwrap(), json!({}));
    let dead =
        on(&stage, "ReceiveMessage", "dead", json!({"VisibilityTimeout": 0, "AttributeNames": ["All"]})).unwrap();
    assert_eq!(dead["Messages"][0]["MessageId"], sent["MessageId"]);
    assert_eq!(dead["Messages"][0]["Attributes"]["DeadLetterQueueSourceArn"], stage.queue_arn("q"));
    stage.call("sqs", "StartMessageMoveTask", json!({"SourceArn": stage.queue_arn("dead")}));
    let back = on(&stage, "ReceiveMessage", "q", json!({})).unwrap();
    assert_eq!(bodies(&back), ["a"]);
    assert_ne!(back["Messages"][0]["MessageId"], sent["MessageId"]);
}

#[test]
fn a_message_ends_with_the_retention_period() {
    let stage = Stage::new();
    stage.queue("q", json!({"MessageRetentionPeriod": "60"}));
    on(&stage, "SendMessage", "q", json!({"MessageBody": "a"})).unwrap();
    stage.aws.advance(SignedDuration::from_secs(59));
    assert_eq!(stage.aws.world().messages_in(&stage.hub, &stage.region, "q"), ["a"]);
    stage.aws.advance(SignedDuration::from_secs(1));
    assert!(stage.aws.world().messages_in(&stage.hub, &stage.region, "q").is_empty());
}

#[test]
fn what_sqs_refuses() {
    let stage = Stage::new();
    stage.queue("q", json!({}));
    let set = |name: &str, value: &str| {
        on(&stage, "SetQueueAttributes", "q", json!({"Attributes": {name: value}})).unwrap_err().code
    };
    assert_eq!(set("VisibilityTimeout", "43201"), "InvalidAttributeValue");
    assert_eq!(set("RedrivePolicy", "{}"), "InvalidAttributeValue");
    let nowhere = json!({"deadLetterTargetArn": stage.queue_arn("missing"), "maxReceiveCount": 5}).to_string();
    assert_eq!(set("RedrivePolicy", &nowhere), "InvalidAttributeValue");
    assert_eq!(set("KmsMasterKeyId", "alias/mine"), crate::operation::NOT_SIMULATED);
    assert_eq!(set("FifoQueue", "true"), crate::operation::NOT_SIMULATED);
    let batch = |entries: Value| on(&stage, "SendMessageBatch", "q", json!({"Entries": entries})).unwrap_err().code;
    assert_eq!(batch(json!([])), "EmptyBatchRequest");
    let entry = json!({"Id": "1", "MessageBody": "a"});
    assert_eq!(batch(json!([entry, entry])), "BatchEntryIdsNotDistinct");
    assert_eq!(
        on(&stage, "SendMessage", "missing", json!({"MessageBody": "a"})).unwrap_err().code,
        "QueueDoesNotExist"
    );
    let fifo = stage.try_call("sqs", "CreateQueue", json!({"QueueName": "q.fifo"}));
    assert_eq!(fifo.unwrap_err().code, crate::operation::NOT_SIMULATED);
    let stranger = Principal::Administrator { account: stage.workload.clone() };
    let input = json!({"QueueUrl": url_of("q"), "MessageBody": "a"});
    let refused = stage.aws.world().call_as(&stranger, &stage.workload, &stage.region, "sqs", "SendMessage", input);
    assert_eq!(refused.unwrap_err().code, "AccessDeniedException");
}
