//! Requests of CloudFormation.
//!
//! Read by hand from JSON rather than into one typed structure: a property that does not parse must not cost the
//! `ResponseURL`, to which every problem is reported.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// What CloudFormation wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestType {
    /// Make the resource.
    Create,
    /// Change it.
    Update,
    /// Remove it.
    Delete,
}

/// A request (CloudFormation user guide, Custom resource request objects).
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is wanted.
    pub kind: RequestType,
    /// Unique to the request, the same for each delivery of it.
    pub request_id: String,
    /// Where the answer goes: a pre-signed URL.
    pub response_url: String,
    /// The stack's ARN.
    pub stack_id: String,
    /// The resource's name in the template.
    pub logical_id: String,
    /// The id we answered before; CloudFormation makes one up for a Delete after a Create that never answered.
    pub physical_id: Option<String>,
    /// The properties, unparsed.
    pub properties: Value,
    /// Those before an update, unparsed.
    pub old_properties: Option<Value>,
}

/// Why a payload is not a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Something is missing or not text.
    #[error("the request has no {0}")]
    Missing(&'static str),
    /// The type is none of the three.
    #[error("the request type {0:?} is unknown")]
    Type(String),
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// When something is missing without which it can be neither fulfilled nor answered.
    pub fn read(payload: &Value) -> Result<Self, RequestError> {
        let text = |name: &'static str| {
            payload.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(RequestError::Missing(name))
        };
        Ok(Self {
            response_url: text("ResponseURL")?,
            kind: match text("RequestType")?.as_str() {
                "Create" => RequestType::Create,
                "Update" => RequestType::Update,
                "Delete" => RequestType::Delete,
                other => return Err(RequestError::Type(other.to_owned())),
            },
            request_id: text("RequestId")?,
            stack_id: text("StackId")?,
            logical_id: text("LogicalResourceId")?,
            physical_id: text("PhysicalResourceId").ok(),
            properties: payload.get("ResourceProperties").cloned().unwrap_or_else(|| Value::Object(Default::default())),
            old_properties: payload.get("OldResourceProperties").cloned(),
        })
    }

    /// The name in the stack's ARN, `arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/NAME/UUID`.
    pub fn stack_name(&self) -> &str {
        self.stack_id.split('/').nth(1).unwrap_or_default()
    }
}

/// How long CloudFormation waits unless `ServiceTimeout` says otherwise (CloudFormation user guide, custom resources).
const DEFAULT_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);
/// The longest that is kept for the answer itself.
const LONGEST_RESERVE: SignedDuration = SignedDuration::from_mins(5);

/// How long CloudFormation waits for the answer to a payload.
pub(super) fn timeout(payload: &Value) -> SignedDuration {
    let given = payload.get("ResourceProperties").and_then(|properties| properties.get("ServiceTimeout"));
    let seconds = given.and_then(|timeout| timeout.as_i64().or_else(|| timeout.as_str()?.parse().ok()));
    seconds.filter(|seconds| (1..=3600).contains(seconds)).map_or(DEFAULT_TIMEOUT, SignedDuration::from_secs)
}

/// How much of that is kept for the answer: five minutes, and of a short wait a fifth.
pub(super) fn reserve(payload: &Value) -> SignedDuration {
    LONGEST_RESERVE.min(timeout(payload) / 5)
}

/// When CloudFormation sent a payload, as the signature of its response URL tells. A delivery may come minutes later, after
/// one that failed.
pub(super) fn sent_at(payload: &Value) -> Option<Timestamp> {
    let (_, query) = payload.get("ResponseURL")?.as_str()?.split_once('?')?;
    let date = query.split('&').find_map(|parameter| parameter.strip_prefix("X-Amz-Date="))?;
    let sent = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", date).and_then(|parsed| parsed.to_datetime()).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(sent).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request() -> Value {
        json!({
            "RequestType": "Create", "RequestId": "r", "ResponseURL": "https://example.com/?a=b%20c",
            "StackId": "arn:aws:cloudformation:eu-west-1:111111111111:stack/hub/1", "LogicalResourceId": "Cleanup",
            "ResourceType": "Custom::EcrCleanup", "ResourceProperties": {"ServiceTimeout": "600"},
        })
    }

    #[test]
    fn a_request_is_read_without_looking_at_its_properties() {
        let mut payload = request();
        payload["ResourceProperties"] = json!("nonsense");
        let request = Request::read(&payload).unwrap();
        assert_eq!(request.kind, RequestType::Create);
        assert_eq!(request.stack_name(), "hub");
        assert_eq!(request.physical_id, None);
    }

    #[test]
    fn a_payload_that_cannot_be_answered_is_refused_with_what_is_missing() {
        for name in ["ResponseURL", "RequestType", "RequestId", "StackId", "LogicalResourceId"] {
            let mut payload = request();
            payload.as_object_mut().unwrap().remove(name);
            assert_eq!(Request::read(&payload), Err(RequestError::Missing(name)));
        }
        let mut payload = request();
        payload["RequestType"] = json!("Import");
        assert_eq!(Request::read(&payload), Err(RequestError::Type("Import".to_owned())));
    }

    #[test]
    fn the_service_timeout_is_read_as_number_or_text_within_its_range() {
        for (value, seconds) in [(json!("600"), 600), (json!(60), 60), (json!("0"), 3600), (json!("x"), 3600)] {
            let mut payload = request();
            payload["ResourceProperties"]["ServiceTimeout"] = value;
            assert_eq!(timeout(&payload), SignedDuration::from_secs(seconds));
        }
    }

    #[test]
    fn time_is_kept_for_the_answer_and_less_of_a_short_wait() {
        for (timeout, kept) in [(3600, 300), (1500, 300), (600, 120), (60, 12)] {
            let mut payload = request();
            payload["ResourceProperties"]["ServiceTimeout"] = json!(timeout);
            assert_eq!(reserve(&payload), SignedDuration::from_secs(kept));
        }
    }

    #[test]
    fn the_response_url_tells_when_the_request_was_sent() {
        let at = |url: &str| sent_at(&json!({"ResponseURL": url})).map(|at| at.to_string());
        let signed =
            "https://example.com/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260302T090807Z&X-Amz-Expires=7200";
        assert_eq!(at(signed).as_deref(), Some("2026-03-02T09:08:07Z"));
        for other in ["https://example.com/x", "https://example.com/x?Expires=1", "https://x/?X-Amz-Date=today", ""] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
