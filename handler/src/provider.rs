//! `provider`: the custom resource behind `Custom::EcrCleanup`.
//!
//! # Expected flow
//! CloudFormation invokes the function with a [`Request`]. It is turned into what is wanted ([`Desired`]), and each
//! component (schedule group, event bus with its rules, Config aggregator, stack set) is brought there step by step:
//! observe, plan one step, apply it, observe again. The order of the components is written down once, in [`Component`].
//! When all are done the function PUTs its answer to the request's URL.
//!
//! Work that outlasts one invocation (stack set operations) is resumed: a one-time schedule in the hub's own group
//! invokes the function again with `{request, deadline, token}`. Everything else is observed anew, so a step that was
//! applied before a crash is simply found done.
//!
//! # Guarantees
//! - Only parts that carry this EcrCleanup's ownership tag are changed or removed; any other is refused by name.
//! - Removal tolerates that a part was never made, or is gone.
//! - Every request that names a response URL is answered, before CloudFormation gives up and before the function's own time
//!   ends: also one that cannot be read, one whose call fails or hangs, and one that makes the provider panic. Only a
//!   function that is killed outright answers nothing; what it was given ends in the queue of failures.
//! - What CloudFormation does not wait for any more (a delivery or a resumption that a rollback, a deletion or a newer update
//!   has overtaken) is given up, without an answer.
//! - A rollout that CloudFormation cannot wait for goes on after the answer.
//!
//! # Permissions
//! On buses, rules, schedule groups, aggregators and stack sets whose names begin with `ecr-cleanup-`; see the role in
//! `infra-templates/provider.yaml`.

mod aggregator;
mod answer;
mod desired;
mod event_bus;
mod prerequisites;
mod pull_time_exclusions;
mod request;
mod resume;
mod rollout;
mod schedule_group;
mod stack;
mod stack_set;
mod step;
mod sweep_schedule;

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_types::SdkConfig;
use futures::FutureExt;
use futures::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use provider_schema::Attributes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use answer::{Answer, Status};
pub use desired::{Desired, Environment, EnvironmentError, Identity};
pub use request::{Request, RequestError, RequestType};
pub use step::{Progress, StepError};

use crate::clients::Clients;
use crate::clock::Clock;
use crate::metrics::{Line, Metric, Sink};
use crate::names::Names;

/// How long an invocation waits in place for a step before it asks to be resumed, and for an error to pass before it fails.
const WAIT_IN_PLACE: SignedDuration = SignedDuration::from_secs(45);
/// How long it sleeps between two looks while it waits in place.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long before the function's own time ends work that hangs is cut off. The answer is tried for up to half a minute.
const CUT_OFF_BEFORE_END: SignedDuration = SignedDuration::from_mins(2);
/// How long the one call may take by which work that was cut off is resumed.
const RESUMING_TAKES: Duration = Duration::from_secs(30);
/// A rollout that goes on after the answer is looked after so many times: about a day.
const LAST_LOOK: u32 = 700;

/// The function.
#[derive(Debug, Clone)]
pub struct Provider {
    clients: Arc<Clients>,
    environment: Environment,
    connector: SharedHttpConnector,
    clock: Clock,
    sleep: SharedAsyncSleep,
    metrics: Sink,
}

/// How a function is being run.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The function's own ARN, by which it is invoked again.
    pub function_arn: &'a str,
    /// When it is killed.
    pub deadline: Timestamp,
}

/// What a one-time schedule hands back to the function.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Resume {
    request: Value,
    /// From when on nothing is waited for any more.
    deadline: Timestamp,
    /// How often the request was resumed, this time included.
    token: u32,
    /// Whether CloudFormation has its answer, and only the rollout is looked after.
    #[serde(default)]
    answered: bool,
    /// What the stack was doing when the request was delivered. While it waits for the answer it does nothing else.
    #[serde(default)]
    stack_status: Option<String>,
}

