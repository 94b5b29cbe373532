//! AWS Lambda: functions, asynchronous invocation and event source mappings.
//!
//! The code of a function is what [`World::register_function`] registered under its `Handler`. An asynchronous invocation
//! that fails is repeated after one and two minutes, then goes to the destination on failure (Lambda Developer Guide,
//! "How Lambda handles errors and retries with asynchronous invocation"). Synchronous invocation, images, layers, versions
//! and aliases are refused by name.

pub(crate) mod event_source_mapping;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::World;
use crate::function::{Invocation, InvocationError};
use crate::identity::{AccountId, Principal, Region};
use crate::members::{arn_parts, integer, only, tag_map, text, texts};
use crate::operation::{Access, Call, Http, Operation, Protocol, QueryKind, Service, ServiceError, epoch};
use crate::paging;
use crate::service_role;

pub(crate) use event_source_mapping::messages_at;

static SERVICE: Service = Service { signing_name: "lambda", model: "lambda", protocol: Protocol::RestJson };

/// The largest payload of an asynchronous invocation: 1 MiB.
const MAX_PAYLOAD: usize = 1_048_576;

/// The state of AWS Lambda in all accounts and regions.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By ARN.
    functions: BTreeMap<String, FunctionState>,
    mappings: BTreeMap<String, event_source_mapping::Mapping>,
}

#[derive(Debug, Clone)]
struct FunctionState {
    /// The members of `CreateFunction` that `GetFunction` answers too.
    configuration: serde_json::Map<String, Value>,
    tags: BTreeMap<String, String>,
    statements: Vec<Value>,
    on_failure: AsynchronousInvocation,
    modified: Timestamp,
}

/// `PutFunctionEventInvokeConfig`.
#[derive(Debug, Clone)]
struct AsynchronousInvocation {
    retries: u32,
    max_age: SignedDuration,
    destination: Option<String>,
    put: Option<Timestamp>,
}

impl Default for AsynchronousInvocation {
    fn default() -> Self {
        Self { retries: 2, max_age: SignedDuration::from_hours(6), destination: None, put: None }
    }
}

impl FunctionState {
    fn get(&self, member: &str) -> Option<&str> {
        self.configuration.get(member).and_then(Value::as_str)
    }

    /// `null` while nothing was permitted.
    fn policy(&self) -> Value {
        if self.statements.is_empty() {
            return Value::Null;
        }
        json!({"Version": "2012-10-17", "Id": "default", "Statement": self.statements})
    }

    fn role(&self) -> &str {
        self.get("Role").unwrap_or_default()
    }

    fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(self.configuration.get("Timeout").and_then(Value::as_i64).unwrap_or(3))
    }

    fn describe(&self, arn: &str) -> Value {
        let mut output = self.configuration.clone();
        let modified = self.modified.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string();
        output.extend([
            ("FunctionArn".to_owned(), json!(arn)),
            ("LastModified".to_owned(), json!(modified)),
            ("Version".to_owned(), json!("$LATEST")),
            ("State".to_owned(), json!("Active")),
            ("LastUpdateStatus".to_owned(), json!("Successful")),
        ]);
        Value::Object(output)
    }
}

fn not_found(arn: &str) -> ServiceError {
    ServiceError::new("ResourceNotFoundException", format!("Function not found: {arn}")).with_status(404)
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidParameterValueException", message)
}

/// The principal that a function runs as.
fn role_of(function: &FunctionState) -> Result<Principal, ServiceError> {
    service_role::session(function.role(), function.get("FunctionName").unwrap_or_default())
}

/// What a principal needs to invoke a function.
///
/// # Errors
/// If there is no such function.
pub(crate) fn access(world: &World, action: &str, arn: &str) -> Result<Access, ServiceError> {
    let function = world.lambda.functions.get(arn).ok_or_else(|| not_found(arn))?;
    let owner = arn_parts(arn).and_then(|(_, _, account, _)| AccountId::new(account)).ok_or_else(|| not_found(arn))?;
    let mut access = crate::members::with_resource_tags(Access::new(action, arn), &function.tags);
    access.resource_policy = Some((owner, function.policy()));
    Ok(access)
}

