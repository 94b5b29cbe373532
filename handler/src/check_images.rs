//! The function `check-images`: whether images whose check is due are still used, and their deletion when they are not.
//!
//! # Expected flow
//! A batch of `Image Deletion Check Due` messages is grouped by EcrCleanup, registry and repository, so that its messages
//! share their work: [`registry`] reads the repositories, [`workloads`] who may pull from them, [`coverage`] proves the
//! accounts and regions concerned, the [`aggregator`] and [`deployments`] show what runs, [`usage`] matches it with the
//! images' names. Of each image that makes the [`evidence`], from which [`verdict::judge`] decides. [`deletion`] carries
//! out, [`outcome`] tells everyone.
//!
//! # Guarantees
//! - S1, S2: see [`evidence`] and [`verdict`]. Whatever fails on the way is a gap in the evidence and postpones.
//! - S3: opt-in is looked up here and again right before deleting.
//! - S5: of a message only the image, the latest change known and the count of postponements are used, after parsing.
//! - S7: every step can be done again. An image that is gone is done; a message is finished only when its outcome is
//!   published and, if it is postponed, its next check is scheduled.
//! - A message older than 15 minutes may carry old settings: it is scheduled afresh and nothing else.
//!
//! # Assumptions
//! A task definition's images never change; a repository holds fewer images than fit into memory.
//!
//! # Permissions
//! The function's role, in the hub (`NAME` stands for any EcrCleanup's name and kind):
//! - `ecr:DescribeRepositories`, `ecr:ListTagsForResource`, `ecr:GetRepositoryPolicy`, `ecr:DescribeImages`,
//!   `ecr:BatchGetImage` on the repositories; `ecr:BatchDeleteImage`, `ecr:UpdateImageStorageClass` there only where
//!   `aws:ResourceTag/KEY` exists for one of the opt-in tag's keys; `ecr:DescribePullThroughCacheRules`,
//!   `ecr:GetRegistryPolicy` on `*`.
//! - `config:SelectAggregateResourceConfig`, `config:DescribeConfigurationAggregators`,
//!   `config:DescribeConfigurationAggregatorSourcesStatus` on the aggregators (the latter two know no resource).
//! - `organizations:ListAccountsForParent`, `organizations:ListOrganizationalUnitsForParent`, `organizations:ListAccounts`
//!   on `*`, for workloads that are an organization.
//! - `sts:AssumeRole` on `arn:*:iam::*:role/ecr-cleanup-*` (the evidence roles).
//! - `scheduler:CreateSchedule`, `GetSchedule`, `UpdateSchedule`, `DeleteSchedule` on `schedule/ecr-cleanup-*/check-*`,
//!   `scheduler:ListSchedules` on `*` (it takes no resource in IAM),
//!   `iam:PassRole` on the schedules' role to `scheduler.amazonaws.com`.
//! - `events:PutEvents` on the buses `ecr-cleanup-*`.
//! - `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:GetQueueAttributes` on its queue, and its log group.
//!
//! The evidence role, in every account and region that may pull, trusting this function's role only:
//! - `config:DescribeConfigurationRecorders`, `config:DescribeConfigurationRecorderStatus` on `*`.
//! - `ecs:DescribeServices`, `ecs:DescribeServiceRevisions`, `ecs:ListServiceDeployments`, `ecs:DescribeServiceDeployments` on
//!   its services, their revisions and deployments, `ecs:DescribeTaskDefinition` on `*` (it takes no resource in IAM).

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::StreamExt as _;
use futures::lock::Mutex;
use jiff::{SignedDuration, Timestamp};

use self::aggregator::Aggregator;
use self::coverage::Proofs;
use self::deletion::{Deleted, Look};
use self::deployments::{KnownReplacements, KnownRevisions, Wanted};
use self::evidence::{Because, Candidacy, Covered, Evidence, Found, Gap, OtherPullers, Participation, Presence, Use};
use self::outcome::{Outcome, OutcomeKind};
use self::policy::Policy;
use self::registry::{Images, RepositoryFacts};
use self::rows::Rows;
use self::usage::{Landscape, LiveService, Named, Place, Revision};
use self::verdict::{Deletion, Postponement, Verdict, judge};
use self::workloads::{KnownAccounts, Pullers, Standing, Workloads};
use crate::account::AccountId;
use crate::batch::{Batch, Failures, Message};
use crate::causes::Causes;
use crate::checks::{self, Candidate, CheckDue, ChecksDue, Fired, Occasion};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::image::{Digest, ImageId, Tag};
use crate::metrics::{Line, Metric, Sink};
use crate::names::{CHECK_DUE, EVENT_SOURCE};
use crate::repository::{Registry, Repository, RepositoryName};
use crate::settings::{Action, Envelope, Settings};

pub mod aggregator;
pub mod coverage;
pub mod deletion;
pub mod deployments;
pub mod evidence;
pub mod failed_call;
pub mod families;
pub mod outcome;
pub mod policy;
pub mod pullers;
pub mod queries;
pub mod registry;
pub mod rows;
pub mod usage;
pub mod verdict;
pub mod workloads;

/// The first delay of a check that is put off for want of evidence; it doubles each time.
const FIRST_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// When the children and attachments of an image are checked whose deletion was begun: after the last delivery of its
/// message that can still be under way (the queue's visibility timeout is half an hour).
const ORPHANS_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// So many uncovered accounts are named beside their number; the outcomes of the images concerned name the others.
const NAMED_ACCOUNTS: usize = 20;

/// So many schedules, or accounts and regions, are asked for at a time.
const PARALLEL: usize = 16;

