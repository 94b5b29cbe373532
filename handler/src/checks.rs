//! Scheduled image deletion checks: the one path from an image that may have become unused to a schedule that asks for
//! its check.
//!
//! # Guarantees
//! After [`ensure`] succeeded, the image has a check that is due at the earliest when everything has passed that was
//! asked for, by this call or by an earlier one whose schedule is still pending, and that carries the latest change
//! known to either. Doing it twice changes nothing.
//!
//! # Assumptions
//! Scheduler tells an existing name by `ConflictException`, and a schedule that has fired may be found for a while before
//! it is gone. So a schedule that is due within [`LEAD`] is not touched any more: what is asked for later takes a fresh
//! name. An image can therefore have two checks for a while, which is harmless: each computes for itself whether it is
//! too early.
//!
//! # Caveats
//! Scheduler cannot change a schedule on condition that it is still as it was read. Of two that change one between each
//! other's look and update, the last one's time stays. A check that comes too early by that finds it out from the times at
//! which Config captured the revisions that name the image.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_scheduler::operation::get_schedule::GetScheduleOutput;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, EventBridgeParameters, FlexibleTimeWindow, FlexibleTimeWindowMode, ScheduleState, Target,
};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};

use crate::causes::failure_text;
use crate::check_images::evidence::Candidacy;
use crate::image::{Digest, ImageId};
use crate::names::{CHECK_DUE, EVENT_SOURCE, sha256_hex};
use crate::repository::Repository;
use crate::settings::Settings;

/// How far ahead a check is scheduled at least, and how far ahead of its time a schedule is left alone: Scheduler's
/// precision is a minute, and a time in the past may be refused.
pub const LEAD: SignedDuration = SignedDuration::from_mins(2);

/// An event that asks for checks names at most this many images: a batch of a hundred such messages has to be done in the
/// function's time.
const TOGETHER: usize = 100;

/// How often names and calls are tried before an image's schedules are given up as unsettled.
const ATTEMPTS: u32 = 8;

/// An image that is to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The image.
    pub image: ImageId,
    /// The last change that concerns it, as far as the caller knows.
    pub last_change: Timestamp,
    /// The check is due no earlier.
    pub not_before: Timestamp,
    /// How often the check has been postponed for want of evidence.
    pub postponements: u32,
    /// When it was first postponed so.
    pub postponed_since: Option<Timestamp>,
    /// Why it is one.
    pub candidacy: Candidacy,
}

impl Candidate {
    /// An image that a change at `time` of a task definition concerns: due one rollback window later. No change lies in the
    /// future.
    pub fn changed(image: ImageId, time: Timestamp, settings: &Settings, now: Timestamp) -> Self {
        let last_change = time.min(now);
        let candidacy = Candidacy { named: true, orphaned_at: None };
        let not_before = last_change + settings.rollback_window();
        Self { image, last_change, not_before, postponements: 0, postponed_since: None, candidacy }
    }
}

/// `detail` of the event that asks for a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckDue {
    /// Where the image is.
    pub repository: Repository,
    /// Which image.
    pub digest: Digest,
    /// The last change that was known when the check was scheduled.
    pub last_change: Timestamp,
    /// How often the check has been postponed for want of evidence.
    pub postponements: u32,
    /// When it was first postponed so. Checks that an earlier version scheduled do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postponed_since: Option<Timestamp>,
    /// An event said that a task definition named the image.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub named: bool,
    /// When the deletion was begun here of an image that it was a child or an attachment of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphaned_at: Option<Timestamp>,
    /// Which of the image's own schedules asks for it. Checks of several images do not say, nor those of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

impl CheckDue {
    /// Why the image is a candidate.
    pub fn candidacy(&self) -> Candidacy {
        Candidacy { named: self.named, orphaned_at: self.orphaned_at }
    }
}

/// `detail` of the event that asks for the checks of several images of one repository at once, which no event asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChecksDue {
    /// Where the images are.
    pub repository: Repository,
    /// Which images.
    pub digests: BTreeSet<Digest>,
    /// Why they are candidates.
    pub occasion: Occasion,
}

/// Why images are checked that no event named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A sweep found them, and nothing that it saw uses them.
    Sweep,
    /// The deletion of the image that they belong to was about to begin. What it leaves behind are orphans.
    #[serde(rename_all = "camelCase")]
    Deletion {
        /// When that was.
        begun_at: Timestamp,
    },
}