/// Starts the function at `at`; `done` hears of its end.
fn start(
    world: &mut World,
    arn: &str,
    at: Timestamp,
    request_id: String,
    payload: Value,
    done: impl FnOnce(&mut World, Result<Value, InvocationError>) + Send + 'static,
) -> Result<(), ServiceError> {
    let function = world.lambda.functions.get(arn).ok_or_else(|| not_found(arn))?;
    let principal = role_of(function)?;
    let (_, region, account, _) = arn_parts(arn).ok_or_else(|| not_found(arn))?;
    let (Some(account), Some(region)) = (AccountId::new(account), Region::new(region)) else {
        return Err(not_found(arn));
    };
    let variables = function.configuration.get("Environment").map(|environment| tag_map(environment, "Variables"));
    let mut environment = variables.unwrap_or_default();
    environment.extend([
        ("AWS_REGION".to_owned(), region.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME".to_owned(), function.get("FunctionName").unwrap_or_default().to_owned()),
        ("_HANDLER".to_owned(), function.get("Handler").unwrap_or_default().to_owned()),
    ]);
    let invocation = Invocation {
        handler: function.get("Handler").unwrap_or_default().to_owned(),
        arn: arn.to_owned(),
        request_id,
        principal,
        account,
        region,
        timeout: function.timeout(),
        environment,
        payload,
        done: Box::new(done),
    };
    world.invoke_at(at, invocation);
    Ok(())
}

/// An event on its way to a function.
#[derive(Debug, Clone)]
struct QueuedEvent {
    arn: String,
    request_id: String,
    payload: Value,
    accepted: Timestamp,
    attempts: u32,
}

/// Takes an event for a function whose invocation was authorized. Returns the request id.
///
/// # Errors
/// If there is no such function or the payload is too large.
pub(crate) fn invoke_async(world: &mut World, arn: &str, payload: Value) -> Result<String, ServiceError> {
    if !world.lambda.functions.contains_key(arn) {
        return Err(not_found(arn));
    }
    let size = payload.to_string().len();
    if size > MAX_PAYLOAD {
        let message =
            format!("{size} byte payload is too large for the Event invocation type (limit {MAX_PAYLOAD} bytes)");
        return Err(ServiceError::new("RequestTooLargeException", message).with_status(413));
    }
    let request_id = world.fresh_uuid();
    for late in world.arrivals() {
        let accepted = world.now();
        let event = QueuedEvent {
            arn: arn.to_owned(),
            request_id: request_id.clone(),
            payload: payload.clone(),
            accepted,
            attempts: 0,
        };
        attempt(world, event, accepted + late);
    }
    Ok(request_id)
}

fn attempt(world: &mut World, mut event: QueuedEvent, at: Timestamp) {
    event.attempts += 1;
    let (arn, request_id, payload) = (event.arn.clone(), event.request_id.clone(), event.payload.clone());
    // A function that is gone by now drops its events.
    let _ = start(world, &arn, at, request_id, payload, |world, outcome| {
        if let Err(error) = outcome {
            retry(world, event, &error);
        }
    });
}

fn retry(world: &mut World, event: QueuedEvent, error: &InvocationError) {
    let Some(function) = world.lambda.functions.get(&event.arn) else { return };
    let config = function.on_failure.clone();
    let next = world.now() + SignedDuration::from_mins(i64::from(event.attempts));
    if event.attempts > config.retries {
        return report_failure(world, &event, "RetriesExhausted", error);
    }
    if next > event.accepted + config.max_age {
        return report_failure(world, &event, "EventAgeExceeded", error);
    }
    attempt(world, event, next);
}

/// Sends the invocation record to the destination on failure, with the rights of the function's role.
fn report_failure(world: &mut World, event: &QueuedEvent, condition: &str, error: &InvocationError) {
    let Some(function) = world.lambda.functions.get(&event.arn) else { return };
    let (Some(destination), Ok(role)) = (function.on_failure.destination.clone(), role_of(function)) else { return };
    let record = json!({
        "version": "1.0",
        "timestamp": crate::operation::iso(world.now()),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": format!("{}:$LATEST", event.arn),
            "condition": condition,
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": event.payload,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": error.to_string()},
    });
    let sent = crate::sqs::access(world, "sqs:SendMessage", &destination)
        .and_then(|access| crate::iam::authorize(world, &role, &access))
        .and_then(|()| crate::sqs::send(world, &destination, &role, &record.to_string(), BTreeMap::new(), None));
    if let Err(error) = sent {
        world.note_undelivered(&event.arn, &destination, &error);
    }
}

