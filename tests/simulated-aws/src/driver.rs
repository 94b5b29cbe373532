//! The handle that drives virtual time and runs function code.
//!
//! Code under test runs as futures that only ever wait for the simulation: an HTTP answer or a virtual sleep. So when no
//! future has been woken, nothing more can happen at this instant, and time may go on to the next entry of the agenda.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector};
use aws_types::SdkConfig;
use futures::channel::oneshot;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::agenda::Due;
use crate::connector::Connector;
use crate::function::{Done, FunctionContext, Invocation, InvocationError};
use crate::identity::{AccountId, Principal, Region};
use crate::operation::ServiceError;
use crate::world::{Clock, World};

/// A simulated AWS. Clones share one world.
#[derive(Clone)]
pub struct SimulatedAws {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    world: Mutex<World>,
    running: Mutex<Vec<Running>>,
}

/// What a function's future and its end need.
struct Running {
    future: Pin<Box<dyn Future<Output = Result<Value, InvocationError>> + Send>>,
    crashed: Arc<AtomicBool>,
    deadline: Timestamp,
    done: Done,
}

/// A waker that remembers that it was woken.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl SimulatedAws {
    /// A world without accounts, at a fixed start of time: 2 March 2026, a Monday, 09:00 UTC. All randomness comes from `seed`.
    pub fn new(seed: u64) -> Self {
        let start: Timestamp = "2026-03-02T09:00:00Z".parse().expect("a constant");
        Self::starting_at(seed, start)
    }

    /// The same with another start.
    pub fn starting_at(seed: u64, start: Timestamp) -> Self {
        // The SDK draws its retry delays and idempotency tokens from this thread's generator.
        fastrand::seed(seed);
        let world = World::new(seed, start);
        Self { shared: Arc::new(Shared { clock: world.clock(), world: Mutex::new(world), running: Mutex::default() }) }
    }

    /// The world. Do not hold it across an `await`, or while time is driven.
    pub fn world(&self) -> MutexGuard<'_, World> {
        // A panic of a test's own code may have poisoned it; the state is still what it was.
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Virtual time.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Calls an operation as the administrator of `account`: the hand of a test.
    ///
    /// # Errors
    /// What AWS would answer.
    pub fn call(
        &self,
        account: &AccountId,
        region: &Region,
        service: &str,
        operation: &str,
        input: Value,
    ) -> Result<Value, ServiceError> {
        self.world().call(account, region, service, operation, input)
    }

    /// Virtual time for SDK clients.
    pub fn time_source(&self) -> SharedTimeSource {
        SharedTimeSource::new(self.clone())
    }

    /// Virtual sleep for SDK clients: whoever sleeps lets time go on.
    pub fn sleep_impl(&self) -> SharedAsyncSleep {
        SharedAsyncSleep::new(self.clone())
    }

    /// An SDK configuration for a principal, with this world's HTTP client, clock and sleep. Futures that use it are run
    /// with [`SimulatedAws::run`].
    pub fn sdk_config(&self, principal: Principal, region: &Region) -> SdkConfig {
        self.sdk_config_with(principal, region, None, Connector::new(self.clone()))
    }

    /// Forgets the code of all functions, which mostly holds SDK clients of this very world: without that, neither is ever
    /// freed.
    pub fn shut_down(&self) {
        // What the code holds may want the world when it is dropped.
        let functions = self.world().take_functions();
        drop(functions);
    }

    fn sdk_config_with(
        &self,
        principal: Principal,
        region: &Region,
        expires: Option<Timestamp>,
        connector: Connector,
    ) -> SdkConfig {
        let key = self.world().issue_credentials(principal, expires);
        let token = expires.map(|_| "session-token".to_owned());
        let credentials = Credentials::new(key, "secret", token, expires.map(system_time), "simulated");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(SharedHttpClient::new(connector))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .region(aws_types::region::Region::new(region.as_str().to_owned()))
            .time_source(self.time_source())
            .sleep_impl(self.sleep_impl())
            .build()
    }

    /// Lets virtual time go on by `duration`, doing all that becomes due.
    pub fn advance(&self, duration: SignedDuration) {
        self.advance_to(self.now() + duration);
    }

    /// Lets virtual time go on until `limit`, doing all that becomes due.
    pub fn advance_to(&self, limit: Timestamp) {
        loop {
            self.poll_running();
            let due = self.world().pop_due(limit);
            match due {
                Some(due) => self.perform(due),
                None => break,
            }
        }
        self.world().set_now(limit);
    }

    /// Runs `future` to its end; time goes on only while it waits.
    ///
    /// # Panics
    /// If it waits for something that will never happen.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        loop {
            if let Some(output) = poll_until_stalled(future.as_mut()) {
                return output;
            }
            self.poll_running();
            if let Some(output) = poll_until_stalled(future.as_mut()) {
                return output;
            }
            let due = self.world().pop_due(Timestamp::MAX);
            self.perform(due.expect("the future waits for something outside the simulation"));
        }
    }

    fn perform(&self, due: Due) {
        match due {
            Due::Step(step) => step(&mut self.world()),
            Due::Invoke(invocation) => self.start(*invocation),
        }
    }

    fn start(&self, invocation: Invocation) {
        let Invocation { handler, arn, request_id, principal, account: _, region, timeout, environment, payload, done } =
            invocation;
        let Some(code) = self.world().function(&handler) else {
            return done(&mut self.world(), Err(InvocationError::NoCode(handler)));
        };
        let deadline = self.now() + timeout;
        let connector = Connector::new(self.clone());
        let crashed = connector.crashed();
        // A function's credentials outlive its longest run.
        let expires = self.now() + SignedDuration::from_hours(6);
        let sdk = self.sdk_config_with(principal, &region, Some(expires), connector.clone());
        let connector = SharedHttpConnector::new(connector);
        let future = code.start(FunctionContext { arn, request_id, deadline, environment, sdk, connector }, payload);
        let future = Box::pin(async move { future.await.map_err(InvocationError::Unhandled) });
        // Wakes the driver at the deadline; whoever still runs then is killed in `poll_running`.
        self.world().at(deadline, |_| {});
        self.running().push(Running { future, crashed, deadline, done });
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls every running function until none makes progress.
    fn poll_running(&self) {
        let mut running = std::mem::take(&mut *self.running());
        let mut waiting = Vec::with_capacity(running.len());
        for mut one in running.drain(..) {
            let outcome = match poll_until_stalled(one.future.as_mut()) {
                Some(outcome) => outcome,
                None if one.crashed.load(Ordering::SeqCst) => Err(InvocationError::Crashed),
                None if one.deadline <= self.now() => Err(InvocationError::TimedOut),
                None => {
                    waiting.push(one);
                    continue;
                }
            };
            drop(one.future);
            (one.done)(&mut self.world(), outcome);
        }
        waiting.append(&mut self.running());
        *self.running() = waiting;
    }
}

