//! Custom resources: requests to the function behind `ServiceToken`, and its answers to the `ResponseURL`.
//!
//! Every boolean and number reaches the function as a string. An answer that CloudFormation would not take fails the
//! resource with the reason; no answer within `ServiceTimeout` (an hour unless given) does too.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::stack::{self, Stack, StackResource, flatten};
use super::template::evaluation::scalar_text;
use crate::World;
use crate::operation::ServiceError;
use crate::protocol::{WireRequest, WireResponse};

/// The host of every `ResponseURL` begins with it.
const HOST: &str = "cloudformation-custom-resource-response-";
/// The largest answer, in bytes.
const MOST_BYTES: usize = 4096;

/// What a custom resource is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestType {
    Create,
    Update,
    Delete,
}

/// What a custom resource answered.
pub(crate) struct Answer {
    pub(crate) physical_id: Option<String>,
    /// The attributes, or the reason of the failure.
    pub(crate) outcome: Result<Map<String, Value>, String>,
}

impl Answer {
    pub(crate) fn failed(reason: String) -> Self {
        Self { physical_id: None, outcome: Err(reason) }
    }
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    stack_id: String,
    logical: String,
    physical_id: Option<String>,
    kind: RequestType,
    answered: bool,
}

/// Whether a resource type is a custom resource.
pub(crate) fn is_custom(kind: &str) -> bool {
    kind.starts_with("Custom::") || kind == "AWS::CloudFormation::CustomResource"
}

/// Sends a request; returns its id.
pub(super) fn send(
    world: &mut World,
    stack: &Stack,
    kind: RequestType,
    logical: &str,
    resource: &StackResource,
    old: Option<&Value>,
) -> Result<String, ServiceError> {
    let invalid = |message: &str| ServiceError::new("ValidationError", message);
    let token = resource.properties["ServiceToken"]
        .as_str()
        .ok_or_else(|| invalid("A custom resource must have a ServiceToken"))?
        .to_owned();
    if !token.starts_with("arn:aws:lambda:") {
        return Err(ServiceError::not_simulated(format_args!("the service token {token}: only Lambda functions")));
    }
    let timeout = match resource.properties.get("ServiceTimeout") {
        None => 3600,
        Some(value) => scalar_text(value)
            .and_then(|text| text.parse::<i64>().ok())
            .filter(|seconds| (1..=3600).contains(seconds))
            .ok_or_else(|| invalid("ServiceTimeout must be between 1 and 3600 seconds"))?,
    };
    let request_id = world.fresh_uuid();
    let (id, region) = (&stack.id, &stack.region);
    let path = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC);
    let url = format!(
        "https://{HOST}{}.s3.{region}.amazonaws.com/{path}%7C{logical}%7C{request_id}?X-Amz-Algorithm=AWS4-HMAC-SHA256&\
         X-Amz-Date={}&X-Amz-Expires=7200&X-Amz-SignedHeaders=host&X-Amz-Signature={:016x}%2F",
        region.as_str().replace('-', ""),
        world.now().strftime("%Y%m%dT%H%M%SZ"),
        world.fresh_number()
    );
    let physical_id = (kind != RequestType::Create).then(|| resource.made.id.clone());
    let mut event = json!({
        "RequestType": format!("{kind:?}"),
        "RequestId": request_id,
        "ResponseURL": url,
        "ResourceType": resource.kind,
        "LogicalResourceId": logical,
        "StackId": id,
        "ServiceToken": token,
        "ResourceProperties": stringified(&resource.properties),
    });
    if let Some(id) = &physical_id {
        event["PhysicalResourceId"] = json!(id);
    }
    if let Some(old) = old {
        event["OldResourceProperties"] = stringified(old);
    }
    let input = json!({"FunctionName": token, "InvocationType": "Event", "Payload": event.to_string()});
    world.call_as(&stack.actor, &stack.account, region, "lambda", "Invoke", input)?;
    world.cloudformation.sent.push(event);
    let pending = Pending { stack_id: id.clone(), logical: logical.to_owned(), physical_id, kind, answered: false };
    world.cloudformation.requests.insert(request_id.clone(), pending);
    let (id, late) = (id.clone(), request_id.clone());
    world.after(SignedDuration::from_secs(timeout), move |world| {
        let reason = format!(
            "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId \
             [{late}]."
        );
        stack::answered(world, &id, &late, Answer::failed(reason));
    });
    Ok(request_id)
}

