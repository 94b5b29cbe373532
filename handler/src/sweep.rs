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
//! - What fails for one repository, or for all of a region, is told and does not hold up the others: the next sweep looks at
//!   them again. What fails for all of them has the message delivered again.
//! - A message older than 15 minutes may carry old settings: it is scheduled afresh and nothing else. That is how a sweep that
//!   failed begins again, from where it stood. After three failures in a row the rest is told as unfinished and left to the
//!   next sweep, so that attempts do not add up.
//!
//! # Why these calls
//! One call tells a repository's tags, one for each thousand of its images describes them, and one has its candidates
//! checked. What names images is asked for everything at once, as long as that takes no more pages than asking for each
//! repository would; a small organization takes a single query. Otherwise each repository is asked for by its prefix.
//!
//! # Assumptions
//! The images of one repository, and what names them, fit into memory; so does everything that runs task definitions.
//!
//! # Permissions
//! The function's role, in the hub:
//! - `ecr:DescribeRepositories`, `ecr:ListTagsForResource`, `ecr:DescribeImages`, `ecr:BatchGetImage` on the repositories.
//! - `config:SelectAggregateResourceConfig` on the aggregators.
//! - `scheduler:CreateSchedule` on `schedule/ecr-cleanup-*/check-*` and `sweep-*`, `iam:PassRole` on the schedules' role.
//! - `events:PutEvents` on the buses `ecr-cleanup-*`.
//! - `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes` on its queue, and its log group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::StreamExt as _;
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

/// `PutEvents` takes ten entries a call.
const EVENTS_PER_CALL: usize = 10;

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

/// Repositories that take part, or whose tags could not be had.
type Candidates = Vec<(Repository, Result<Participation, Because>)>;

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
        let repositories = self.taking_part(settings, due.after.as_ref()).await?;
        tracing::info!(ecr_cleanup = %settings.names, outcome = "sweep begun", repositories = repositories.len());
        if repositories.is_empty() {
            return Ok(());
        }
        let aggregator = Aggregator { config: self.clients.config(), name: &settings.aggregator_name };
        let seen = naming::gather(&aggregator, settings, &repositories).await.map_err(Unfinished::Evidence)?;
        let mut events = Vec::new();
        let mut rest = repositories.iter().peekable();
        while let Some((repository, participation)) = rest.next() {
            let swept = match participation {
                Ok(participation) => self.repository(settings, &aggregator, &seen, repository, participation).await,
                Err(because) => Err(because.clone()),
            };
            let swept = swept.unwrap_or_else(Swept::unknown);
            swept.log(settings, repository);
            for line in swept.metrics(settings, repository, self.clock.now()) {
                self.metrics.report(&line);
            }
            events.push(swept.event(settings, repository, participation.as_ref().ok()));
            let interrupted = rest.peek().is_some() && self.clock.now().duration_since(begin) >= WORK_FOR;
            if events.len() == EVENTS_PER_CALL || interrupted || rest.peek().is_none() {
                outcome::publish(self.clients.eventbridge(), settings, &events).await.map_err(Unfinished::Report)?;
                events.clear();
            }
            if interrupted {
                return self.go_on(settings, &SweepDue { after: Some(repository.clone()), failures: 0 }).await;
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

    /// The hub's repositories after `after` that take part, in the order of regions and names. A region that does not answer is
    /// left to the next sweep.
    async fn taking_part(&self, settings: &Settings, after: Option<&Repository>) -> Result<Candidates, Unfinished> {
        let mut candidates = Candidates::new();
        for region in &settings.regions {
            let registry = Registry { account: settings.hub.account.clone(), region: region.clone() };
            if after.is_some_and(|after| after.registry > registry) {
                continue;
            }
            let ecr = self.clients.ecr(region);
            let names = match listing::repositories(&ecr, &registry).await {
                Ok(names) => names,
                Err(Because { text, .. }) => {
                    self.leave(settings, &Unswept { region: Some(region), after: None, reason: &text }).await?;
                    continue;
                }
            };
            let repositories = names.into_iter().map(|name| Repository { registry: registry.clone(), name });
            let asked = repositories
                .filter(|repository| after.is_none_or(|after| repository > after))
                .map(async |repository| (resolve::opt_in(&ecr, &repository, &settings.opt_in_tag).await, repository));
            let mut asked = futures::stream::iter(asked).buffered(PARALLEL);
            while let Some((answer, repository)) = asked.next().await {
                match answer {
                    Ok(Some(Participation::Out) | None) => {}
                    Ok(Some(participation)) => candidates.push((repository, Ok(participation))),
                    Err(error) => {
                        let because = Because::new(Gap::Repository, Causes(&error).to_string());
                        candidates.push((repository, Err(because)));
                    }
                }
            }
        }
        Ok(candidates)
    }

    /// Looks at one repository and has its candidates checked. One that is gone has no images.
    async fn repository(
        &self,
        settings: &Settings,
        aggregator: &Aggregator<'_>,
        seen: &naming::Seen,
        repository: &Repository,
        participation: &Participation,
    ) -> Result<Swept, Because> {
        let ecr = self.clients.ecr(&repository.registry.region);
        let images = registry::images(&ecr, repository).await?;
        if images.is_empty() {
            return Ok(Swept::default());
        }
        let children = registry::children(&ecr, repository, &images).await?;
        let revisions = seen.revisions(aggregator, settings, repository).await;
        let revisions = families::without_superseded(settings, aggregator, revisions).await;
        let (mut swept, candidates) =
            look(settings, seen.landscape(), repository, participation, images, children, revisions, self.clock.now());
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
