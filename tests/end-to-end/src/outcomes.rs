//! What an EcrCleanup tells of images, heard as an operator hears it: through a rule on its bus and a queue.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Organization;
use crate::team::text;

/// The name of the rule and of the queue.
const NAME: &str = "outcomes";

/// A listener on one EcrCleanup's bus.
#[derive(Debug)]
pub struct Outcomes {
    queue: Value,
}

/// What became of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When it was told.
    pub time: Timestamp,
    /// The detail-type, `Image Kept` say.
    pub what: String,
    /// The repository's name.
    pub repository: String,
    /// The image's digest.
    pub digest: String,
    /// The reason code.
    pub code: String,
    /// The reason for people.
    pub reason: String,
}

impl Outcomes {
    /// Listens on the bus of that name from now on.
    pub fn listen(organization: &Organization, bus: &str) -> Self {
        let (hub, home) = (&organization.hub, organization.home());
        let call = |service, operation, input| organization.call(hub, home, service, operation, input);
        let arn = format!("arn:aws:sqs:{home}:{hub}:{NAME}");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }]});
        let attributes = json!({"Policy": policy.to_string(), "MessageRetentionPeriod": "1209600"});
        let queue =
            call("sqs", "CreateQueue", json!({"QueueName": NAME, "Attributes": attributes}))["QueueUrl"].clone();
        let pattern =
            json!({"source": ["ecr-cleanup"], "detail": {"images": {"digest": [{"exists": true}]}}}).to_string();
        call("events", "PutRule", json!({"EventBusName": bus, "Name": NAME, "EventPattern": pattern}));
        let targets = json!([{"Id": "queue", "Arn": arn}]);
        call("events", "PutTargets", json!({"EventBusName": bus, "Rule": NAME, "Targets": targets}));
        Self { queue }
    }

    /// What was told since the last call, in the order in which it was told.
    pub fn take(&self, organization: &Organization) -> Vec<Outcome> {
        let (hub, home) = (&organization.hub, organization.home());
        let mut outcomes = Vec::new();
        loop {
            let input = json!({"QueueUrl": self.queue, "MaxNumberOfMessages": 10});
            let received = organization.call(hub, home, "sqs", "ReceiveMessage", input);
            let messages = received["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                outcomes.sort_by_key(|outcome: &Outcome| outcome.time);
                return outcomes;
            }
            for message in messages {
                let event: Value = serde_json::from_str(&text(&message["Body"])).expect("an event is JSON");
                outcomes.extend(told(&event));
                let input = json!({"QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"]});
                organization.call(hub, home, "sqs", "DeleteMessage", input);
            }
        }
    }
}

/// The images of an event.
fn told(event: &Value) -> impl Iterator<Item = Outcome> + '_ {
    event["detail"]["images"].as_array().into_iter().flatten().map(|image| Outcome {
        time: text(&event["time"]).parse().expect("an event has a time"),
        what: text(&event["detail-type"]),
        repository: text(&event["detail"]["repository"]["name"]),
        digest: text(&image["digest"]),
        code: text(&image["reasonCode"]),
        reason: text(&image["reason"]),
    })
}