/// The longest such delay.
const LONGEST_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// The function.
#[derive(Debug)]
pub struct CheckImages {
    clients: Arc<Clients>,
    clock: Clock,
    metrics: Sink,
    remembered: Mutex<Remembered>,
}

/// What a warm function remembers: proofs of coverage, and the accounts that need them, for 15 minutes; and what does not
/// change, or is asked again when it did.
#[derive(Debug, Default)]
struct Remembered {
    proofs: Proofs,
    accounts: KnownAccounts,
    revisions: KnownRevisions,
    replacements: KnownReplacements,
}

/// The checks of one EcrCleanup that are due.
#[derive(Debug)]
struct Request {
    settings: Settings,
    repositories: BTreeMap<Repository, BTreeMap<Digest, Due>>,
}

/// A check that is due, of one or several messages.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) last_change: Timestamp,
    pub(crate) postponements: u32,
    pub(crate) postponed_since: Option<Timestamp>,
    pub(crate) candidacy: Candidacy,
    pub(crate) messages: BTreeSet<String>,
    /// The image's schedules that sent them.
    pub(crate) fired: Fired,
    /// All of its messages came in time.
    pub(crate) fresh: bool,
}

/// Why a message asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("the message is no image deletion check: {source_name} {detail_type}")]
    OtherEvent { source_name: String, detail_type: String },
    #[error("the check was not put on the bus by the hub, but by account {0}")]
    OtherAccount(String),
    #[error("the check cannot be read: {0}")]
    Unreadable(String),
    #[error("{0} is not in one of the registries that are cleaned up")]
    OtherRegistry(Repository),
}

/// Why a decision could not be finished, so that its messages come again.
#[derive(Debug, thiserror::Error)]
enum Unfinished {
    #[error("the deletion of {image} failed: {reason}")]
    Deletion { image: ImageId, reason: String },
}

impl CheckImages {
    /// The function, calling AWS through `clients` and telling the time by `clock`.
    pub fn new(clients: Arc<Clients>, clock: Clock) -> Self {
        Self { clients, clock, metrics: Sink::default(), remembered: Mutex::default() }
    }

    /// The same function, with its metrics going elsewhere than to its log.
    pub fn with_metrics(self, metrics: Sink) -> Self {
        Self { metrics, ..self }
    }

    /// Handles one batch and answers which of its messages are to be delivered again.
    pub async fn handle(&self, event: SqsEvent) -> SqsBatchResponse {
        let Batch { messages, mut failures } = Batch::read(event);
        let now = self.clock.now();
        let mut requests: Vec<Request> = Vec::new();
        for message in messages {
            let fresh = message.envelope.is_fresh(now);
            match due(&message.envelope, now) {
                Ok(due) => {
                    for due in due {
                        add(&mut requests, &message, due, fresh);
                    }
                }
                Err(refused) => failures.add(&message.id, &refused),
            }
        }
        let mut remembered = self.remembered.lock().await;
        for request in requests {
            self.check(request, &mut remembered, &mut failures).await;
        }
        failures.into_response()
    }

    /// Judges and acts on everything that one EcrCleanup is asked for.
    async fn check(&self, request: Request, remembered: &mut Remembered, failures: &mut Failures) {
        let settings = &request.settings;
        let mut judged: BTreeMap<Repository, JudgedRepository> = BTreeMap::new();
        let mut looked_at: BTreeMap<Repository, BTreeMap<Digest, Due>> = BTreeMap::new();
        for (repository, checks) in &request.repositories {
            for (digest, due) in checks {
                if due.fresh {
                    looked_at.entry(repository.clone()).or_default().insert(digest.clone(), due.clone());
                } else {
                    let late = "the message is older than 15 minutes and may carry old settings";
                    let verdict = Verdict::Postpone(Postponement::Missing(vec![Because::new(Gap::Message, late)]));
                    let repository = judged.entry(repository.clone()).or_default();
                    repository.images.insert(digest.clone(), Judged { verdict, tags: Vec::new() });
                }
            }
        }
        if !looked_at.is_empty() {
            for (repository, mut now) in self.judge_all(settings, &looked_at, remembered).await {
                let known = judged.entry(repository).or_default();
                now.images.append(&mut known.images);
                *known = now;
            }
        }
        let mut events = Vec::new();
        for (repository, judged) in judged {
            let checks = &request.repositories[&repository];
            let outcomes = self.act(settings, &repository, judged, checks, failures).await;
            outcome::log(settings, &repository, &outcomes);
            for line in outcome::metrics(settings, &repository, checks.len(), &outcomes, self.clock.now()) {
                self.metrics.report(&line);
            }
            events.extend(outcome::events(settings, &repository, &outcomes));
        }
        // Ten a call, of whatever repositories.
        if let Err(error) = outcome::publish(self.clients.eventbridge(), settings, &events).await {
            for due in request.repositories.values().flat_map(BTreeMap::values) {
                due.messages.iter().for_each(|id| failures.add(id, &error));
            }
        }
    }