pub(crate) fn operations() -> Vec<Operation> {
    /// Authorizes an action on the function of `FunctionName`.
    macro_rules! on_function {
        ($name:literal, $action:literal, $method:literal, $path:literal, $status:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http {
                    status: $status,
                    query: &[("Qualifier", "Qualifier", QueryKind::Text)],
                    ..Http::new($method, concat!("/2015-03-31/functions/{FunctionName}", $path))
                }),
                authorize: |world, call, input| Ok(vec![access(world, $action, &function_of(call, input)?)?]),
                handle: $handle,
            }
        };
    }
    macro_rules! on_tags {
        ($name:literal, $method:literal, $status:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http {
                    status: $status,
                    query: &[("tagKeys", "TagKeys", QueryKind::List)],
                    ..Http::new($method, "/2017-03-31/tags/{Resource}")
                }),
                authorize: |world, _, input| {
                    let arn = text(input, "Resource").unwrap_or_default();
                    Ok(vec![access(world, concat!("lambda:", $name), arn)?])
                },
                handle: $handle,
            }
        };
    }
    macro_rules! on_invoke_config {
        ($name:literal, $method:literal, $status:literal, $members:expr, $handle:expr) => {
            Operation {
                service: &SERVICE,
                name: $name,
                members: $members,
                http: Some(Http {
                    status: $status,
                    query: &[("Qualifier", "Qualifier", QueryKind::Text)],
                    ..Http::new($method, "/2019-09-25/functions/{FunctionName}/event-invoke-config")
                }),
                authorize: |world, call, input| {
                    Ok(vec![access(world, concat!("lambda:", $name), &function_of(call, input)?)?])
                },
                handle: $handle,
            }
        };
    }
    const CONFIGURATION: &[&str] = &[
        "FunctionName",
        "Runtime",
        "Role",
        "Handler",
        "Description",
        "Timeout",
        "MemorySize",
        "Environment",
        "LoggingConfig",
        "TracingConfig",
    ];
    let mut operations = vec![
        Operation {
            service: &SERVICE,
            name: "CreateFunction",
            members: &[
                "FunctionName",
                "Runtime",
                "Role",
                "Handler",
                "Description",
                "Timeout",
                "MemorySize",
                "Environment",
                "LoggingConfig",
                "TracingConfig",
                "Code",
                "PackageType",
                "Architectures",
                "Tags",
            ],
            http: Some(Http { status: 201, ..Http::new("POST", "/2015-03-31/functions") }),
            authorize: |_, call, input| {
                let name = text(input, "FunctionName").unwrap_or_default();
                let function = Access::new("lambda:CreateFunction", call.arn("lambda", &format!("function:{name}")));
                let mut needed = vec![crate::members::with_request_tags(function, &tag_map(input, "Tags"))];
                needed.extend(text(input, "Role").map(|role| service_role::pass_role(role, "lambda.amazonaws.com")));
                Ok(needed)
            },
            handle: create_function,
        },
        Operation {
            service: &SERVICE,
            name: "ListFunctions",
            members: &["Marker", "MaxItems"],
            http: Some(Http {
                query: &[("Marker", "Marker", QueryKind::Text), ("MaxItems", "MaxItems", QueryKind::Integer)],
                ..Http::new("GET", "/2015-03-31/functions")
            }),
            authorize: |_, _, _| Ok(vec![Access::new("lambda:ListFunctions", "*")]),
            handle: list_functions,
        },
        on_function!("GetFunction", "lambda:GetFunction", "GET", "", 200, &["FunctionName"], |world, call, input| {
            let arn = function_of(call, input)?;
            let function = world.lambda.functions.get(&arn).ok_or_else(|| not_found(&arn))?;
            Ok(
                json!({"Configuration": function.describe(&arn), "Code": {"RepositoryType": "S3"}, "Tags": function.tags}),
            )
        }),
        on_function!(
            "GetFunctionConfiguration",
            "lambda:GetFunctionConfiguration",
            "GET",
            "/configuration",
            200,
            &["FunctionName"],
            |world, call, input| {
                let arn = function_of(call, input)?;
                Ok(world.lambda.functions.get(&arn).ok_or_else(|| not_found(&arn))?.describe(&arn))
            }
        ),
        on_function!(
            "UpdateFunctionConfiguration",
            "lambda:UpdateFunctionConfiguration",
            "PUT",
            "/configuration",
            200,
            CONFIGURATION,
            update_configuration
        ),
        on_function!(
            "UpdateFunctionCode",
            "lambda:UpdateFunctionCode",
            "PUT",
            "/code",
            200,
            &["FunctionName", "S3Bucket", "S3Key", "S3ObjectVersion", "ZipFile", "Architectures"],
            |world, call, input| {
                let (now, arn) = (world.now(), function_of(call, input)?);
                let function = world.lambda.functions.get_mut(&arn).ok_or_else(|| not_found(&arn))?;
                let mut code = input.clone();
                if let Some(members) = code.as_object_mut() {
                    members.remove("FunctionName");
                    if let Some(architectures) = members.remove("Architectures") {
                        function.configuration.insert("Architectures".to_owned(), architectures);
                    }
                }
                function.set_code(&code);
                function.modified = now;
                Ok(function.describe(&arn))
            }
        ),
        on_function!(
            "DeleteFunction",
            "lambda:DeleteFunction",
            "DELETE",
            "",
            204,
            &["FunctionName"],
            |world, call, input| {
                let arn = function_of(call, input)?;
                world.lambda.functions.remove(&arn).ok_or_else(|| not_found(&arn))?;
                Ok(json!({}))
            }
        ),
        on_function!(
            "AddPermission",
            "lambda:AddPermission",
            "POST",
            "/policy",
            201,
            &["FunctionName", "StatementId", "Action", "Principal", "SourceArn", "SourceAccount", "PrincipalOrgID"],
            add_permission
        ),
        Operation {
            service: &SERVICE,
            name: "RemovePermission",
            members: &["FunctionName", "StatementId"],
            http: Some(Http {
                status: 204,
                ..Http::new("DELETE", "/2015-03-31/functions/{FunctionName}/policy/{StatementId}")
            }),
            authorize: |world, call, input| {
                Ok(vec![access(world, "lambda:RemovePermission", &function_of(call, input)?)?])
            },
            handle: |world, call, input| {
                let arn = function_of(call, input)?;
                let function = world.lambda.functions.get_mut(&arn).ok_or_else(|| not_found(&arn))?;
                let before = function.statements.len();
                function.statements.retain(|statement| text(statement, "Sid") != text(input, "StatementId"));
                if function.statements.len() == before {
                    let message = "The resource you requested does not exist.";
                    return Err(ServiceError::new("ResourceNotFoundException", message).with_status(404));
                }
                Ok(json!({}))
            },
        },
        on_function!(
            "GetPolicy",
            "lambda:GetPolicy",
            "GET",
            "/policy",
            200,
            &["FunctionName"],
            |world, call, input| {
                let arn = function_of(call, input)?;
                let function = world.lambda.functions.get(&arn).ok_or_else(|| not_found(&arn))?;
                let policy = function.policy();
                if policy.is_null() {
                    let message = "The resource you requested does not exist.";
                    return Err(ServiceError::new("ResourceNotFoundException", message).with_status(404));
                }
                Ok(json!({"Policy": policy.to_string()}))
            }
        ),
        Operation {
            service: &SERVICE,
            name: "Invoke",
            members: &["FunctionName", "InvocationType", "Payload"],
            http: Some(Http {
                status: 202,
                headers: &[("X-Amz-Invocation-Type", "InvocationType")],
                payload: Some("Payload"),
                output_payload: Some("Payload"),
                ..Http::new("POST", "/2015-03-31/functions/{FunctionName}/invocations")
            }),
            authorize: |world, call, input| {
                Ok(vec![access(world, "lambda:InvokeFunction", &function_of(call, input)?)?])
            },
            handle: |world, call, input| {
                let kind = text(input, "InvocationType").unwrap_or("RequestResponse");
                if kind != "Event" {
                    return Err(ServiceError::not_simulated(format_args!("the InvocationType {kind}")));
                }
                let payload = serde_json::from_str(text(input, "Payload").unwrap_or("{}")).map_err(|error| {
                    ServiceError::new(
                        "InvalidRequestContentException",
                        format!("Could not parse request body into json: {error}"),
                    )
                })?;
                invoke_async(world, &function_of(call, input)?, payload)?;
                Ok(json!({"StatusCode": 202, "Payload": ""}))
            },
        },
        on_tags!("ListTags", "GET", 200, &["Resource"], |world, _, input| {
            Ok(json!({"Tags": tagged(world, input)?.tags}))
        }),
        on_tags!("TagResource", "POST", 204, &["Resource", "Tags"], |world, _, input| {
            tagged(world, input)?.tags.extend(tag_map(input, "Tags"));
            Ok(json!({}))
        }),
        on_tags!("UntagResource", "DELETE", 204, &["Resource", "TagKeys"], |world, _, input| {
            let keys = texts(input, "TagKeys");
            tagged(world, input)?.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(json!({}))
        }),
        on_invoke_config!(
            "PutFunctionEventInvokeConfig",
            "PUT",
            200,
            &["FunctionName", "Qualifier", "MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"],
            put_invoke_config
        ),
        on_invoke_config!(
            "GetFunctionEventInvokeConfig",
            "GET",
            200,
            &["FunctionName", "Qualifier"],
            |world, call, input| {
                let arn = function_of(call, input)?;
                let function = world.lambda.functions.get(&arn).ok_or_else(|| not_found(&arn))?;
                describe_invoke_config(&arn, &function.on_failure)
            }
        ),
        on_invoke_config!(
            "DeleteFunctionEventInvokeConfig",
            "DELETE",
            204,
            &["FunctionName", "Qualifier"],
            |world, call, input| {
                let arn = function_of(call, input)?;
                let function = world.lambda.functions.get_mut(&arn).ok_or_else(|| not_found(&arn))?;
                describe_invoke_config(&arn, &std::mem::take(&mut function.on_failure))?;
                Ok(json!({}))
            }
        ),
    ];
    operations.extend(event_source_mapping::operations());
    operations
}

