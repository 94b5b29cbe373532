//! Accounts and regions, with what every account of a well-run organization has: a trail and a Config recorder.

use std::sync::{Arc, Mutex, PoisonError};

use handler::metrics::Sink;
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulated_aws::cloudtrail::set_trail;
use simulated_aws::{AccountId, Behaviours, Region, SimulatedAws};

/// The hub's account id.
pub const ORGANIZATION_HUB: &str = "111111111111";
/// The workload accounts that there can be.
pub(crate) const ALL_WORKLOADS: [&str; 3] = ["222222222222", "333333333333", "444444444444"];
/// The regions that there can be.
pub(crate) const ALL_REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

/// An organization: one hub, some workload accounts, some regions.
#[derive(Debug, Clone)]
pub struct Organization {
    /// The world.
    pub aws: SimulatedAws,
    /// The account that holds the registries.
    pub hub: AccountId,
    /// The accounts that run services.
    pub workloads: Vec<AccountId>,
    /// The regions in use; the hub stack is in the first.
    pub regions: Vec<Region>,
    /// The lines of metrics that the functions have written, in CloudWatch's embedded metric format.
    metrics: Arc<Mutex<Vec<Value>>>,
}

impl Organization {
    /// The hub, workload accounts 222222222222 and 333333333333, and the regions eu-west-1 and us-east-1, all recorded
    /// continuously and with a trail.
    pub fn new(seed: u64) -> Self {
        Self::of_size(seed, 2, 2)
    }

    /// The same with the first `workloads` of three workload accounts, and the first `regions` of two regions.
    pub fn of_size(seed: u64, workloads: usize, regions: usize) -> Self {
        Self::behaving(seed, workloads, regions, Behaviours::default())
    }

    /// The same in an AWS that behaves so where nobody knows how it does.
    pub fn behaving(seed: u64, workloads: usize, regions: usize, behaviours: Behaviours) -> Self {
        let aws = SimulatedAws::new(seed);
        aws.world().behaviours = behaviours;
        let account = |id: &str| AccountId::new(id).expect("a constant");
        let organization = Self {
            aws,
            hub: account(ORGANIZATION_HUB),
            workloads: ALL_WORKLOADS[..workloads].iter().map(|id| account(id)).collect(),
            regions: ALL_REGIONS[..regions].iter().map(|code| Region::new(*code).expect("a constant")).collect(),
            metrics: Arc::default(),
        };
        for account in organization.accounts() {
            organization.add_account(&account);
        }
        organization
    }

    /// Makes an account that is recorded and has a trail, in every region.
    pub fn add_account(&self, account: &AccountId) {
        self.aws.world().add_account(account);
        for region in &self.regions {
            self.record(account, region);
            set_trail(&mut self.aws.world(), account, region, Some(SignedDuration::from_mins(5)));
        }
    }

    /// The hub and the workload accounts.
    pub fn accounts(&self) -> Vec<AccountId> {
        std::iter::once(&self.hub).chain(&self.workloads).cloned().collect()
    }

    /// Every account in every region.
    pub fn places(&self) -> Vec<(AccountId, Region)> {
        let pair = |account: AccountId| self.regions.iter().map(move |region| (account.clone(), region.clone()));
        self.accounts().into_iter().flat_map(pair).collect()
    }

    /// The region of the hub stack.
    pub fn home(&self) -> &Region {
        &self.regions[0]
    }

    /// Calls an operation as the administrator of `account`.
    ///
    /// # Panics
    /// If AWS refuses.
    pub fn call(&self, account: &AccountId, region: &Region, service: &str, operation: &str, input: Value) -> Value {
        self.aws.call(account, region, service, operation, input.clone()).unwrap_or_else(|error| {
            panic!("{service}:{operation} in {account}/{region} was refused: {error}\ninput: {input:#}")
        })
    }

    /// Turns on a continuous recorder of all types.
    fn record(&self, account: &AccountId, region: &Region) {
        let call = |operation, input| self.call(account, region, "config", operation, input);
        call(
            "PutConfigurationRecorder",
            json!({"ConfigurationRecorder": {
                "name": "default",
                "roleARN": format!("arn:aws:iam::{account}:role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig"),
                "recordingGroup": {"allSupported": true, "includeGlobalResourceTypes": false},
                "recordingMode": {"recordingFrequency": "CONTINUOUS"},
            }}),
        );
        call(
            "PutDeliveryChannel",
            json!({"DeliveryChannel": {"name": "default", "s3BucketName": format!("config-{account}")}}),
        );
        call("StartConfigurationRecorder", json!({"ConfigurationRecorderName": "default"}));
    }

    /// Stops the recorder; its last items stay where they are.
    pub fn stop_recording(&self, account: &AccountId, region: &Region) {
        let input = json!({"ConfigurationRecorderName": "default"});
        self.call(account, region, "config", "StopConfigurationRecorder", input);
    }

    /// Turns the recorder on again.
    pub fn start_recording(&self, account: &AccountId, region: &Region) {
        let input = json!({"ConfigurationRecorderName": "default"});
        self.call(account, region, "config", "StartConfigurationRecorder", input);
    }

    /// Where the functions write their metrics.
    pub(crate) fn metrics_sink(&self) -> Sink {
        let lines = Arc::clone(&self.metrics);
        Sink::new(move |line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line))
    }

    /// Takes the lines of metrics that the functions have written since the last time.
    pub fn take_metrics(&self) -> Vec<Value> {
        std::mem::take(&mut *self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets virtual hours pass.
    pub fn hours(&self, hours: i64) {
        self.aws.advance(SignedDuration::from_hours(hours));
    }

    /// Lets virtual minutes pass.
    pub fn minutes(&self, minutes: i64) {
        self.aws.advance(SignedDuration::from_mins(minutes));
    }
}