    /// Gathers the evidence of all images and judges each.
    async fn judge_all(
        &self,
        settings: &Settings,
        checks: &BTreeMap<Repository, BTreeMap<Digest, Due>>,
        remembered: &mut Remembered,
    ) -> BTreeMap<Repository, JudgedRepository> {
        let clients = &*self.clients;
        let aggregator = Aggregator { config: clients.config(), name: &settings.aggregator_name };
        let repositories = self.repositories(settings, checks).await;
        let taking_part: BTreeMap<&Repository, &RepositoryFacts> = repositories
            .iter()
            .filter(|(_, facts)| {
                takes_part(settings, facts) && facts.images.known().is_none_or(|images| !images.is_empty())
            })
            .collect();

        let accounts = &mut remembered.accounts;
        let (mut workloads, mut pullers) = self.pullers(settings, &aggregator, &taking_part, accounts).await;
        let is_outside = |pullers: &Pullers| !pullers.outside.is_empty();
        // Whoever is outside may have joined since the accounts were found.
        if workloads.as_ref().is_ok_and(|workloads| workloads.remembered) && pullers.values().flatten().any(is_outside)
        {
            accounts.forget();
            (workloads, pullers) = self.pullers(settings, &aggregator, &taking_part, accounts).await;
        }
        let places_of = |pullers: &Pullers| -> BTreeSet<Place> {
            let places = |account: &AccountId| {
                let account = account.clone();
                settings.regions.iter().map(move |region| (account.clone(), region.clone()))
            };
            pullers.may_pull.iter().flat_map(places).collect()
        };
        let places: BTreeSet<Place> = pullers.values().flatten().flat_map(places_of).collect();
        // An account that Organizations calls suspended cannot be asked.
        let askable = places.iter().filter(|(account, _)| standing(&workloads, account).is_ok()).cloned().collect();
        // What names the repositories is asked first: the probes that show what is seen counts come with the next query.
        let mut naming = BTreeMap::new();
        let mut rows = Err(Because::new(Gap::Usage, "it is not known who may pull, so nothing was looked up"));
        if !places.is_empty() {
            let at_hand = taking_part.keys().copied().collect();
            naming = deployments::naming(&aggregator, &settings.hub.account, &at_hand).await;
            for revision in naming.values().flatten().flatten() {
                remembered.revisions.insert(revision.arn.clone(), revision.images.clone());
            }
            rows = users(settings, &aggregator).await;
        }
        let now = self.clock.now();
        let probes = rows.as_ref().map(|rows| &rows.probes);
        let proofs = &mut remembered.proofs;
        let coverage = coverage::prove(clients, &settings.names, &aggregator, &askable, probes, proofs, now).await;
        if let Some(uncovered) = uncovered(&workloads, &coverage, &places) {
            let accounts: Vec<&str> = uncovered.iter().map(|account| account.as_str()).take(NAMED_ACCOUNTS).collect();
            let line = Line::of(&settings.names, now).about("Accounts", accounts);
            self.metrics.report(&line.level(Metric::UncoveredAccounts, uncovered.len() as u64));
        }

        let landscape = match rows {
            Ok(rows) => self.landscape(settings, &aggregator, rows, &places, &taking_part, remembered).await,
            Err(because) => nobody_looked(&because),
        };

        let policy = Policy::of(settings);
        let mut judged = BTreeMap::new();
        for (repository, facts) in &repositories {
            let due = &checks[repository];
            let participation = facts.tags.clone().map(|tags| policy::participation(&settings.opt_in_tag, &tags));
            let shared = match pullers.get(repository) {
                Some(Ok(pullers)) => {
                    let places = places_of(pullers);
                    let revisions = naming.remove(repository).unwrap_or_else(|| {
                        Err(Because::new(Gap::Usage, "it was not looked up which task definitions name the repository"))
                    });
                    let revisions = families::without_superseded(settings, &aggregator, revisions).await;
                    let covered = covered(&workloads, &coverage, &places);
                    Ok(Shared { pullers: Ok(pullers), covered, places, revisions })
                }
                Some(Err(because)) => Err(because.clone()),
                None => Err(Because::new(Gap::Usage, "the repository does not take part, so nothing was looked up")),
            };
            let images = evidence_of(repository, facts, &participation, shared, &landscape, due)
                .into_iter()
                .map(|(digest, evidence)| {
                    let tags = match evidence.image.known() {
                        Some(Presence::Present(image)) => image.tags.iter().cloned().collect(),
                        _ => Vec::new(),
                    };
                    (digest, Judged { verdict: judge(&evidence, &policy, self.clock.now()), tags })
                })
                .collect();
            let participation = participation.known().cloned();
            let indexes = facts.children.known().into_iter().flat_map(BTreeMap::keys).cloned().collect();
            judged.insert(repository.clone(), JudgedRepository { participation, indexes, images });
        }
        judged
    }

