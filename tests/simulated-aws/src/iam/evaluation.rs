//! Whether a request is allowed, and why.
//!
//! - An explicit deny in any policy wins.
//! - Within an account, an identity policy or a resource policy must allow. A resource policy that names only the account
//!   leaves the decision to the account's identity policies; one that names the caller, or everyone, decides itself.
//! - Across accounts both sides must allow.
//! - A trust policy must always allow; naming only the account, it needs the identity's permission as well.
//! - Boundaries and session policies limit what identity policies grant, and what a resource policy grants to the role;
//!   they do not limit what it grants to the session, the user or everyone.
//! - A service has no identity policies: only the resource's policy counts. A root user may do everything in its account.
//!
//! (IAM User Guide, "Policy evaluation logic" and "Cross-account policy evaluation logic".) Service control and
//! resource control policies are outside: the simulated organization has none.

use std::fmt;

use super::caller::Caller;
use super::context::Context;
use super::policy::{Effect, Policy, PolicyKind, Reach};

/// One action on one resource by one caller.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// The IAM action, such as `ecr:BatchDeleteImage`.
    pub action: &'a str,
    /// The resource's ARN, or `*` for an action without resources.
    pub resource: &'a str,
    /// The account that owns the resource (for `*`: the account whose endpoint was called).
    pub resource_account: &'a str,
    /// Condition keys; those that follow from the caller are added by [`evaluate`].
    pub context: Context,
}

/// The policies that apply to a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'a> {
    /// Of the caller's identity.
    pub identity: &'a [&'a Policy],
    /// Of the resource, or the trust policy of the role to be assumed.
    pub resource: Option<&'a Policy>,
    /// The identity's permissions boundary.
    pub boundary: Option<&'a Policy>,
    /// Policies passed when the session was made; none at all does not limit.
    pub session: &'a [&'a Policy],
}

/// A type of policy, in the words of AWS's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The caller's own policies.
    Identity,
    /// The resource's policy.
    Resource,
    /// The role's trust policy.
    Trust,
    /// The permissions boundary.
    Boundary,
    /// The session's policies.
    Session,
    /// The root user's right to everything in its account.
    Root,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::Trust => "role trust policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
            Self::Root => "root user",
        })
    }
}

/// The outcome, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed.
    Allow {
        /// By which side.
        source: Source,
        /// By which statement (its `Sid` or place); empty for a root user.
        statement: String,
    },
    /// A statement denies.
    ExplicitDeny {
        /// Of which side.
        source: Source,
        /// Which statement (its `Sid` or place).
        statement: String,
    },
    /// No statement of this side allows.
    ImplicitDeny {
        /// The side that should have.
        source: Source,
    },
}

impl Decision {
    /// Whether the request may proceed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// The end of AWS's access denied message, such as `because no identity-based policy allows the X action`; empty when allowed.
    /// (IAM User Guide, "Troubleshoot access denied error messages".)
    pub fn because(&self, action: &str) -> String {
        match self {
            Self::Allow { .. } => String::new(),
            Self::ExplicitDeny { source, .. } => {
                let article = match source {
                    Source::Identity => "an",
                    Source::Trust => "the",
                    _ => "a",
                };
                format!("with an explicit deny in {article} {source}")
            }
            Self::ImplicitDeny { source } => format!("because no {source} allows the {action} action"),
        }
    }
}

/// Decides about one request.
pub fn evaluate<'p>(request: &Request<'_>, policies: &Policies<'p>) -> Decision {
    let context = request.caller.context().merge(request.context.clone());
    let resource_source = match policies.resource.map(Policy::kind) {
        Some(PolicyKind::Trust) => Source::Trust,
        _ => Source::Resource,
    };
    let boundary: Vec<&'p Policy> = policies.boundary.into_iter().collect();
    let resource: Vec<&'p Policy> = policies.resource.into_iter().collect();
    let find = |policies: &[&'p Policy], effect: Effect| -> Option<(Reach, &'p str)> {
        strongest(request, &context, policies, effect)
    };

    let sides = [
        (Source::Identity, policies.identity),
        (Source::Boundary, &boundary[..]),
        (Source::Session, policies.session),
        (resource_source, &resource[..]),
    ];
    for (source, policies) in sides {
        if let Some((_, statement)) = find(policies, Effect::Deny) {
            return Decision::ExplicitDeny { source, statement: statement.to_owned() };
        }
    }

    let same_account = request.caller.account() == Some(request.resource_account);
    let by_resource = find(&resource, Effect::Allow);
    let limited = || {
        if policies.boundary.is_some() && find(&boundary, Effect::Allow).is_none() {
            return Some(Decision::ImplicitDeny { source: Source::Boundary });
        }
        if !policies.session.is_empty() && find(policies.session, Effect::Allow).is_none() {
            return Some(Decision::ImplicitDeny { source: Source::Session });
        }
        None
    };
    let by_identity = || {
        if matches!(request.caller, Caller::Root { .. }) {
            return Decision::Allow { source: Source::Root, statement: String::new() };
        }
        match find(policies.identity, Effect::Allow) {
            None => Decision::ImplicitDeny { source: Source::Identity },
            Some((_, statement)) => limited()
                .unwrap_or_else(|| Decision::Allow { source: Source::Identity, statement: statement.to_owned() }),
        }
    };
    let from_resource = |statement: &str| Decision::Allow { source: resource_source, statement: statement.to_owned() };

    match by_resource {
        Some((_, statement)) if request.caller.service().is_some() => from_resource(statement),
        _ if request.caller.service().is_some() => Decision::ImplicitDeny { source: resource_source },
        Some((Reach::Direct, statement)) if same_account => from_resource(statement),
        Some((Reach::Role, statement)) if same_account => limited().unwrap_or_else(|| from_resource(statement)),
        Some((Reach::Account, _)) if same_account => by_identity(),
        Some((_, statement)) => match by_identity() {
            Decision::Allow { .. } => from_resource(statement),
            denied => denied,
        },
        None if same_account && resource_source == Source::Resource => by_identity(),
        None => match by_identity() {
            denied if resource_source == Source::Resource && !denied.is_allowed() => denied,
            _ => Decision::ImplicitDeny { source: resource_source },
        },
    }
}

/// The applying statement of this effect that names the caller most directly, with its label.
fn strongest<'a>(
    request: &Request<'_>,
    context: &Context,
    policies: &[&'a Policy],
    effect: Effect,
) -> Option<(Reach, &'a str)> {
    policies
        .iter()
        .flat_map(|policy| policy.statements())
        .filter(|statement| statement.effect() == effect)
        .filter_map(|statement| Some((statement.reach(request.caller)?, statement)))
        .filter(|(_, statement)| statement.applies(request.action, request.resource, context))
        .map(|(reach, statement)| (reach, statement.label()))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
}
