//! `awsJson1_0` and `awsJson1_1`.

use serde_json::{Value, json};

use super::{WireRequest, WireResponse, find};
use crate::operation::{Operation, Registry, ServiceError};

pub(super) fn read<'a>(
    registry: &'a Registry,
    service: &str,
    prefix: &str,
    request: &WireRequest,
) -> Result<(&'a Operation, Value), ServiceError> {
    let target = request.header("x-amz-target").unwrap_or_default();
    let name = target
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('.'))
        .ok_or_else(|| ServiceError::new("UnknownOperationException", format!("unknown target {target:?}")))?;
    let operation = find(registry, service, name)?;
    let body: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    let input =
        serde_json::from_slice(body).map_err(|error| ServiceError::new("SerializationException", error.to_string()))?;
    Ok((operation, input))
}

pub(super) fn success(output: &Value, version: &str, request_id: &str) -> WireResponse {
    WireResponse {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), format!("application/x-amz-json-{version}")),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
        ],
        body: output.to_string().into_bytes(),
    }
}

pub(super) fn error(error: &ServiceError, request_id: &str) -> WireResponse {
    let mut body = error.fields.clone();
    body.insert("__type".to_owned(), json!(error.code));
    body.insert("message".to_owned(), json!(error.message));
    WireResponse {
        status: error.status,
        headers: vec![
            ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
            ("x-amzn-requestid".to_owned(), request_id.to_owned()),
        ],
        body: Value::Object(body).to_string().into_bytes(),
    }
}