/// The ARN that `FunctionName` means: a name, a partial or a full ARN.
fn function_of(call: &Call, input: &Value) -> Result<String, ServiceError> {
    if let Some(qualifier) = text(input, "Qualifier").filter(|qualifier| *qualifier != "$LATEST") {
        return Err(ServiceError::not_simulated(format_args!("the Qualifier {qualifier}")));
    }
    function_named(call, text(input, "FunctionName").unwrap_or_default())
}

fn function_named(call: &Call, name: &str) -> Result<String, ServiceError> {
    if name.starts_with("arn:") {
        return match arn_parts(name) {
            Some(("lambda", _, _, resource)) if resource.matches(':').count() == 1 => Ok(name.to_owned()),
            _ => Err(ServiceError::not_simulated(format_args!("the function {name}"))),
        };
    }
    if name.contains(':') {
        return Err(ServiceError::not_simulated(format_args!("the function {name}")));
    }
    Ok(call.arn("lambda", &format!("function:{name}")))
}

fn tagged<'a>(world: &'a mut World, input: &Value) -> Result<&'a mut FunctionState, ServiceError> {
    let arn = text(input, "Resource").unwrap_or_default();
    world.lambda.functions.get_mut(arn).ok_or_else(|| not_found(arn))
}

impl FunctionState {
    fn set_code(&mut self, code: &Value) {
        use base64::Engine;
        use sha2::Digest;
        let digest = sha2::Sha256::digest(code.to_string().as_bytes());
        let text = base64::engine::general_purpose::STANDARD.encode(digest);
        self.configuration.insert("CodeSha256".to_owned(), json!(text));
        self.configuration.insert("CodeSize".to_owned(), json!(code.to_string().len()));
    }
}

