//! The state of everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::agenda::{Agenda, Due};
use crate::behaviours::Behaviours;
use crate::fault::{CallSummary, Fault, FaultPlan};
use crate::function::{Function, Invocation};
use crate::identity::{AccountId, Principal, Region};
use crate::operation::{Call, NOT_SIMULATED, Operation, Registry, ServiceError};
use crate::recording::{CallRecord, RecordFile};

/// Virtual time, shared with the SDK clients, which ask for it while nobody holds the world.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn new(at: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).expect("set from a timestamp")
    }

    /// Time never goes back.
    fn set(&self, at: Timestamp) {
        self.0.fetch_max(at.as_microsecond(), Ordering::SeqCst);
    }
}

/// Credentials that were issued.
#[derive(Debug, Clone)]
pub(crate) struct IssuedCredentials {
    pub(crate) principal: Principal,
    pub(crate) expires: Option<Timestamp>,
}

/// The state of everything: accounts, services, what is due, and what was called.
pub struct World {
    clock: Clock,
    registry: Arc<Registry>,
    agenda: Agenda,
    faults: Vec<FaultPlan>,
    calls: Vec<CallRecord>,
    keep_calls: bool,
    call_count: u64,
    record_file: RecordFile,
    refusals: Vec<String>,
    credentials: BTreeMap<String, IssuedCredentials>,
    functions: BTreeMap<String, Function>,
    accounts: BTreeMap<AccountId, ()>,
    disabled_regions: BTreeSet<(AccountId, Region)>,
    next_id: u64,
    /// Everything random comes from here.
    pub(crate) rng: fastrand::Rng,
    /// What AWS does not document.
    pub behaviours: Behaviours,
    /// How long a call takes on the wire, there and back; zero unless set.
    pub latency: SignedDuration,

    pub(crate) cloudformation: crate::cloudformation::State,
    pub(crate) cloudtrail: crate::cloudtrail::State,
    pub(crate) cloudwatch: crate::cloudwatch::State,
    pub(crate) config: crate::config::State,
    pub(crate) ecr: crate::ecr::State,
    pub(crate) ecs: crate::ecs::State,
    pub(crate) events: crate::events::State,
    pub(crate) iam: crate::iam::State,
    pub(crate) lambda: crate::lambda::State,
    pub(crate) logs: crate::logs::State,
    pub(crate) organizations: crate::organizations::State,
    pub(crate) scheduler: crate::scheduler::State,
    pub(crate) sns: crate::sns::State,
    pub(crate) sqs: crate::sqs::State,
    pub(crate) ssm: crate::ssm::State,
}

impl World {
    pub(crate) fn new(seed: u64, start: Timestamp) -> Self {
        Self {
            clock: Clock::new(start),
            registry: Arc::new(Registry::new()),
            agenda: Agenda::default(),
            faults: Vec::new(),
            calls: Vec::new(),
            keep_calls: true,
            call_count: 0,
            record_file: RecordFile::from_environment(),
            refusals: Vec::new(),
            credentials: BTreeMap::new(),
            functions: BTreeMap::new(),
            accounts: BTreeMap::new(),
            disabled_regions: BTreeSet::new(),
            next_id: 0,
            rng: fastrand::Rng::with_seed(seed),
            behaviours: Behaviours::default(),
            latency: SignedDuration::ZERO,
            cloudformation: Default::default(),
            cloudtrail: Default::default(),
            cloudwatch: Default::default(),
            config: Default::default(),
            ecr: Default::default(),
            ecs: Default::default(),
            events: Default::default(),
            iam: Default::default(),
            lambda: Default::default(),
            logs: Default::default(),
            organizations: Default::default(),
            scheduler: Default::default(),
            sns: Default::default(),
            sqs: Default::default(),
            ssm: Default::default(),
        }
    }

