//! The function `sweep`: images that nothing is seen to use get a check, whether an event told of them or not.
//!
//! Events are best effort, and one event asks for one check. What a lost event, a kept image, a late opt-in or a time before
//! the installation left behind is found here.
//!
//! # Expected flow
//! A recurring schedule publishes `Sweep Due`. The hub's repositories are listed, those that take part are looked at one by
//! one in the order of their names: all their images, with the evidence that they share (who names them, over everything that
//! is aggregated). Images that it shows as used, or that a rule keeps, cause nothing; the others are checked, together, at
//! once, by the same `check-images` as all others. Each repository, with images or without, is reported as an event, a log line
//! and metrics.
//!
//! # Guarantees
//! - Nothing is decided about deletion: coverage, live deployments, pinned digests and pullers are not even looked up, and
//!   without them no [`super::check_images::verdict::Deletion`] can be made.
//! - Work that outlasts an invocation goes on in the next, after the last repository that was finished. Two sweeps at once
//!   have the same images checked twice, which does no harm.
//! - What fails for one repository, or for all of one region, is told and does not hold up the others: the next sweep looks at
//!   them again. What fails for all of them has the message delivered again.
//! - A message older than 15 minutes may carry old settings: it is scheduled afresh and nothing else. That is how a sweep that
//!   failed begins again, from where it stood. After three failures in a row the rest is told as unfinished and left to the
//!   next sweep, so that attempts do not add up.
//!
//! # Why these calls
//! One call tells a repository's tags, one for each thousand of its images describes them, one for each hundred of its indexes
//! reads their manifests, and one for each hundred of its candidates has them checked.
//!
//! What names images is asked for everything at once, as long as that takes no more pages than asking for each repository
//! would, and five minutes; a small organization takes a single query. Otherwise repositories are asked for by their names, three
//! in an expression. With `ActiveRevisionsPerFamily` a repository takes one more query for its families.
//!
//! Each further invocation lists the repositories anew, asks for the tags of those that it comes to, and asks Config again for
//! what runs task definitions and for what names the repositories that it comes to; for everything only if that takes few
//! pages. So in a whole sweep a repository's tags and what names it are asked for twice at most, but what runs task definitions
//! once for each invocation.
//!
//! # Assumptions
//! The images of one repository, and what names them, fit into memory and are looked at in some minutes; so does everything
//! that runs task definitions. A repository for which that does not hold keeps those after it from being swept, each time,
//! which is told as unfinished with the last repository before it.
//!
//! # Permissions
//! The function's role, in the hub:
//! - `ecr:DescribeRepositories`, `ecr:ListTagsForResource`, `ecr:DescribeImages`, `ecr:BatchGetImage` on the repositories.
//! - `config:SelectAggregateResourceConfig` on the aggregators.
//! - `scheduler:CreateSchedule` on `schedule/ecr-cleanup-*/check-*` and `sweep-*`, `iam:PassRole` on the schedules' role.
//! - `events:PutEvents` on the buses `ecr-cleanup-*`.
//! - `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes` on its queue, and its log group.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::{Stream, StreamExt as _, future, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::report::{Swept, Unswept};
use crate::batch::{Batch, Message};
use crate::causes::Causes;
use crate::check_images::aggregator::Aggregator;
use crate::check_images::evidence::{Because, Candidacy, Found, Gap, Participation};
use crate::check_images::outcome::{self, PublishError};
use crate::check_images::policy::Policy;
use crate::check_images::registry::{self, RepositoryFacts};
use crate::check_images::usage::{Landscape, Revision};
use crate::check_images::verdict::prospect;
use crate::check_images::{Due, Shared, evidence_of, families};
use crate::checks::{self, ChecksDue, Fired, LEAD, Occasion, ScheduleError};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::metrics::Sink;
use crate::names::{EVENT_SOURCE, SWEEP_DUE};
use crate::repository::{Registry, Repository};
use crate::schedule_checks::resolve;
use crate::settings::{Envelope, Settings};

mod listing;
mod naming;
mod report;

/// After so long an invocation leaves the rest to the next. Its time is 15 minutes, of which one repository may take some.
const WORK_FOR: SignedDuration = SignedDuration::from_mins(10);

