//! The wire protocols: from an HTTP request to an operation with JSON input, and from its outcome to an HTTP response.

mod aws_json;
mod query;
mod rest_json;

use serde_json::Value;

use crate::World;
use crate::identity::{Principal, Region};
use crate::operation::{Call, Operation, Protocol, Registry, ServiceError};

/// An HTTP request, free of any HTTP library.
#[derive(Debug, Clone)]
pub struct WireRequest {
    /// The method.
    pub method: String,
    /// The host, without port.
    pub host: String,
    /// The path, still encoded.
    pub path: String,
    /// The query string, still encoded, without `?`.
    pub query: String,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl WireRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct WireResponse {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Who signed a request, and for which region and service.
#[derive(Debug)]
struct Scope<'a> {
    access_key: &'a str,
    region: &'a str,
    service: &'a str,
}

/// Reads the scope of a SigV4 `Authorization` header. The signature itself is not verified: the SDK makes it, and what
/// we test is not the SDK.
fn scope(request: &WireRequest) -> Option<Scope<'_>> {
    let header = request.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let credential = header.split(',').find_map(|part| part.trim().strip_prefix("Credential="))?;
    let mut parts = credential.split('/');
    let (access_key, _date, region, service) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (parts.next() == Some("aws4_request")).then_some(Scope { access_key, region, service })
}

/// A request that was understood: what to call, as whom, with what.
pub(crate) struct Incoming {
    pub(crate) operation: Operation,
    pub(crate) call: Call,
    pub(crate) input: Value,
}

/// Understands a signed request.
///
/// # Errors
/// The response to send instead.
pub(crate) fn read(world: &mut World, request: &WireRequest) -> Result<Incoming, WireResponse> {
    let Some(scope) = scope(request) else {
        let refusal =
            world.refuse(format_args!("an unsigned {} request to {}{}", request.method, request.host, request.path));
        return Err(aws_json::error(&refusal, ""));
    };
    let registry = world.registry();
    let request_id = world.fresh_uuid();
    let Some(protocol) = registry.of_service(scope.service).next().map(|operation| operation.service.protocol) else {
        let refusal = world.refuse(format_args!("the service {}", scope.service));
        return Err(aws_json::error(&refusal, &request_id));
    };
    let refuse = |error: &ServiceError| failure(protocol, error, &request_id);
    let principal = world.principal_of(scope.access_key).map_err(|error| refuse(&error))?;
    let Some(region) = Region::new(scope.region) else {
        return Err(refuse(&ServiceError::new("InvalidSignatureException", "no region in the credential scope")));
    };
    let Some(account) = principal.account().cloned() else {
        return Err(refuse(&ServiceError::new("InvalidSignatureException", "a service has no credentials")));
    };
    // IAM has no region, and is signed for us-east-1 all the same.
    if scope.service != "iam" && world.is_disabled(&account, &region) {
        // Outside the regions that an account has enabled nobody knows its credentials.
        let code = match protocol {
            Protocol::Query { .. } => "InvalidClientTokenId",
            _ => "UnrecognizedClientException",
        };
        let message = "The security token included in the request is invalid.";
        return Err(refuse(&ServiceError::new(code, message).with_status(403)));
    }
    let found = match protocol {
        Protocol::AwsJson { target_prefix, .. } => aws_json::read(&registry, scope.service, target_prefix, request),
        Protocol::RestJson => rest_json::read(&registry, scope.service, request),
        Protocol::Query { .. } => query::read(&registry, scope.service, request),
    };
    match found {
        Ok((operation, input)) => {
            Ok(Incoming { operation: operation.clone(), call: Call { principal, account, region, request_id }, input })
        }
        Err(error) => {
            if error.code == crate::operation::NOT_SIMULATED {
                world.refuse_as(&error);
            }
            Err(refuse(&error))
        }
    }
}

/// Finds an operation of a service.
fn find<'a>(registry: &'a Registry, service: &str, name: &str) -> Result<&'a Operation, ServiceError> {
    registry
        .find(service, name)
        .ok_or_else(|| ServiceError::not_simulated(format_args!("the operation {service}:{name}")))
}

/// Writes the outcome of an operation.
pub(crate) fn write(operation: &Operation, outcome: &Result<Value, ServiceError>, request_id: &str) -> WireResponse {
    match (outcome, operation.service.protocol) {
        (Err(error), protocol) => failure(protocol, error, request_id),
        (Ok(output), Protocol::AwsJson { version, .. }) => aws_json::success(output, version, request_id),
        (Ok(output), Protocol::RestJson) => rest_json::success(operation, output, request_id),
        (Ok(output), Protocol::Query { namespace }) => query::success(operation.name, output, namespace, request_id),
    }
}

fn failure(protocol: Protocol, error: &ServiceError, request_id: &str) -> WireResponse {
    match protocol {
        Protocol::AwsJson { .. } => aws_json::error(error, request_id),
        Protocol::RestJson => rest_json::error(error, request_id),
        Protocol::Query { namespace } => query::error(error, namespace, request_id),
    }
}

/// The administrator of the account that an access key of 12 digits names: for servers that make accounts on demand.
pub(crate) fn account_of_key(request: &WireRequest) -> Option<Principal> {
    let account = crate::AccountId::new(scope(request)?.access_key)?;
    Some(Principal::Administrator { account })
}
