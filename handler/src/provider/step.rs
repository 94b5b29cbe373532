//! How one look at a component ends.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;

/// How far a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is as wanted.
    Done,
    /// A step was applied; look again.
    Stepped,
    /// AWS is at work on what is named; look again later.
    Waiting(String),
}

/// Why a component cannot be brought where it should be.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A call to AWS failed.
    #[error("{call} of {thing} failed: {message}")]
    Call {
        /// The operation, as `service:Operation`.
        call: &'static str,
        /// What it was about.
        thing: String,
        /// AWS's code and message.
        message: String,
        /// Whether the same call may succeed a little later.
        passing: bool,
    },
    /// A part of that name exists and is not ours.
    #[error("{thing} exists and does not belong to this EcrCleanup (its tag {tag} is {found}); it was left alone")]
    Foreign {
        /// The part.
        thing: String,
        /// The ownership tag's key.
        tag: &'static str,
        /// The tag's value there, or `missing`.
        found: String,
    },
    /// A stack set operation ended, and these instances are not as they should be.
    #[error(
        "{action} failed in {} of the stack set {set}'s accounts and regions: {}{advice}",
        failures.len(),
        first_of(failures)
    )]
    Instances {
        /// What was attempted.
        action: &'static str,
        /// The set.
        set: String,
        /// Account, region and AWS's reason of each.
        failures: Vec<String>,
        /// What to do about it, if anything: a phrase that begins with its own punctuation.
        advice: &'static str,
    },
    /// The account lacks what must be there before anything is made.
    #[error("{}", .0.join("; "))]
    Prerequisites(Vec<String>),
    /// What is asked for does not fit into AWS's limits.
    #[error("{0}")]
    Limit(String),
    /// AWS answered without something that it always sends.
    #[error("{call} answered without {what}")]
    Answer {
        /// The operation.
        call: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

impl StepError {
    /// Whether it may be gone by itself a little later: a network error, a throttled call, an error of AWS's own.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Call { passing: true, .. })
    }
}

/// The first five, and how many more.
pub(super) fn first_of(failures: &[String]) -> String {
    let shown = failures.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    match failures.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// Makes an error of a failed call, for `map_err`.
pub(super) fn failed<E>(call: &'static str, thing: &str) -> impl FnOnce(SdkError<E, HttpResponse>) -> StepError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let thing = thing.to_owned();
    move |error| {
        let message = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            _ => DisplayErrorContext(&error).to_string(),
        };
        let request = error.meta().request_id().unwrap_or("none");
        tracing::warn!(
            outcome = "call failed",
            reason = format!("{call} of {thing}: {message} (request id {request})")
        );
        StepError::Call { call, thing, message, passing: is_passing(&error) }
    }
}

/// Codes of refusals that have nothing to do with what was asked (SDKs retry them too, for some seconds), and of changes
/// that got in each other's way.
const PASSING: [&str; 5] = ["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "ConcurrentModification"];

fn is_passing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        // 501 says that there is no such thing, not that it is broken.
        SdkError::ServiceError(refusal) if refusal.raw().status().is_server_error() => {
            refusal.raw().status().as_u16() != 501
        }
        _ => error.code().is_some_and(|code| PASSING.iter().any(|part| code.contains(part))),
    }
}

/// Checks an ownership tag.
pub(super) fn owned(found: Option<&str>, owner: &str, thing: &str) -> Result<(), StepError> {
    match found {
        Some(found) if found == owner => Ok(()),
        other => Err(StepError::Foreign {
            thing: thing.to_owned(),
            tag: super::desired::OWNER_TAG,
            found: other.unwrap_or("missing").to_owned(),
        }),
    }
}