fn check_configuration(world: &World, arn: &str, input: &Value) -> Result<(), ServiceError> {
    integer(input, "Timeout", 1..=900).map_err(|error| invalid(error.message))?;
    integer(input, "MemorySize", 128..=10_240).map_err(|error| invalid(error.message))?;
    if let Some(environment) = input.get("Environment") {
        only(environment, "Environment", &["Variables"])?;
        let variables = tag_map(environment, "Variables");
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let fits = |name: &String| {
            name.len() > 1 && name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(word)
        };
        if let Some(name) = variables.keys().find(|name| !fits(name)) {
            return Err(invalid(format!("{name:?} is not the name of an environment variable")));
        }
        let size: usize = variables.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > 4_096 {
            return Err(invalid(
                "Lambda was unable to configure your environment variables: they exceed the 4KB limit",
            ));
        }
    }
    if let Some(role) = text(input, "Role") {
        service_role::assume(world, "lambda.amazonaws.com", role, arn)
            .map_err(|_| invalid("The role defined for the function cannot be assumed by Lambda."))?;
    }
    Ok(())
}

fn list_functions(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let begin = call.arn("lambda", "function:");
    let functions: Vec<_> = world.lambda.functions.iter().filter(|(arn, _)| arn.starts_with(&begin)).collect();
    let size = input["MaxItems"].as_u64().map_or(50, |size| size.min(50) as usize);
    let (page, marker) = paging::page(&functions, text(input, "Marker"), size, "InvalidParameterValueException")?;
    let mut output =
        json!({"Functions": page.iter().map(|(arn, function)| function.describe(arn)).collect::<Vec<_>>()});
    if let Some(marker) = marker {
        output["NextMarker"] = json!(marker);
    }
    Ok(output)
}

