//! Faults: what goes wrong between a caller and AWS.

use jiff::Timestamp;
use serde_json::Value;

use crate::World;
use crate::identity::{AccountId, Principal, Region};
use crate::operation::ServiceError;

/// What a fault plan sees of a call before it is served.
#[derive(Debug, Clone)]
pub struct CallSummary {
    /// How many calls came before it, in the whole world.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The caller.
    pub principal: Principal,
    /// The account called.
    pub account: AccountId,
    /// The region called.
    pub region: Region,
    /// The service's signing name.
    pub service: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// The input.
    pub input: Value,
}

/// What happens to one call.
pub enum Fault {
    /// Refused as throttled, without effect.
    Throttle,
    /// HTTP 500 or 503, without effect.
    ServerError,
    /// No answer, without effect: the client sees a timeout.
    Timeout,
    /// The call takes effect, its answer is lost: the client sees a timeout.
    LostAnswer,
    /// No answer, without effect, and no end: the client waits until it gives up itself.
    Hang,
    /// Another error in the call's place.
    Refuse(ServiceError),
    /// The calling function dies before the call takes effect.
    CrashBefore,
    /// The calling function dies after the call took effect, before it sees the answer.
    CrashAfter,
    /// Something else happens first, then the call is served.
    Meanwhile(Box<dyn FnOnce(&mut World) + Send>),
    /// The call is served and its answer altered on the way.
    Alter(Box<dyn FnOnce(&mut Value) + Send>),
}

/// Looks at each call and may make it fail. Plans are asked in the order in which they were added; the first fault counts.
pub(crate) type FaultPlan = Box<dyn FnMut(&CallSummary) -> Option<Fault> + Send>;