impl ChecksDue {
    /// What this asks of each image.
    pub fn each(self) -> impl Iterator<Item = CheckDue> {
        let Self { repository, digests, occasion } = self;
        let orphaned_at = match occasion {
            Occasion::Sweep => None,
            Occasion::Deletion { begun_at } => Some(begun_at),
        };
        digests.into_iter().map(move |digest| CheckDue {
            repository: repository.clone(),
            digest,
            // No change is known but those that the check itself looks for.
            last_change: Timestamp::UNIX_EPOCH,
            postponements: 0,
            postponed_since: None,
            named: false,
            orphaned_at,
            generation: None,
        })
    }
}

/// A scheduled check: what it asks for and when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    at: Timestamp,
    due: CheckDue,
}

impl Check {
    /// The check of `candidate`, at a whole minute at least [`LEAD`] ahead, under the first of the image's names.
    fn of(candidate: &Candidate, now: Timestamp) -> Self {
        let ImageId { repository, digest } = candidate.image.clone();
        let Candidate { last_change, postponements, postponed_since, candidacy, .. } = *candidate;
        let Candidacy { named, orphaned_at } = candidacy;
        let generation = Some(1);
        let due = CheckDue {
            repository,
            digest,
            last_change,
            postponements,
            postponed_since,
            named,
            orphaned_at,
            generation,
        };
        Self { at: whole_minute(candidate.not_before.max(now + LEAD)), due }
    }

    /// This check or `pending`, whichever is later in each respect; but whichever was postponed first.
    fn merged(&self, pending: &Self) -> Self {
        let mut merged = self.clone();
        merged.at = self.at.max(pending.at);
        merged.due.last_change = self.due.last_change.max(pending.due.last_change);
        merged.due.postponements = self.due.postponements.max(pending.due.postponements);
        merged.due.postponed_since = earlier(self.due.postponed_since, pending.due.postponed_since);
        Candidacy { named: merged.due.named, orphaned_at: merged.due.orphaned_at } =
            self.due.candidacy().and(pending.due.candidacy());
        merged
    }

    fn expression(&self) -> String {
        at_expression(self.at)
    }

    fn input(&self) -> String {
        serde_json::json!(self.due).to_string()
    }
}

/// The earlier of two times, of which either may not be known.
pub fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// What is known of a schedule that exists already.
#[derive(Debug, PartialEq, Eq)]
enum Existing {
    /// It is due within [`LEAD`], or was: it cannot be relied on to be changed.
    Firing,
    /// It is pending.
    Pending(Check),
    /// It is not as we make them.
    Unreadable,
}

impl Existing {
    fn of(expression: Option<&str>, input: Option<&str>, now: Timestamp) -> Self {
        let at = expression.and_then(|e| e.strip_prefix("at(")?.strip_suffix(")")?.parse::<DateTime>().ok());
        let Some(at) = at.and_then(|at| TimeZone::UTC.to_timestamp(at).ok()) else {
            return Self::Unreadable;
        };
        if at <= now + LEAD {
            return Self::Firing;
        }
        match input.map(serde_json::from_str) {
            Some(Ok(due)) => Self::Pending(Check { at, due }),
            _ => Self::Unreadable,
        }
    }
}

/// The expression of a one-time schedule in UTC.
pub(crate) fn at_expression(at: Timestamp) -> String {
    format!("at({})", at.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// The next whole minute, if `time` is none: a check that comes a minute late is cheaper than one that comes too early
/// and is postponed.
pub(crate) fn whole_minute(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Minute).mode(RoundMode::Ceil)).unwrap_or(time)
}

/// How the names of the schedules of a repository's images begin, so that they can be listed: `check-`, 12 hexadecimal
/// digits, and `-`.
fn repository_prefix(repository: &Repository) -> String {
    format!("check-{}-", &sha256_hex(&repository.to_string())[..12])
}

/// The name of an image's schedule: 32 hexadecimal digits follow; from the second generation on, its number.
fn schedule_name(image: &ImageId, generation: u32) -> String {
    let digits = &sha256_hex(&image.to_string())[..32];
    let first = format!("{}{digits}", repository_prefix(&image.repository));
    if generation == 1 { first } else { format!("{first}-{generation}") }
}

/// The schedules of a repository's images, and when each was last changed, as far as AWS tells.
#[derive(Debug)]
pub struct Pending(BTreeMap<String, Option<Timestamp>>);