fn create_function(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let name = crate::members::required(input, "FunctionName").map_err(|error| invalid(error.message))?;
    crate::members::check_name("the function name", name, "-_", 64).map_err(|error| invalid(error.message))?;
    let arn = call.arn("lambda", &format!("function:{name}"));
    if world.lambda.functions.contains_key(&arn) {
        let message = format!("Function already exist: {name}");
        return Err(ServiceError::new("ResourceConflictException", message).with_status(409));
    }
    if let Some(kind) = text(input, "PackageType").filter(|kind| *kind != "Zip") {
        return Err(ServiceError::not_simulated(format_args!("the PackageType {kind}")));
    }
    for member in ["Role", "Handler", "Runtime"] {
        crate::members::required(input, member).map_err(|error| invalid(error.message))?;
    }
    check_configuration(world, &arn, input)?;
    let mut configuration = input.as_object().cloned().unwrap_or_default();
    let code = configuration.remove("Code").ok_or_else(|| invalid("Code is required"))?;
    configuration.remove("Tags");
    for (member, default) in [
        ("Timeout", json!(3)),
        ("MemorySize", json!(128)),
        ("PackageType", json!("Zip")),
        ("Architectures", json!(["x86_64"])),
    ] {
        configuration.entry(member).or_insert(default);
    }
    let mut function = FunctionState {
        configuration,
        tags: tag_map(input, "Tags"),
        statements: Vec::new(),
        on_failure: AsynchronousInvocation::default(),
        modified: world.now(),
    };
    function.set_code(&code);
    let output = function.describe(&arn);
    world.lambda.functions.insert(arn, function);
    Ok(output)
}

fn update_configuration(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (now, arn) = (world.now(), function_of(call, input)?);
    if let Some(role) = text(input, "Role") {
        crate::iam::authorize_pass_role(world, &call.principal, role, "lambda.amazonaws.com")?;
    }
    check_configuration(world, &arn, input)?;
    let function = world.lambda.functions.get_mut(&arn).ok_or_else(|| not_found(&arn))?;
    let mut changes = input.as_object().cloned().unwrap_or_default();
    changes.remove("FunctionName");
    function.configuration.extend(changes);
    function.modified = now;
    Ok(function.describe(&arn))
}