impl Resume {
    /// A payload as it comes from a schedule, or else from CloudFormation.
    fn read(payload: Value, now: Timestamp) -> Self {
        if let Ok(resume) = serde_json::from_value(payload.clone()) {
            return resume;
        }
        let timeout = request::timeout(&payload);
        let sent = request::sent_at(&payload).filter(|at| (now - timeout..=now).contains(at)).unwrap_or(now);
        let deadline = sent + timeout - request::reserve(&payload);
        Self { request: payload, deadline, token: 0, answered: false, stack_status: None }
    }
}

/// One delivery of a request.
struct Run<'a> {
    request: Request,
    resume: Resume,
    invocation: Invocation<'a>,
    /// What the stack was doing when it was first looked at.
    stack_status: OnceLock<String>,
    /// What it is at, for the reason of an answer in its stead.
    at: Mutex<&'static str>,
}

impl Run<'_> {
    fn is_at(&self, what: &'static str) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn was_at(&self) -> &'static str {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The middle of the time that is kept for the answer.
    fn last_moment(&self) -> Timestamp {
        self.resume.deadline + request::reserve(&self.resume.request) / 2
    }

    /// Whether there is no time for another look before CloudFormation needs its answer.
    fn must_answer(&self, now: Timestamp) -> bool {
        now >= self.resume.deadline || now + resume::LATEST > self.last_moment()
    }

    /// When work that has not ended is cut off: in time for an answer of its own.
    fn cut_off(&self, now: Timestamp) -> Timestamp {
        let end = self.invocation.deadline;
        let of_function = end - CUT_OFF_BEFORE_END.min(now.duration_until(end) / 4);
        // A delivery that comes late still gets a look.
        of_function.min(self.last_moment().max(now + SignedDuration::from_secs(20)))
    }
}

/// How a delivery ends.
enum Ending {
    /// CloudFormation is answered.
    Answer(Answer),
    /// It is answered, and the rollout goes on.
    AnswerAndGoOn(Answer),
    /// The request is resumed later, or nobody waits for it.
    Quiet,
}

/// The parts of an EcrCleanup in the order in which they are made; they are removed in [`Component::REMOVAL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Component {
    ScheduleGroup,
    EventBus,
    Aggregator,
    SweepSchedule,
    PullTimeExclusions,
    StackSet,
}

impl Component {
    /// First what others point to.
    const CREATION: [Self; 6] = [
        Self::ScheduleGroup,
        Self::EventBus,
        Self::Aggregator,
        Self::SweepSchedule,
        Self::PullTimeExclusions,
        Self::StackSet,
    ];
    /// Workload rules go before the bus they forward to, and the schedules, with their group, before the bus they fire into.
    const REMOVAL: [Self; 5] =
        [Self::StackSet, Self::ScheduleGroup, Self::EventBus, Self::Aggregator, Self::PullTimeExclusions];
}

impl Component {
    /// What it is, for reasons.
    fn description(self) -> &'static str {
        match self {
            Self::ScheduleGroup => "the schedule group",
            Self::EventBus => "the event bus",
            Self::Aggregator => "the aggregator",
            Self::SweepSchedule => "the schedule of sweeps",
            Self::PullTimeExclusions => "the pull time update exclusions",
            Self::StackSet => "the stack set",
        }
    }
}

/// How far an invocation got.
enum Reached {
    /// Everything is as wanted.
    End,
    /// Something takes longer than this invocation should wait.
    Waiting(Component, String),
    /// CloudFormation does not wait any more; its stack has this status.
    Superseded(String),
}

