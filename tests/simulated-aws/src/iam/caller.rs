//! Who makes a request.

use super::context::Context;

/// The caller of a request, as IAM sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// An account's root user.
    Root {
        /// The account's id.
        account: String,
    },
    /// An IAM user.
    User {
        /// The user's ARN, path included.
        arn: String,
    },
    /// A session of a role.
    RoleSession {
        /// The role's ARN, path included.
        role: String,
        /// The role's unique id (`AROA…`).
        role_id: String,
        /// The session's name.
        session: String,
    },
    /// An AWS service that acts for itself.
    Service {
        /// Its principal name, such as `events.amazonaws.com`.
        name: String,
    },
}

impl Caller {
    /// The account that the caller belongs to; services belong to none.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Root { account } => Some(account),
            Self::User { arn } | Self::RoleSession { role: arn, .. } => arn.split(':').nth(4),
            Self::Service { .. } => None,
        }
    }

    /// The caller's own ARN (that of the session for a role), or a service's name.
    pub fn arn(&self) -> String {
        match self {
            Self::Root { account } => format!("arn:aws:iam::{account}:root"),
            Self::User { arn } => arn.clone(),
            Self::RoleSession { role, session, .. } => {
                let account = self.account().unwrap_or_default();
                format!("arn:aws:sts::{account}:assumed-role/{}/{session}", last_segment(role))
            }
            Self::Service { name } => name.clone(),
        }
    }

    /// The ARN of the identity whose policies apply: that of the role for a session (`aws:PrincipalArn`).
    pub fn identity_arn(&self) -> String {
        match self {
            Self::RoleSession { role, .. } => role.clone(),
            other => other.arn(),
        }
    }

    /// The unique id (`aws:userid`): account id, or `ROLE-ID:SESSION`.
    pub fn user_id(&self) -> Option<String> {
        match self {
            Self::Root { account } => Some(account.clone()),
            Self::RoleSession { role_id, session, .. } => Some(format!("{role_id}:{session}")),
            Self::User { .. } | Self::Service { .. } => None,
        }
    }

    /// The name of the calling service, if it is one.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Service { name } => Some(name),
            _ => None,
        }
    }

    /// The context keys that follow from the caller alone.
    /// (IAM User Guide, "AWS global condition context keys", properties of the principal.)
    pub fn context(&self) -> Context {
        let mut context = Context::new().with("aws:PrincipalIsAWSService", self.service().is_some().to_string());
        if let Some(name) = self.service() {
            return context.with("aws:PrincipalServiceName", name).with_all("aws:PrincipalServiceNamesList", [name]);
        }
        context = context
            .with("aws:PrincipalArn", self.identity_arn())
            .with("aws:PrincipalAccount", self.account().unwrap_or_default())
            .with(
                "aws:PrincipalType",
                match self {
                    Self::Root { .. } => "Account",
                    Self::User { .. } => "User",
                    _ => "AssumedRole",
                },
            );
        if let Some(id) = self.user_id() {
            context = context.with("aws:userid", id);
        }
        if let Self::User { arn } = self {
            context = context.with("aws:username", last_segment(arn));
        }
        context
    }
}

fn last_segment(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
