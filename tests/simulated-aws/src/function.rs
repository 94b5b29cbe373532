//! Function code: what runs when the simulation invokes a Lambda function.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_types::SdkConfig;
use jiff::Timestamp;
use serde_json::Value;

use crate::World;
use crate::identity::{AccountId, Principal, Region};

/// What the code of a function is given.
#[derive(Debug, Clone)]
pub struct FunctionContext {
    /// The function's ARN.
    pub arn: String,
    /// The request id; the same for each attempt of one asynchronous event.
    pub request_id: String,
    /// When the function times out.
    pub deadline: Timestamp,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// An SDK configuration with the credentials of its role, its region, the simulation's HTTP client and clock.
    pub sdk: SdkConfig,
    /// What carries requests that no SDK client makes, such as answers to CloudFormation.
    pub connector: SharedHttpConnector,
}

/// The answer of the code: a payload, or the message of an unhandled error.
pub type FunctionFuture = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// The code of a function, registered under the function's `Handler` property.
#[derive(Clone)]
pub struct Function(Arc<dyn Fn(FunctionContext, Value) -> FunctionFuture + Send + Sync>);

impl Function {
    /// Code as an asynchronous function of context and payload.
    pub fn new<F, Fut>(code: F) -> Self
    where
        F: Fn(FunctionContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, String>> + Send + 'static,
    {
        Self(Arc::new(move |context, payload| Box::pin(code(context, payload))))
    }

    pub(crate) fn start(&self, context: FunctionContext, payload: Value) -> FunctionFuture {
        (self.0)(context, payload)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

/// How an invocation ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// The code returned an error.
    #[error("unhandled error: {0}")]
    Unhandled(String),
    /// The code died at a fault.
    #[error("the function crashed")]
    Crashed,
    /// The code ran past its deadline.
    #[error("the function timed out")]
    TimedOut,
    /// Nothing is registered under the handler's name.
    #[error("no code is registered for the handler {0:?}")]
    NoCode(String),
}

/// What follows in the world from the end of a run.
pub type Done = Box<dyn FnOnce(&mut World, Result<Value, InvocationError>) + Send>;

/// A run of a function that is due. The Lambda service makes it; the driver runs it.
pub struct Invocation {
    /// The `Handler` property, under which the code is registered.
    pub handler: String,
    /// The function's ARN.
    pub arn: String,
    /// The request id.
    pub request_id: String,
    /// Whose permissions the code has.
    pub principal: Principal,
    /// The function's account.
    pub account: AccountId,
    /// The function's region.
    pub region: Region,
    /// How long it may run.
    pub timeout: jiff::SignedDuration,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// The event.
    pub payload: Value,
    /// What follows from its end.
    pub done: Done,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation").field("arn", &self.arn).field("request_id", &self.request_id).finish()
    }
}
