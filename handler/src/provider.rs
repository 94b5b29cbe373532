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
//! - Every request that names a response URL is answered.
//!
//! # Permissions
//! On buses, rules, schedule groups, aggregators and stack sets whose names begin with `ecr-cleanup-`; see the role in
//! `infra-templates/provider.yaml`.

mod aggregator;
mod answer;
mod desired;
mod event_bus;
mod request;
mod resume;
mod schedule_group;
mod stack_set;
mod step;
mod sweep_schedule;

use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_types::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use provider_schema::Attributes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use answer::{Answer, Status};
pub use desired::{Desired, Environment, EnvironmentError, Identity};
pub use request::{Request, RequestError, RequestType};
pub use step::{Progress, StepError};

use crate::clock::Clock;
use crate::metrics::{Line, Metric, Sink};
use crate::names::Names;

/// How long an invocation waits in place for a step before it asks to be resumed.
const WAIT_IN_PLACE: SignedDuration = SignedDuration::from_secs(45);
/// How long it sleeps between two looks while it waits in place.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long before CloudFormation gives up the request is answered in any case.
const ANSWER_BEFORE_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);
/// How long CloudFormation waits, unless `ServiceTimeout` says otherwise (CloudFormation user guide, custom resources).
const DEFAULT_SERVICE_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);

/// The function.
#[derive(Debug, Clone)]
pub struct Provider {
    clients: Clients,
    environment: Environment,
    connector: SharedHttpConnector,
    clock: Clock,
    sleep: SharedAsyncSleep,
    metrics: Sink,
}

/// The SDK clients of the provider, built once.
#[derive(Debug, Clone)]
struct Clients {
    cloudformation: aws_sdk_cloudformation::Client,
    config: aws_sdk_config::Client,
    events: aws_sdk_eventbridge::Client,
    scheduler: aws_sdk_scheduler::Client,
}

/// What a one-time schedule hands back to the function.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Resume {
    request: Value,
    deadline: Timestamp,
    /// How often the request was resumed, this time included.
    token: u32,
}

/// The parts of an EcrCleanup in the order in which they are made; they are removed in [`Component::REMOVAL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Component {
    ScheduleGroup,
    EventBus,
    Aggregator,
    SweepSchedule,
    StackSet,
}

impl Component {
    /// First what others point to.
    const CREATION: [Self; 5] =
        [Self::ScheduleGroup, Self::EventBus, Self::Aggregator, Self::SweepSchedule, Self::StackSet];
    /// Workload rules go before the bus they forward to, and the schedules, with their group, before the bus they fire into.
    const REMOVAL: [Self; 4] = [Self::StackSet, Self::ScheduleGroup, Self::EventBus, Self::Aggregator];
}

/// How far an invocation got.
enum Reached {
    /// Everything is as wanted.
    End,
    /// Something takes longer than this invocation should wait.
    Waiting(String),
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
            clients: Clients {
                cloudformation: aws_sdk_cloudformation::Client::new(sdk),
                config: aws_sdk_config::Client::new(sdk),
                events: aws_sdk_eventbridge::Client::new(sdk),
                scheduler: aws_sdk_scheduler::Client::new(sdk),
            },
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