    /// The accounts of the EcrCleanup, and who may pull from each repository that takes part.
    async fn pullers<'a>(
        &self,
        settings: &Settings,
        aggregator: &Aggregator<'_>,
        taking_part: &BTreeMap<&'a Repository, &RepositoryFacts>,
        known: &mut KnownAccounts,
    ) -> (Result<Workloads, Because>, BTreeMap<&'a Repository, Result<Pullers, Because>>) {
        if taking_part.is_empty() {
            return (Err(Because::new(Gap::Coverage, "nobody was looked for")), BTreeMap::new());
        }
        let clients = &*self.clients;
        let mut workloads = Workloads::gather(clients, settings, aggregator, known, self.clock.now()).await;
        if let Ok(workloads) = &mut workloads {
            for facts in taking_part.values() {
                if let Some(admitted) = facts.admitted.known() {
                    workloads.look_up(clients, settings, admitted).await;
                }
            }
        }
        let pullers = taking_part.iter().map(|(repository, facts)| {
            let pullers = match (&workloads, &facts.admitted) {
                (Ok(workloads), Found::Known(admitted)) => workloads.pullers(settings, admitted),
                (Err(because), _) | (_, Found::Missing(because)) => Err(because.clone()),
            };
            (*repository, pullers)
        });
        let pullers = pullers.collect();
        (workloads, pullers)
    }

    /// What ECR tells about the repositories. One that does not take part is not looked at any further.
    async fn repositories(
        &self,
        settings: &Settings,
        checks: &BTreeMap<Repository, BTreeMap<Digest, Due>>,
    ) -> BTreeMap<Repository, RepositoryFacts> {
        let mut by_registry: BTreeMap<&Registry, BTreeSet<&RepositoryName>> = BTreeMap::new();
        for repository in checks.keys() {
            by_registry.entry(&repository.registry).or_default().insert(&repository.name);
        }
        let mut facts = BTreeMap::new();
        for (registry, names) in by_registry {
            let ecr = self.clients.ecr(&registry.region);
            let mutabilities = registry::mutabilities(&ecr, registry, &names).await;
            let caches = registry::pull_through_caches(&ecr, registry).await;
            let everywhere = registry::admitted_everywhere(&ecr, registry).await;
            for name in names {
                let repository = Repository { registry: registry.clone(), name: name.clone() };
                let mutability = match &mutabilities {
                    Ok(found) => found.get(name).copied(),
                    Err(because) => {
                        facts.insert(repository, RepositoryFacts::unknown(because));
                        continue;
                    }
                };
                let Some(mutability) = mutability else {
                    facts.insert(repository, RepositoryFacts::gone());
                    continue;
                };
                let tags: Found<_> = registry::resource_tags(&ecr, &repository).await.into();
                let mut known = RepositoryFacts {
                    tags,
                    mutability: Found::Known(mutability),
                    pull_through_cache: caches.clone().map(|prefixes| registry::cached_by(&prefixes, name)).into(),
                    ..RepositoryFacts::unknown(&Because::new(Gap::Repository, "the repository does not take part"))
                };
                if takes_part(settings, &known) {
                    let admitted = registry::admitted(&ecr, &repository).await;
                    let admitted = admitted.and_then(|here| Ok(here.or(everywhere.as_ref().map_err(Clone::clone)?)));
                    known.admitted = admitted.into();
                    known.images = registry::images(&ecr, &repository).await.into();
                    known.children = match &known.images {
                        Found::Known(images) => registry::children(&ecr, &repository, images).await.into(),
                        Found::Missing(because) => Found::Missing(because.clone()),
                    };
                }
                facts.insert(repository, known);
            }
        }
        facts
    }

    /// What runs, over everything that is aggregated and in the places that may pull.
    async fn landscape(
        &self,
        settings: &Settings,
        aggregator: &Aggregator<'_>,
        rows: Rows,
        places: &BTreeSet<Place>,
        repositories: &BTreeMap<&Repository, &RepositoryFacts>,
        known: &mut Remembered,
    ) -> Landscape {
        let (clients, names, hub) = (&*self.clients, &settings.names, &settings.hub.account);
        let Rows { runners, other_users, unreadable, .. } = rows;
        let run = &runners;
        #[expect(clippy::redundant_iter_cloned, reason = "the future of a borrowed item is not known to be Send")]
        let asked = places.iter().cloned().map(async |place: Place| {
            let services = deployments::live_services(clients, names, &place, run).await;
            (place, services)
        });
        let asked = futures::stream::iter(asked).buffered(PARALLEL);
        let live: BTreeMap<Place, Result<Vec<LiveService>, Because>> = asked.collect().await;
        let mut run: BTreeSet<_> =
            live.values().flatten().flatten().flat_map(|s| s.task_definitions.keys()).cloned().collect();
        // Elsewhere nobody may pull what the revision names, and there may be no evidence role to read it with.
        let runners_run = runners.iter().flat_map(|runner| &runner.task_definitions);
        run.extend(runners_run.filter(|arn| places.contains(&arn.place())).cloned());
        let revisions_run =
            deployments::images_of(clients, names, aggregator, hub, run.iter().collect(), &mut known.revisions).await;
        let at_hand: BTreeSet<&Repository> = repositories.keys().copied().collect();
        let windows = repositories.values().filter_map(|facts| window(settings, facts));
        let now = self.clock.now();
        let since = now - windows.max().unwrap_or_else(|| settings.rollback_window());
        let wanted = Wanted { images: &revisions_run, repositories: &at_hand, since, now, known: &known.replacements };
        let asked = live.into_iter().map(async |(place, mut services)| {
            let mut learned = Vec::new();
            if let Ok(services) = &mut services {
                learned = deployments::ask_for_service_revisions(clients, names, &place, services, wanted).await;
            }
            (place, services, learned)
        });
        let asked: Vec<_> = futures::stream::iter(asked).buffered(PARALLEL).collect().await;
        let mut live = BTreeMap::new();
        for (place, services, learned) in asked {
            known.replacements.learn(learned);
            live.insert(place, services.into());
        }
        Landscape {
            runners: Found::Known(runners.iter().collect()),
            other_users: Found::Known(other_users),
            unreadable,
            live,
            revisions_run,
        }
    }

    /// Carries out the verdicts on the images of one repository.
    async fn act(
        &self,
        settings: &Settings,
        repository: &Repository,
        judged: JudgedRepository,
        checks: &BTreeMap<Digest, Due>,
        failures: &mut Failures,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut deletions: Vec<Deletion> = Vec::new();
        let mut postponed: Vec<(Digest, Vec<Tag>, Postponement)> = Vec::new();
        let JudgedRepository { participation, indexes, images } = judged;
        for (digest, Judged { verdict, tags }) in images {
            match verdict {
                Verdict::Delete(deletion) => deletions.push(deletion),
                Verdict::Postpone(postponement) => postponed.push((digest, tags, postponement)),
                Verdict::Keep(reason) => {
                    let (code, reason) = (reason.code(), reason.text());
                    outcomes.push(Outcome { digest, tags, kind: OutcomeKind::Kept, code, reason });
                }
                // By an earlier delivery of the message, whose outcome may not have been published, or by somebody else.
                Verdict::Gone => outcomes.push(Outcome::gone_already(digest, tags)),
            }
        }
        if let (false, Some(participation)) = (deletions.is_empty(), &participation) {
            let tags: BTreeMap<Digest, Vec<Tag>> = deletions
                .iter()
                .map(|deletion| (deletion.image().digest.clone(), deletion.image().tags.iter().cloned().collect()))
                .collect();
            let deletions =
                self.heed_events(settings, repository, participation, deletions, checks, &mut postponed).await;
            let ecr = self.clients.ecr(&repository.registry.region);
            let look = Look { opt_in: &settings.opt_in_tag, participation, indexes: &indexes };
            let (deletions, orphans) = match settings.action {
                Action::Delete => self.prepare(settings, repository, deletions, &mut postponed).await,
                Action::Archive => (deletions, Vec::new()),
            };
            let deleted = deletion::carry_out(&ecr, repository, &look, settings.action, deletions).await;
            self.settle(settings, orphans, &deleted).await;
            for (digest, deleted) in deleted {
                let tags = tags.get(&digest).cloned().unwrap_or_default();
                match deleted {
                    Deleted::Gone { with, bytes } => outcomes.push(Outcome {
                        digest,
                        tags,
                        kind: OutcomeKind::Deleted { with, bytes },
                        code: "unused",
                        reason: "nothing uses it".into(),
                    }),
                    Deleted::GoneAlready => outcomes.push(Outcome::gone_already(digest, tags)),
                    Deleted::Archived { bytes } => outcomes.push(Outcome {
                        digest,
                        tags,
                        kind: OutcomeKind::Archived { bytes },
                        code: "unused",
                        reason: "nothing uses it; it is in the archive storage class now".into(),
                    }),
                    Deleted::Kept { code, text } => {
                        outcomes.push(Outcome { digest, tags, kind: OutcomeKind::Kept, code, reason: text });
                    }
                    Deleted::Changed(text) => {
                        let text = format!("it changed while it was looked at: {text}");
                        let missing = Postponement::Missing(vec![Because::new(Gap::Images, text)]);
                        postponed.push((digest, tags, missing));
                    }
                    Deleted::Failed(reason) => {
                        let image = ImageId { repository: repository.clone(), digest: digest.clone() };
                        let error = Unfinished::Deletion { image, reason: reason.clone() };
                        checks[&digest].messages.iter().for_each(|id| failures.add(id, &error));
                        outcomes.push(Outcome { digest, tags, kind: OutcomeKind::Failed, code: "failed", reason });
                    }
                }
            }
        }
        let scheduled = postponed.into_iter().map(async |(digest, tags, postponement)| {
            let candidate = put_off(repository, &digest, &checks[&digest], &postponement, self.clock.now());
            let scheduled = checks::ensure(self.clients.scheduler(), settings, self.clock.now(), &candidate).await;
            (digest, tags, postponement, scheduled)
        });
        let scheduled: Vec<_> = futures::stream::iter(scheduled).buffered(PARALLEL).collect().await;
        for (digest, tags, postponement, scheduled) in scheduled {
            let due = &checks[&digest];
            let (code, reason) = (postponement.code(), postponement.text());
            match scheduled {
                Ok(scheduled) => outcomes.push(Outcome {
                    digest,
                    tags,
                    kind: OutcomeKind::Postponed {
                        until: scheduled.at,
                        postponements: scheduled.due.postponements,
                        since: scheduled.due.postponed_since,
                    },
                    code,
                    reason,
                }),
                Err(error) => due.messages.iter().for_each(|id| failures.add(id, &error)),
            }
        }
        outcomes
    }

    /// Puts off the deletion of images for which an event asked for another check that is still pending, or for one of what
    /// would go with them: its schedule may know of a change that nothing else tells, since the task definition is gone or
    /// Config does not show it yet.
    async fn heed_events(
        &self,
        settings: &Settings,
        repository: &Repository,
        participation: &Participation,
        deletions: Vec<Deletion>,
        checks: &BTreeMap<Digest, Due>,
        postponed: &mut Vec<(Digest, Vec<Tag>, Postponement)>,
    ) -> Vec<Deletion> {
        let policy = match participation {
            Participation::In(own) => Policy::of(settings).with(own),
            _ => Policy::of(settings),
        };
        let scheduler = self.clients.scheduler();
        let pending = &checks::pending(scheduler, settings, repository).await;
        let nothing = &Fired::default();
        let asked = deletions.into_iter().map(async |deletion| {
            let pending = match pending {
                Ok(pending) => pending,
                Err(error) => return (deletion, Err(Causes(error).to_string())),
            };
            let parts = deletion.children().iter().chain(deletion.attachments()).map(|part| part.digest.clone());
            let digests: Vec<Digest> = iter::once(deletion.image().digest.clone()).chain(parts).collect();
            let mut latest = None;
            for digest in digests {
                let fired = checks.get(&digest).map_or(nothing, |due| &due.fired);
                let image = ImageId { repository: repository.clone(), digest };
                match checks::known_change(scheduler, settings, &image, pending, fired).await {
                    Ok(change) => latest = latest.max(change),
                    Err(error) => return (deletion, Err(Causes(&error).to_string())),
                }
            }
            (deletion, Ok(latest))
        });
        let asked: Vec<_> = futures::stream::iter(asked).buffered(PARALLEL).collect().await;
        let mut heeded = Vec::new();
        for (deletion, known) in asked {
            let why = match known {
                Ok(known) => known.and_then(|change| verdict::too_early_after(change, &policy, self.clock.now())),
                Err(error) => {
                    let text = format!("whether an event asked for its check is not known: {error}");
                    Some(Postponement::Missing(vec![Because::new(Gap::Schedules, text)]))
                }
            };
            match why {
                None => heeded.push(deletion),
                Some(postponement) => {
                    let tags = deletion.image().tags.iter().cloned().collect();
                    postponed.push((deletion.image().digest.clone(), tags, postponement));
                }
            }
        }
        heeded
    }

    /// Before an image is deleted that has children or attachments, has those checked later: when the function dies in between,
    /// they are left without tag and index, and nobody else would know that they belonged to it. The same holds for children
    /// that do not go along, since another index lists them still, say, or they are indexes themselves. A deletion that cannot
    /// be prepared is put off.
    async fn prepare(
        &self,
        settings: &Settings,
        repository: &Repository,
        deletions: Vec<Deletion>,
        postponed: &mut Vec<(Digest, Vec<Tag>, Postponement)>,
    ) -> (Vec<Deletion>, Vec<Orphans>) {
        let (mut prepared, mut orphans) = (Vec::new(), Vec::new());
        for deletion in deletions {
            let going = deletion.children().iter().chain(deletion.attachments());
            let going: BTreeSet<Digest> = going.map(|part| part.digest.clone()).collect();
            let staying: BTreeSet<Digest> = deletion.staying().iter().cloned().collect();
            let image = deletion.image().digest.clone();
            match self.have_checked(settings, repository, [&going, &staying]).await {
                Ok([for_going, for_staying]) => {
                    orphans.push(Orphans { image, going, for_going, for_staying });
                    prepared.push(deletion);
                }
                Err(error) => {
                    let text = format!("what belongs to it cannot be remembered: {}", Causes(&error));
                    let tags = deletion.image().tags.iter().cloned().collect();
                    let missing = Postponement::Missing(vec![Because::new(Gap::Schedules, text)]);
                    postponed.push((image, tags, missing));
                }
            }
        }
        (prepared, orphans)
    }

    /// Has images checked later whose parent's deletion begins now; the names of the schedules.
    async fn have_checked<const N: usize>(
        &self,
        settings: &Settings,
        repository: &Repository,
        images: [&BTreeSet<Digest>; N],
    ) -> Result<[Vec<String>; N], checks::ScheduleError> {
        let begun_at = self.clock.now();
        let mut schedules = [const { Vec::new() }; N];
        for (digests, schedules) in images.into_iter().zip(&mut schedules) {
            let (repository, digests) = (repository.clone(), digests.clone());
            let due = ChecksDue { repository, digests, occasion: Occasion::Deletion { begun_at } };
            let not_before = begun_at + ORPHANS_AFTER;
            *schedules = checks::together(self.clients.scheduler(), settings, &due, not_before, begun_at).await?;
        }
        Ok(schedules)
    }

    /// Takes the checks back that are not needed: of what is gone with its image, and of what stays where it is since its image
    /// did not go. Where that fails, they will find nothing to do.
    async fn settle(&self, settings: &Settings, orphans: Vec<Orphans>, deleted: &BTreeMap<Digest, Deleted>) {
        for Orphans { image, going, for_going, for_staying } in orphans {
            let needless = match deleted.get(&image) {
                Some(Deleted::Gone { with, .. }) if going.iter().all(|part| with.contains(part)) => for_going,
                // Nothing was done.
                Some(Deleted::Changed(_)) => [for_going, for_staying].concat(),
                // It stays with all that it lists; of its attachments nobody else would think.
                Some(Deleted::Kept { .. }) => for_staying,
                // A failure may have come after the effect.
                _ => continue,
            };
            for name in needless {
                if let Err(error) = checks::cancel(self.clients.scheduler(), settings, &name).await {
                    tracing::warn!(
                        ecr_cleanup = %settings.names, digest = %image, outcome = "needless checks stay", reason = %Causes(&error),
                    );
                }
            }
        }
    }
}