impl Pending {
    /// The image's schedules among them of which `fired` does not already tell everything, by name.
    ///
    /// A schedule that has fired may be found for a while. It is the one that fired, and not another of the same name, if
    /// it was not changed since; to be on the safe side of clocks that differ, since a minute before that. Nobody touches a
    /// schedule within [`LEAD`] of its time.
    fn of_image<'a>(&'a self, image: &ImageId, fired: &'a Fired) -> impl Iterator<Item = &'a str> {
        let first = schedule_name(image, 1);
        let of_image = self.0.range(first.clone()..).take_while({
            let first = first.clone();
            move |(name, _)| name.starts_with(&first)
        });
        of_image.filter_map(move |(name, changed)| {
            let generation = match name.strip_prefix(&first)? {
                "" => Some(1),
                rest => Some(rest.strip_prefix('-')?.parse::<u32>().ok()?),
            };
            let fired = generation.and_then(|generation| fired.0.get(&generation));
            let is_told = |fired: &Timestamp, changed: &Timestamp| *changed < *fired - SignedDuration::from_mins(1);
            let told = fired.zip(changed.as_ref()).is_some_and(|(fired, changed)| is_told(fired, changed));
            (!told).then_some(name.as_str())
        })
    }
}

/// Which of an image's schedules fired, and when: what they knew is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fired(BTreeMap<u32, Timestamp>);

impl Fired {
    /// A schedule of this generation fired at `at`, or earlier.
    pub fn add(&mut self, generation: u32, at: Timestamp) {
        let known = self.0.entry(generation).or_insert(at);
        *known = at.min(*known);
    }
}

/// The schedules of a repository's images.
///
/// # Errors
/// A call failed.
pub async fn pending(
    scheduler: &aws_sdk_scheduler::Client,
    settings: &Settings,
    repository: &Repository,
) -> Result<Pending, ScheduleError> {
    let prefix = repository_prefix(repository);
    let mut pending = BTreeMap::new();
    let mut token = None;
    loop {
        let page = scheduler
            .list_schedules()
            .group_name(&settings.schedule_group_name)
            .name_prefix(&prefix)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| ScheduleError::Call(failure_text("scheduler:ListSchedules", &prefix, &error)))?;
        for schedule in page.schedules() {
            let changed = schedule.last_modification_date().and_then(|at| Timestamp::from_second(at.secs()).ok());
            pending.extend(schedule.name().map(|name| (name.to_owned(), changed)));
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(Pending(pending));
        }
    }
}

/// What [`ensure`] found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The schedule's name.
    pub name: String,
    /// When the check is due.
    pub at: Timestamp,
    /// What it asks for, with what an earlier check knew.
    pub due: CheckDue,
    /// How it came about.
    pub how: How,
}

/// How a scheduled check came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// There was none.
    Created,
    /// There was one, which is later now or knows of a later change.
    Moved,
    /// There was one that needed no change.
    Pending,
}

impl How {
    /// For log lines.
    pub fn text(self) -> &'static str {
        match self {
            Self::Created => "check scheduled",
            Self::Moved => "check moved",
            Self::Pending => "check already scheduled",
        }
    }
}

/// Why a check could not be scheduled.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// The EcrCleanup has no schedule group (any more).
    #[error("no check of {image} can be scheduled: there is no schedule group {group}")]
    NoGroup {
        /// The image.
        image: Box<ImageId>,
        /// The group.
        group: String,
    },
    /// A call failed.
    #[error("no check of {image} can be scheduled: {reason}")]
    Call {
        /// The image.
        image: Box<ImageId>,
        /// The call, and what it said.
        reason: String,
    },
    /// Every name was taken, or was created and deleted at the same time.
    #[error("no check of {0} can be scheduled: its schedules kept changing")]
    Unsettled(Box<ImageId>),
}

