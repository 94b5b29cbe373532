//! CloudFormation.

mod template;

use crate::World;
use crate::operation::Operation;
use crate::protocol::{WireRequest, WireResponse};

/// The state of CloudFormation in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {}

pub(crate) fn operations() -> Vec<Operation> {
    Vec::new()
}

/// Serves the pre-signed URLs of custom resources; `None` for any other request.
pub(crate) fn serve_unsigned(_world: &mut World, _request: &WireRequest) -> Option<WireResponse> {
    None
}
