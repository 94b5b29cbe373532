//! AWS IAM: roles, the policy language and its evaluation.
//!
//! [`evaluate`] is a pure function of a request and the policies that apply to it; it knows nothing of the rest of the
//! simulation. [`authorize`] gathers both for a call. Users, groups, instance profiles and customer managed policies are
//! outside; service-linked roles exist as soon as a service acts through them.

mod api;
mod authorization;
mod caller;
mod condition;
mod context;
mod evaluation;
mod managed;
mod pattern;
mod policy;
mod role;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod tests;

pub(crate) use api::operations;
pub(crate) use authorization::authorize_call;
pub use authorization::{assume_for_service, authorize, authorize_pass_role, decide, unsupported_key};
pub use caller::Caller;
pub use context::Context;
pub use evaluation::{Decision, Policies, Request, Source, evaluate};
pub use policy::{Effect, Policy, PolicyError, PolicyKind, Statement};
pub(crate) use role::{State, parse_role_arn};