/// What the deletion of an image takes along, and the schedules that have it, and the children that stay, checked later.
#[derive(Debug)]
struct Orphans {
    image: Digest,
    going: BTreeSet<Digest>,
    for_going: Vec<String>,
    for_staying: Vec<String>,
}

/// What was found in a repository.
#[derive(Debug, Default)]
struct JudgedRepository {
    participation: Option<Participation>,
    /// The indexes whose children were looked at.
    indexes: BTreeSet<Digest>,
    images: BTreeMap<Digest, Judged>,
}

/// A verdict with the tags that the image had.
#[derive(Debug)]
struct Judged {
    verdict: Verdict,
    tags: Vec<Tag>,
}

/// What the images of a repository share.
pub(crate) struct Shared<'a> {
    pub(crate) pullers: Result<&'a Pullers, Because>,
    pub(crate) places: BTreeSet<Place>,
    pub(crate) covered: Result<Covered, Because>,
    pub(crate) revisions: Result<Vec<Revision>, Because>,
}

impl RepositoryFacts {
    /// Nothing is known, for one reason.
    pub(crate) fn unknown(because: &Because) -> Self {
        Self {
            tags: Found::Missing(because.clone()),
            mutability: Found::Missing(because.clone()),
            admitted: Found::Missing(because.clone()),
            pull_through_cache: Found::Missing(because.clone()),
            images: Found::Missing(because.clone()),
            children: Found::Missing(because.clone()),
        }
    }

