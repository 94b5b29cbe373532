//! AWS IAM.

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
