//! Roles and what is attached to them. IAM is global: a role belongs to an account, not to a region.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::policy::Policy;
use crate::identity::AccountId;

/// A policy as it was given, and as it was understood.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) policy: Policy,
}

/// An IAM role.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) account: AccountId,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    pub(crate) description: Option<String>,
    /// In seconds.
    pub(crate) max_session: i64,
    pub(crate) trust: Document,
    pub(crate) inline: BTreeMap<String, Document>,
    /// AWS managed policies, by ARN.
    pub(crate) attached: BTreeMap<String, Policy>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Role {
    pub(crate) fn arn(&self) -> String {
        role_arn(&self.account, &self.path, &self.name)
    }

    /// All policies that say what the role may do.
    pub(super) fn policies(&self) -> Vec<&Policy> {
        self.inline.values().map(|document| &document.policy).chain(self.attached.values()).collect()
    }
}

pub(super) fn role_arn(account: &AccountId, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:role{path}{name}")
}

/// The account and the name in a role's ARN.
pub(crate) fn parse_role_arn(arn: &str) -> Option<(AccountId, &str)> {
    let rest = arn.strip_prefix("arn:aws:iam::")?;
    let (account, resource) = rest.split_once(':')?;
    let name = resource.strip_prefix("role/")?.rsplit('/').next()?;
    Some((AccountId::new(account)?, name))
}

/// The state of IAM in all accounts.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Names differ in more than case, so they are kept in lower case.
    roles: BTreeMap<(AccountId, String), Role>,
}

impl State {
    pub(crate) fn role(&self, account: &AccountId, name: &str) -> Option<&Role> {
        self.roles.get(&(account.clone(), name.to_ascii_lowercase()))
    }

    /// The role of that ARN; the path must be right too.
    pub(crate) fn role_of_arn(&self, arn: &str) -> Option<&Role> {
        let (account, name) = parse_role_arn(arn)?;
        self.role(&account, name).filter(|role| role.arn() == arn)
    }

    pub(super) fn role_mut(&mut self, account: &AccountId, name: &str) -> Option<&mut Role> {
        self.roles.get_mut(&(account.clone(), name.to_ascii_lowercase()))
    }

    pub(super) fn insert(&mut self, role: Role) {
        self.roles.insert((role.account.clone(), role.name.to_ascii_lowercase()), role);
    }

    pub(super) fn remove(&mut self, account: &AccountId, name: &str) {
        self.roles.remove(&(account.clone(), name.to_ascii_lowercase()));
    }

    /// The roles of an account, by name.
    pub(crate) fn roles_of<'a>(&'a self, account: &'a AccountId) -> impl Iterator<Item = &'a Role> {
        self.roles.values().filter(move |role| role.account == *account)
    }
}