impl Provider {
    /// The function with the clients of `sdk` and a connector for the answers.
    ///
    /// `sdk` must have a time source and a sleep, which the SDK's own loader always sets.
    ///
    /// # Errors
    /// When `environment` lacks what `infra-templates/provider.yaml` sets.
    pub fn new(
        sdk: &SdkConfig,
        connector: SharedHttpConnector,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, EnvironmentError> {
        let missing = |what| EnvironmentError::missing(what);
        Ok(Self {
            clients: Arc::new(Clients::new(sdk.clone())),
            environment: Environment::read(environment)?,
            connector,
            clock: Clock::new(sdk.time_source().ok_or_else(|| missing("a time source"))?),
            sleep: sdk.sleep_impl().ok_or_else(|| missing("a sleep"))?,
            metrics: Sink::default(),
        })
    }

    /// The same function, with its metrics going elsewhere than to its log.
    pub fn with_metrics(self, metrics: Sink) -> Self {
        Self { metrics, ..self }
    }

    /// Handles a request of CloudFormation, or a resumption.
    ///
    /// # Errors
    /// When nobody can be answered: the payload names no response URL, or the answer could not be delivered.
    pub async fn handle(&self, payload: Value, invocation: Invocation<'_>) -> Result<(), HandleError> {
        let resume = Resume::read(payload, self.clock.now());
        let request = Request::read(&resume.request)?;
        let stack_status = resume.stack_status.clone().map_or_else(OnceLock::new, OnceLock::from);
        let run = Run { request, resume, invocation, stack_status, at: Mutex::new("its beginning") };
        let (answer, goes_on) = match self.supervise(&run).await {
            Ending::Answer(answer) => (answer, false),
            Ending::AnswerAndGoOn(answer) => (answer, true),
            Ending::Quiet => return Ok(()),
        };
        let request = &run.request;
        if run.resume.answered {
            tracing::warn!(
                ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
                outcome = "rollout ended", reason = %answer.reason,
            );
            return Ok(());
        }
        tracing::info!(
            ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
            request_type = ?request.kind, status = ?answer.status, outcome = "answered CloudFormation",
            reason = %answer.reason, physical_id = %answer.physical_id,
        );
        if answer.status == Status::Failed {
            self.count(request, Metric::ProviderFailures);
        }
        answer::put(&self.connector, &self.sleep, &request.response_url, &answer).await?;
        if goes_on && let Err(error) = self.resume_later(&run, true).await {
            tracing::warn!(request_id = %request.request_id, %error, "nobody looks after the rollout");
        }
        Ok(())
    }

    /// Fulfils the request, and answers in its stead where it panics or does not end.
    async fn supervise(&self, run: &Run<'_>) -> Ending {
        let failed =
            |reason: &str| Ending::Answer(Answer::failed(&run.request, Identity::of_answer(&run.request), reason));
        let now = self.clock.now();
        let time = Duration::try_from(now.duration_until(run.cut_off(now))).unwrap_or_default();
        let work = pin!(AssertUnwindSafe(self.fulfil(run)).catch_unwind());
        match select(work, self.sleep.sleep(time)).await {
            Either::Left((Ok(Ok(ending)), _)) => ending,
            Either::Left((Ok(Err(failure)), _)) => {
                Ending::Answer(Answer::failed(&run.request, failure.physical_id, &failure.reason))
            }
            Either::Left((Err(panic), _)) => {
                let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                failed(&format!("the provider panicked at {}: {message}", run.was_at()))
            }
            Either::Right(_) => {
                let reason = format!("{} did not come to an end: AWS does not answer a call", run.was_at());
                tracing::error!(request_id = %run.request.request_id, %reason, "cut off");
                if !run.must_answer(self.clock.now()) {
                    let resumed = pin!(self.resume_later(run, run.resume.answered));
                    if let Either::Left((Ok(()), _)) = select(resumed, self.sleep.sleep(RESUMING_TAKES)).await {
                        return Ending::Quiet;
                    }
                }
                failed(&reason)
            }
        }
    }

    async fn fulfil(&self, run: &Run<'_>) -> Result<Ending, Failure> {
        let Run { request, resume, .. } = run;
        let failure =
            |error: StepError| Failure { physical_id: Identity::of_answer(request), reason: error.to_string() };
        if let Some(status) = self.superseded(run).await {
            return Ok(given_up(request, &status));
        }
        if resume.token == 0 {
            run.is_at("the schedules of former requests");
            let (owner, scheduler) = (desired::owner(request), self.clients.scheduler());
            let cancel = || resume::cancel_others(scheduler, &self.environment, &owner, &request.request_id);
            self.patiently(run, cancel).await.map_err(failure)?;
        }
        match request.kind {
            RequestType::Create | RequestType::Update => {
                let desired = Desired::new(request, &self.environment)
                    .map_err(|reason| Failure { physical_id: Identity::of_answer(request), reason })?;
                self.bring_up(run, &desired).await
            }
            RequestType::Delete => self.take_down(run).await,
        }
    }

    /// What the stack does instead, if it does not wait for the request any more.
    async fn superseded(&self, run: &Run<'_>) -> Option<String> {
        let status = stack::status(self.clients.cloudformation(), &run.request).await?;
        let same = run.resume.answered || *run.stack_status.get_or_init(|| status.clone()) == status;
        (!same || !stack::waits(run.request.kind, &status, run.resume.answered)).then_some(status)
    }

    async fn bring_up(&self, run: &Run<'_>, desired: &Desired) -> Result<Ending, Failure> {
        let Run { request, resume, .. } = run;
        let physical_id = desired.identity.physical_id();
        let failure = |reason: String| Failure { physical_id: physical_id.clone(), reason };
        if resume.token == 0 && stack_set::reaches_further(self.clients.cloudformation(), desired).await {
            run.is_at("the prerequisites");
            let check = || prerequisites::check(&self.clients, desired);
            self.patiently(run, check).await.map_err(|error| failure(error.to_string()))?;
        }
        match self.reach(Goal::Present(desired), run).await.map_err(|error| failure(error.to_string()))? {
            Reached::End => {
                let attributes = self.attributes(run, desired, false).await;
                Ok(Ending::Answer(Answer::succeeded(request, physical_id, attributes)))
            }
            Reached::Superseded(status) => Ok(given_up(request, &status)),
            Reached::Waiting(..) if resume.answered && resume.token >= LAST_LOOK => {
                Err(failure("the rollout was looked after for a day and still runs".to_owned()))
            }
            Reached::Waiting(_, what) if resume.answered || !run.must_answer(self.clock.now()) => {
                log_resumption(request, &what);
                self.resume_later(run, resume.answered).await.map_err(|error| failure(error.to_string()))?;
                Ok(Ending::Quiet)
            }
            Reached::Waiting(Component::StackSet, what) => {
                // Coverage keeps an unfinished rollout safe: nothing is deleted that an uncovered account may pull. A
                // failure would only start a larger rollback.
                tracing::warn!(
                    ecr_cleanup = %desired.identity.names, request_id = %request.request_id,
                    outcome = "rollout goes on after the answer", reason = %what,
                );
                self.count(request, Metric::RolloutsPending);
                let attributes = self.attributes(run, desired, true).await;
                Ok(Ending::AnswerAndGoOn(Answer::succeeded(request, physical_id, attributes)))
            }
            Reached::Waiting(_, what) => Err(failure(format!("{what} takes longer than CloudFormation waits"))),
        }
    }

    async fn take_down(&self, run: &Run<'_>) -> Result<Ending, Failure> {
        let Some(identity) = Identity::of_delete(&run.request) else {
            // The Create failed before it had a name to make anything under.
            return Ok(Ending::Answer(Answer::deleted(&run.request)));
        };
        let failure = |reason: String| Failure { physical_id: Identity::of_answer(&run.request), reason };
        match self.reach(Goal::Absent(&identity), run).await.map_err(|error| failure(error.to_string()))? {
            Reached::End => Ok(Ending::Answer(Answer::deleted(&run.request))),
            Reached::Superseded(status) => Ok(given_up(&run.request, &status)),
            Reached::Waiting(_, what) if run.must_answer(self.clock.now()) => {
                Err(failure(format!("{what} takes longer than CloudFormation waits; delete the stack again to go on")))
            }
            Reached::Waiting(_, what) => {
                log_resumption(&run.request, &what);
                self.resume_later(run, false).await.map_err(|error| failure(error.to_string()))?;
                Ok(Ending::Quiet)
            }
        }
    }

    /// What `Fn::GetAtt` answers. Where the stack set failed is also told on the bus.
    async fn attributes(&self, run: &Run<'_>, desired: &Desired, rollout_pending: bool) -> Attributes {
        run.is_at("the outcome of the rollout");
        let instances = || stack_set::failed_instances(self.clients.cloudformation(), desired);
        let failed_instances = match self.patiently(run, instances).await {
            Ok(failed) => {
                let publish = || rollout::publish(&self.clients, desired, &failed);
                if let Err(error) = self.patiently(run, publish).await {
                    tracing::warn!(request_id = %run.request.request_id, %error, "failed instances were not told of");
                }
                rollout::attribute(&failed)
            }
            Err(error) => {
                tracing::warn!(request_id = %run.request.request_id, %error, "failed instances are not known");
                "unknown".to_owned()
            }
        };
        let part = desired.identity.part_name();
        Attributes {
            name: desired.name.clone(),
            aggregator_name: part.clone(),
            event_bus_name: part.clone(),
            event_bus_arn: desired.event_bus_arn.clone(),
            schedule_group_name: part.clone(),
            stack_set_name: part,
            rollout_pending,
            failed_instances,
        }
    }

    /// Repeats what fails, for as long as an error may take to pass.
    async fn patiently<T, F>(&self, run: &Run<'_>, attempt: impl Fn() -> F) -> Result<T, StepError>
    where
        F: Future<Output = Result<T, StepError>>,
    {
        let give_up = self.clock.now() + WAIT_IN_PLACE;
        loop {
            match attempt().await {
                Err(error) if error.is_passing() && self.clock.now() < give_up => {
                    tracing::warn!(request_id = %run.request.request_id, %error, "trying again");
                    self.sleep.sleep(LOOK_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Reports something that happened once.
    fn count(&self, request: &Request, metric: Metric) {
        let now = self.clock.now();
        let line = match name_of(request) {
            Some(names) => Line::of(&names, now),
            None => Line::of_unknown(now),
        };
        let line = line.about("StackId", request.stack_id.as_str()).about("LogicalId", request.logical_id.as_str());
        self.metrics.report(&line.count(metric, 1));
    }

    async fn resume_later(&self, run: &Run<'_>, answered: bool) -> Result<(), StepError> {
        let stack_status = run.stack_status.get().cloned();
        let next = Resume { token: run.resume.token + 1, answered, stack_status, ..run.resume.clone() };
        let (scheduler, now) = (self.clients.scheduler(), self.clock.now());
        let (owner, request_id) = (desired::owner(&run.request), &run.request.request_id);
        resume::schedule(scheduler, &self.environment, run.invocation.function_arn, &owner, request_id, &next, now)
            .await
    }

    /// Brings every component to the goal, each for as long as an invocation may wait for it.
    async fn reach(&self, goal: Goal<'_>, run: &Run<'_>) -> Result<Reached, StepError> {
        for component in goal.order() {
            run.is_at(component.description());
            match self.until_done(*component, goal, run).await? {
                Reached::End => {}
                other => return Ok(other),
            }
        }
        Ok(Reached::End)
    }

    /// Repeats a component's step until it is done, waiting in place for at most [`WAIT_IN_PLACE`], and for as long until an
    /// error passes. What may have changed meanwhile is whether anybody waits for it.
    async fn until_done(&self, component: Component, goal: Goal<'_>, run: &Run<'_>) -> Result<Reached, StepError> {
        let begun = self.clock.now();
        let give_up = (begun + WAIT_IN_PLACE).min(run.resume.deadline.max(begun));
        loop {
            match self.step(component, goal).await {
                Ok(Progress::Done) => return Ok(Reached::End),
                Ok(Progress::Stepped) => continue,
                Ok(Progress::Waiting(what)) if self.clock.now() >= give_up => {
                    return Ok(Reached::Waiting(component, what));
                }
                Err(error) if !error.is_passing() || self.clock.now() >= give_up => return Err(error),
                Err(error) => tracing::warn!(request_id = %run.request.request_id, %error, "trying again"),
                Ok(Progress::Waiting(_)) => {}
            }
            self.sleep.sleep(LOOK_AGAIN).await;
            if let Some(status) = self.superseded(run).await {
                return Ok(Reached::Superseded(status));
            }
        }
    }

    async fn step(&self, component: Component, goal: Goal<'_>) -> Result<Progress, StepError> {
        let clients = &*self.clients;
        let (cloudformation, config) = (clients.cloudformation(), clients.config());
        let (events, scheduler) = (clients.eventbridge(), clients.scheduler());
        match (component, goal) {
            (Component::ScheduleGroup, Goal::Present(desired)) => schedule_group::converge(scheduler, desired).await,
            (Component::ScheduleGroup, Goal::Absent(identity)) => schedule_group::remove(scheduler, identity).await,
            (Component::EventBus, Goal::Present(desired)) => event_bus::converge(events, desired).await,
            (Component::EventBus, Goal::Absent(identity)) => event_bus::remove(events, identity).await,
            (Component::Aggregator, Goal::Present(desired)) => aggregator::converge(config, desired).await,
            (Component::Aggregator, Goal::Absent(identity)) => aggregator::remove(config, identity).await,
            (Component::SweepSchedule, Goal::Present(desired)) => {
                sweep_schedule::converge(scheduler, desired, self.clock.now()).await
            }
            // It goes with its group.
            (Component::SweepSchedule, Goal::Absent(_)) => Ok(Progress::Done),
            (Component::PullTimeExclusions, Goal::Present(desired)) => {
                pull_time_exclusions::converge(clients, &desired.identity).await
            }
            (Component::PullTimeExclusions, Goal::Absent(identity)) => {
                pull_time_exclusions::remove(clients, identity).await
            }
            (Component::StackSet, Goal::Present(desired)) => stack_set::converge(cloudformation, desired).await,
            (Component::StackSet, Goal::Absent(identity)) => match stack_set::remove(cloudformation, identity).await {
                // Where a prerequisite is missing, one cannot even ask for stack sets. The group is made before the set and
                // removed after it: without the one there is not the other.
                Err(error) if !error.is_passing() && schedule_group::is_absent(scheduler, identity).await? => {
                    tracing::warn!(%error, "nothing was made, so nothing has to be removed");
                    Ok(Progress::Done)
                }
                outcome => outcome,
            },
        }
    }
}

/// The EcrCleanup that a request is about, if that can be told.
fn name_of(request: &Request) -> Option<Names> {
    Identity::of_delete(request).map(|identity| identity.names)
}

fn log_resumption(request: &Request, waiting_for: &str) {
    tracing::info!(
        ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
        outcome = "resumed later", reason = waiting_for,
    );
}

/// Where a request leads.
#[derive(Clone, Copy)]
enum Goal<'a> {
    /// Everything is there, as wanted.
    Present(&'a Desired),
    /// Nothing of it is there.
    Absent(&'a Identity),
}

impl Goal<'_> {
    fn order(self) -> &'static [Component] {
        match self {
            Self::Present(_) => &Component::CREATION,
            Self::Absent(_) => &Component::REMOVAL,
        }
    }
}

/// The end of a delivery that nobody waits for.
fn given_up(request: &Request, status: &str) -> Ending {
    tracing::warn!(
        ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
        request_type = ?request.kind, outcome = "given up",
        reason = format!("CloudFormation does not wait for it any more: its stack is {status}"),
    );
    Ending::Quiet
}

/// A request that failed.
struct Failure {
    physical_id: String,
    reason: String,
}

/// Why nobody was answered.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The payload is not a request that can be answered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The answer could not be delivered.
    #[error(transparent)]
    Answer(#[from] answer::PutError),
}