    /// The repository is gone with all its images.
    fn gone() -> Self {
        let gone = Because::new(Gap::Repository, "the repository is gone");
        Self { images: Found::Known(Images::new()), ..Self::unknown(&gone) }
    }
}

/// What a message asks for: the check of one image, or of several of one repository. No change lies in the future.
fn due(envelope: &Envelope, now: Timestamp) -> Result<Vec<CheckDue>, Refused> {
    let Envelope { settings, event } = envelope;
    if event.source != EVENT_SOURCE || event.detail_type != CHECK_DUE {
        return Err(Refused::OtherEvent { source_name: event.source.clone(), detail_type: event.detail_type.clone() });
    }
    if event.account != settings.hub.account {
        return Err(Refused::OtherAccount(event.account.to_string()));
    }
    let unreadable = |error: serde_json::Error| Refused::Unreadable(error.to_string());
    let mut due: Vec<CheckDue> = if event.detail.get("digests").is_some() {
        serde_json::from_value::<ChecksDue>(event.detail.clone()).map_err(unreadable)?.each().collect()
    } else {
        vec![serde_json::from_value(event.detail.clone()).map_err(unreadable)?]
    };
    for due in &mut due {
        if !settings.cleans_up(&due.repository.registry) {
            return Err(Refused::OtherRegistry(due.repository.clone()));
        }
        due.last_change = due.last_change.min(now);
        due.postponed_since = due.postponed_since.map(|since| since.min(now));
        due.orphaned_at = due.orphaned_at.map(|at| at.min(now));
    }
    Ok(due)
}

