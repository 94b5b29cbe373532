//! AWS STS: sessions of roles.
//!
//! `AssumeRole` asks the caller's permissions and the role's trust policy, as AWS does, and issues credentials that expire in virtual
//! time. Session policies, session tags, MFA and source identities are refused by name.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::World;
use crate::iam::parse_role_arn;
use crate::identity::Principal;
use crate::operation::{Access, Call, Operation, Protocol, Service, ServiceError, iso};

static SERVICE: Service = Service {
    signing_name: "sts",
    model: "sts",
    protocol: Protocol::Query { namespace: "https://sts.amazonaws.com/doc/2011-06-15/" },
};

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            service: &SERVICE,
            name: "GetCallerIdentity",
            members: &[],
            http: None,
            // No permission is needed, and none can be denied (STS API reference, GetCallerIdentity).
            authorize: |_, _, _| Ok(Vec::<Access>::new()),
            handle: get_caller_identity,
        },
        Operation {
            service: &SERVICE,
            name: "AssumeRole",
            members: &["RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"],
            http: None,
            authorize: may_assume,
            handle: assume_role,
        },
    ]
}

fn get_caller_identity(world: &mut World, call: &Call, _: &Value) -> Result<Value, ServiceError> {
    let id = match &call.principal {
        Principal::Role { account, role, session } => {
            let id = world.iam.role(account, role).map_or_else(|| format!("AROA{account}"), |role| role.id.clone());
            format!("{id}:{session}")
        }
        _ => call.account.to_string(),
    };
    Ok(json!({"Account": call.account.as_str(), "Arn": call.principal.arn(), "UserId": id}))
}

/// Asks the trust policy too, with the keys that trust policies look at. A role that does not exist is not told from one that
/// does not trust the caller.
fn may_assume(world: &World, call: &Call, input: &Value) -> Result<Vec<Access>, ServiceError> {
    let arn = required(input, "RoleArn")?;
    let (account, _) = parse_role_arn(arn).ok_or_else(|| invalid(&format!("{arn} is invalid")))?;
    let session = required(input, "RoleSessionName")?;
    let role = world.iam.role_of_arn(arn).filter(|_| !world.account_is_closed(&account));
    let Some(role) = role else {
        return Err(ServiceError { code: "AccessDenied".to_owned(), ..denied(call, arn) });
    };
    let mut access = Access::new("sts:AssumeRole", arn).with("sts:RoleSessionName", session);
    access.resource_policy = Some((account, Value::String(role.trust.text.clone())));
    if let Some(id) = input.get("ExternalId").and_then(Value::as_str) {
        access = access.with("sts:ExternalId", id);
    }
    for (key, value) in &role.tags {
        access = access.with(format!("aws:ResourceTag/{key}"), value);
    }
    Ok(vec![access])
}

fn denied(call: &Call, arn: &str) -> ServiceError {
    ServiceError::access_denied(&call.principal, "sts:AssumeRole", arn, "").with_status(403)
}

fn assume_role(world: &mut World, call: &Call, input: &Value) -> Result<Value, ServiceError> {
    let (arn, session) = (required(input, "RoleArn")?, required(input, "RoleSessionName")?);
    let alphabet = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&session.len()) || !session.chars().all(alphabet) {
        return Err(invalid(&format!(
            "1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: Member \
             must satisfy regular expression pattern: [\\w+=,.@-]{{2,64}}"
        )));
    }
    let role = world.iam.role_of_arn(arn).ok_or_else(|| denied(call, arn))?;
    let seconds = match input.get("DurationSeconds") {
        None => Some(3600),
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_i64(),
    };
    let chained = matches!(call.principal, Principal::Role { .. });
    let seconds = match seconds {
        Some(seconds) if !(900..=43_200).contains(&seconds) => {
            return Err(invalid("DurationSeconds must be between 900 and 43200"));
        }
        Some(seconds) if chained && seconds > 3600 => {
            return Err(invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            ));
        }
        Some(seconds) if seconds > role.max_session => {
            return Err(invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role."));
        }
        Some(seconds) => seconds,
        None => return Err(invalid("DurationSeconds is not a number")),
    };
    let id = role.id.clone();
    let principal =
        Principal::Role { account: role.account.clone(), role: role.name.clone(), session: session.to_owned() };
    let session_arn = principal.arn();
    let expires = world.now() + SignedDuration::from_secs(seconds);
    let key = world.issue_credentials(principal, Some(expires));
    Ok(json!({
        "Credentials": {
            "AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "session-token", "Expiration": iso(expires),
        },
        "AssumedRoleUser": {"AssumedRoleId": format!("{id}:{session}"), "Arn": session_arn},
    }))
}

fn required<'a>(input: &'a Value, member: &str) -> Result<&'a str, ServiceError> {
    input.get(member).and_then(Value::as_str).ok_or_else(|| invalid(&format!("{member} must not be null")))
}

fn invalid(message: &str) -> ServiceError {
    ServiceError::new("ValidationError", message)
}
