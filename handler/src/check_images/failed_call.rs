//! A call to AWS that failed, as the reason why evidence is missing.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use super::evidence::{Because, Gap};
use crate::causes::Causes;

/// What a failed call leaves unknown: `operation` on `subject` (an account, a repository) with the error's code, message
/// and request id.
pub fn failed_call<E>(gap: Gap, operation: &str, subject: &str, error: &SdkError<E, HttpResponse>) -> Because
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    Because::new(gap, failure_text(operation, subject, error))
}

/// The same as text.
pub fn failure_text<E>(operation: &str, subject: &str, error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    let service_error = error.as_service_error();
    let code = service_error.and_then(ProvideErrorMetadata::code).unwrap_or(match error {
        SdkError::TimeoutError(_) => "timeout",
        SdkError::DispatchFailure(_) => "not sent",
        SdkError::ResponseError(_) => "unreadable answer",
        SdkError::ConstructionFailure(_) => "invalid request",
        _ => "unknown error",
    });
    let message = match service_error {
        Some(error) => error.message().unwrap_or("no message").to_owned(),
        // Why a call was not answered (a role that cannot be assumed, say) is told by the error's sources.
        None => Causes(error).to_string(),
    };
    let request = error.request_id().unwrap_or("none");
    format!("{operation} for {subject} failed with {code}: {message} (request id {request})")
}