/// Makes sure that `candidate` has a check, as this module promises.
///
/// # Errors
/// A call failed, or others kept changing the image's schedules. Nothing is lost when it is done again.
pub async fn ensure(
    scheduler: &aws_sdk_scheduler::Client,
    settings: &Settings,
    now: Timestamp,
    candidate: &Candidate,
) -> Result<Scheduled, EnsureError> {
    let image = &candidate.image;
    let failed = |reason: String| EnsureError::Call { image: Box::new(image.clone()), reason };
    let invalid = |error: aws_sdk_scheduler::error::BuildError| failed(error.to_string());
    let mut wanted = Check::of(candidate, now);
    let mut generation = 1;
    for _ in 0..ATTEMPTS {
        wanted.due.generation = Some(generation);
        let name = schedule_name(image, generation);
        let group = &settings.schedule_group_name;

        let target = |check: &Check| target(settings, check).map_err(invalid);
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(invalid)?;
        let created = scheduler
            .create_schedule()
            .group_name(group)
            .name(&name)
            .client_token(client_token(&name, &wanted))
            .schedule_expression(wanted.expression())
            .schedule_expression_timezone("UTC")
            .flexible_time_window(window.clone())
            .action_after_completion(ActionAfterCompletion::Delete)
            .state(ScheduleState::Enabled)
            .target(target(&wanted)?)
            .send()
            .await;
        match created {
            Ok(_) => return Ok(Scheduled { name, at: wanted.at, due: wanted.due, how: How::Created }),
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_conflict_exception() => {}
                Some(service) if service.is_resource_not_found_exception() => {
                    return Err(EnsureError::NoGroup { image: Box::new(image.clone()), group: group.clone() });
                }
                _ => return Err(failed(failure_text("scheduler:CreateSchedule", group, &error))),
            },
        }

        let found = match scheduler.get_schedule().group_name(group).name(&name).send().await {
            Ok(found) => found,
            // It has gone since: the name is free again.
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => continue,
            Err(error) => return Err(failed(failure_text("scheduler:GetSchedule", group, &error))),
        };
        let merged = match existing(&found, now) {
            Existing::Firing => {
                generation += 1;
                continue;
            }
            Existing::Pending(pending) if wanted.merged(&pending) == pending => {
                return Ok(Scheduled { name, at: pending.at, due: pending.due, how: How::Pending });
            }
            Existing::Pending(pending) => wanted.merged(&pending),
            Existing::Unreadable => wanted.clone(),
        };

        // An update resets whatever it omits, so it says everything that the creation said.
        let updated = scheduler
            .update_schedule()
            .group_name(group)
            .name(&name)
            .client_token(client_token(&name, &merged))
            .schedule_expression(merged.expression())
            .schedule_expression_timezone("UTC")
            .flexible_time_window(window)
            .action_after_completion(ActionAfterCompletion::Delete)
            .state(ScheduleState::Enabled)
            .target(target(&merged)?)
            .send()
            .await;
        match updated {
            Ok(_) => return Ok(Scheduled { name, at: merged.at, due: merged.due, how: How::Moved }),
            Err(error) => match error.as_service_error() {
                // Lost against its own deletion, which may not be complete: a fresh name is safe.
                Some(service) if service.is_resource_not_found_exception() => generation += 1,
                // Somebody else changed it at the same time: look again.
                Some(service) if service.is_conflict_exception() => {}
                _ => return Err(failed(failure_text("scheduler:UpdateSchedule", group, &error))),
            },
        }
    }
    Err(EnsureError::Unsettled(Box::new(image.clone())))
}

/// Why something could not be scheduled.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The EcrCleanup has no schedule group (any more).
    #[error("nothing can be scheduled: there is no schedule group {0}")]
    NoGroup(String),
    /// A call failed: which, and what it said.
    #[error("{0}")]
    Call(String),
}