    /// Handles a request of CloudFormation, or a resumption. `function_arn` is the function's own, for resumptions.
    ///
    /// # Errors
    /// When nobody can be answered: the payload names no response URL, or the answer could not be delivered.
    pub async fn handle(&self, payload: Value, function_arn: &str) -> Result<(), HandleError> {
        let resume = match serde_json::from_value::<Resume>(payload.clone()) {
            Ok(resume) => resume,
            Err(_) => {
                let timeout = request::service_timeout(&payload).unwrap_or(DEFAULT_SERVICE_TIMEOUT);
                Resume { request: payload, deadline: self.clock.now() + timeout - ANSWER_BEFORE_TIMEOUT, token: 0 }
            }
        };
        let request = Request::read(&resume.request)?;
        let answer = match self.fulfil(&request, &resume, function_arn).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(()),
            Err(failure) => Answer::failed(&request, failure.physical_id, &failure.reason),
        };
        tracing::info!(
            ecr_cleanup = name_of(&request).map(display), request_id = %request.request_id,
            request_type = ?request.kind, status = ?answer.status, outcome = "answered CloudFormation",
            reason = %answer.reason, physical_id = %answer.physical_id,
        );
        if answer.status == Status::Failed {
            self.count(&request, Metric::ProviderFailures);
        }
        answer::put(&self.connector, &self.sleep, &request.response_url, &answer).await?;
        Ok(())
    }

    /// The answer, or `None` if the request is resumed later.
    async fn fulfil(&self, request: &Request, resume: &Resume, function_arn: &str) -> Result<Option<Answer>, Failure> {
        if resume.token == 0 {
            let owner = desired::owner(request);
            resume::cancel_others(&self.clients.scheduler, &self.environment, &owner, &request.request_id)
                .await
                .map_err(|error| Failure { physical_id: Identity::fallback(request), reason: error.to_string() })?;
        }
        let identity = match request.kind {
            RequestType::Delete => Identity::of_delete(request),
            RequestType::Create | RequestType::Update => {
                let desired = Desired::new(request, &self.environment)
                    .map_err(|reason| Failure { physical_id: Identity::fallback(request), reason })?;
                return self.bring_up(request, resume, &desired, function_arn).await;
            }
        };
        let Some(identity) = identity else {
            // The Create failed before it had a name to make anything under.
            return Ok(Some(Answer::deleted(request)));
        };
        match self.reach(Goal::Absent(&identity)).await {
            Ok(Reached::End) => Ok(Some(Answer::deleted(request))),
            Ok(Reached::Waiting(what)) if self.clock.now() >= resume.deadline => Err(Failure {
                physical_id: Identity::fallback(request),
                reason: format!("{what} takes longer than CloudFormation waits; delete the stack again to go on"),
            }),
            Ok(Reached::Waiting(what)) => self.resume_later(request, resume, &what, function_arn).await,
            Err(error) => Err(Failure { physical_id: Identity::fallback(request), reason: error.to_string() }),
        }
    }

    async fn bring_up(
        &self,
        request: &Request,
        resume: &Resume,
        desired: &Desired,
        function_arn: &str,
    ) -> Result<Option<Answer>, Failure> {
        let physical_id = desired.identity.physical_id();
        match self.reach(Goal::Present(desired)).await {
            Ok(Reached::End) => Ok(Some(Answer::succeeded(request, physical_id, attributes(desired)))),
            Ok(Reached::Waiting(what)) if self.clock.now() >= resume.deadline => {
                // Coverage keeps an unfinished rollout safe: nothing is deleted that an uncovered account may pull. A
                // failure would only start a larger rollback.
                tracing::warn!(
                    ecr_cleanup = %desired.identity.names, request_id = %request.request_id,
                    outcome = "rollout goes on after the answer", reason = %what,
                );
                self.count(request, Metric::RolloutsPending);
                Ok(Some(Answer::succeeded(request, physical_id, attributes(desired))))
            }
            Ok(Reached::Waiting(what)) => self.resume_later(request, resume, &what, function_arn).await,
            Err(error) => Err(Failure { physical_id, reason: error.to_string() }),
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

    async fn resume_later(
        &self,
        request: &Request,
        resume: &Resume,
        what: &str,
        function_arn: &str,
    ) -> Result<Option<Answer>, Failure> {
        tracing::info!(
            ecr_cleanup = name_of(request).map(display), request_id = %request.request_id,
            outcome = "resumed later", reason = %what,
        );
        let next = Resume { token: resume.token + 1, ..resume.clone() };
        let (scheduler, at) = (&self.clients.scheduler, self.clock.now());
        let owner = desired::owner(request);
        resume::schedule(scheduler, &self.environment, function_arn, &owner, &request.request_id, &next, at)
            .await
            .map_err(|error| Failure { physical_id: Identity::fallback(request), reason: error.to_string() })?;
        Ok(None)
    }

    /// Brings every component to the goal, each for as long as an invocation may wait for it.
    async fn reach(&self, goal: Goal<'_>) -> Result<Reached, StepError> {
        for component in goal.order() {
            if let Reached::Waiting(what) = self.until_done(*component, goal).await? {
                return Ok(Reached::Waiting(what));
            }
        }
        Ok(Reached::End)
    }

    /// Repeats a component's step until it is done, waiting in place for at most [`WAIT_IN_PLACE`].
    async fn until_done(&self, component: Component, goal: Goal<'_>) -> Result<Reached, StepError> {
        let give_up = self.clock.now() + WAIT_IN_PLACE;
        loop {
            match self.step(component, goal).await? {
                Progress::Done => return Ok(Reached::End),
                Progress::Stepped => {}
                Progress::Waiting(what) if self.clock.now() >= give_up => return Ok(Reached::Waiting(what)),
                Progress::Waiting(_) => self.sleep.sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn step(&self, component: Component, goal: Goal<'_>) -> Result<Progress, StepError> {
        let Clients { cloudformation, config, events, scheduler } = &self.clients;
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
            (Component::StackSet, Goal::Present(desired)) => stack_set::converge(cloudformation, desired).await,
            (Component::StackSet, Goal::Absent(identity)) => stack_set::remove(cloudformation, identity).await,
        }
    }
}

/// The EcrCleanup that a request is about, if that can be told.
fn name_of(request: &Request) -> Option<Names> {
    Identity::of_delete(request).map(|identity| identity.names)
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

/// What `Fn::GetAtt` answers.
fn attributes(desired: &Desired) -> Attributes {
    let part = desired.identity.part_name();
    Attributes {
        name: desired.name.clone(),
        aggregator_name: part.clone(),
        event_bus_name: part.clone(),
        event_bus_arn: desired.event_bus_arn.clone(),
        schedule_group_name: part.clone(),
        stack_set_name: part,
    }
}
