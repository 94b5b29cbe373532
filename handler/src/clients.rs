//! The SDK clients, built from one configuration and kept for as long as the process lives.
//!
//! Promises: nothing is built before it is used, least of all the HTTP connector, which reads the system's root
//! certificates; everything below the clients (HTTP, time, credentials) is what the configuration says, so that tests
//! reach it; and a client for a workload account never has any credentials but those of the role it is for.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

use crate::account::AccountId;
use crate::clock::Clock;
use crate::region::Region;

/// Every client that the functions use.
#[derive(Debug)]
pub struct Clients {
    base: SdkConfig,
    ecr: Mutex<BTreeMap<Region, aws_sdk_ecr::Client>>,
    config: OnceLock<aws_sdk_config::Client>,
    scheduler: OnceLock<aws_sdk_scheduler::Client>,
    eventbridge: OnceLock<aws_sdk_eventbridge::Client>,
    organizations: OnceLock<aws_sdk_organizations::Client>,
    cloudformation: OnceLock<aws_sdk_cloudformation::Client>,
    workloads: Mutex<BTreeMap<(String, Region), WorkloadClients>>,
}

/// The clients that ask one workload account in one region, as the evidence role there.
#[derive(Debug, Clone)]
pub struct WorkloadClients {
    /// What its recorder does.
    pub config: aws_sdk_config::Client,
    /// What its services run.
    pub ecs: aws_sdk_ecs::Client,
}

impl Clients {
    /// Clients from `base`, whose region is the hub's.
    pub fn new(base: SdkConfig) -> Self {
        Self {
            base,
            ecr: Mutex::default(),
            config: OnceLock::new(),
            scheduler: OnceLock::new(),
            eventbridge: OnceLock::new(),
            organizations: OnceLock::new(),
            cloudformation: OnceLock::new(),
            workloads: Mutex::default(),
        }
    }

    /// Clients as a Lambda function has them: region and credentials from its environment, and an HTTP connector that is
    /// built when it is first used.
    pub async fn from_environment() -> Self {
        // An attempt that hangs is given up early enough for the SDK's own retries to fit the function's time.
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(20)).build();
        let base = aws_config::defaults(BehaviorVersion::latest())
            .http_client(LazyHttpClient::default())
            .timeout_config(timeouts)
            .load()
            .await;
        Self::new(base)
    }

    /// The clock that the clients sign with.
    pub fn clock(&self) -> Clock {
        Clock::new(self.base.time_source().unwrap_or_else(|| SharedTimeSource::new(SystemTimeSource::new())))
    }

    /// The configuration that all clients are built from.
    pub fn base(&self) -> &SdkConfig {
        &self.base
    }

    /// ECR in one of the hub's regions.
    pub fn ecr(&self, region: &Region) -> aws_sdk_ecr::Client {
        let mut clients = self.ecr.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(region.clone()).or_insert_with(|| aws_sdk_ecr::Client::new(&self.in_region(region))).clone()
    }

    /// STS in a region.
    pub fn sts(&self, region: &Region) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.in_region(region))
    }

    /// Config in the hub's region, where the aggregator is.
    pub fn config(&self) -> &aws_sdk_config::Client {
        self.config.get_or_init(|| aws_sdk_config::Client::new(&self.base))
    }

    /// EventBridge Scheduler in the hub's region.
    pub fn scheduler(&self) -> &aws_sdk_scheduler::Client {
        self.scheduler.get_or_init(|| aws_sdk_scheduler::Client::new(&self.base))
    }

    /// EventBridge in the hub's region.
    pub fn eventbridge(&self) -> &aws_sdk_eventbridge::Client {
        self.eventbridge.get_or_init(|| aws_sdk_eventbridge::Client::new(&self.base))
    }

    /// Organizations.
    pub fn organizations(&self) -> &aws_sdk_organizations::Client {
        self.organizations.get_or_init(|| aws_sdk_organizations::Client::new(&self.base))
    }

    /// IAM, which has no region.
    pub fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.base)
    }

    /// CloudFormation in the hub's region.
    pub fn cloudformation(&self) -> &aws_sdk_cloudformation::Client {
        self.cloudformation.get_or_init(|| aws_sdk_cloudformation::Client::new(&self.base))
    }

    /// The clients for `account` in `region`, which act as its role `role` (a name, such as
    /// [`crate::names::Names::evidence_role`]). The role is assumed when a call needs it; a role that cannot be assumed
    /// fails that call.
    pub async fn workload(&self, account: &AccountId, role: &str, region: &Region) -> WorkloadClients {
        let arn = format!("arn:{}:iam::{account}:role/{role}", region.partition());
        let key = (arn, region.clone());
        if let Some(clients) = self.workloads.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return clients.clone();
        }
        let provider =
            AssumeRoleProvider::builder(&key.0).session_name("ecr-cleanup").configure(&self.base).build().await;
        let config = self.in_region(region).into_builder();
        let config = config.credentials_provider(SharedCredentialsProvider::new(provider)).build();
        let clients =
            WorkloadClients { config: aws_sdk_config::Client::new(&config), ecs: aws_sdk_ecs::Client::new(&config) };
        self.workloads.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(clients).clone()
    }

    fn in_region(&self, region: &Region) -> SdkConfig {
        self.base.clone().into_builder().region(aws_types::region::Region::new(region.to_string())).build()
    }
}

/// A connector for requests that go to no AWS API, such as the answers to CloudFormation. It reads the system's root
/// certificates.
pub fn https_connector() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(20))
        .build();
    SharedHttpConnector::new(
        aws_smithy_http_client::Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .connector_settings(settings)
            .sleep_impl(TokioSleep::new())
            .build(),
    )
}

/// An HTTP client that is built on its first request: reading the system's root certificates takes longer than all else
/// that a function does before it is ready.
#[derive(Debug, Default)]
struct LazyHttpClient(OnceLock<SharedHttpClient>);

impl HttpClient for LazyHttpClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let build =
            || aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        self.0.get_or_init(build).http_connector(settings, components)
    }
}
