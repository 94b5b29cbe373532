//! Amazon SQS: standard queues.
//!
//! Messages are handed out in the order in which they were sent, become visible again after the visibility timeout, go to
//! the dead-letter queue when a receive finds that they were received `maxReceiveCount` times already, and vanish after the
//! retention period. [`crate::DeliveryFaults`] makes some of them late or double. A receive never waits.
//!
//! (SQS Developer Guide and API reference.) FIFO queues and customer-managed keys are refused by name.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::members::{arn_parts, integer, only, tag_map, text, texts};
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError};
use crate::paging::page;

static SERVICE: Service = Service {
    signing_name: "sqs",
    model: "sqs",
    protocol: Protocol::AwsJson { target_prefix: "AmazonSQS", version: "1.0" },
};

/// The longest message: 1 MiB.
pub(crate) const MAX_MESSAGE: usize = 1_048_576;

/// An attribute that can be set: name, default, bounds of a number.
type Attribute = (&'static str, &'static str, Option<(i64, i64)>);

const ATTRIBUTES: [Attribute; 9] = [
    ("DelaySeconds", "0", Some((0, 900))),
    ("KmsMasterKeyId", "", None),
    ("MaximumMessageSize", "1048576", Some((1_024, MAX_MESSAGE as i64))),
    ("MessageRetentionPeriod", "345600", Some((60, 1_209_600))),
    ("Policy", "", None),
    ("ReceiveMessageWaitTimeSeconds", "0", Some((0, 20))),
    ("RedrivePolicy", "", None),
    ("SqsManagedSseEnabled", "true", None),
    ("VisibilityTimeout", "30", Some((0, 43_200))),
];

/// The state of Amazon SQS in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By ARN.
    queues: BTreeMap<String, Queue>,
    deleted: BTreeMap<String, Timestamp>,
}

#[derive(Debug)]
struct Queue {
    /// Those that were set.
    attributes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    created: Timestamp,
    modified: Timestamp,
    purged: Option<Timestamp>,
    /// In the order in which they were sent.
    messages: BTreeMap<u64, Message>,
}

/// A message in a queue, and as it is received.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    /// Message attributes, all of them text.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) sender: String,
    pub(crate) sent: Timestamp,
    pub(crate) first_received: Option<Timestamp>,
    pub(crate) receive_count: u32,
    /// Of the latest receive.
    pub(crate) receipt: String,
    visible: Timestamp,
    dead_letter_source: Option<String>,
}

impl Queue {
    fn attribute(&self, name: &str) -> &str {
        let default = ATTRIBUTES.iter().find(|(known, ..)| *known == name).map_or("", |(_, default, _)| default);
        self.attributes.get(name).map_or(default, String::as_str)
    }

    fn seconds(&self, name: &str) -> SignedDuration {
        SignedDuration::from_secs(self.attribute(name).parse().unwrap_or_default())
    }

    /// The dead-letter queue and the number of receives that lead to it.
    fn redrive(&self) -> Option<(String, u32)> {
        parse_redrive(self.attribute("RedrivePolicy"))
    }

    fn expire(&mut self, now: Timestamp) {
        let retention = self.seconds("MessageRetentionPeriod");
        self.messages.retain(|_, message| message.sent + retention > now);
    }
}

fn parse_redrive(policy: &str) -> Option<(String, u32)> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    let count = match policy.get("maxReceiveCount")? {
        Value::String(count) => count.parse().ok()?,
        count => u32::try_from(count.as_u64()?).ok()?,
    };
    Some((text(&policy, "deadLetterTargetArn")?.to_owned(), count))
}

/// A refusal of an unknown queue.
fn no_such_queue() -> ServiceError {
    ServiceError::new("QueueDoesNotExist", "The specified queue does not exist.")
}

/// What a principal needs for an action on a queue.
pub(crate) fn access(world: &World, action: &str, queue: &str) -> Result<Access, ServiceError> {
    let state = world.sqs.queues.get(queue).ok_or_else(no_such_queue)?;
    let mut access = Access::new(action, queue);
    let owner = arn_parts(queue).and_then(|(_, _, account, _)| AccountId::new(account)).ok_or_else(no_such_queue)?;
    let policy = serde_json::from_str(state.attribute("Policy")).unwrap_or(Value::Null);
    access.resource_policy = Some((owner, policy));
    Ok(access)
}