/// The properties as custom resources receive them.
fn stringified(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(stringified).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), stringified(value))).collect())
        }
        other => scalar_text(other).map_or(Value::Null, Value::from),
    }
}

/// Whether a request goes to a `ResponseURL`.
pub(super) fn is_answer(request: &WireRequest) -> bool {
    request.host.starts_with(HOST)
}

/// Serves a PUT to a `ResponseURL`.
pub(super) fn serve(world: &mut World, request: &WireRequest) -> WireResponse {
    let respond = |status| WireResponse { status, headers: Vec::new(), body: Vec::new() };
    let request_id = request.path.rsplit("%7C").next().unwrap_or_default().to_owned();
    // The signature covers the query as it was given, and an empty content type.
    let signed = request.query.contains("X-Amz-Signature=") && request.query.ends_with("%2F");
    let empty_type = request.header("content-type").is_none_or(str::is_empty);
    let pending = world.cloudformation.requests.get_mut(&request_id);
    let (Some(pending), "PUT", true, true) = (pending, request.method.as_str(), signed, empty_type) else {
        return respond(403);
    };
    world.cloudformation.answers.push(serde_json::from_slice(&request.body).unwrap_or(Value::Null));
    // S3 keeps the last object, but CloudFormation has read the first.
    if !std::mem::replace(&mut pending.answered, true) {
        let (stack_id, answer) = (pending.stack_id.clone(), read(pending, &request_id, &request.body));
        world.after(SignedDuration::from_secs(1), move |world| stack::answered(world, &stack_id, &request_id, answer));
    }
    respond(200)
}

/// Reads an answer as CloudFormation does.
fn read(pending: &Pending, request_id: &str, body: &[u8]) -> Answer {
    if body.len() > MOST_BYTES {
        return Answer::failed("Response object is too long.".to_owned());
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Answer::failed("Invalid response: not a JSON object".to_owned());
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    for (name, expected) in [
        ("StackId", pending.stack_id.as_str()),
        ("RequestId", request_id),
        ("LogicalResourceId", pending.logical.as_str()),
    ] {
        if text(name) != Some(expected) {
            return Answer::failed(format!("Invalid response: {name} is not {expected}"));
        }
    }
    const MEMBERS: [&str; 8] =
        ["Status", "Reason", "PhysicalResourceId", "StackId", "RequestId", "LogicalResourceId", "NoEcho", "Data"];
    if let Some(unknown) = body.as_object().and_then(|body| body.keys().find(|name| !MEMBERS.contains(&name.as_str())))
    {
        return Answer::failed(format!("Invalid response: unknown member {unknown}"));
    }
    let physical_id = match text("PhysicalResourceId") {
        Some(id) if id.is_empty() || id.len() > 1024 => {
            return Answer::failed("Invalid PhysicalResourceId".to_owned());
        }
        id => id.map(str::to_owned),
    };
    let outcome = match (text("Status"), text("Reason"), &physical_id) {
        (Some("SUCCESS"), _, None) => Err("Invalid PhysicalResourceId".to_owned()),
        (Some("SUCCESS"), _, Some(id))
            if pending.kind == RequestType::Delete && pending.physical_id.as_deref() != Some(id) =>
        {
            Err("Invalid PhysicalResourceId: it changed while the resource was deleted".to_owned())
        }
        (Some("SUCCESS"), ..) => Ok(flatten(body.get("Data").unwrap_or(&Value::Null))),
        (Some("FAILED"), Some(reason), _) if !reason.is_empty() => {
            Err(format!("Received response status [FAILED] from custom resource. Message returned: {reason}"))
        }
        (Some("FAILED"), ..) => Err("Invalid response: FAILED without a Reason".to_owned()),
        _ => Err("Invalid response: Status must be SUCCESS or FAILED".to_owned()),
    };
    Answer { physical_id, outcome }
}
