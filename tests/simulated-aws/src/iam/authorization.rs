//! Authorization of the simulation's calls: who the caller is, which policies apply, what AWS answers on refusal.

use serde_json::Value;

use super::caller::Caller;
use super::context::Context;
use super::evaluation::{Decision, Policies, Request, Source, evaluate};
use super::managed;
use super::policy::{Policy, PolicyKind};
use super::role::{Role, parse_role_arn, role_arn};
use crate::World;
use crate::identity::{AccountId, Principal};
use crate::operation::{Access, Call, Operation, Protocol, ServiceError};

/// Whether `principal` may do `access`. The resource belongs to the account of [`Access::resource_policy`], else to the one in
/// its ARN, else to the caller's.
///
/// # Errors
/// `AccessDeniedException` with AWS's message, or a refusal by the simulation when a policy cannot be understood.
pub fn authorize(world: &World, principal: &Principal, access: &Access) -> Result<(), ServiceError> {
    match decide(world, principal, access)? {
        Decision::Allow { .. } => Ok(()),
        // STS does not say why (IAM User Guide, "Troubleshoot IAM roles").
        _ if access.action == "sts:AssumeRole" => {
            Err(ServiceError::access_denied(principal, &access.action, &access.resource, ""))
        }
        denied => Err(ServiceError::access_denied(
            principal,
            &access.action,
            &access.resource,
            &denied.because(&access.action),
        )),
    }
}

/// [`authorize`] for a call of an operation: knows the region that was asked, and each protocol's form of the refusal.
pub(crate) fn authorize_call(
    world: &World,
    call: &Call,
    operation: &Operation,
    mut access: Access,
) -> Result<(), ServiceError> {
    access.context.entry("aws:RequestedRegion".to_owned()).or_insert_with(|| vec![call.region.to_string()]);
    authorize(world, &call.principal, &access).map_err(|mut error| {
        if error.code == "AccessDeniedException" {
            match operation.service.protocol {
                Protocol::AwsJson { .. } => {}
                Protocol::RestJson => error.status = 403,
                Protocol::Query { .. } => {
                    error.code = "AccessDenied".to_owned();
                    error.status = 403;
                }
            }
        }
        error
    })
}

/// Whether `principal` may hand a role to a service, which every operation that takes a role's ARN asks.
/// (IAM User Guide, "Grant a user permissions to pass a role to an AWS service".)
///
/// # Errors
/// As [`authorize`]; and a refusal for a role of another account, which cannot be passed.
pub fn authorize_pass_role(
    world: &World,
    principal: &Principal,
    role_arn: &str,
    service: &str,
) -> Result<(), ServiceError> {
    let Some((account, _)) = parse_role_arn(role_arn) else {
        return Err(ServiceError::new("ValidationException", format!("{role_arn} is not the ARN of a role")));
    };
    if principal.account() != Some(&account) {
        return Err(ServiceError::new("AccessDeniedException", "Cross-account pass role is not allowed."));
    }
    authorize(world, principal, &Access::new("iam:PassRole", role_arn).with("iam:PassedToService", service))
}

/// A session of the role that a service assumes for itself, if the role exists and trusts the service. `context` carries what
/// guards against confused deputies: `aws:SourceArn` and `aws:SourceAccount`.
///
/// # Errors
/// `AccessDeniedException` when there is no such role or it does not trust the service.
pub fn assume_for_service(
    world: &World,
    role_arn: &str,
    service: &str,
    session: &str,
    context: Context,
) -> Result<Principal, ServiceError> {
    let service = Principal::Service { name: service.to_owned() };
    let denied = || ServiceError::access_denied(&service, "sts:AssumeRole", role_arn, "");
    let role = world.iam.role_of_arn(role_arn).ok_or_else(denied)?;
    let caller = caller(world, &service);
    let request = Request {
        caller: &caller,
        action: "sts:AssumeRole",
        resource: role_arn,
        resource_account: role.account.as_str(),
        context,
    };
    let decision = evaluate(&request, &Policies { resource: Some(&role.trust.policy), ..Policies::default() });
    if !decision.is_allowed() {
        return Err(denied());
    }
    Ok(Principal::Role { account: role.account.clone(), role: role.name.clone(), session: session.to_owned() })
}

