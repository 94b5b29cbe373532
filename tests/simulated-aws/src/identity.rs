//! Accounts, regions and principals.

use std::fmt;

/// A 12-digit account id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

impl AccountId {
    /// Takes 12 decimal digits; anything else is `None`.
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        (id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit())).then_some(Self(id))
    }

    /// The 12 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A region's code, such as `eu-west-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

impl Region {
    /// Any non-empty text of lower-case letters, digits and hyphens; anything else is `None`.
    pub fn new(code: impl Into<String>) -> Option<Self> {
        let code = code.into();
        (!code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
            .then_some(Self(code))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// The person at the keyboard of a test: may do everything in this account, and is what AWS shows as its root user.
    Administrator {
        /// The account.
        account: AccountId,
    },
    /// A session of an IAM role.
    Role {
        /// The account that holds the role.
        account: AccountId,
        /// The role's name, without its path.
        role: String,
        /// The session's name.
        session: String,
    },
    /// An AWS service that acts for itself, such as `events.amazonaws.com`.
    Service {
        /// The service principal.
        name: String,
    },
}

impl Principal {
    /// The account that the principal belongs to; services belong to none.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Administrator { account } | Self::Role { account, .. } => Some(account),
            Self::Service { .. } => None,
        }
    }

    /// The ARN that AWS shows for the caller (`GetCallerIdentity`), or the service's name.
    pub fn arn(&self) -> String {
        match self {
            Self::Administrator { account } => format!("arn:aws:iam::{account}:root"),
            Self::Role { account, role, session } => format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
            Self::Service { name } => name.clone(),
        }
    }
}
