//! The function `schedule-checks`: from task definition events to scheduled image deletion checks.
//!
//! # Flow
//! Each message's images that live in the hub's registries are collected, per EcrCleanup and repository, over the whole
//! batch. A repository's opt-in tag is looked up once and its references are resolved to digests together. Each digest's
//! check is (re)scheduled at one rollback window after the event, or later if it is so already.
//!
//! # Guarantees
//! All kinds of event are treated alike, so their order does not matter. Nothing of an event is used but references that
//! parsed and the time, which is not believed if it lies in the future. A message whose images could not all be
//! scheduled is delivered again; the others are not.
//!
//! # Permissions
//! The function's role, in the hub:
//! - `ecr:ListTagsForResource`, `ecr:DescribeImages` on the repositories.
//! - `scheduler:CreateSchedule`, `GetSchedule`, `UpdateSchedule` on `schedule/ecr-cleanup-*/check-*`, `iam:PassRole` on the
//!   schedules' role to `scheduler.amazonaws.com`.
//! - `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes` on its queue, and its log group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::batch::{Batch, Failures, Message};
use crate::check_images::evidence::Participation;
use crate::checks::{self, Candidate, How};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::image::{Digest, ImageId, Selector};
use crate::log::Decision;
use crate::metrics::{Line, Metric, Sink};
use crate::repository::Repository;
use crate::settings::Settings;
use crate::task_definition_event::TaskDefinitionEvent;

pub mod resolve;

/// Schedules are put at most so many at a time.
const PARALLEL: usize = 8;

/// The function.
#[derive(Debug)]
pub struct ScheduleChecks {
    clients: Arc<Clients>,
    clock: Clock,
    metrics: Sink,
}

/// What a batch's messages ask of one EcrCleanup.
#[derive(Debug, PartialEq)]
struct Request {
    settings: Settings,
    repositories: BTreeMap<Repository, BTreeMap<Selector, Asked>>,
}

/// When an image changed last, and which messages say that it did.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    last_change: Timestamp,
    messages: BTreeSet<String>,
}

impl Asked {
    fn merge(&mut self, other: &Self) {
        self.last_change = self.last_change.max(other.last_change);
        self.messages.extend(other.messages.iter().cloned());
    }
}

impl ScheduleChecks {
    /// The function, calling AWS through `clients` and telling the time by `clock`.
    pub fn new(clients: Arc<Clients>, clock: Clock) -> Self {
        Self { clients, clock, metrics: Sink::default() }
    }

    /// The same function, with its metrics going elsewhere than to its log.
    pub fn with_metrics(self, metrics: Sink) -> Self {
        Self { metrics, ..self }
    }

    /// Handles one batch and answers which of its messages are to be delivered again.
    pub async fn handle(&self, event: SqsEvent) -> SqsBatchResponse {
        let Batch { messages, mut failures } = Batch::read(event);
        let now = self.clock.now();
        for request in requests(&messages, now, &mut failures) {
            for (repository, asked) in &request.repositories {
                self.schedule(&request.settings, repository, asked, now, &mut failures).await;
            }
        }
        failures.into_response()
    }