/// Whether `principal` may do `access`, with the reason.
///
/// # Errors
/// A refusal by the simulation when the resource's policy cannot be understood.
pub fn decide(world: &World, principal: &Principal, access: &Access) -> Result<Decision, ServiceError> {
    let owner = access
        .resource_policy
        .as_ref()
        .map(|(owner, _)| owner.clone())
        .or_else(|| access.resource.split(':').nth(4).and_then(AccountId::new))
        .or_else(|| principal.account().cloned());
    let owner = owner.as_ref().map(AccountId::as_str).unwrap_or_default();
    let kind = if access.action == "sts:AssumeRole" { PolicyKind::Trust } else { PolicyKind::Resource };
    let resource = match &access.resource_policy {
        None | Some((_, Value::Null)) => None,
        Some((_, document)) => Some(read_resource_policy(kind, document, &access.resource)?),
    };
    if let Principal::Role { account, .. } = principal
        && world.account_is_closed(account)
    {
        return Ok(Decision::ImplicitDeny { source: Source::Identity });
    }
    let role = match principal {
        Principal::Role { account, role, .. } => world.iam.role(account, role),
        _ => None,
    };
    let of_service = match principal {
        Principal::Role { role: name, .. } if role.is_none() => managed::service_role(name).map(|(_, policy)| policy),
        _ => None,
    };
    let identity = role.map_or_else(|| of_service.iter().collect(), Role::policies);
    let caller = caller(world, principal);
    let request = Request {
        caller: &caller,
        action: &access.action,
        resource: &access.resource,
        resource_account: owner,
        context: context(world, principal, access, owner),
    };
    let policies = Policies { identity: &identity, resource: resource.as_ref(), boundary: None, session: &[] };
    Ok(evaluate(&request, &policies))
}

fn read_resource_policy(kind: PolicyKind, document: &Value, resource: &str) -> Result<Policy, ServiceError> {
    let parsed = match document {
        Value::String(text) => Policy::parse(kind, text),
        other => Policy::from_value(kind, other),
    };
    parsed.map_err(|error| ServiceError::not_simulated(format_args!("the policy of {resource}: {error}")))
}

/// The principal as IAM sees it: roles with path and id.
fn caller(world: &World, principal: &Principal) -> Caller {
    match principal {
        Principal::Administrator { account } => Caller::Root { account: account.to_string() },
        Principal::Service { name } => Caller::Service { name: name.clone() },
        Principal::Role { account, role: name, session } => {
            let (role, role_id) = match world.iam.role(account, name) {
                Some(role) => (role.arn(), role.id.clone()),
                None => {
                    let path = managed::service_role(name).map_or("/", |(path, _)| path);
                    (role_arn(account, path, name), format!("AROA{account}"))
                }
            };
            Caller::RoleSession { role, role_id, session: session.clone() }
        }
    }
}

/// What every request carries, and what the operation adds.
fn context(world: &World, principal: &Principal, access: &Access, owner: &str) -> Context {
    let now = world.now();
    let mut context = Context::new()
        .with("aws:CurrentTime", now.to_string())
        .with("aws:EpochTime", now.as_second().to_string())
        .with("aws:SecureTransport", "true")
        .with("aws:ResourceAccount", owner);
    if let Some(account) = principal.account()
        && let Some(organization) = world.organization_of(account)
    {
        context = context
            .with("aws:PrincipalOrgID", organization.id())
            .with_all("aws:PrincipalOrgPaths", organization.path_of_account(account));
    }
    if let Principal::Role { account, role, .. } = principal
        && let Some(role) = world.iam.role(account, role)
    {
        context = context.with_tags("aws:PrincipalTag", &role.tags);
    }
    access.context.iter().fold(context, |context, (key, values)| context.with_all(key, values))
}

/// Condition keys that requests of the simulation carry: those of every request, and those that some operations add. A key that ends
/// with a slash stands for all tag keys.
const KEYS: &[&str] = &[
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:tagkeys",
    "aws:userid",
    "aws:username",
    "ecr:resourcetag/",
    "events:creatoraccount",
    "events:detail-type",
    "events:source",
    "events:targetarn",
    "iam:passedtoservice",
    "iam:policyarn",
    "organizations:serviceprincipal",
    "sts:externalid",
    "sts:rolesessionname",
];

/// The first condition key of the policy that no request of the simulation carries, so that the policy would not
/// mean here what it means in AWS.
pub fn unsupported_key(policy: &Policy) -> Option<String> {
    let known = |key: &String| {
        KEYS.iter().any(|known| if known.ends_with('/') { key.starts_with(known) } else { key == known })
    };
    policy.context_keys().into_iter().find(|key| !known(key))
}
