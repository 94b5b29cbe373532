//! The registry of operations: everything that the simulation can be asked over the wire.
//!
//! One row holds all that there is to know of an operation; refusal, authorization, recording and coverage lists are
//! derived from it. Handlers take and return JSON in the member names of the published service model. Timestamps in
//! outputs are written with [`epoch`] where the protocol is JSON and with [`iso`] where it is XML.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::World;
use crate::identity::{AccountId, Principal, Region};

/// A wire protocol of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `awsJson1_0` and `awsJson1_1`: POST with `X-Amz-Target: PREFIX.OPERATION`.
    AwsJson {
        /// What stands before the dot.
        target_prefix: &'static str,
        /// `1.0` or `1.1`.
        version: &'static str,
    },
    /// `restJson1`: method and URI choose the operation.
    RestJson,
    /// `query`: a form with `Action`, answered with XML.
    Query {
        /// The namespace of the answer.
        namespace: &'static str,
    },
}

/// A service and how it is spoken to.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// The name in the signature's scope, such as `ecr`.
    pub signing_name: &'static str,
    /// botocore's folder, such as `ecr` or `events`.
    pub model: &'static str,
    /// The wire protocol.
    pub protocol: Protocol,
}

/// How a `restJson1` operation is bound to HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    /// The method.
    pub method: &'static str,
    /// The path, with labels: `/schedules/{Name}`. A greedy label is `{Name+}`.
    pub path: &'static str,
    /// Query parameters: the name on the wire, the member, the kind of value.
    pub query: &'static [(&'static str, &'static str, QueryKind)],
    /// Request headers: the name on the wire and the member.
    pub headers: &'static [(&'static str, &'static str)],
    /// A member that is the whole request body, as text.
    pub payload: Option<&'static str>,
    /// An output member that is the whole response body, as text.
    pub output_payload: Option<&'static str>,
    /// The status of a successful answer.
    pub status: u16,
}

impl Http {
    /// A binding with nothing but labels and a JSON body, answered with 200.
    pub const fn new(method: &'static str, path: &'static str) -> Self {
        Self { method, path, query: &[], headers: &[], payload: None, output_payload: None, status: 200 }
    }
}

/// The kind of a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKind {
    /// Text.
    Text,
    /// A decimal number.
    Integer,
    /// May occur several times.
    List,
}

/// What a call needs to be allowed: one action on one resource.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The IAM action, such as `ecr:BatchDeleteImage`.
    pub action: String,
    /// The resource's ARN, or `*` for actions that know no resource.
    pub resource: String,
    /// Condition keys with their values, such as `aws:ResourceTag/ecr-cleanup`.
    pub context: BTreeMap<String, Vec<String>>,
    /// The account that owns the resource and the policy attached to it, if it can have one. `None` where the
    /// resource has no policy.
    pub resource_policy: Option<(AccountId, Value)>,
}

impl Access {
    /// An action on a resource, with neither conditions nor a policy of the resource.
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), ..Self::default() }
    }

    /// Adds a single-valued condition key.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.entry(key.into()).or_default().push(value.into());
        self
    }
}

/// Where and by whom an operation is called.
#[derive(Debug, Clone)]
pub struct Call {
    /// The caller.
    pub principal: Principal,
    /// The account whose resources are meant: the caller's.
    pub account: AccountId,
    /// The region that was called.
    pub region: Region,
    /// The request id of the answer.
    pub request_id: String,
}

impl Call {
    /// The ARN of a resource of this account and region.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }
}

/// The code of an operation.
pub type Handler = fn(&mut World, &Call, &Value) -> Result<Value, ServiceError>;
/// What an operation needs to be allowed. An error here (a resource that does not exist, say) is answered as it is.
pub type Authorize = fn(&World, &Call, &Value) -> Result<Vec<Access>, ServiceError>;

/// A row of the registry.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The service.
    pub service: &'static Service,
    /// The operation's name in the service model.
    pub name: &'static str,
    /// The members of the input that the handler understands. Any other is refused by name.
    pub members: &'static [&'static str],
    /// Its HTTP binding, for `restJson1`.
    pub http: Option<Http>,
    /// What it needs to be allowed.
    pub authorize: Authorize,
    /// What it does.
    pub handle: Handler,
}

/// An error as AWS answers it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// The code, such as `RepositoryNotFoundException`.
    pub code: String,
    /// The message.
    pub message: String,
    /// The HTTP status.
    pub status: u16,
    /// Further members of the error's shape.
    pub fields: Map<String, Value>,
}

impl ServiceError {
    /// An error of the caller (HTTP 400).
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), status: 400, fields: Map::new() }
    }

    /// The same with another HTTP status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// What the simulation does not implement. HTTP 501, which SDKs do not retry.
    pub fn not_simulated(what: impl std::fmt::Display) -> Self {
        Self::new(NOT_SIMULATED, format!("the simulated AWS does not implement {what}")).with_status(501)
    }

    /// IAM's refusal; `why` is the end of the message, such as `because no identity-based policy allows …`, or empty.
    pub fn access_denied(principal: &Principal, action: &str, resource: &str, why: &str) -> Self {
        let user = principal.arn();
        let message = format!("User: {user} is not authorized to perform: {action} on resource: {resource} {why}");
        Self::new("AccessDeniedException", message.trim_end())
    }
}

/// The error code of a refusal by the simulation itself.
pub const NOT_SIMULATED: &str = "NotSimulated";

/// A timestamp as JSON protocols carry it: seconds since 1970, with milliseconds as a fraction.
pub fn epoch(at: Timestamp) -> Value {
    let millis = at.as_millisecond();
    if millis % 1000 == 0 { Value::from(millis / 1000) } else { Value::from(millis as f64 / 1000.0) }
}

/// A timestamp as XML protocols carry it.
pub fn iso(at: Timestamp) -> Value {
    Value::from(at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// All operations, by service and name.
#[derive(Debug)]
pub struct Registry {
    services: BTreeMap<&'static str, BTreeMap<&'static str, Operation>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let rows = [
            crate::cloudformation::operations(),
            crate::cloudtrail::operations(),
            crate::cloudwatch::operations(),
            crate::config::operations(),
            crate::ecr::operations(),
            crate::ecs::operations(),
            crate::events::operations(),
            crate::iam::operations(),
            crate::lambda::operations(),
            crate::logs::operations(),
            crate::organizations::operations(),
            crate::scheduler::operations(),
            crate::sns::operations(),
            crate::sqs::operations(),
            crate::ssm::operations(),
            crate::sts::operations(),
        ];
        let mut services: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for row in rows.into_iter().flatten() {
            let twice = services.entry(row.service.signing_name).or_default().insert(row.name, row);
            assert!(twice.is_none(), "an operation is registered twice: {twice:?}");
        }
        Self { services }
    }

    /// The operation of that name.
    pub fn find(&self, signing_name: &str, name: &str) -> Option<&Operation> {
        self.services.get(signing_name)?.get(name)
    }

    /// All operations of a service.
    pub fn of_service(&self, signing_name: &str) -> impl Iterator<Item = &Operation> + use<'_> {
        self.services.get(signing_name).into_iter().flat_map(BTreeMap::values)
    }

    /// All operations.
    pub fn all(&self) -> impl Iterator<Item = &Operation> {
        self.services.values().flat_map(BTreeMap::values)
    }
}