/// Adds a check to the request of its EcrCleanup.
fn add(requests: &mut Vec<Request>, message: &Message, due: CheckDue, fresh: bool) {
    let Message { id, envelope: Envelope { settings, event }, .. } = message;
    let at = requests.iter().position(|request| request.settings == *settings).unwrap_or_else(|| {
        requests.push(Request { settings: settings.clone(), repositories: BTreeMap::new() });
        requests.len() - 1
    });
    let candidacy = due.candidacy();
    let checks = requests[at].repositories.entry(due.repository).or_default();
    let known = checks.entry(due.digest).or_insert_with(|| Due {
        last_change: due.last_change,
        postponements: due.postponements,
        candidacy,
        postponed_since: due.postponed_since,
        messages: BTreeSet::new(),
        fired: Fired::default(),
        fresh,
    });
    known.last_change = known.last_change.max(due.last_change);
    known.postponements = known.postponements.max(due.postponements);
    known.candidacy = known.candidacy.and(candidacy);
    known.postponed_since = checks::earlier(known.postponed_since, due.postponed_since);
    known.fresh &= fresh;
    known.messages.insert(id.clone());
    if let Some(generation) = due.generation {
        known.fired.add(generation, event.time);
    }
}

/// The next check of an image whose check is put off.
fn put_off(
    repository: &Repository,
    digest: &Digest,
    due: &Due,
    postponement: &Postponement,
    now: Timestamp,
) -> Candidate {
    let image = ImageId { repository: repository.clone(), digest: digest.clone() };
    let (not_before, postponements, postponed_since) = match postponement {
        Postponement::TooEarly { until, .. } => (*until, 0, None),
        Postponement::Missing(_) => {
            let since = due.postponed_since.unwrap_or(now);
            (now + delay(due.postponements), due.postponements.saturating_add(1), Some(since))
        }
    };
    let candidacy = due.candidacy;
    Candidate { image, last_change: due.last_change, not_before, postponements, postponed_since, candidacy }
}

/// How long a check waits for evidence after this many postponements.
fn delay(postponements: u32) -> SignedDuration {
    let doubled = 1i32.checked_shl(postponements.min(16)).unwrap_or(i32::MAX);
    FIRST_DELAY.checked_mul(doubled).unwrap_or(LONGEST_DELAY).min(LONGEST_DELAY)
}

fn takes_part(settings: &Settings, facts: &RepositoryFacts) -> bool {
    facts
        .tags
        .known()
        .is_some_and(|tags| matches!(policy::participation(&settings.opt_in_tag, tags), Participation::In(_)))
}

/// The rollback window of a repository that takes part.
fn window(settings: &Settings, facts: &RepositoryFacts) -> Option<SignedDuration> {
    match policy::participation(&settings.opt_in_tag, facts.tags.known()?) {
        Participation::In(own) => Some(Policy::of(settings).with(&own).rollback_window()),
        _ => None,
    }
}

/// What the aggregator shows of users, and the probes beside it.
async fn users(settings: &Settings, aggregator: &Aggregator<'_>) -> Result<Rows, Because> {
    let (hub, family) = (&settings.hub.account, settings.names.probe_family());
    let query = queries::users_and_probes(hub, &family).map_err(|error| Because::new(Gap::Usage, error.to_string()))?;
    let rows = aggregator.select(Gap::Usage, &query, |row| row.seen_or_probe(hub, &family)).await?;
    Ok(rows.into_iter().collect())
}

fn nobody_looked(because: &Because) -> Landscape {
    Landscape {
        runners: Found::Missing(because.clone()),
        other_users: Found::Missing(because.clone()),
        unreadable: BTreeMap::new(),
        live: BTreeMap::new(),
        revisions_run: BTreeMap::new(),
    }
}

fn standing(workloads: &Result<Workloads, Because>, account: &AccountId) -> Result<(), Because> {
    match workloads.as_ref().map_err(Clone::clone)?.accounts.get(account) {
        Some(Standing::Active) => Ok(()),
        Some(Standing::Inactive(state)) => Err(Because::new(
            Gap::Coverage,
            format!("account {account} is not covered: Organizations calls it {state}"),
        )),
        None => Err(Because::new(Gap::Coverage, format!("account {account} is not among the workloads"))),
    }
}