/// So long an invocation may ask for everything that names images at once.
const ASK_FOR: SignedDuration = SignedDuration::from_mins(5);

/// So many repositories are asked for together: what names them is held in memory, and asked for again if the time is up
/// before all of them were looked at.
const PART: usize = 30;

/// After so many failures in a row a sweep leaves the rest to the next one.
const MOST_FAILURES: u32 = 3;

/// So many repositories are asked for their tags at a time.
const PARALLEL: usize = 8;

/// The function.
#[derive(Debug)]
pub struct Sweep {
    clients: Arc<Clients>,
    clock: Clock,
    metrics: Sink,
}

/// `detail` of the event that asks for a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SweepDue {
    /// The last repository that an invocation before finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Repository>,
    /// How often in a row it has failed since.
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Why a message asks for nothing.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the message is no sweep: {source_name} {detail_type}")]
    OtherEvent { source_name: String, detail_type: String },
    #[error("the sweep was not put on the bus by the hub, but by account {0}")]
    OtherAccount(String),
    #[error("the sweep cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

/// Why a sweep ended before its time, so that its message comes again.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error("the sweep could not look at everything: {}", .0.text)]
    Evidence(Because),
    #[error("the sweep cannot go on later")]
    GoOn(#[source] ScheduleError),
    #[error("what was swept, or was not, could not be told")]
    Report(#[source] PublishError),
}

/// A repository that takes part, or whose tags could not be had.
type Candidate = (Repository, Result<Participation, Because>);

impl Sweep {
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
        for Message { id, envelope, deliveries } in messages {
            let due = match due(&envelope) {
                Ok(due) => due,
                Err(refused) => {
                    failures.add(&id, &refused);
                    continue;
                }
            };
            let settings = &envelope.settings;
            let swept = if envelope.is_fresh(self.clock.now()) {
                self.sweep(settings, due).await
            } else {
                self.begin_again(settings, due, deliveries).await
            };
            if let Err(error) = swept {
                failures.add(&id, &error);
            }
        }
        failures.into_response()
    }

    /// Sweeps the repositories after `due.after`, as far as the time allows.
    async fn sweep(&self, settings: &Settings, due: SweepDue) -> Result<(), Unfinished> {
        let begin = self.clock.now();
        let passed = || self.clock.now().duration_since(begin);
        let listed = self.listed(settings, due.after.as_ref()).await?;
        tracing::info!(ecr_cleanup = %settings.names, outcome = "sweep begun", repositories = listed.len());
        let candidates = self.candidates(settings, &listed);
        // How many take part decides how Config is asked. Later invocations have no use for it, and ask for tags as they go.
        let (pages, candidates) = if due.after.is_none() {
            let all: Vec<Candidate> = candidates.collect().await;
            (naming::pages_for(all.len()), stream::iter(all).left_stream())
        } else {
            (naming::FEW_PAGES, candidates.right_stream())
        };
        let mut parts = pin!(candidates.chunks(PART).peekable());
        if parts.as_mut().peek().await.is_none() {
            return Ok(());
        }
        let aggregator = Aggregator { config: self.clients.config(), name: &settings.aggregator_name };
        let go_on = |had| had < pages && passed() < ASK_FOR;
        let mut seen = naming::gather(&aggregator, settings, &listed, go_on).await.map_err(Unfinished::Evidence)?;
        while let Some(part) = parts.next().await {
            let taking_part = part.iter().filter(|(_, participation)| participation.is_ok());
            let taking_part = taking_part.map(|(repository, _)| repository).collect();
            let mut naming = seen.naming(&aggregator, settings, taking_part).await;
            let (mut events, mut after) = (Vec::new(), None);
            for (repository, participation) in &part {
                let swept = match (participation, naming.remove(repository)) {
                    (Ok(participation), Some(revisions)) => {
                        let landscape = seen.landscape();
                        self.repository(settings, &aggregator, landscape, repository, participation, revisions).await
                    }
                    (Ok(_), None) => Err(Because::new(Gap::Usage, "it was not looked up what names the repository")),
                    (Err(because), _) => Err(because.clone()),
                };
                let swept = swept.unwrap_or_else(Swept::unknown);
                swept.log(settings, repository);
                for line in swept.metrics(settings, repository, self.clock.now()) {
                    self.metrics.report(&line);
                }
                events.push(swept.event(settings, repository, participation.as_ref().ok()));
                after = Some(repository);
                if passed() >= WORK_FOR {
                    break;
                }
            }
            outcome::publish(self.clients.eventbridge(), settings, &events).await.map_err(Unfinished::Report)?;
            let is_last =
                after == part.last().map(|(repository, _)| repository) && parts.as_mut().peek().await.is_none();
            if passed() >= WORK_FOR && !is_last {
                return self.go_on(settings, &SweepDue { after: after.cloned(), failures: 0 }).await;
            }
        }
        Ok(())
    }

    /// Has a sweep whose message is too old begin again, with the settings that will be in force, unless it failed too often.
    async fn begin_again(&self, settings: &Settings, due: SweepDue, deliveries: u32) -> Result<(), Unfinished> {
        // A message that comes for the first time has not failed: it has waited for its turn.
        let failures = due.failures.saturating_add(u32::from(deliveries > 1));
        if failures < MOST_FAILURES {
            return self.go_on(settings, &SweepDue { failures, ..due }).await;
        }
        let reason = format!("it failed {failures} times in a row; the log says why");
        self.leave(settings, &Unswept { region: None, after: due.after.as_ref(), reason: &reason }).await
    }

    /// Tells that something is left to the next sweep.
    async fn leave(&self, settings: &Settings, unswept: &Unswept<'_>) -> Result<(), Unfinished> {
        unswept.log(settings);
        self.metrics.report(&unswept.metric(settings, self.clock.now()));
        let event = unswept.event(settings);
        outcome::publish(self.clients.eventbridge(), settings, &[event]).await.map_err(Unfinished::Report)
    }

    /// Has the sweep go on from `due` in an invocation of its own.
    async fn go_on(&self, settings: &Settings, due: &SweepDue) -> Result<(), Unfinished> {
        let at = checks::whole_minute(self.clock.now() + LEAD);
        let input = serde_json::json!(due).to_string();
        let name = checks::publish_at(self.clients.scheduler(), settings, "sweep", SWEEP_DUE, at, input)
            .await
            .map_err(Unfinished::GoOn)?;
        tracing::info!(ecr_cleanup = %settings.names, outcome = "sweep goes on later", at = %at, schedule = name);
        Ok(())
    }

    /// The hub's repositories after `after`. A region that does not answer is left to the next sweep, unless none does.
    async fn listed(
        &self,
        settings: &Settings,
        after: Option<&Repository>,
    ) -> Result<BTreeSet<Repository>, Unfinished> {
        let mut listed = BTreeSet::new();
        let (mut answered, mut unanswered) = (false, Vec::new());
        for region in &settings.regions {
            let registry = Registry { account: settings.hub.account.clone(), region: region.clone() };
            if after.is_some_and(|after| after.registry > registry) {
                continue;
            }
            match listing::repositories(&self.clients.ecr(region), &registry).await {
                Ok(names) => {
                    answered = true;
                    listed.extend(names.into_iter().map(|name| Repository { registry: registry.clone(), name }));
                }
                Err(because) => unanswered.push((region, because)),
            }
        }
        for (region, because) in unanswered {
            if !answered {
                return Err(Unfinished::Evidence(because));
            }
            self.leave(settings, &Unswept { region: Some(region), after: None, reason: &because.text }).await?;
        }
        listed.retain(|repository| after.is_none_or(|after| repository > after));
        Ok(listed)
    }

    /// Those of the repositories that take part, asked for their tags as they are needed.
    fn candidates<'a>(
        &'a self,
        settings: &'a Settings,
        listed: &'a BTreeSet<Repository>,
    ) -> impl Stream<Item = Candidate> + Send + 'a {
        let asked = listed.iter().map(async |repository| {
            let ecr = self.clients.ecr(&repository.registry.region);
            match resolve::opt_in(&ecr, repository, &settings.opt_in_tag).await {
                Ok(Some(Participation::Out) | None) => None,
                Ok(Some(participation)) => Some((repository.clone(), Ok(participation))),
                Err(error) => {
                    let because = Because::new(Gap::Repository, Causes(&error).to_string());
                    Some((repository.clone(), Err(because)))
                }
            }
        });
        stream::iter(asked).buffered(PARALLEL).filter_map(future::ready)
    }

    /// Looks at one repository and has its candidates checked. One that is gone has no images.
    async fn repository(
        &self,
        settings: &Settings,
        aggregator: &Aggregator<'_>,
        landscape: &Landscape,
        repository: &Repository,
        participation: &Participation,
        revisions: Result<Vec<Revision>, Because>,
    ) -> Result<Swept, Because> {
        let ecr = self.clients.ecr(&repository.registry.region);
        let images = registry::images(&ecr, repository).await?;
        if images.is_empty() {
            return Ok(Swept::default());
        }
        let children = registry::children(&ecr, repository, &images).await?;
        let revisions = families::without_superseded(settings, aggregator, revisions).await;
        let (mut swept, candidates) =
            look(settings, landscape, repository, participation, images, children, revisions, self.clock.now());
        if !candidates.is_empty() {
            let now = self.clock.now();
            let due = ChecksDue { repository: repository.clone(), digests: candidates, occasion: Occasion::Sweep };
            if let Err(error) = checks::together(self.clients.scheduler(), settings, &due, now, now).await {
                swept.add_gap(Because::new(Gap::Schedules, Causes(&error).to_string()));
            }
        }
        Ok(swept)
    }
}

