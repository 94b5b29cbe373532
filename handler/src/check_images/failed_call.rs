//! A call to AWS that failed, as the reason why evidence is missing.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;

use super::evidence::{Because, Gap};
pub use crate::causes::failure_text;

/// What a failed call leaves unknown: `operation` on `subject` (an account, a repository) with the error's code, message
/// and request id.
pub fn failed_call<E>(gap: Gap, operation: &str, subject: &str, error: &SdkError<E, HttpResponse>) -> Because
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E, HttpResponse>: RequestId,
{
    Because::new(gap, failure_text(operation, subject, error))
}