/// Whether all places of a repository are proven.
fn covered(
    workloads: &Result<Workloads, Because>,
    proofs: &BTreeMap<Place, Result<(), Because>>,
    places: &BTreeSet<Place>,
) -> Result<Covered, Because> {
    for place in places {
        standing(workloads, &place.0)?;
        match proofs.get(place) {
            Some(proof) => proof.clone()?,
            None => {
                let text = format!("account {} in {} was not asked", place.0, place.1);
                return Err(Because::new(Gap::Coverage, text));
            }
        }
    }
    if places.is_empty() {
        return Err(Because::new(Gap::Coverage, "there is no account and region to cover"));
    }
    Ok(Covered { pairs: places.len() })
}

/// The accounts of which it is known that they are not covered somewhere; `None` if nobody was asked, or the aggregator does
/// not answer, which says nothing of them.
fn uncovered(
    workloads: &Result<Workloads, Because>,
    proofs: &BTreeMap<Place, Result<(), Because>>,
    places: &BTreeSet<Place>,
) -> Option<BTreeSet<AccountId>> {
    let is_unknown = |proof: &Result<(), Because>| proof.as_ref().is_err_and(|because| because.gap != Gap::Coverage);
    if places.is_empty() || proofs.values().any(is_unknown) {
        return None;
    }
    let lacks = |place: &&Place| standing(workloads, &place.0).is_err() || proofs.get(place).is_none_or(Result::is_err);
    Some(places.iter().filter(lacks).map(|(account, _)| account.clone()).collect())
}

/// The evidence of each image of one repository whose check is due.
pub(crate) fn evidence_of(
    repository: &Repository,
    facts: &RepositoryFacts,
    participation: &Found<Participation>,
    shared: Result<Shared<'_>, Because>,
    landscape: &Landscape,
    due: &BTreeMap<Digest, Due>,
) -> BTreeMap<Digest, Evidence> {
    let children = facts.children.known().cloned().unwrap_or_default();
    let no_images = Images::new();
    let images = facts.images.known().unwrap_or(&no_images);
    let parents = registry::parents(&children);
    let named = Named::new(repository, images, &parents);
    let newer = registry::newer_images(images, &parents);
    let attached = registry::attached(images);
    // Where it is not known who is admitted, no deletion can be made anyway.
    let others_may_pull =
        facts.admitted.known().is_some_and(|admitted| !admitted.services.is_empty() || !admitted.unknowable.is_empty());
    let (pullers, coverage, usage) = match shared {
        Ok(Shared { pullers, places, covered, revisions }) => {
            let usage = match (&facts.images, &facts.children) {
                (Found::Missing(because), _) | (_, Found::Missing(because)) => Err(because.clone()),
                _ => revisions
                    .and_then(|revisions| usage::usage(&named, &revisions, landscape, &places, others_may_pull)),
            };
            (pullers, covered, usage)
        }
        Err(because) => (Err(because.clone()), Err(because.clone()), Err(because)),
    };
    let other_pullers: Found<OtherPullers> = match (&pullers, &facts.admitted, &facts.pull_through_cache) {
        (Ok(pullers), Found::Known(admitted), Found::Known(cache)) => Found::Known(OtherPullers {
            services: admitted.services.clone(),
            outside: pullers.outside.clone(),
            pull_through_cache: cache.clone(),
        }),
        (Err(because), _, _) => Found::Missing(because.clone()),
        (_, Found::Missing(because), _) | (_, _, Found::Missing(because)) => Found::Missing(because.clone()),
    };
    let uses = usage.as_ref().map(|usage| &usage.uses);
    let pinned = usage.as_ref().and_then(|usage| usage.pinned.as_ref());
    let of = |found: &Result<&BTreeMap<Digest, Vec<Use>>, &Because>, digest: &Digest| -> Found<Vec<Use>> {
        match found {
            Ok(known) => Found::Known(known.get(digest).cloned().unwrap_or_default()),
            Err(because) => Found::Missing((*because).clone()),
        }
    };
    let used = |digest: &Digest| match (&uses, &pinned) {
        (Ok(uses), Ok(pinned)) => uses.contains_key(digest) || pinned.contains_key(digest),
        _ => true,
    };
    due.iter()
        .map(|(digest, due)| {
            let image = match &facts.images {
                Found::Known(images) => Found::Known(match images.get(digest) {
                    Some(image) => Presence::Present(image.clone()),
                    None => Presence::Gone,
                }),
                Found::Missing(because) => Found::Missing(because.clone()),
            };
            let relations = match (&facts.children, images.get(digest)) {
                (Found::Missing(because), _) => Found::Missing(because.clone()),
                (Found::Known(_), None) => Found::Missing(Because::new(Gap::Images, "the image is not there")),
                (Found::Known(_), Some(image)) => {
                    Found::Known(registry::relations(image, images, &children, &parents, &attached, used))
                }
            };
            let evidence = Evidence {
                participation: participation.clone(),
                mutability: facts.mutability.clone(),
                pullers: other_pullers.clone(),
                image,
                relations,
                newer_images: match newer.get(digest) {
                    Some(newer) if facts.children.known().is_some() => Found::Known(*newer),
                    _ => Found::Missing(Because::new(Gap::Images, "the images of the repository are not all known")),
                },
                uses: of(&uses, digest),
                pinned: of(&pinned, digest),
                last_named: match usage.as_ref().map(|usage| &usage.last_named) {
                    Ok(Ok(last_named)) => Found::Known(last_named.get(digest).copied()),
                    Ok(Err(because)) | Err(because) => Found::Missing(because.clone()),
                },
                coverage: coverage.clone().into(),
                last_change: due.last_change,
                candidacy: due.candidacy,
            };
            (digest.clone(), evidence)
        })
        .collect()
}

#[cfg(test)]
mod tests;
