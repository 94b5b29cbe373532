//! What became of each image, told to everyone: an event on the EcrCleanup's bus, a log line, and metrics.
//!
//! One event for each repository, batch and detail-type, with the images inside; so a batch of a hundred images of one
//! repository takes one or two entries. Entries are published ten a call, and each is looked at in the answer.

use std::collections::BTreeMap;

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_types::request_id::RequestId as _;
use jiff::Timestamp;
use serde::Serialize;

use super::failed_call::failure_text;
use crate::image::{Digest, Tag};
use crate::log::Decision;
use crate::metrics::{Line, Metric, TOO_OFTEN};
use crate::names::{EVENT_SOURCE, Names};
use crate::repository::Repository;
use crate::settings::Settings;

/// What became of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The image.
    pub digest: Digest,
    /// Its tags when it was looked at.
    pub tags: Vec<Tag>,
    /// What was done.
    pub kind: OutcomeKind,
    /// The reason code.
    pub code: &'static str,
    /// The reason for people.
    pub reason: String,
}

/// What was done with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeKind {
    /// It is gone.
    Deleted {
        /// The children and attachments that went with it.
        with: Vec<Digest>,
        /// The bytes that this freed, as ECR counts them.
        bytes: u64,
    },
    /// It was moved to the archive storage class.
    Archived {
        /// Its bytes, as ECR counts them.
        bytes: u64,
    },
    /// It stays.
    Kept,
    /// It is looked at again.
    Postponed {
        /// When.
        until: Timestamp,
        /// How often its check has been put off in a row for want of evidence.
        postponements: u32,
        /// When it was first put off so.
        since: Option<Timestamp>,
    },
    /// It was to be deleted, but could not be.
    Failed,
}

impl Outcome {
    /// An image that was gone before anything was done: by an earlier delivery of the message, or by somebody else.
    pub fn gone_already(digest: Digest, tags: Vec<Tag>) -> Self {
        let kind = OutcomeKind::Deleted { with: Vec::new(), bytes: 0 };
        Self { digest, tags, kind, code: ALREADY_GONE, reason: "it was gone already".into() }
    }

    /// Whether the check has been put off so often in a row that people should look.
    pub fn is_postponed_too_often(&self) -> bool {
        matches!(self.kind, OutcomeKind::Postponed { postponements, .. } if postponements >= TOO_OFTEN)
    }
}

impl OutcomeKind {
    /// What had been decided.
    pub fn verdict(&self) -> &'static str {
        match self {
            Self::Deleted { .. } | Self::Failed => "delete",
            Self::Archived { .. } => "archive",
            Self::Kept => "keep",
            Self::Postponed { .. } => "postpone",
        }
    }

    /// The detail-type of the event.
    pub fn detail_type(&self) -> &'static str {
        match self {
            Self::Deleted { .. } => "Image Deleted",
            Self::Archived { .. } => "Image Archived",
            Self::Kept => "Image Kept",
            Self::Postponed { .. } => "Image Check Postponed",
            Self::Failed => "Image Deletion Failed",
        }
    }
}

/// `detail` of an outcome event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    cleanup: &'a Names,
    repository: &'a Repository,
    dry_run: bool,
    images: Vec<Image<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Image<'a> {
    digest: &'a Digest,
    tags: &'a [Tag],
    reason_code: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postponements: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postponed_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_with: Option<&'a [Digest]>,
}

/// More images than this do not go into one event: 256 KB were the limit of an entry until lately, a reason can be long.
const IMAGES_PER_EVENT: usize = 100;

/// The events that tell the outcomes of one repository, as detail-type and detail.
pub fn events(settings: &Settings, repository: &Repository, outcomes: &[Outcome]) -> Vec<(&'static str, String)> {
    let mut by_type: BTreeMap<&'static str, Vec<Image<'_>>> = BTreeMap::new();
    for outcome in outcomes {
        let (bytes, deleted_with) = match &outcome.kind {
            OutcomeKind::Deleted { with, bytes } => (Some(*bytes), Some(&with[..])),
            OutcomeKind::Archived { bytes } => (Some(*bytes), None),
            _ => (None, None),
        };
        let (until, postponements, postponed_since) = match &outcome.kind {
            OutcomeKind::Postponed { until, postponements, since } => (Some(*until), Some(*postponements), *since),
            _ => (None, None, None),
        };
        by_type.entry(outcome.kind.detail_type()).or_default().push(Image {
            digest: &outcome.digest,
            tags: &outcome.tags,
            reason_code: outcome.code,
            reason: shortened(&outcome.reason),
            until,
            postponements,
            postponed_since,
            bytes,
            deleted_with,
        });
    }
    let mut events = Vec::new();
    for (detail_type, mut images) in by_type {
        while !images.is_empty() {
            let rest = images.split_off(images.len().min(IMAGES_PER_EVENT));
            let detail = Detail { cleanup: &settings.names, repository, dry_run: settings.dry_run, images };
            events.push((detail_type, serde_json::json!(detail).to_string()));
            images = rest;
        }
    }
    events
}

