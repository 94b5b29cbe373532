//! Answers to CloudFormation: at most 4,096 bytes, PUT to a pre-signed URL with an empty content type.

use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use provider_schema::Attributes;
use serde::Serialize;

use super::desired::Identity;
use super::request::Request;

/// CloudFormation's limit for the whole body, in bytes.
const LARGEST_BODY: usize = 4096;
/// How often the PUT is tried.
const TRIES: u32 = 5;

/// Whether the request was fulfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It was.
    Success,
    /// It was not; the reason says why.
    Failed,
}

/// An answer (CloudFormation user guide, Custom resource response objects).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    /// Whether the request was fulfilled.
    pub status: Status,
    /// Why not. Empty on success.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The resource's id. Another one than before means replacement.
    #[serde(rename = "PhysicalResourceId")]
    pub physical_id: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Attributes>,
}

impl Answer {
    fn new(request: &Request, status: Status, physical_id: String) -> Self {
        Self {
            status,
            reason: String::new(),
            physical_id,
            stack_id: request.stack_id.clone(),
            request_id: request.request_id.clone(),
            logical_resource_id: request.logical_id.clone(),
            data: None,
        }
    }

    /// Create or Update is done.
    pub fn succeeded(request: &Request, physical_id: String, attributes: Attributes) -> Self {
        Self { data: Some(attributes), ..Self::new(request, Status::Success, physical_id) }
    }

    /// Delete is done.
    pub fn deleted(request: &Request) -> Self {
        Self::new(request, Status::Success, Identity::of_answer(request))
    }

    /// The request failed. A reason that would not fit is cut, and says so.
    pub fn failed(request: &Request, physical_id: String, reason: &str) -> Self {
        let mut answer = Self::new(request, Status::Failed, physical_id);
        let spare = LARGEST_BODY.saturating_sub(answer.to_json().len() + r#""Reason":"","#.len());
        answer.reason = cut(reason, spare);
        answer
    }

    /// The body.
    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text and enums always serialize")
    }
}

/// The longest start of `text` that takes at most `bytes` as a JSON string, marked if anything is missing.
fn cut(text: &str, bytes: usize) -> String {
    const MARK: &str = " … (cut; the function's log has the whole)";
    let written = |text: &str| serde_json::Value::from(text).to_string().len() - 2;
    if written(text) <= bytes {
        return text.to_owned();
    }
    let mut left = bytes.saturating_sub(MARK.len());
    let start: String = text
        .chars()
        .take_while(|character| {
            let size = written(character.encode_utf8(&mut [0; 4]));
            left.checked_sub(size).map(|rest| left = rest).is_some()
        })
        .collect();
    start + MARK
}

/// Why an answer was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The URL is not one.
    #[error("the response URL cannot be used: {0}")]
    Url(String),
    /// Nobody took it, or with an error.
    #[error("CloudFormation did not take the answer after {TRIES} tries: {0}")]
    Refused(String),
}

/// Delivers an answer, again after network errors and 5xx.
///
/// # Errors
/// When it was not taken.
pub(super) async fn put(
    connector: &SharedHttpConnector,
    sleep: &SharedAsyncSleep,
    url: &str,
    answer: &Answer,
) -> Result<(), PutError> {
    let body = answer.to_json();
    let mut failure = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep.sleep(Duration::from_secs(1 << attempt)).await;
        }
        let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
        request.set_method("PUT").map_err(|error| PutError::Url(error.to_string()))?;
        request.set_uri(url).map_err(|error| PutError::Url(error.to_string()))?;
        // S3 signed the URL for an empty content type.
        request.headers_mut().insert("content-type", "");
        request.headers_mut().insert("content-length", body.len().to_string());
        match connector.call(request).await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) if response.status().is_server_error() => failure = response.status().as_u16().to_string(),
            Ok(response) => return Err(PutError::Refused(format!("HTTP {}", response.status().as_u16()))),
            Err(error) => failure = format!("{error:?}"),
        }
    }
    Err(PutError::Refused(failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::request::RequestType;

    fn request() -> Request {
        Request {
            kind: RequestType::Create,
            request_id: "r".repeat(36),
            response_url: "https://example.com".to_owned(),
            stack_id: format!("arn:aws:cloudformation:eu-west-1:111111111111:stack/{}/x", "s".repeat(128)),
            logical_id: "l".repeat(255),
            physical_id: None,
            properties: serde_json::Value::Null,
            old_properties: None,
        }
    }

    #[test]
    fn a_failed_answer_fits_whatever_the_reason() {
        for reason in ["short".to_owned(), "\"\n\u{1}".repeat(4000), "ä€😀".repeat(4000)] {
            let answer = Answer::failed(&request(), "p".repeat(1024), &reason);
            assert!(answer.to_json().len() <= LARGEST_BODY, "{} bytes", answer.to_json().len());
            assert!(answer.reason == reason || answer.reason.ends_with("(cut; the function's log has the whole)"));
        }
    }

    #[test]
    fn a_short_reason_is_not_cut() {
        assert_eq!(Answer::failed(&request(), "p".to_owned(), "no such account").reason, "no such account");
    }
}