/// Whether only principals with rights on the AWS managed key can send to the queue: services cannot.
pub(crate) fn closed_to_services(world: &World, queue: &str) -> bool {
    world.sqs.queues.get(queue).is_some_and(|queue| !queue.attribute("KmsMasterKeyId").is_empty())
}

/// The visibility timeout of a queue.
pub(crate) fn visibility_timeout(world: &World, queue: &str) -> Option<SignedDuration> {
    Some(world.sqs.queues.get(queue)?.seconds("VisibilityTimeout"))
}

/// Puts a message into a queue, whose sender was authorized. Returns the message's id.
pub(crate) fn send(
    world: &mut World,
    queue_arn: &str,
    sender: &Principal,
    body: &str,
    attributes: BTreeMap<String, String>,
    delay: Option<SignedDuration>,
) -> Result<String, ServiceError> {
    let queue = world.sqs.queues.get(queue_arn).ok_or_else(no_such_queue)?;
    let longest: usize = queue.attribute("MaximumMessageSize").parse().unwrap_or(MAX_MESSAGE);
    if body.is_empty() || body.len() > longest {
        return Err(ServiceError::new(
            "InvalidParameterValue",
            format!("One or more parameters are invalid. Reason: Message must be 1 to {longest} bytes."),
        ));
    }
    let delay = delay.unwrap_or_else(|| queue.seconds("DelaySeconds"));
    let id = world.fresh_uuid();
    for late in world.arrivals() {
        let message = Message {
            id: id.clone(),
            body: body.to_owned(),
            attributes: attributes.clone(),
            sender: sender.account().map_or_else(|| sender.arn(), |account| account.to_string()),
            sent: world.now(),
            first_received: None,
            receive_count: 0,
            receipt: String::new(),
            visible: world.now() + delay + late,
            dead_letter_source: None,
        };
        put(world, queue_arn, message);
    }
    Ok(id)
}

fn put(world: &mut World, queue_arn: &str, message: Message) {
    let (key, visible) = (world.fresh_number(), message.visible);
    if let Some(queue) = world.sqs.queues.get_mut(queue_arn) {
        queue.messages.insert(key, message);
        crate::lambda::messages_at(world, queue_arn, visible);
    }
}

/// Hands out visible messages, at most `most` and not more than `bytes` of bodies together.
pub(crate) fn receive(
    world: &mut World,
    queue_arn: &str,
    most: usize,
    bytes: usize,
    visibility: Option<SignedDuration>,
) -> Result<Vec<Message>, ServiceError> {
    let now = world.now();
    let queue = world.sqs.queues.get_mut(queue_arn).ok_or_else(no_such_queue)?;
    queue.expire(now);
    let visibility = visibility.unwrap_or_else(|| queue.seconds("VisibilityTimeout"));
    let redrive = queue.redrive();
    let (mut received, mut dead, mut size) = (Vec::new(), Vec::new(), 0);
    let visible: Vec<u64> =
        queue.messages.iter().filter(|(_, message)| message.visible <= now).map(|(key, _)| *key).collect();
    for key in visible {
        let Some(message) = queue.messages.get_mut(&key) else { continue };
        if redrive.as_ref().is_some_and(|(_, most)| message.receive_count >= *most) {
            dead.extend(queue.messages.remove(&key));
            continue;
        }
        size += message.body.len();
        if received.len() == most || !received.is_empty() && size > bytes {
            break;
        }
        message.receive_count += 1;
        message.first_received.get_or_insert(now);
        message.receipt = format!("{key}-{}", message.receive_count);
        message.visible = now + visibility;
        received.push(message.clone());
    }
    if let Some((target, _)) = redrive {
        for mut message in dead {
            message.visible = now;
            message.dead_letter_source = Some(queue_arn.to_owned());
            put(world, &target, message);
        }
    }
    if !received.is_empty() {
        crate::lambda::messages_at(world, queue_arn, now + visibility);
    }
    Ok(received)
}

/// How many messages could be received now.
pub(crate) fn visible_messages(world: &mut World, queue_arn: &str) -> usize {
    let now = world.now();
    let Some(queue) = world.sqs.queues.get_mut(queue_arn) else { return 0 };
    queue.expire(now);
    queue.messages.values().filter(|message| message.visible <= now).count()
}

