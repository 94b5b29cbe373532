//! EventBridge Scheduler.

pub mod expression;

use crate::operation::Operation;

/// The state of EventBridge Scheduler in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}