/// A reason of at most 1,000 bytes: gaps of many accounts can be long.
fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(1000);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// One JSON log line for each decision.
pub fn log(settings: &Settings, repository: &Repository, outcomes: &[Outcome]) {
    for outcome in outcomes {
        let kind = &outcome.kind;
        Decision {
            repository: Some(repository),
            digest: Some(&outcome.digest),
            reason_code: Some(outcome.code),
            next_check: match kind {
                OutcomeKind::Postponed { until, .. } => Some(*until),
                _ => None,
            },
            bytes: match kind {
                OutcomeKind::Deleted { bytes, .. } | OutcomeKind::Archived { bytes } => Some(*bytes),
                _ => None,
            },
            ..Decision::new(&settings.names, kind.verdict(), kind.detail_type(), &outcome.reason)
        }
        .log();
    }
}

/// The code of images that were gone before they were looked at: by an earlier delivery of the same message, which counted
/// them, or by somebody else.
pub const ALREADY_GONE: &str = "already-gone";

/// The metrics of one repository's `checks`: a line with all counts, and one for each reason.
pub fn metrics(
    settings: &Settings,
    repository: &Repository,
    checks: usize,
    outcomes: &[Outcome],
    now: Timestamp,
) -> Vec<Line> {
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count() as u64;
    let deleted = outcomes.iter().filter_map(|outcome| match &outcome.kind {
        OutcomeKind::Deleted { with, bytes } if outcome.code != ALREADY_GONE => Some((1 + with.len() as u64, *bytes)),
        _ => None,
    });
    let (images, bytes) = deleted.fold((0, 0), |(images, bytes), (more, freed)| (images + more, bytes + freed));
    let oldest = outcomes.iter().filter_map(|outcome| match outcome.kind {
        OutcomeKind::Postponed { since, .. } => since,
        _ => None,
    });
    let age = oldest.min().map(|since| now.duration_since(since).as_secs());
    let total = Line::of(&settings.names, now)
        .about("Repository", repository.to_string())
        .about("DryRun", settings.dry_run)
        .count(Metric::ChecksRun, checks as u64)
        .count(Metric::ImagesDeleted, images)
        .count(Metric::BytesReclaimed, bytes)
        .count(Metric::ImagesArchived, count(|outcome| matches!(outcome.kind, OutcomeKind::Archived { .. })))
        .count(Metric::ImagesKept, count(|outcome| outcome.kind == OutcomeKind::Kept))
        .count(Metric::DeletionsFailed, count(|outcome| outcome.kind == OutcomeKind::Failed))
        .count(Metric::ChecksPostponed, count(|outcome| matches!(outcome.kind, OutcomeKind::Postponed { .. })))
        .count(Metric::ChecksPostponedRepeatedly, count(Outcome::is_postponed_too_often));
    let total = match age.and_then(|age| u64::try_from(age).ok()) {
        Some(age) => total.level(Metric::OldestPostponedCheckAge, age),
        None => total,
    };
    let mut by_reason: BTreeMap<(Metric, &'static str), u64> = BTreeMap::new();
    for outcome in outcomes {
        let metric = match outcome.kind {
            OutcomeKind::Kept => Metric::ImagesKept,
            OutcomeKind::Postponed { .. } => Metric::ChecksPostponed,
            _ => continue,
        };
        *by_reason.entry((metric, outcome.code)).or_default() += 1;
    }
    let reasons = by_reason.into_iter().map(|((metric, reason), count)| {
        Line::because(&settings.names, reason, now).about("Repository", repository.to_string()).count(metric, count)
    });
    std::iter::once(total).chain(reasons).collect()
}

/// Publishes events on the EcrCleanup's bus. All or an error: whoever gets an error has the outcomes told again.
///
/// # Errors
/// The call that failed, or the first entry that was refused.
pub async fn publish(
    eventbridge: &aws_sdk_eventbridge::Client,
    settings: &Settings,
    events: &[(&'static str, String)],
) -> Result<(), PublishError> {
    for ten in events.chunks(10) {
        let entries = ten.iter().map(|(detail_type, detail)| {
            PutEventsRequestEntry::builder()
                .event_bus_name(settings.event_bus_arn.as_str())
                .source(EVENT_SOURCE)
                .detail_type(*detail_type)
                .detail(detail)
                .build()
        });
        let answer =
            eventbridge.put_events().set_entries(Some(entries.collect())).send().await.map_err(|error| {
                PublishError(failure_text("events:PutEvents", settings.event_bus_arn.as_str(), &error))
            })?;
        if answer.failed_entry_count() != 0 {
            let failed = answer.entries().iter().find_map(|entry| Some((entry.error_code()?, entry.error_message())));
            let (code, message) = failed.unwrap_or(("no code", None));
            return Err(PublishError(format!(
                "events:PutEvents refused {} of {} entries: {code}: {} (request id {})",
                answer.failed_entry_count(),
                ten.len(),
                message.unwrap_or("no message"),
                answer.request_id().unwrap_or("none")
            )));
        }
    }
    Ok(())
}

/// Outcomes that could not be published.
#[derive(Debug, Clone, thiserror::Error)]
#[error("an outcome could not be published: {0}")]
pub struct PublishError(String);

#[cfg(test)]
mod tests;