/// The message that a receipt handle means, if the handle is of the message's latest receive.
fn handed_out<'a>(queue: &'a mut Queue, receipt: &str) -> Result<Option<(u64, &'a mut Message)>, ServiceError> {
    let key = receipt.split_once('-').and_then(|(key, _)| key.parse().ok()).ok_or_else(|| {
        ServiceError::new(
            "ReceiptHandleIsInvalid",
            format!("The input receipt handle \"{receipt}\" is not a valid receipt handle."),
        )
    })?;
    Ok(queue.messages.get_mut(&key).filter(|message| message.receipt == receipt).map(|message| (key, message)))
}

/// Deletes a message. A handle of an earlier receive deletes nothing and is no error, as the API reference warns.
pub(crate) fn delete(world: &mut World, queue_arn: &str, receipt: &str) -> Result<(), ServiceError> {
    let queue = world.sqs.queues.get_mut(queue_arn).ok_or_else(no_such_queue)?;
    if let Some((key, _)) = handed_out(queue, receipt)? {
        queue.messages.remove(&key);
    }
    Ok(())
}

fn change_visibility(world: &mut World, queue_arn: &str, receipt: &str, seconds: i64) -> Result<(), ServiceError> {
    let now = world.now();
    let queue = world.sqs.queues.get_mut(queue_arn).ok_or_else(no_such_queue)?;
    let message = handed_out(queue, receipt)?.filter(|(_, message)| message.visible > now);
    let Some((_, message)) = message else {
        return Err(ServiceError::new("MessageNotInflight", "The message is not in flight."));
    };
    message.visible = now + SignedDuration::from_secs(seconds);
    let visible = message.visible;
    crate::lambda::messages_at(world, queue_arn, visible);
    Ok(())
}

/// The MD5 digest in hexadecimal, as SQS answers it.
pub(crate) fn md5_of(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The system attributes of a received message.
pub(crate) fn system_attributes(message: &Message) -> BTreeMap<&'static str, String> {
    let mut attributes = BTreeMap::from([
        ("SenderId", message.sender.clone()),
        ("SentTimestamp", message.sent.as_millisecond().to_string()),
        ("ApproximateReceiveCount", message.receive_count.to_string()),
    ]);
    if let Some(first) = message.first_received {
        attributes.insert("ApproximateFirstReceiveTimestamp", first.as_millisecond().to_string());
    }
    if let Some(source) = &message.dead_letter_source {
        attributes.insert("DeadLetterQueueSourceArn", source.clone());
    }
    attributes
}

impl World {
    /// Every message in a queue, received or not, in the order in which they were sent: for tests. No such queue has none.
    pub fn messages_in(&mut self, account: &AccountId, region: &Region, queue: &str) -> Vec<String> {
        let now = self.now();
        let Some(queue) = self.sqs.queues.get_mut(&format!("arn:aws:sqs:{region}:{account}:{queue}")) else {
            return Vec::new();
        };
        queue.expire(now);
        queue.messages.values().map(|message| message.body.clone()).collect()
    }