/// The same instant in the standard library's type.
fn system_time(at: Timestamp) -> SystemTime {
    let since_1970 = Duration::from_micros(u64::try_from(at.as_microsecond()).expect("virtual time starts after 1970"));
    SystemTime::UNIX_EPOCH + since_1970
}

/// Polls a future until it ends or waits for something that has not happened yet.
fn poll_until_stalled<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    while flag.0.swap(false, Ordering::SeqCst) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

impl AsyncSleep for SimulatedAws {
    fn sleep(&self, duration: Duration) -> Sleep {
        let (wake, woken) = oneshot::channel();
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let at = self.now().checked_add(duration).unwrap_or(Timestamp::MAX);
        self.world().at(at, move |_| {
            // Nobody waits any more: the sleeper was dropped.
            let _ = wake.send(());
        });
        Sleep::new(async move {
            let _ = woken.await;
        })
    }
}

impl TimeSource for SimulatedAws {
    fn now(&self) -> SystemTime {
        system_time(self.shared.clock.now())
    }
}

impl fmt::Debug for SimulatedAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedAws").field("now", &self.shared.clock.now()).finish_non_exhaustive()
    }
}

/// Environment of a function as text pairs.
impl FunctionContext {
    /// An environment variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let environment: &BTreeMap<String, String> = &self.environment;
        environment.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fault::Fault;
    use crate::function::Function;

    fn world_with_account() -> (SimulatedAws, AccountId, Region) {
        let aws = SimulatedAws::new(1);
        let account = AccountId::new("111111111111").unwrap();
        aws.world().add_account(&account);
        (aws, account, Region::new("eu-west-1").unwrap())
    }

