//! AWS Systems Manager Parameter Store.

use crate::operation::Operation;

/// The state of AWS Systems Manager Parameter Store in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}
