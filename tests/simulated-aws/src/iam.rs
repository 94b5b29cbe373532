//! AWS IAM: the policy language, its evaluation, and what stands in for both until roles exist.
//!
//! [`evaluate`] is a pure function of a request and the policies that apply to it; it knows nothing of the rest of the
//! simulation.

mod caller;
mod condition;
mod context;
mod evaluation;
mod pattern;
mod policy;

#[cfg(test)]
mod examples;

pub use caller::Caller;
pub use context::Context;
pub use evaluation::{Decision, Policies, Request, Source, evaluate};
pub use policy::{Effect, Policy, PolicyError, PolicyKind, Statement};

use crate::World;
use crate::identity::Principal;
use crate::operation::{Access, Operation, ServiceError};

/// The state of IAM in all accounts.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}

/// Whether `principal` may do `access`.
pub(crate) fn authorize(world: &World, principal: &Principal, access: &Access) -> Result<(), ServiceError> {
    let _ = world;
    match principal {
        Principal::Administrator { .. } => Ok(()),
        _ => Err(ServiceError::access_denied(
            principal,
            &access.action,
            &access.resource,
            "no identity-based policy allows it",
        )),
    }
}
