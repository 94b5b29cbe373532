//! Errors as a log line shows them: with everything that led to them.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

/// An error and all its sources, joined by `: `.
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// A call to AWS that failed: `operation` on `subject` (an account, a repository) with the error's code, message and request
/// id.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the batch failed")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_is_shown_with_its_sources() {
        let error = Outer("x".parse::<u8>().unwrap_err());
        assert_eq!(Causes(&error).to_string(), "the batch failed: invalid digit found in string");
    }
}
