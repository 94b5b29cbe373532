//! AWS services that act with a role which a customer gave them.

use crate::World;
use crate::iam::{Context, parse_role_arn};
use crate::identity::Principal;
use crate::members::{arn_parts, invalid};
use crate::operation::{Access, ServiceError};

/// The session that `service` gets of a role on behalf of the resource `source`, if the role exists and trusts it.
pub(crate) fn assume(world: &World, service: &str, role_arn: &str, source: &str) -> Result<Principal, ServiceError> {
    let (_, _, account, _) = arn_parts(source).unwrap_or_default();
    let context = Context::new().with("aws:SourceArn", source).with("aws:SourceAccount", account);
    let session = service.split('.').next().unwrap_or(service);
    crate::iam::assume_for_service(world, role_arn, service, session, context)
}

/// The principal of a session of a role, without looking whether the role exists.
pub(crate) fn session(role_arn: &str, session: &str) -> Result<Principal, ServiceError> {
    let (account, role) =
        parse_role_arn(role_arn).ok_or_else(|| invalid(format!("{role_arn} is not the ARN of a role")))?;
    Ok(Principal::Role { account, role: role.to_owned(), session: session.to_owned() })
}

/// What a caller needs to hand a role to a service.
pub(crate) fn pass_role(role_arn: &str, service: &str) -> Access {
    Access::new("iam:PassRole", role_arn).with("iam:PassedToService", service)
}