/// Has all images of `due` checked at `not_before`, at least [`LEAD`] ahead; the names of the schedules. Asking twice for the
/// same images and time is the same as asking once.
///
/// # Errors
/// A call failed. Nothing is lost when it is done again.
pub async fn together(
    scheduler: &aws_sdk_scheduler::Client,
    settings: &Settings,
    due: &ChecksDue,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<Vec<String>, ScheduleError> {
    let at = whole_minute(not_before.max(now + LEAD));
    let digests: Vec<&Digest> = due.digests.iter().collect();
    let mut names = Vec::new();
    for some in digests.chunks(TOGETHER) {
        let digests = some.iter().map(|digest| (*digest).clone()).collect();
        let input = serde_json::json!(ChecksDue { digests, ..due.clone() }).to_string();
        names.push(publish_at(scheduler, settings, "check", CHECK_DUE, at, input).await?);
    }
    Ok(names)
}

/// Has an event of `detail_type` with the detail `input` put on the EcrCleanup's bus at `at`, once; the name of the schedule,
/// which begins with `prefix` and follows from all of these.
///
/// # Errors
/// A call failed. Nothing is lost when it is done again.
pub async fn publish_at(
    scheduler: &aws_sdk_scheduler::Client,
    settings: &Settings,
    prefix: &str,
    detail_type: &str,
    at: Timestamp,
    input: String,
) -> Result<String, ScheduleError> {
    let expression = at_expression(at);
    let token = sha256_hex(&format!("{detail_type} {expression} {input}"));
    let name = format!("{prefix}-{}", &token[..40]);
    let invalid = |error: aws_sdk_scheduler::error::BuildError| ScheduleError::Call(error.to_string());
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(invalid)?;
    let created = scheduler
        .create_schedule()
        .group_name(&settings.schedule_group_name)
        .name(&name)
        .client_token(token)
        .schedule_expression(expression)
        .schedule_expression_timezone("UTC")
        .flexible_time_window(window)
        .action_after_completion(ActionAfterCompletion::Delete)
        .state(ScheduleState::Enabled)
        .target(bus_target(settings, detail_type, input).map_err(invalid)?)
        .send()
        .await;
    match created {
        Ok(_) => Ok(name),
        Err(error) => match error.as_service_error() {
            // The name says all that it asks for.
            Some(service) if service.is_conflict_exception() => Ok(name),
            Some(service) if service.is_resource_not_found_exception() => {
                Err(ScheduleError::NoGroup(settings.schedule_group_name.clone()))
            }
            _ => Err(ScheduleError::Call(failure_text("scheduler:CreateSchedule", &name, &error))),
        },
    }
}

/// Takes a schedule back that [`together`] made; done if it is gone.
///
/// # Errors
/// The call failed.
pub async fn cancel(
    scheduler: &aws_sdk_scheduler::Client,
    settings: &Settings,
    name: &str,
) -> Result<(), ScheduleError> {
    match scheduler.delete_schedule().group_name(&settings.schedule_group_name).name(name).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => Ok(()),
        Err(error) => Err(ScheduleError::Call(failure_text("scheduler:DeleteSchedule", name, &error))),
    }
}

/// The latest change that the pending checks of an image know of, if it has any beside those that `fired`.
///
/// # Errors
/// A call failed, or a check cannot be read.
pub async fn known_change(
    scheduler: &aws_sdk_scheduler::Client,
    settings: &Settings,
    image: &ImageId,
    pending: &Pending,
    fired: &Fired,
) -> Result<Option<Timestamp>, ScheduleError> {
    let group = &settings.schedule_group_name;
    let mut latest = None;
    for name in pending.of_image(image, fired) {
        let found = match scheduler.get_schedule().group_name(group).name(name).send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                continue;
            }
            Err(error) => return Err(ScheduleError::Call(failure_text("scheduler:GetSchedule", name, &error))),
        };
        let due = found.target().and_then(Target::input).map(serde_json::from_str::<CheckDue>);
        match due {
            Some(Ok(due)) => latest = latest.max(Some(due.last_change)),
            _ => return Err(ScheduleError::Call(format!("the schedule {name} is no check that can be read"))),
        }
    }
    Ok(latest)
}

fn existing(found: &GetScheduleOutput, now: Timestamp) -> Existing {
    let input = found.target().and_then(Target::input);
    Existing::of(found.schedule_expression(), input, now)
}

/// The target of a check's schedule.
fn target(settings: &Settings, check: &Check) -> Result<Target, aws_smithy_types::error::operation::BuildError> {
    bus_target(settings, CHECK_DUE, check.input())
}

/// A schedule's target: the EcrCleanup's bus, on which it publishes an event.
pub(crate) fn bus_target(
    settings: &Settings,
    detail_type: &str,
    input: String,
) -> Result<Target, aws_smithy_types::error::operation::BuildError> {
    let event = EventBridgeParameters::builder().detail_type(detail_type).source(EVENT_SOURCE).build()?;
    Target::builder()
        .arn(settings.event_bus_arn.as_str())
        .role_arn(settings.scheduler_role_arn.as_str())
        .event_bridge_parameters(event)
        .input(input)
        .build()
}

