//! Requests of CloudFormation.
//!
//! Read by hand from JSON rather than into one typed structure: a property that does not parse must not cost the
//! `ResponseURL`, to which every problem is reported.

use jiff::SignedDuration;
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
        })
    }

    /// The name in the stack's ARN, `arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/NAME/UUID`.
    pub fn stack_name(&self) -> &str {
        self.stack_id.split('/').nth(1).unwrap_or_default()
    }
}

/// How long CloudFormation waits for the answer, if the properties say so.
pub(super) fn service_timeout(payload: &Value) -> Option<SignedDuration> {
    let timeout = payload.get("ResourceProperties")?.get("ServiceTimeout")?;
    let seconds = timeout.as_i64().or_else(|| timeout.as_str()?.parse().ok())?;
    (1..=3600).contains(&seconds).then(|| SignedDuration::from_secs(seconds))
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
        for (value, seconds) in
            [(json!("600"), Some(600)), (json!(60), Some(60)), (json!("0"), None), (json!("x"), None)]
        {
            let mut payload = request();
            payload["ResourceProperties"]["ServiceTimeout"] = value;
            assert_eq!(service_timeout(&payload), seconds.map(SignedDuration::from_secs));
        }
    }
}