    /// The names of all queues of an account and region, in order.
    pub fn queue_names(&self, account: &AccountId, region: &Region) -> Vec<String> {
        let prefix = format!("arn:aws:sqs:{region}:{account}:");
        self.sqs.queues.keys().filter_map(|arn| arn.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

fn url(arn: &str) -> String {
    let (_, region, account, name) = arn_parts(arn).unwrap_or_default();
    format!("https://sqs.{region}.amazonaws.com/{account}/{name}")
}

/// The ARN of the queue that `QueueUrl` means.
fn queue_of(call: &Call, input: &Value) -> Result<String, ServiceError> {
    let url = text(input, "QueueUrl")
        .ok_or_else(|| ServiceError::new("MissingParameter", "The request must contain the parameter QueueUrl."))?;
    let mut parts = url.rsplit('/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if name.is_empty() || AccountId::new(account).is_none() {
        return Err(ServiceError::new("InvalidAddress", format!("The address {url} is not valid for this endpoint.")));
    }
    Ok(format!("arn:aws:sqs:{}:{account}:{name}", call.region))
}

pub(crate) fn operations() -> Vec<Operation> {
    /// Authorizes an action on the queue of `QueueUrl`.
    macro_rules! on_queue {
        ($name:literal, $action:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: None,
                authorize: |world, call, input| Ok(vec![access(world, $action, &queue_of(call, input)?)?]),
                handle: $handle,
            }
        };
    }
    vec![
        Operation {
            service: &SERVICE,
            name: "CreateQueue",
            members: &["QueueName", "Attributes", "tags"],
            http: None,
            authorize: |_, call, input| {
                let queue =
                    Access::new("sqs:CreateQueue", call.arn("sqs", text(input, "QueueName").unwrap_or_default()));
                Ok(vec![crate::members::with_request_tags(queue, &tag_map(input, "tags"))])
            },
            handle: create_queue,
        },
        Operation {
            service: &SERVICE,
            name: "ListQueues",
            members: &["QueueNamePrefix", "MaxResults", "NextToken"],
            http: None,
            authorize: |_, _, _| Ok(vec![Access::new("sqs:ListQueues", "*")]),
            handle: list_queues,
        },
        Operation {
            service: &SERVICE,
            name: "GetQueueUrl",
            members: &["QueueName", "QueueOwnerAWSAccountId"],
            http: None,
            authorize: |world, call, input| Ok(vec![access(world, "sqs:GetQueueUrl", &named_queue(call, input))?]),
            handle: |_, call, input| Ok(json!({"QueueUrl": url(&named_queue(call, input))})),
        },
        Operation {
            service: &SERVICE,
            name: "StartMessageMoveTask",
            members: &["SourceArn", "DestinationArn"],
            http: None,
            authorize: |world, _, input| {
                let source = text(input, "SourceArn").unwrap_or_default();
                let mut needed = vec![];
                for action in
                    ["sqs:StartMessageMoveTask", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
                {
                    needed.push(access(world, action, source)?);
                }
                if let Some(destination) = text(input, "DestinationArn") {
                    needed.push(access(world, "sqs:SendMessage", destination)?);
                }
                Ok(needed)
            },
            handle: start_message_move_task,
        },
        on_queue!("DeleteQueue", "sqs:DeleteQueue", &["QueueUrl"], delete_queue),
        on_queue!(
            "GetQueueAttributes",
            "sqs:GetQueueAttributes",
            &["QueueUrl", "AttributeNames"],
            get_queue_attributes
        ),
        on_queue!("SetQueueAttributes", "sqs:SetQueueAttributes", &["QueueUrl", "Attributes"], set_queue_attributes),
        on_queue!("ListQueueTags", "sqs:ListQueueTags", &["QueueUrl"], |world, call, input| {
            Ok(json!({"Tags": queue_mut(world, call, input)?.tags}))
        }),
        on_queue!("TagQueue", "sqs:TagQueue", &["QueueUrl", "Tags"], |world, call, input| {
            queue_mut(world, call, input)?.tags.extend(tag_map(input, "Tags"));
            Ok(json!({}))
        }),
        on_queue!("UntagQueue", "sqs:UntagQueue", &["QueueUrl", "TagKeys"], |world, call, input| {
            let keys = texts(input, "TagKeys");
            queue_mut(world, call, input)?.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        }),
        on_queue!("PurgeQueue", "sqs:PurgeQueue", &["QueueUrl"], purge_queue),
        on_queue!(
            "SendMessage",
            "sqs:SendMessage",
            &["QueueUrl", "MessageBody", "DelaySeconds"],
            |world, call, input| {
                let (id, md5) = send_one(world, call, &queue_of(call, input)?, input)?;
                Ok(json!({"MessageId": id, "MD5OfMessageBody": md5}))
            }
        ),
        on_queue!("SendMessageBatch", "sqs:SendMessage", &["QueueUrl", "Entries"], |world, call, input| {
            let bytes: usize = entries(input)?.iter().map(|entry| text(entry, "MessageBody").map_or(0, str::len)).sum();
            if bytes > MAX_MESSAGE {
                let message = format!("Batch requests cannot be longer than {MAX_MESSAGE} bytes.");
                return Err(ServiceError::new("BatchRequestTooLong", message));
            }
            batch(world, call, input, &["Id", "MessageBody", "DelaySeconds"], |world, call, queue, entry| {
                let (id, md5) = send_one(world, call, queue, entry)?;
                Ok(json!({"MessageId": id, "MD5OfMessageBody": md5}))
            })
        }),
        on_queue!(
            "ReceiveMessage",
            "sqs:ReceiveMessage",
            &[
                "QueueUrl",
                "AttributeNames",
                "MessageSystemAttributeNames",
                "MessageAttributeNames",
                "MaxNumberOfMessages",
                "VisibilityTimeout",
                "WaitTimeSeconds"
            ],
            receive_message
        ),
        on_queue!("DeleteMessage", "sqs:DeleteMessage", &["QueueUrl", "ReceiptHandle"], |world, call, input| {
            delete(world, &queue_of(call, input)?, text(input, "ReceiptHandle").unwrap_or_default())?;
            Ok(json!({}))
        }),
        on_queue!("DeleteMessageBatch", "sqs:DeleteMessage", &["QueueUrl", "Entries"], |world, call, input| {
            batch(world, call, input, &["Id", "ReceiptHandle"], |world, _, queue, entry| {
                delete(world, queue, text(entry, "ReceiptHandle").unwrap_or_default())?;
                Ok(json!({}))
            })
        }),
        on_queue!(
            "ChangeMessageVisibility",
            "sqs:ChangeMessageVisibility",
            &["QueueUrl", "ReceiptHandle", "VisibilityTimeout"],
            |world, call, input| change_one(world, call, &queue_of(call, input)?, input)
        ),
        on_queue!(
            "ChangeMessageVisibilityBatch",
            "sqs:ChangeMessageVisibility",
            &["QueueUrl", "Entries"],
            |world, call, input| batch(world, call, input, &["Id", "ReceiptHandle", "VisibilityTimeout"], change_one)
        ),
    ]
}

fn queue_mut<'a>(world: &'a mut World, call: &Call, input: &Value) -> Result<&'a mut Queue, ServiceError> {
    world.sqs.queues.get_mut(&queue_of(call, input)?).ok_or_else(no_such_queue)
}

fn named_queue(call: &Call, input: &Value) -> String {
    let account = text(input, "QueueOwnerAWSAccountId").unwrap_or(call.account.as_str());
    format!("arn:aws:sqs:{}:{account}:{}", call.region, text(input, "QueueName").unwrap_or_default())
}

fn check_attributes(world: &World, queue_arn: &str, attributes: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    let invalid =
        |name: &str| ServiceError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}."));
    for (name, value) in attributes {
        let Some((_, _, bounds)) = ATTRIBUTES.iter().find(|(known, ..)| known == name) else {
            return Err(ServiceError::not_simulated(format_args!("the queue attribute {name}")));
        };
        if let Some((least, most)) = bounds
            && !value.parse().is_ok_and(|value: i64| (*least..=*most).contains(&value))
        {
            return Err(invalid(name));
        }
        match name.as_str() {
            "KmsMasterKeyId" if !["", "alias/aws/sqs"].contains(&value.as_str()) => {
                return Err(ServiceError::not_simulated(format_args!("a queue encrypted with the key {value}")));
            }
            "SqsManagedSseEnabled" if !["true", "false"].contains(&value.as_str()) => return Err(invalid(name)),
            "Policy"
                if !value.is_empty() && !serde_json::from_str::<Value>(value).is_ok_and(|value| value.is_object()) =>
            {
                return Err(invalid(name));
            }
            "RedrivePolicy" if !value.is_empty() => {
                let (target, count) = parse_redrive(value).ok_or_else(|| invalid(name))?;
                let same_place = queue_arn.rsplit_once(':').map(|(place, _)| place)
                    == target.rsplit_once(':').map(|(place, _)| place);
                if !(1..=1_000).contains(&count) || !same_place || !world.sqs.queues.contains_key(&target) {
                    return Err(invalid(name));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn create_queue(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = text(input, "QueueName").unwrap_or_default();
    if name.ends_with(".fifo") {
        return Err(ServiceError::not_simulated("FIFO queues"));
    }
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if name.is_empty() || name.len() > 80 || !characters {
        let message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        return Err(ServiceError::new("InvalidParameterValue", message));
    }
    let arn = call.arn("sqs", name);
    let attributes = tag_map(input, "Attributes");
    check_attributes(world, &arn, &attributes)?;
    let now = world.now();
    if world.sqs.deleted.get(&arn).is_some_and(|deleted| now < *deleted + SignedDuration::from_secs(60)) {
        let message =
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
        return Err(ServiceError::new("QueueDeletedRecently", message));
    }
    if let Some(existing) = world.sqs.queues.get(&arn) {
        if attributes.iter().any(|(name, value)| existing.attribute(name) != value) {
            let message = "A queue already exists with the same name and a different value for an attribute";
            return Err(ServiceError::new("QueueNameExists", message));
        }
        return Ok(json!({"QueueUrl": url(&arn)}));
    }
    let tags = tag_map(input, "tags");
    let queue = Queue { attributes, tags, created: now, modified: now, purged: None, messages: BTreeMap::new() };
    world.sqs.queues.insert(arn.clone(), queue);
    Ok(json!({"QueueUrl": url(&arn)}))
}

fn delete_queue(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = queue_of(call, input)?;
    let now = world.now();
    world.sqs.queues.remove(&arn);
    world.sqs.deleted.insert(arn, now);
    Ok(json!({}))
}

fn list_queues(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let prefix = call.arn("sqs", text(input, "QueueNamePrefix").unwrap_or_default());
    let urls: Vec<String> =
        world.sqs.queues.keys().filter(|arn| arn.starts_with(&prefix)).map(|arn| url(arn)).collect();
    let size = integer(input, "MaxResults", 1..=1_000)?.unwrap_or(1_000) as usize;
    let (urls, next) = page(&urls, text(input, "NextToken"), size, "InvalidAddress")?;
    let mut output = json!({"QueueUrls": urls});
    // A token is returned only to those who asked for pages.
    if let (Some(next), Some(_)) = (next, input.get("MaxResults")) {
        output["NextToken"] = json!(next);
    }
    Ok(output)
}

fn get_queue_attributes(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = queue_of(call, input)?;
    let now = world.now();
    let queue = queue_mut(world, call, input)?;
    queue.expire(now);
    let count = |kind: fn(&Message, Timestamp) -> bool| {
        queue.messages.values().filter(|message| kind(message, now)).count().to_string()
    };
    let mut all = BTreeMap::from([
        ("QueueArn", arn),
        ("CreatedTimestamp", queue.created.as_second().to_string()),
        ("LastModifiedTimestamp", queue.modified.as_second().to_string()),
        ("ApproximateNumberOfMessages", count(|message, now| message.visible <= now)),
        (
            "ApproximateNumberOfMessagesNotVisible",
            count(|message, now| message.visible > now && message.receive_count > 0),
        ),
        (
            "ApproximateNumberOfMessagesDelayed",
            count(|message, now| message.visible > now && message.receive_count == 0),
        ),
    ]);
    for (name, ..) in ATTRIBUTES {
        let value = queue.attribute(name);
        if !value.is_empty() {
            all.insert(name, value.to_owned());
        }
    }
    let wanted = texts(input, "AttributeNames");
    if !wanted.contains(&"All") {
        let known = |name: &&str| all.contains_key(name) || ATTRIBUTES.iter().any(|(known, ..)| known == name);
        if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
            return Err(ServiceError::new("InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
        }
        all.retain(|name, _| wanted.contains(name));
    }
    Ok(if all.is_empty() { json!({}) } else { json!({"Attributes": all}) })
}

fn set_queue_attributes(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let attributes = tag_map(input, "Attributes");
    check_attributes(world, &queue_of(call, input)?, &attributes)?;
    let now = world.now();
    let queue = queue_mut(world, call, input)?;
    queue.attributes.extend(attributes);
    queue.modified = now;
    Ok(json!({}))
}

fn purge_queue(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let now = world.now();
    let queue = queue_mut(world, call, input)?;
    if queue.purged.is_some_and(|purged| now < purged + SignedDuration::from_secs(60)) {
        let message = "Only one PurgeQueue operation on the queue is allowed every 60 seconds.";
        return Err(ServiceError::new("PurgeQueueInProgress", message));
    }
    queue.purged = Some(now);
    queue.messages.clear();
    Ok(json!({}))
}

fn send_one(world: &mut World, call: &Call, queue: &str, entry: &Value) -> Result<(String, String), ServiceError> {
    let body = text(entry, "MessageBody").unwrap_or_default();
    let delay = integer(entry, "DelaySeconds", 0..=900)?.map(SignedDuration::from_secs);
    let id = send(world, queue, &call.principal, body, BTreeMap::new(), delay)?;
    Ok((id, md5_of(body)))
}

fn change_one(world: &mut World, _: &Call, queue: &str, entry: &Value) -> Result<Value, ServiceError> {
    let seconds = integer(entry, "VisibilityTimeout", 0..=43_200)?.unwrap_or(0);
    change_visibility(world, queue, text(entry, "ReceiptHandle").unwrap_or_default(), seconds)?;
    Ok(json!({}))
}

fn entries(input: &Value) -> Result<&[Value], ServiceError> {
    let entries = input.get("Entries").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let refuse = |code: &str, message: &str| Err(ServiceError::new(code, message));
    if entries.is_empty() {
        return refuse("EmptyBatchRequest", "There should be at least one entry in the request.");
    }
    if entries.len() > 10 {
        return refuse("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10.");
    }
    let ids: std::collections::BTreeSet<_> = entries.iter().map(|entry| text(entry, "Id")).collect();
    if ids.len() < entries.len() {
        return refuse("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.");
    }
    Ok(entries)
}

/// Does `one` for each entry and sorts the outcomes.
fn batch(
    world: &mut World,
    call: &Call,
    input: &Value,
    members: &[&str],
    one: fn(&mut World, &Call, &str, &Value) -> Result<Value, ServiceError>,
) -> Result<Value, ServiceError> {
    let queue = queue_of(call, input)?;
    let (mut successful, mut failed) = (vec![], vec![]);
    for entry in entries(input)? {
        only(entry, "a batch entry", members)?;
        let id = text(entry, "Id").unwrap_or_default();
        match one(world, call, &queue, entry) {
            Ok(mut output) => {
                output["Id"] = json!(id);
                successful.push(output);
            }
            Err(error) => {
                failed.push(json!({"Id": id, "SenderFault": true, "Code": error.code, "Message": error.message}));
            }
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn receive_message(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let most = integer(input, "MaxNumberOfMessages", 1..=10)?.unwrap_or(1) as usize;
    let visibility = integer(input, "VisibilityTimeout", 0..=43_200)?.map(SignedDuration::from_secs);
    integer(input, "WaitTimeSeconds", 0..=20)?;
    let mut wanted = texts(input, "MessageSystemAttributeNames");
    wanted.extend(texts(input, "AttributeNames"));
    let wanted_attributes = texts(input, "MessageAttributeNames");
    let messages = receive(world, &queue_of(call, input)?, most, usize::MAX, visibility)?;
    let messages: Vec<Value> = messages
        .iter()
        .map(|message| {
            let mut output = json!({
                "MessageId": message.id, "ReceiptHandle": message.receipt, "Body": message.body, "MD5OfBody": md5_of(&message.body),
            });
            let mut system = system_attributes(message);
            system.retain(|name, _| wanted.contains(&"All") || wanted.contains(name));
            if !system.is_empty() {
                output["Attributes"] = json!(system);
            }
            let all = wanted_attributes.contains(&"All") || wanted_attributes.contains(&".*");
            let attributes: serde_json::Map<String, Value> = message
                .attributes
                .iter()
                .filter(|(name, _)| all || wanted_attributes.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), json!({"DataType": "String", "StringValue": value})))
                .collect();
            if !attributes.is_empty() {
                output["MessageAttributes"] = Value::Object(attributes);
            }
            output
        })
        .collect();
    Ok(if messages.is_empty() { json!({}) } else { json!({"Messages": messages}) })
}

/// Moves all messages at once. A moved message is a new one: "with a new messageID and enqueueTime".
fn start_message_move_task(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let source = text(input, "SourceArn").unwrap_or_default();
    let is_dead_letter_queue =
        world.sqs.queues.values().any(|queue| queue.redrive().is_some_and(|(target, _)| target == source));
    if !is_dead_letter_queue {
        let message = "Source queue must be configured as a Dead Letter Queue.";
        return Err(ServiceError::new("UnsupportedOperation", message));
    }
    let destination = text(input, "DestinationArn").map(str::to_owned);
    let messages = match world.sqs.queues.get_mut(source) {
        Some(queue) => std::mem::take(&mut queue.messages),
        None => return Err(ServiceError::new("ResourceNotFoundException", "The resource does not exist.")),
    };
    for (_, message) in messages {
        let Some(target) = destination.clone().or(message.dead_letter_source) else { continue };
        send(world, &target, &call.principal, &message.body, message.attributes, None)?;
    }
    let handle = world.fresh_uuid();
    Ok(json!({"TaskHandle": handle}))
}