    fn invocation(
        aws: &SimulatedAws,
        account: &AccountId,
        region: &Region,
        ended: &Arc<Mutex<Option<Result<Value, InvocationError>>>>,
    ) {
        let ended = Arc::clone(ended);
        let at = aws.now();
        aws.world().invoke_at(
            at,
            Invocation {
                handler: "code".to_owned(),
                arn: "arn:aws:lambda:eu-west-1:111111111111:function:f".to_owned(),
                request_id: "1".to_owned(),
                principal: Principal::Administrator { account: account.clone() },
                account: account.clone(),
                region: region.clone(),
                timeout: SignedDuration::from_secs(60),
                environment: BTreeMap::new(),
                payload: json!({}),
                done: Box::new(move |_, outcome| *ended.lock().unwrap() = Some(outcome)),
            },
        );
    }

    /// Code that sleeps, asks STS who it is, and says so.
    fn who_am_i(sleep: u64) -> Function {
        Function::new(move |context: FunctionContext, _| async move {
            context.sdk.sleep_impl().expect("set").sleep(Duration::from_secs(sleep)).await;
            let identity = aws_sdk_sts::Client::new(&context.sdk).get_caller_identity().send().await;
            identity.map(|identity| json!(identity.account())).map_err(|error| format!("{error:?}"))
        })
    }

    #[test]
    fn a_test_calls_through_the_sdk() {
        let (aws, account, region) = world_with_account();
        let sdk = aws.sdk_config(Principal::Administrator { account }, &region);
        let identity = aws.run(aws_sdk_sts::Client::new(&sdk).get_caller_identity().send()).unwrap();
        assert_eq!(identity.account(), Some("111111111111"));
        assert_eq!(aws.world().calls().len(), 1);
    }

    #[test]
    fn a_retry_after_a_server_error_waits_in_virtual_time() {
        let (aws, account, region) = world_with_account();
        let before = aws.now();
        let mut left = 1;
        aws.world().add_fault_plan(move |_| {
            left -= 1;
            (left >= 0).then_some(Fault::ServerError)
        });
        let sdk = aws.sdk_config(Principal::Administrator { account }, &region);
        aws.run(aws_sdk_sts::Client::new(&sdk).get_caller_identity().send()).unwrap();
        assert!(aws.now() > before, "the retry's delay is virtual");
    }

    #[test]
    fn a_function_that_sleeps_ends_at_the_right_time() {
        let (aws, account, region) = world_with_account();
        let ended = Arc::default();
        aws.world().register_function("code", who_am_i(30));
        invocation(&aws, &account, &region, &ended);
        aws.advance(SignedDuration::from_secs(29));
        assert_eq!(*ended.lock().unwrap(), None);
        aws.advance(SignedDuration::from_secs(1));
        assert_eq!(*ended.lock().unwrap(), Some(Ok(json!("111111111111"))));
    }

    #[test]
    fn a_function_past_its_deadline_is_killed() {
        let (aws, account, region) = world_with_account();
        let ended = Arc::default();
        aws.world().register_function("code", who_am_i(61));
        invocation(&aws, &account, &region, &ended);
        aws.advance(SignedDuration::from_secs(120));
        assert_eq!(*ended.lock().unwrap(), Some(Err(InvocationError::TimedOut)));
        assert!(aws.world().calls().is_empty(), "the dead call nobody");
    }

    #[test]
    fn a_crash_after_the_effect_drops_the_function_and_keeps_the_effect() {
        for (fault, effects) in [(true, 1), (false, 0)] {
            let (aws, account, region) = world_with_account();
            let ended = Arc::default();
            aws.world().register_function("code", who_am_i(0));
            aws.world().add_fault_plan(move |_| Some(if fault { Fault::CrashAfter } else { Fault::CrashBefore }));
            invocation(&aws, &account, &region, &ended);
            aws.advance(SignedDuration::from_secs(1));
            assert_eq!(*ended.lock().unwrap(), Some(Err(InvocationError::Crashed)));
            assert_eq!(aws.world().calls().len(), effects);
        }
    }

    #[test]
    fn what_is_not_simulated_is_refused_by_name() {
        let (aws, account, region) = world_with_account();
        let refusal = aws.call(&account, &region, "sts", "GetSessionToken", json!({})).unwrap_err();
        assert_eq!(refusal.message, "the simulated AWS does not implement sts:GetSessionToken");
        let refusal = aws.call(&account, &region, "sts", "GetCallerIdentity", json!({"Colour": 1})).unwrap_err();
        assert_eq!(
            refusal.message,
            "the simulated AWS does not implement the parameter Colour of sts:GetCallerIdentity"
        );
        assert_eq!(aws.world().refusals().len(), 2);
    }
}