fn add_permission(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = function_of(call, input)?;
    let function = world.lambda.functions.get_mut(&arn).ok_or_else(|| not_found(&arn))?;
    let member = |name| crate::members::required(input, name).map_err(|error| invalid(error.message));
    let (sid, action, principal) = (member("StatementId")?, member("Action")?, member("Principal")?);
    if function.statements.iter().any(|statement| text(statement, "Sid") == Some(sid)) {
        let message = format!("The statement id ({sid}) provided already exists.");
        return Err(ServiceError::new("ResourceConflictException", message).with_status(409));
    }
    let principal = if principal.contains('.') {
        json!({"Service": principal})
    } else if AccountId::new(principal).is_some() {
        json!({"AWS": format!("arn:aws:iam::{principal}:root")})
    } else {
        json!({"AWS": principal})
    };
    let mut conditions = serde_json::Map::new();
    if let Some(source) = text(input, "SourceArn") {
        conditions.insert("ArnLike".to_owned(), json!({"AWS:SourceArn": source}));
    }
    let mut equals = serde_json::Map::new();
    for (member, key) in [("SourceAccount", "AWS:SourceAccount"), ("PrincipalOrgID", "aws:PrincipalOrgID")] {
        equals.extend(text(input, member).map(|value| (key.to_owned(), json!(value))));
    }
    if !equals.is_empty() {
        conditions.insert("StringEquals".to_owned(), Value::Object(equals));
    }
    let mut statement =
        json!({"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": arn});
    if !conditions.is_empty() {
        statement["Condition"] = Value::Object(conditions);
    }
    let output = json!({"Statement": statement.to_string()});
    function.statements.push(statement);
    Ok(output)
}

fn put_invoke_config(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let arn = function_of(call, input)?;
    let now = world.now();
    let default = AsynchronousInvocation::default();
    let retries = integer(input, "MaximumRetryAttempts", 0..=2).map_err(|error| invalid(error.message))?;
    let age = integer(input, "MaximumEventAgeInSeconds", 60..=21_600).map_err(|error| invalid(error.message))?;
    let mut destination = None;
    if let Some(config) = input.get("DestinationConfig") {
        only(config, "DestinationConfig", &["OnFailure"])?;
        destination = config.get("OnFailure").and_then(|target| text(target, "Destination")).map(str::to_owned);
    }
    let function = world.lambda.functions.get(&arn).ok_or_else(|| not_found(&arn))?;
    if let Some(target) = &destination {
        if arn_parts(target).is_none_or(|(service, ..)| service != "sqs") {
            return Err(ServiceError::not_simulated(format_args!("the destination {target}")));
        }
        let role = role_of(function)?;
        let may_send = crate::sqs::access(world, "sqs:SendMessage", target)
            .and_then(|access| crate::iam::authorize(world, &role, &access));
        may_send.map_err(|_| {
            invalid(format!("The function's execution role does not have permissions to call SendMessage on {target}"))
        })?;
    }
    let config = AsynchronousInvocation {
        retries: retries.map_or(default.retries, |retries| retries as u32),
        max_age: age.map_or(default.max_age, SignedDuration::from_secs),
        destination,
        put: Some(now),
    };
    let output = describe_invoke_config(&arn, &config);
    let function = world.lambda.functions.get_mut(&arn).ok_or_else(|| not_found(&arn))?;
    function.on_failure = config;
    output
}

fn describe_invoke_config(arn: &str, config: &AsynchronousInvocation) -> Result<Value, ServiceError> {
    let Some(put) = config.put else {
        let message = format!("The function {arn} doesn't have an EventInvokeConfig");
        return Err(ServiceError::new("ResourceNotFoundException", message).with_status(404));
    };
    let mut output = json!({
        "FunctionArn": format!("{arn}:$LATEST"), "LastModified": epoch(put), "MaximumRetryAttempts": config.retries,
        "MaximumEventAgeInSeconds": config.max_age.as_secs(), "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    });
    if let Some(destination) = &config.destination {
        output["DestinationConfig"]["OnFailure"]["Destination"] = json!(destination);
    }
    Ok(output)
}
