//! Amazon ECS.

use crate::operation::Operation;

/// The state of Amazon ECS in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}