    /// Virtual time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(crate) fn set_now(&mut self, at: Timestamp) {
        self.clock.set(at);
    }

    /// The registry of operations.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// Makes an account. Making it twice changes nothing.
    pub fn add_account(&mut self, account: &AccountId) {
        self.accounts.insert(account.clone(), ());
    }

    /// Whether the account exists.
    pub fn has_account(&self, account: &AccountId) -> bool {
        self.accounts.contains_key(account)
    }

    /// Makes a region one that the account has not enabled, or enables it again. Only opt-in regions can be disabled in AWS; here
    /// any can.
    pub fn disable_region(&mut self, account: &AccountId, region: &Region, disabled: bool) {
        let place = (account.clone(), region.clone());
        if disabled {
            self.disabled_regions.insert(place);
        } else {
            self.disabled_regions.remove(&place);
        }
    }

    /// Whether the account has not enabled the region.
    pub(crate) fn is_disabled(&self, account: &AccountId, region: &Region) -> bool {
        self.disabled_regions.contains(&(account.clone(), region.clone()))
    }

    /// Every account, in order.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.keys()
    }

    /// A number that was not given out before: for ids.
    pub(crate) fn fresh_number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A random id in the form of a UUID.
    pub(crate) fn fresh_uuid(&mut self) -> String {
        let (a, b) = (self.rng.u64(..), self.rng.u64(..));
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }

    /// Does `step` at `at`, or as soon as time goes on if that has passed.
    pub fn at(&mut self, at: Timestamp, step: impl FnOnce(&mut World) + Send + 'static) {
        let at = at.max(self.now());
        self.agenda.add(at, Due::Step(Box::new(step)));
    }

    /// Does `step` after `delay`.
    pub fn after(&mut self, delay: SignedDuration, step: impl FnOnce(&mut World) + Send + 'static) {
        self.at(self.now() + delay, step);
    }

    /// Runs a function at `at`.
    pub(crate) fn invoke_at(&mut self, at: Timestamp, invocation: Invocation) {
        let at = at.max(self.now());
        self.agenda.add(at, Due::Invoke(Box::new(invocation)));
    }

    pub(crate) fn pop_due(&mut self, limit: Timestamp) -> Option<Due> {
        let (at, due) = self.agenda.pop_until(limit)?;
        self.set_now(at);
        Some(due)
    }

    /// The code of all functions, which there is no more.
    pub(crate) fn take_functions(&mut self) -> BTreeMap<String, Function> {
        std::mem::take(&mut self.functions)
    }

    /// Registers code under the `Handler` property of functions that run it.
    pub fn register_function(&mut self, handler: impl Into<String>, code: Function) {
        self.functions.insert(handler.into(), code);
    }

    pub(crate) fn function(&self, handler: &str) -> Option<Function> {
        self.functions.get(handler).cloned()
    }

    /// Adds a plan that may make calls fail. It is asked about calls over the wire, not about what the simulated
    /// services do among themselves.
    pub fn add_fault_plan(&mut self, plan: impl FnMut(&CallSummary) -> Option<Fault> + Send + 'static) {
        self.faults.push(Box::new(plan));
    }

    /// Ends all fault plans.
    pub fn clear_fault_plans(&mut self) {
        self.faults.clear();
    }

    /// Every call over the wire since the last [`World::clear_calls`], in order.
    pub fn calls(&self) -> &[CallRecord] {
        &self.calls
    }

    /// Forgets the recorded calls.
    pub fn clear_calls(&mut self) {
        self.calls.clear();
    }

    /// Whether calls are kept for [`World::calls`]; long histories switch it off.
    pub fn keep_calls(&mut self, keep: bool) {
        self.keep_calls = keep;
    }

    /// What was refused because it is not simulated.
    pub fn refusals(&self) -> &[String] {
        &self.refusals
    }

    /// Issues an access key for a principal.
    pub(crate) fn issue_credentials(&mut self, principal: Principal, expires: Option<Timestamp>) -> String {
        let prefix = if expires.is_some() { "ASIA" } else { "AKIA" };
        let key = format!("{prefix}{:016X}", self.fresh_number());
        self.credentials.insert(key.clone(), IssuedCredentials { principal, expires });
        key
    }

    /// Whose access key it is. A key of 12 digits is the administrator of that account.
    pub(crate) fn principal_of(&self, access_key: &str) -> Result<Principal, ServiceError> {
        if let Some(issued) = self.credentials.get(access_key) {
            if issued.expires.is_some_and(|expires| expires <= self.now()) {
                return Err(ServiceError::new(
                    "ExpiredTokenException",
                    "The security token included in the request is expired",
                ));
            }
            return Ok(issued.principal.clone());
        }
        match AccountId::new(access_key) {
            Some(account) if self.has_account(&account) => Ok(Principal::Administrator { account }),
            _ => Err(ServiceError::new(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
            .with_status(403)),
        }
    }

    /// Calls an operation as `principal`, authorized as a call over the wire would be, but without faults and record:
    /// for services that call each other, and for tests.
    ///
    /// # Errors
    /// What AWS would answer.
    pub fn call_as(
        &mut self,
        principal: &Principal,
        account: &AccountId,
        region: &Region,
        service: &str,
        operation: &str,
        input: Value,
    ) -> Result<Value, ServiceError> {
        let registry = self.registry();
        let Some(operation) = registry.find(service, operation) else {
            let refusal = ServiceError::not_simulated(format_args!("{service}:{operation}"));
            self.refusals.push(refusal.message.clone());
            return Err(refusal);
        };
        let call = Call {
            principal: principal.clone(),
            account: account.clone(),
            region: region.clone(),
            request_id: self.fresh_uuid(),
        };
        self.perform(operation, &call, &input)
    }

    /// Calls an operation as the administrator of `account`.
    ///
    /// # Errors
    /// What AWS would answer.
    pub fn call(
        &mut self,
        account: &AccountId,
        region: &Region,
        service: &str,
        operation: &str,
        input: Value,
    ) -> Result<Value, ServiceError> {
        let principal = Principal::Administrator { account: account.clone() };
        self.call_as(&principal, account, region, service, operation, input)
    }

    /// Checks the input's members and the caller's rights, then does it.
    pub(crate) fn perform(&mut self, operation: &Operation, call: &Call, input: &Value) -> Result<Value, ServiceError> {
        let outcome = self.try_perform(operation, call, input);
        if let Err(error) = &outcome
            && error.code == NOT_SIMULATED
        {
            self.refusals.push(error.message.clone());
        }
        outcome
    }

    fn try_perform(&mut self, operation: &Operation, call: &Call, input: &Value) -> Result<Value, ServiceError> {
        let members =
            input.as_object().ok_or_else(|| ServiceError::new("SerializationException", "not a structure"))?;
        if let Some(unknown) = members.keys().find(|name| !operation.members.contains(&name.as_str())) {
            return Err(ServiceError::not_simulated(format_args!(
                "the parameter {unknown} of {}:{}",
                operation.service.signing_name, operation.name
            )));
        }
        for access in (operation.authorize)(self, call, input)? {
            crate::iam::authorize_call(self, call, operation, access)?;
        }
        (operation.handle)(self, call, input)
    }

    /// The fault that the plans want for a call over the wire, which is counted.
    pub(crate) fn fault_for(&mut self, operation: &Operation, call: &Call, input: &Value) -> Option<Fault> {
        self.call_count += 1;
        if self.faults.is_empty() {
            return None;
        }
        let summary = CallSummary {
            number: self.call_count,
            at: self.now(),
            principal: call.principal.clone(),
            account: call.account.clone(),
            region: call.region.clone(),
            service: operation.service.signing_name,
            operation: operation.name,
            input: input.clone(),
        };
        self.faults.iter_mut().find_map(|plan| plan(&summary))
    }

    /// How many calls came over the wire.
    pub fn call_count(&self) -> u64 {
        self.call_count
    }

    pub(crate) fn record(
        &mut self,
        operation: &Operation,
        call: &Call,
        input: Value,
        outcome: &Result<Value, ServiceError>,
    ) {
        let record = CallRecord {
            at: self.now(),
            principal: call.principal.clone(),
            account: call.account.clone(),
            region: call.region.clone(),
            service: operation.service.signing_name,
            operation: operation.name,
            input,
            outcome: outcome.clone(),
        };
        self.record_file.write(operation.service.model, &record);
        if self.keep_calls {
            self.calls.push(record);
        }
    }

    /// Notes a refusal that was made elsewhere.
    pub(crate) fn refuse_as(&mut self, refusal: &ServiceError) {
        self.refusals.push(refusal.message.clone());
    }

    /// Notes a refusal by the simulation.
    pub(crate) fn refuse(&mut self, what: impl std::fmt::Display) -> ServiceError {
        let error = ServiceError::not_simulated(what);
        self.refusals.push(error.message.clone());
        error
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now()).field("agenda", &self.agenda).finish_non_exhaustive()
    }
}
