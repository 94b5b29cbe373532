//! Amazon EventBridge.

pub mod pattern;
pub mod transformer;

use crate::operation::Operation;

/// The state of Amazon EventBridge in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}
