//! Batches of messages from a queue, and the answer that says which of them failed.
//!
//! Promises: each message is read by itself, so that one that cannot be read holds up no other; a message that failed
//! goes back to its queue, and in the end to the dead-letter queue, with the reason logged.

use std::collections::BTreeSet;
use std::error::Error;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};

use crate::causes::Causes;
use crate::settings::Envelope;

/// What a queue handed over, read.
#[derive(Debug)]
pub struct Batch {
    /// The messages that can be read.
    pub messages: Vec<Message>,
    /// Those that cannot, already reported.
    pub failures: Failures,
}

/// A message that can be read.
#[derive(Debug)]
pub struct Message {
    /// SQS's id of the message.
    pub id: String,
    /// What it says.
    pub envelope: Envelope,
    /// How often the queue has handed it over, this time included (`ApproximateReceiveCount`).
    pub deliveries: u32,
}

/// The messages of a batch that are to be delivered again.
#[derive(Debug, Default)]
pub struct Failures(BTreeSet<String>);

impl Batch {
    /// Reads every message of `event`.
    pub fn read(event: SqsEvent) -> Self {
        let mut batch = Self { messages: Vec::new(), failures: Failures::default() };
        for record in event.records {
            // SQS always gives an id. Without one the answer is invalid, which makes Lambda return the whole batch.
            let id = record.message_id.unwrap_or_default();
            let count = record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
            // SQS always gives it. Without it nobody knows that this is the first time.
            let deliveries = count.unwrap_or(u32::MAX);
            match Envelope::read(record.body.as_deref().unwrap_or_default()) {
                Ok(envelope) => batch.messages.push(Message { id, envelope, deliveries }),
                Err(error) => batch.failures.add(&id, &error),
            }
        }
        batch
    }
}

impl Failures {
    /// Has message `id` delivered again, because of `error`.
    pub fn add(&mut self, id: &str, error: &(dyn Error + 'static)) {
        tracing::error!(message_id = id, outcome = "message failed", reason = %Causes(error));
        self.0.insert(id.to_owned());
    }

    /// The function's answer.
    pub fn into_response(self) -> SqsBatchResponse {
        let mut response = SqsBatchResponse::default();
        for id in self.0 {
            response.add_failure(id);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_cannot_be_read_goes_back_and_holds_up_no_other() {
        let good = serde_json::json!({
            "cleanup": crate::settings::tests::cleanup(),
            "event": {
                "id": "1", "source": "aws.ecs", "detail-type": "x", "account": "222222222222", "region": "eu-west-1",
                "time": "2026-11-23T12:00:00Z", "detail": {},
            },
        });
        let event: SqsEvent = serde_json::from_value(serde_json::json!({"Records": [
            {"messageId": "broken", "body": "{"},
            {"messageId": "good", "body": good.to_string(), "attributes": {"ApproximateReceiveCount": "2"}},
            {"messageId": "uncounted", "body": good.to_string()},
            {"messageId": "empty"},
        ]}))
        .unwrap();
        let batch = Batch::read(event);
        let read: Vec<_> = batch.messages.iter().map(|m| (m.id.as_str(), m.deliveries)).collect();
        assert_eq!(read, [("good", 2), ("uncounted", u32::MAX)]);
        let response = serde_json::to_value(batch.failures.into_response()).unwrap();
        let failed = serde_json::json!([{"itemIdentifier": "broken"}, {"itemIdentifier": "empty"}]);
        assert_eq!(response["batchItemFailures"], failed);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bodies_go_back_and_never_panic(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            json in "[{}\\[\\]\":,a-z0-9]{0,80}",
        ) {
            let record = |body: String| {
                let mut record = aws_lambda_events::sqs::SqsMessage::default();
                record.message_id = Some("m".to_owned());
                record.body = Some(body);
                record
            };
            let cleanup = format!(r#"{{"cleanup":{{"schemaVersion":1,"name":{json}}},"event":{json}}}"#);
            for body in [String::from_utf8_lossy(&bytes).into_owned(), json.clone(), cleanup] {
                let mut event = SqsEvent::default();
                event.records = vec![record(body)];
                let batch = Batch::read(event);
                proptest::prop_assert!(batch.messages.is_empty());
                proptest::prop_assert_eq!(batch.failures.into_response().batch_item_failures.len(), 1);
            }
        }
    }
}
