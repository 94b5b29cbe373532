//! The log: one JSON object a line, with the same names of fields in every function.
//!
//! | field | meaning |
//! | --- | --- |
//! | `ecr_cleanup` | name and kind of the EcrCleanup |
//! | `repository`, `digest` | the image |
//! | `verdict` | what was decided: `delete`, `archive`, `keep`, `postpone`; of events: `check`, `ignore` |
//! | `outcome` | what was done; of images the detail-type of the event that tells it |
//! | `reason_code`, `reason` | why, for machines and for people; where a call to AWS failed, with its request id |
//! | `next_check` | when the image is looked at (again) |
//! | `bytes` | the size of what was deleted or archived |
//! | `event_id`, `message_id`, `request_id` | the event, the queue's message or CloudFormation's request that a line is about |
//! | `request_type`, `status`, `physical_id` | that request and its answer |
//!
//! Metrics are lines of their own, in CloudWatch's format: see [`crate::metrics`].

use std::fmt::Display;

use jiff::Timestamp;
use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::image::Digest;
use crate::names::Names;
use crate::repository::Repository;

/// Writes the log to `writer`, in the form that this module describes.
pub fn written_to(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .with_writer(writer)
        .finish()
}

/// A decision, which leaves one line.
pub struct Decision<'a> {
    /// Whose decision.
    pub cleanup: &'a Names,
    /// About which repository, if any can be told.
    pub repository: Option<&'a Repository>,
    /// About which image, if one can be told.
    pub digest: Option<&'a Digest>,
    /// What was decided.
    pub verdict: &'static str,
    /// What was done.
    pub outcome: &'static str,
    /// The reason's code, where there is one.
    pub reason_code: Option<&'static str>,
    /// The reason for people.
    pub reason: &'a dyn Display,
    /// When the image is looked at (again).
    pub next_check: Option<Timestamp>,
    /// The size of what was deleted or archived.
    pub bytes: Option<u64>,
    /// The event that it was about.
    pub event_id: Option<&'a str>,
}

impl<'a> Decision<'a> {
    /// A decision of which nothing else is known.
    pub fn new(cleanup: &'a Names, verdict: &'static str, outcome: &'static str, reason: &'a dyn Display) -> Self {
        Self {
            cleanup,
            repository: None,
            digest: None,
            verdict,
            outcome,
            reason_code: None,
            reason,
            next_check: None,
            bytes: None,
            event_id: None,
        }
    }

    /// Writes the line.
    pub fn log(&self) {
        tracing::info!(
            ecr_cleanup = %self.cleanup,
            repository = self.repository.map(display),
            digest = self.digest.map(display),
            verdict = self.verdict,
            outcome = self.outcome,
            reason_code = self.reason_code,
            reason = %self.reason,
            next_check = self.next_check.map(display),
            bytes = self.bytes,
            event_id = self.event_id,
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::names::Kind;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` leaves, without their timestamps.
    pub(crate) fn lines(work: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        tracing::subscriber::with_default(written_to(move || writer.clone()), work);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                assert!(line.as_object_mut().unwrap().remove("timestamp").is_some_and(|time| time.is_string()));
                line
            })
            .collect()
    }

    #[test]
    fn what_is_not_known_is_not_a_field() {
        let cleanup = Names { name: "prod".parse().unwrap(), kind: Kind::Accounts };
        let lines = lines(|| Decision::new(&cleanup, "ignore", "ignored", &"the event names no image").log());
        assert_eq!(
            lines,
            [serde_json::json!({
                "level": "INFO", "ecr_cleanup": "prod (accounts)", "verdict": "ignore", "outcome": "ignored",
                "reason": "the event names no image",
            })]
        );
    }
}