    /// Schedules the checks of one repository's images.
    async fn schedule(
        &self,
        settings: &Settings,
        repository: &Repository,
        asked: &BTreeMap<Selector, Asked>,
        now: Timestamp,
        failures: &mut Failures,
    ) {
        let ignore = |reason: &str| {
            Decision { repository: Some(repository), ..Decision::new(&settings.names, "ignore", "ignored", &reason) }
                .log();
        };
        let ecr = self.clients.ecr(&repository.registry.region);
        let images = match resolve::opt_in(&ecr, repository, &settings.opt_in_tag).await {
            // Where the tag cannot be understood, the check keeps the images and its outcome says why.
            Ok(Some(Participation::In(_) | Participation::Unreadable { .. })) => {
                resolve::digests(&ecr, repository, asked.keys()).await
            }
            Ok(Some(Participation::Out)) => return ignore("the repository does not have the opt-in tag"),
            Ok(None) => return ignore("there is no such repository"),
            Err(error) => Err(error),
        };
        let images = match images {
            Ok(images) => images,
            Err(error) => {
                let messages: BTreeSet<&String> = asked.values().flat_map(|a| &a.messages).collect();
                return messages.into_iter().for_each(|id| failures.add(id, &error));
            }
        };

        let mut by_digest: BTreeMap<Digest, Asked> = BTreeMap::new();
        for (selector, asked) in asked {
            match images.get(selector) {
                Some(digest) => {
                    by_digest.entry(digest.clone()).and_modify(|known| known.merge(asked)).or_insert(asked.clone());
                }
                None => ignore(&format!("there is no image {repository}{selector}")),
            }
        }
        let scheduler = self.clients.scheduler();
        let scheduling = by_digest.into_iter().map(async |(digest, asked)| {
            let image = ImageId { repository: repository.clone(), digest };
            let candidate = Candidate::changed(image, asked.last_change, settings, now);
            let result = checks::ensure(scheduler, settings, now, &candidate).await;
            (candidate.image, asked, result)
        });
        let results: Vec<_> = futures::stream::iter(scheduling).buffered(PARALLEL).collect().await;
        let mut put = 0;
        for (image, asked, result) in results {
            match result {
                Ok(scheduled) => {
                    put += u64::from(scheduled.how != How::Pending);
                    let reason = format!("a task definition that names it changed at {}", asked.last_change);
                    Decision {
                        repository: Some(repository),
                        digest: Some(&image.digest),
                        next_check: Some(scheduled.at),
                        ..Decision::new(&settings.names, "check", scheduled.how.text(), &reason)
                    }
                    .log();
                }
                Err(error) => asked.messages.iter().for_each(|id| failures.add(id, &error)),
            }
        }
        let line = Line::of(&settings.names, now).about("Repository", repository.to_string());
        self.metrics.report(&line.count(Metric::ChecksScheduled, put));
    }
}

/// What the messages ask for, per EcrCleanup (with the settings that each message carries) and repository.
fn requests(messages: &[Message], now: Timestamp, failures: &mut Failures) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for Message { id, envelope, .. } in messages {
        let (settings, event) = (&envelope.settings, &envelope.event);
        let ignore = |reason: &dyn std::fmt::Display| {
            Decision { event_id: Some(&event.id), ..Decision::new(&settings.names, "ignore", "ignored", reason) }.log();
        };
        let references = match TaskDefinitionEvent::read(event) {
            Ok(TaskDefinitionEvent::Images { references, refused }) => {
                refused.iter().for_each(|reason| ignore(reason));
                references
            }
            Ok(TaskDefinitionEvent::NoImages(reason)) => {
                ignore(&reason);
                continue;
            }
            Err(error) => {
                failures.add(id, &error);
                continue;
            }
        };
        let (ours, others): (Vec<_>, Vec<_>) =
            references.into_iter().partition(|r| settings.cleans_up(&r.repository().registry));
        for reference in others {
            ignore(&format_args!("{reference} is not in one of the hub's registries"));
        }
        if ours.is_empty() {
            continue;
        }
        let at = requests.iter().position(|r| r.settings == *settings).unwrap_or_else(|| {
            requests.push(Request { settings: settings.clone(), repositories: BTreeMap::new() });
            requests.len() - 1
        });
        // What an event says of the time can only lie in the past.
        let asked = Asked { last_change: event.time.min(now), messages: [id.clone()].into() };
        for reference in ours {
            let selectors = requests[at].repositories.entry(reference.repository().clone()).or_default();
            let known = selectors.entry(reference.selector()).or_insert_with(|| asked.clone());
            known.merge(&asked);
        }
    }
    requests
}

#[cfg(test)]
mod tests;
