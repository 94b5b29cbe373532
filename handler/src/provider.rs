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
//! - What CloudFormation does not wait for any more (a delivery or a resumption that its own answer, a rollback, a deletion or
//!   a newer update has overtaken) is given up, without another answer; so all answers to a request agree. How that is told says
//!   `provider/stack.rs`.
//! - A rollout that CloudFormation cannot wait for goes on after the answer, for about a day, whatever call fails meanwhile.
//!   It concerns the stack set alone, yields to whatever is asked for next, and is reported like one that was waited for.
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

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
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
/// How long before it is cut off an error is answered that has not passed.
const RESERVED_FOR_REASON: SignedDuration = SignedDuration::from_secs(8);
/// How long the one call may take by which work that was cut off, or a rollout, is resumed.
const RESUMING_TAKES: SignedDuration = SignedDuration::from_secs(30);
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
    /// When CloudFormation got its answer, if only the rollout is looked after.
    #[serde(default)]
    answered: Option<Timestamp>,
    /// When CloudFormation had taken that answer: another time means another request.
    #[serde(default)]
    settled: Option<Timestamp>,
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
        Self { request: payload, deadline, token: 0, answered: None, settled: None, stack_status: None }
    }
}

/// One delivery of a request.
struct Run<'a> {
    request: Request,
    resume: Resume,
    invocation: Invocation<'a>,
    /// What the stack was doing when it was first looked at.
    stack_status: OnceLock<String>,
    /// When CloudFormation had taken the answer, once that is seen.
    settled: OnceLock<Timestamp>,
    /// The ids of what the request leads to, and of what that replaces.
    physical_ids: Vec<String>,
    /// When work that has not ended is cut off: in time for an answer of its own.
    cut_off: Timestamp,
    /// What it is at, for the reason of an answer in its stead.
    at: Mutex<&'static str>,
}

impl<'a> Run<'a> {
    fn new(payload: Value, invocation: Invocation<'a>, now: Timestamp) -> Result<Self, RequestError> {
        let resume = Resume::read(payload, now);
        let request = Request::read(&resume.request)?;
        let physical_ids = Identity::of_request(&request);
        let stack_status = resume.stack_status.clone().map_or_else(OnceLock::new, OnceLock::from);
        let settled = resume.settled.map_or_else(OnceLock::new, OnceLock::from);
        let at = Mutex::new("its beginning");
        let mut run = Self { request, resume, invocation, stack_status, settled, physical_ids, cut_off: now, at };
        let end = invocation.deadline;
        run.cut_off = end - CUT_OFF_BEFORE_END.min(now.duration_until(end) / 4);
        if run.resume.answered.is_none() {
            // A delivery that comes late still gets a look.
            run.cut_off = run.cut_off.min(run.last_moment().max(now + SignedDuration::from_secs(20)));
        }
        Ok(run)
    }

    fn physical_id(&self) -> &str {
        self.physical_ids.first().map(String::as_str).unwrap_or_default()
    }

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

    /// Until when an error may pass that occurs in work which begins now. What is cut off has no reason of its own.
    fn patience(&self, now: Timestamp) -> Timestamp {
        (now + WAIT_IN_PLACE).min(self.cut_off - RESERVED_FOR_REASON)
    }

    /// How long the call may take by which something is resumed, at the expense of the answer.
    fn resuming_takes(&self) -> Duration {
        Duration::try_from(RESUMING_TAKES.min(request::reserve(&self.resume.request) / 4)).unwrap_or_default()
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
    /// CloudFormation does not wait any more, because of this.
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
        let run = Run::new(payload, invocation, self.clock.now())?;
        if run.resume.answered.is_some() {
            self.look_after(&run).await;
            return Ok(());
        }
        let (answer, goes_on) = match self.supervise(&run).await {
            Ending::Answer(answer) => (answer, false),
            Ending::AnswerAndGoOn(answer) => (answer, true),
            Ending::Quiet => return Ok(()),
        };
        let request = &run.request;
        tracing::info!(
            ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
            request_type = ?request.kind, status = ?answer.status, outcome = "answered CloudFormation",
            reason = %answer.reason, physical_id = %answer.physical_id,
        );
        if answer.status == Status::Failed {
            self.count(request, Metric::ProviderFailures, 1);
        }
        // Before the answer: what is asked for next then finds the schedule, and cancels it.
        if goes_on && !self.is_resumed(&run, Some(self.clock.now())).await {
            tracing::error!(request_id = %request.request_id, "nobody looks after the rollout");
            self.count(request, Metric::ProviderFailures, 1);
        }
        answer::put(&self.connector, &self.sleep, &request.response_url, &answer).await?;
        Ok(())
    }