/// What a message asks for.
fn due(envelope: &Envelope) -> Result<SweepDue, Refused> {
    let Envelope { settings, event } = envelope;
    if event.source != EVENT_SOURCE || event.detail_type != SWEEP_DUE {
        return Err(Refused::OtherEvent { source_name: event.source.clone(), detail_type: event.detail_type.clone() });
    }
    if event.account != settings.hub.account {
        return Err(Refused::OtherAccount(event.account.to_string()));
    }
    serde_json::from_value(event.detail.clone()).map_err(Refused::Unreadable)
}

/// What a repository's images amount to, and which of them are to be checked.
#[expect(clippy::too_many_arguments, reason = "all that was found out, from which the rest follows")]
fn look(
    settings: &Settings,
    landscape: &Landscape,
    repository: &Repository,
    participation: &Participation,
    images: registry::Images,
    children: registry::Children,
    revisions: Result<Vec<Revision>, Because>,
    now: Timestamp,
) -> (Swept, BTreeSet<crate::image::Digest>) {
    let due: BTreeMap<_, _> = images.keys().map(|digest| (digest.clone(), Due::of_sweep())).collect();
    let not_looked_up = Because::new(Gap::Coverage, "a sweep does not look that up");
    let facts = RepositoryFacts {
        images: Found::Known(images),
        children: Found::Known(children),
        ..RepositoryFacts::unknown(&not_looked_up)
    };
    let shared =
        Shared { pullers: Err(not_looked_up.clone()), places: BTreeSet::new(), covered: Err(not_looked_up), revisions };
    let participation = Found::Known(participation.clone());
    let evidence = evidence_of(repository, &facts, &participation, Ok(shared), landscape, &due);
    let policy = Policy::of(settings);
    let (mut swept, mut candidates) = (Swept::default(), BTreeSet::new());
    let images = facts.images.known();
    for (digest, evidence) in evidence {
        let Some(image) = images.and_then(|images| images.get(&digest)) else { continue };
        if swept.add(prospect(&evidence, &policy, now), image.size_in_bytes) {
            candidates.insert(digest);
        }
    }
    (swept, candidates)
}

impl Due {
    /// An image that nobody but the sweep asks about.
    fn of_sweep() -> Self {
        Self {
            last_change: Timestamp::UNIX_EPOCH,
            postponements: 0,
            postponed_since: None,
            candidacy: Candidacy::SWEPT,
            messages: BTreeSet::new(),
            fired: Fired::default(),
            fresh: true,
        }
    }
}

#[cfg(test)]
mod tests;