/// The same request has the same token, so that one whose answer was lost can be sent again.
fn client_token(name: &str, check: &Check) -> String {
    sha256_hex(&format!("{name} {} {}", check.expression(), check.input()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn image() -> ImageId {
        let repository = r#"{"account":"111111111111","region":"eu-west-1","name":"team/api"}"#;
        ImageId { repository: serde_json::from_str(repository).unwrap(), digest: DIGEST.parse().unwrap() }
    }

    fn candidate(last_change: &str, not_before: &str, postponements: u32) -> Candidate {
        let candidacy = Candidacy { named: true, orphaned_at: None };
        let postponed_since = (postponements > 0).then(|| time("2026-11-23T08:00:00Z"));
        let (last_change, not_before) = (time(last_change), time(not_before));
        Candidate { image: image(), last_change, not_before, postponements, postponed_since, candidacy }
    }

    #[test]
    fn names_follow_from_repository_and_digest() {
        let repository = "111111111111/eu-west-1/team/api";
        let digits = &sha256_hex(&format!("{repository}@{DIGEST}"))[..32];
        let base = format!("check-{}-{digits}", &sha256_hex(repository)[..12]);
        assert_eq!(schedule_name(&image(), 1), base);
        assert_eq!(schedule_name(&image(), 2), format!("{base}-2"));
        assert_eq!(base.len(), 51);
    }

    #[test]
    fn a_schedule_of_the_image_is_looked_at_unless_it_is_known_to_be_the_one_that_fired() {
        let (image, fired_at) = (image(), time("2026-11-23T12:00:00Z"));
        let (first, second) = (schedule_name(&image, 1), schedule_name(&image, 2));
        let mut fired = Fired::default();
        fired.add(1, fired_at);
        let looked_at = |name: &str, changed: Option<&str>| {
            let pending = Pending(BTreeMap::from([(name.to_owned(), changed.map(time))]));
            pending.of_image(&image, &fired).count() == 1
        };
        assert!(!looked_at(&first, Some("2026-11-23T11:58:00Z")), "it fired as it is");
        assert!(looked_at(&first, Some("2026-11-23T11:59:00Z")), "it was changed about when it fired");
        assert!(looked_at(&first, Some("2026-11-23T12:01:00Z")), "it was made anew");
        assert!(looked_at(&first, None), "nobody knows");
        assert!(looked_at(&second, Some("2026-11-20T00:00:00Z")), "another fired");
        for other in [format!("{first}0"), format!("{first}-x"), format!("{first}-"), "check-0".into()] {
            assert!(!looked_at(&other, None), "{other} is of no image");
        }
    }

    #[test]
    fn a_check_is_due_at_a_whole_minute_at_least_two_minutes_ahead() {
        let now = time("2026-11-23T12:00:30Z");
        for (not_before, at) in [
            ("2026-11-24T12:00:00Z", "at(2026-11-24T12:00:00)"),
            ("2026-11-24T12:00:00.001Z", "at(2026-11-24T12:01:00)"),
            ("2026-11-23T12:01:00Z", "at(2026-11-23T12:03:00)"),
            ("2020-01-01T00:00:00Z", "at(2026-11-23T12:03:00)"),
        ] {
            let check = Check::of(&candidate("2026-11-23T12:00:00Z", not_before, 0), now);
            assert_eq!(check.expression(), at, "{not_before}");
        }
    }

    #[test]
    fn a_check_asks_for_the_image_with_what_is_known_of_it() {
        let check =
            Check::of(&candidate("2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z", 3), time("2026-11-23T12:00:00Z"));
        let input: serde_json::Value = serde_json::from_str(&check.input()).unwrap();
        assert_eq!(
            input,
            serde_json::json!({
                "repository": {"account": "111111111111", "region": "eu-west-1", "name": "team/api"},
                "digest": DIGEST, "lastChange": "2026-11-23T12:00:00Z", "postponements": 3,
                "postponedSince": "2026-11-23T08:00:00Z", "generation": 1,
            })
        );
    }

    #[test]
    fn a_check_that_was_scheduled_before_candidacies_were_is_of_an_image_that_an_event_named() {
        let check = |candidacy| {
            let candidate = Candidate { candidacy, ..candidate("2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z", 0) };
            Check::of(&candidate, time("2026-11-23T12:00:00Z"))
        };
        let read = |check: &Check| serde_json::from_str::<CheckDue>(&check.input()).unwrap().candidacy();
        let at = |hour| Some(time("2026-11-23T00:00:00Z") + SignedDuration::from_hours(hour));
        let event = Candidacy { named: true, orphaned_at: None };
        let orphan = |hour| Candidacy { named: false, orphaned_at: at(hour) };
        assert!(!check(event).input().contains("named"), "as before");
        for candidacy in [event, orphan(1), Candidacy::SWEPT] {
            assert_eq!(read(&check(candidacy)), candidacy);
        }
        for (one, other) in [(event, orphan(1)), (orphan(1), event)] {
            let both = Candidacy { named: true, orphaned_at: at(1) };
            assert_eq!(read(&check(one).merged(&check(other))), both);
        }
        assert_eq!(read(&check(orphan(2)).merged(&check(orphan(1)))), orphan(2), "it was one again");
    }

    #[test]
    fn a_check_that_an_earlier_version_scheduled_is_read() {
        let input = serde_json::json!({
            "repository": {"account": "111111111111", "region": "eu-west-1", "name": "team/api"},
            "digest": DIGEST, "lastChange": "2026-11-23T12:00:00Z", "postponements": 3,
        });
        let due: CheckDue = serde_json::from_value(input.clone()).unwrap();
        assert_eq!(due.postponed_since, None);
        assert_eq!(serde_json::json!(due), input, "and written as it was");
    }

    #[test]
    fn a_pending_check_is_only_ever_made_later() {
        let now = time("2026-11-23T12:00:00Z");
        let check = |change: &str, at: &str, n| Check::of(&candidate(change, at, n), now);
        let pending = check("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", 1);
        for (wanted, expected) in [
            (("2026-11-23T11:00:00Z", "2026-11-24T11:00:00Z", 0), ("2026-11-23T11:00:00Z", "2026-11-24T11:00:00Z", 1)),
            (("2026-11-23T09:00:00Z", "2026-11-24T09:00:00Z", 0), ("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", 1)),
            (("2026-11-23T09:00:00Z", "2026-11-24T11:00:00Z", 2), ("2026-11-23T10:00:00Z", "2026-11-24T11:00:00Z", 2)),
        ] {
            let merged = check(wanted.0, wanted.1, wanted.2).merged(&pending);
            assert_eq!(merged, check(expected.0, expected.1, expected.2), "{wanted:?}");
            assert_eq!(merged.merged(&merged), merged);
        }
    }

    #[test]
    fn what_was_postponed_first_is_remembered() {
        let (first, second) = (Some(time("2026-11-23T10:00:00Z")), Some(time("2026-11-23T11:00:00Z")));
        for (one, other, expected) in
            [(None, None, None), (first, None, first), (None, first, first), (second, first, first)]
        {
            assert_eq!(earlier(one, other), expected, "{one:?} {other:?}");
        }
        let now = time("2026-11-23T12:00:00Z");
        let pending = Check::of(&candidate("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", 1), now);
        let changed = Check::of(&candidate("2026-11-23T11:00:00Z", "2026-11-24T11:00:00Z", 0), now);
        assert_eq!(changed.due.postponed_since, None);
        assert_eq!(changed.merged(&pending).due.postponed_since, Some(time("2026-11-23T08:00:00Z")));
    }

    #[test]
    fn an_existing_schedule_is_firing_pending_or_unreadable() {
        let now = time("2026-11-23T12:00:00Z");
        let check = Check::of(&candidate("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", 1), now);
        let input = check.input();
        let read = |expression: &str, input: &str| Existing::of(Some(expression), Some(input), now);
        assert_eq!(read(&check.expression(), &input), Existing::Pending(check.clone()));
        assert_eq!(read("at(2026-11-23T11:59:00)", &input), Existing::Firing);
        assert_eq!(read("at(2026-11-23T12:02:00)", &input), Existing::Firing);
        assert!(matches!(read("at(2026-11-23T12:03:00)", &input), Existing::Pending(_)));
        assert_eq!(read("rate(1 day)", &input), Existing::Unreadable);
        assert_eq!(read("at(2026-11-24T10:00:00)", "{}"), Existing::Unreadable);
        assert_eq!(Existing::of(None, None, now), Existing::Unreadable);
    }

    #[test]
    fn a_token_is_the_same_for_the_same_request_only() {
        let now = time("2026-11-23T12:00:00Z");
        let check = Check::of(&candidate("2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", 1), now);
        let later = Check::of(&candidate("2026-11-23T10:00:00Z", "2026-11-24T10:01:00Z", 1), now);
        assert_eq!(client_token("check-a", &check), client_token("check-a", &check));
        assert_ne!(client_token("check-a", &check), client_token("check-a-2", &check));
        assert_ne!(client_token("check-a", &check), client_token("check-a", &later));
        assert_eq!(client_token("check-a", &check).len(), 64);
    }
}