    /// Fulfils the request, and answers in its stead where it panics or does not end.
    async fn supervise(&self, run: &Run<'_>) -> Ending {
        let failed =
            |reason: &str| Ending::Answer(Answer::failed(&run.request, Identity::of_answer(&run.request), reason));
        let work = pin!(AssertUnwindSafe(self.fulfil(run)).catch_unwind());
        match select(work, self.cut_off(run)).await {
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
                if !run.must_answer(self.clock.now()) && self.is_resumed(run, None).await {
                    return Ending::Quiet;
                }
                failed(&reason)
            }
        }
    }

    /// Ends when work is cut off.
    fn cut_off(&self, run: &Run<'_>) -> Sleep {
        let time = Duration::try_from(self.clock.now().duration_until(run.cut_off)).unwrap_or_default();
        self.sleep.sleep(time)
    }

    async fn fulfil(&self, run: &Run<'_>) -> Result<Ending, Failure> {
        let Run { request, resume, .. } = run;
        let failure =
            |error: StepError| Failure { physical_id: Identity::of_answer(request), reason: error.to_string() };
        if let Some(instead) = self.superseded(run).await.map_err(failure)? {
            return Ok(given_up(request, &instead));
        }
        if resume.token == 0 {
            run.is_at("the schedules of former requests");
            for id in &run.physical_ids {
                let scheduler = self.clients.scheduler();
                let (environment, payload) = (&self.environment, &resume.request);
                let cancel = || resume::cancel_former(scheduler, environment, id, payload, &request.request_id);
                self.patiently(run, cancel).await.map_err(failure)?;
            }
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

    /// One look at a rollout that goes on after the answer: at the stack set and at nothing else, since everything else was
    /// in order when the answer was given, and may be as a later request wants it by now.
    async fn look_after(&self, run: &Run<'_>) {
        let request = &run.request;
        let Ok(desired) = Desired::new(request, &self.environment) else {
            // The hub's stack allows other opt-in tags by now, say.
            tracing::error!(request_id = %request.request_id, "nobody looks after a rollout that is refused by now");
            self.count(request, Metric::ProviderFailures, 1);
            return;
        };
        let work = pin!(async {
            let reached = self.until_done(Component::StackSet, Goal::Present(&desired), run).await;
            if matches!(reached, Ok(Reached::End)) {
                self.failed_instances(run, &desired, None).await;
            }
            reached
        });
        let trouble = match select(work, self.cut_off(run)).await {
            Either::Left((Ok(Reached::End), _)) => {
                tracing::info!(
                    ecr_cleanup = %desired.identity.names, request_id = %request.request_id, outcome = "rollout ended",
                );
                return;
            }
            Either::Left((Ok(Reached::Superseded(instead)), _)) => {
                given_up(request, &instead);
                return;
            }
            Either::Left((Err(error), _)) if !error.is_passing() => error.to_string(),
            other => {
                let what = match other {
                    Either::Left((Ok(Reached::Waiting(_, what)), _)) => what,
                    Either::Left((Err(error), _)) => error.to_string(),
                    _ => "AWS does not answer a call".to_owned(),
                };
                if run.resume.token >= LAST_LOOK {
                    format!("the rollout was looked after for a day and has not ended: {what}")
                } else {
                    log_resumption(request, &what);
                    if self.is_resumed(run, run.resume.answered).await {
                        return;
                    }
                    format!("nobody looks after the rollout any more: {what}")
                }
            }
        };
        tracing::error!(
            ecr_cleanup = %desired.identity.names, request_id = %request.request_id,
            outcome = "rollout failed", reason = %trouble,
        );
        self.count(request, Metric::ProviderFailures, 1);
        self.failed_instances(run, &desired, Some(&trouble)).await;
    }

    /// What there is instead, if CloudFormation does not want any more what the request asks for.
    ///
    /// A stack that cannot be looked at waits: an answer that nobody needs does no harm, a missing one does. Only where the
    /// answer was given, nothing is done without a look.
    async fn superseded(&self, run: &Run<'_>) -> Result<Option<String>, StepError> {
        let answered = run.resume.answered;
        let look = match stack::look(self.clients.cloudformation(), &run.request).await {
            Ok(look) => look,
            Err(error) if answered.is_some() => return Err(error),
            Err(error) => {
                tracing::warn!(request_id = %run.request.request_id, %error, "the stack cannot be looked at");
                return Ok(None);
            }
        };
        let known = stack::Known {
            sent: request::sent_at(&run.resume.request),
            answered,
            settled: run.settled.get().copied(),
            status: run.stack_status.get().map(String::as_str),
            physical_id: run.physical_id(),
        };
        let overtaken = look.overtaken(run.request.kind, known);
        if answered.is_some()
            && overtaken.is_none()
            && let Some(settled) = look.settled()
        {
            run.settled.get_or_init(|| settled);
        }
        run.stack_status.get_or_init(|| look.status);
        Ok(overtaken)
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
            Reached::Superseded(instead) => Ok(given_up(request, &instead)),
            Reached::Waiting(_, what) if !run.must_answer(self.clock.now()) => {
                log_resumption(request, &what);
                let resume = || self.resume_later(run, None);
                self.patiently(run, resume).await.map_err(|error| failure(error.to_string()))?;
                Ok(Ending::Quiet)
            }
            Reached::Waiting(Component::StackSet, what) => {
                // Coverage keeps an unfinished rollout safe: nothing is deleted that an uncovered account may pull. A
                // failure would only start a larger rollback.
                tracing::warn!(
                    ecr_cleanup = %desired.identity.names, request_id = %request.request_id,
                    outcome = "rollout goes on after the answer", reason = %what,
                );
                self.count(request, Metric::RolloutsPending, 1);
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
            Reached::Superseded(instead) => Ok(given_up(&run.request, &instead)),
            Reached::Waiting(_, what) if run.must_answer(self.clock.now()) => {
                Err(failure(format!("{what} takes longer than CloudFormation waits; delete the stack again to go on")))
            }
            Reached::Waiting(_, what) => {
                log_resumption(&run.request, &what);
                let resume = || self.resume_later(run, None);
                self.patiently(run, resume).await.map_err(|error| failure(error.to_string()))?;
                Ok(Ending::Quiet)
            }
        }
    }

    /// What `Fn::GetAtt` answers.
    async fn attributes(&self, run: &Run<'_>, desired: &Desired, rollout_pending: bool) -> Attributes {
        run.is_at("the outcome of the rollout");
        let failed_instances = self.failed_instances(run, desired, None).await;
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

    /// Where the stack set failed, as an attribute; told on the bus and counted as well, together with why the rollout does
    /// not go on, if it does not.
    async fn failed_instances(&self, run: &Run<'_>, desired: &Desired, trouble: Option<&str>) -> String {
        let instances = || stack_set::failed_instances(self.clients.cloudformation(), desired);
        let failed = self.patiently(run, instances).await;
        if let Err(error) = &failed {
            tracing::warn!(request_id = %run.request.request_id, %error, "failed instances are not known");
        }
        let attribute = failed.as_deref().map_or_else(|_| "unknown".to_owned(), rollout::attribute);
        let failed = failed.unwrap_or_default();
        self.count(&run.request, Metric::FailedInstances, failed.len());
        let publish = || rollout::publish(&self.clients, desired, &failed, trouble);
        if let Err(error) = self.patiently(run, publish).await {
            tracing::warn!(request_id = %run.request.request_id, %error, "failed instances were not told of");
        }
        attribute
    }

    /// Repeats what fails, for as long as an error may take to pass.
    async fn patiently<T, F>(&self, run: &Run<'_>, attempt: impl Fn() -> F) -> Result<T, StepError>
    where
        F: Future<Output = Result<T, StepError>>,
    {
        let patience = run.patience(self.clock.now());
        loop {
            match attempt().await {
                Err(error) if error.is_passing() && self.clock.now() < patience => {
                    tracing::warn!(request_id = %run.request.request_id, %error, "trying again");
                    self.sleep.sleep(LOOK_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Reports how often something happened.
    fn count(&self, request: &Request, metric: Metric, times: usize) {
        let now = self.clock.now();
        let line = match name_of(request) {
            Some(names) => Line::of(&names, now),
            None => Line::of_unknown(now),
        };
        let line = line.about("StackId", request.stack_id.as_str()).about("LogicalId", request.logical_id.as_str());
        self.metrics.report(&line.count(metric, u64::try_from(times).unwrap_or(u64::MAX)));
    }

    /// Schedules the next look; at the rollout, if the request is answered.
    async fn resume_later(&self, run: &Run<'_>, answered: Option<Timestamp>) -> Result<(), StepError> {
        let stack_status = run.stack_status.get().cloned();
        let settled = run.settled.get().copied();
        let next = Resume { token: run.resume.token + 1, answered, settled, stack_status, ..run.resume.clone() };
        let (scheduler, now) = (self.clients.scheduler(), self.clock.now());
        let (function, request_id) = (run.invocation.function_arn, &run.request.request_id);
        resume::schedule(scheduler, &self.environment, function, run.physical_id(), request_id, &next, now).await
    }

    /// The same within [`Run::resuming_takes`], and whether it could be done.
    async fn is_resumed(&self, run: &Run<'_>, answered: Option<Timestamp>) -> bool {
        let attempts = pin!(async {
            loop {
                match self.resume_later(run, answered).await {
                    Ok(()) => return true,
                    Err(error) if !error.is_passing() => return false,
                    Err(_) => self.sleep.sleep(LOOK_AGAIN).await,
                }
            }
        });
        match select(attempts, self.sleep.sleep(run.resuming_takes())).await {
            Either::Left((resumed, _)) => resumed,
            Either::Right(_) => false,
        }
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
    /// error passes. What may have changed meanwhile is whether anybody waits for it: that is looked up after each pause, and
    /// before each step where the answer was given, since then nothing else holds up what is asked for next.
    async fn until_done(&self, component: Component, goal: Goal<'_>, run: &Run<'_>) -> Result<Reached, StepError> {
        let (begun, answered) = (self.clock.now(), run.resume.answered.is_some());
        let patience = run.patience(begun);
        let give_up = if answered { patience } else { patience.min(run.resume.deadline.max(begun)) };
        let mut look = answered;
        loop {
            if look && let Some(instead) = self.superseded(run).await? {
                return Ok(Reached::Superseded(instead));
            }
            look = answered;
            match self.step(component, goal).await {
                Ok(Progress::Done) => return Ok(Reached::End),
                Ok(Progress::Stepped) => continue,
                Ok(Progress::Waiting(what)) if self.clock.now() >= give_up => {
                    return Ok(Reached::Waiting(component, what));
                }
                Err(error) if !error.is_passing() || self.clock.now() >= patience => return Err(error),
                Err(error) => tracing::warn!(request_id = %run.request.request_id, %error, "trying again"),
                Ok(Progress::Waiting(_)) => {}
            }
            self.sleep.sleep(LOOK_AGAIN).await;
            look = true;
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
fn given_up(request: &Request, instead: &str) -> Ending {
    tracing::warn!(
        ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
        request_type = ?request.kind, outcome = "given up",
        reason = format!("CloudFormation does not wait for it any more: {instead}"),
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
