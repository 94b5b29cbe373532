//! What an organization consists of, and the hand that builds it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::World;
use crate::identity::AccountId;

/// The status of an account (Organizations API reference, `Account`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountStatus {
    /// In use.
    Active,
    /// Closed, or suspended by AWS.
    Suspended,
    /// Being closed.
    PendingClosure,
}

impl AccountStatus {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::PendingClosure => "PENDING_CLOSURE",
        }
    }
}

/// An account in an organization.
#[derive(Debug, Clone)]
pub struct Member {
    /// The root or unit that holds it.
    pub parent: String,
    /// Its status.
    pub status: AccountStatus,
    /// When it joined.
    pub joined: Timestamp,
}

/// An organizational unit.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The root or unit that holds it.
    pub parent: String,
    /// Its name.
    pub name: String,
}

/// An organization.
#[derive(Debug, Clone)]
pub struct Organization {
    id: String,
    root: String,
    management: AccountId,
    pub(super) units: BTreeMap<String, Unit>,
    pub(super) members: BTreeMap<AccountId, Member>,
    /// Services with trusted access, since when.
    pub(super) services: BTreeMap<String, Timestamp>,
    /// Delegated administrators: for which services, since when.
    pub(super) delegated: BTreeMap<AccountId, BTreeMap<String, Timestamp>>,
}

impl Organization {
    /// `o-…`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The root's id, `r-…`.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The management account.
    pub fn management(&self) -> &AccountId {
        &self.management
    }

    /// Its accounts.
    pub fn members(&self) -> &BTreeMap<AccountId, Member> {
        &self.members
    }

    /// Its organizational units, by id.
    pub fn units(&self) -> &BTreeMap<String, Unit> {
        &self.units
    }

    /// Whether the id is that of the root or of a unit.
    pub fn has_parent(&self, id: &str) -> bool {
        id == self.root || self.units.contains_key(id)
    }

    /// Whether a service has trusted access.
    pub fn trusts(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// Whether the account administers the service, as management account or by delegation.
    pub fn administers(&self, account: &AccountId, service: &str) -> bool {
        *account == self.management
            || self.delegated.get(account).is_some_and(|services| services.contains_key(service))
    }

    /// The accounts directly under the root or a unit, in order.
    pub fn accounts_in<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = &'a AccountId> {
        self.members.iter().filter(move |(_, member)| member.parent == parent).map(|(account, _)| account)
    }

    /// The accounts under the root or a unit, at any depth, in order.
    pub fn accounts_below<'a>(&'a self, ancestor: &'a str) -> impl Iterator<Item = &'a AccountId> {
        let below = move |member: &Member| self.ancestry(&member.parent).contains(&ancestor);
        self.members.iter().filter(move |(_, member)| below(member)).map(|(account, _)| account)
    }

    /// From the root to this parent, both included; only the root for an unknown id.
    fn ancestry<'a>(&'a self, parent: &'a str) -> Vec<&'a str> {
        let mut found = Vec::new();
        let mut at = parent;
        while let Some(unit) = self.units.get(at) {
            found.push(at);
            at = &unit.parent;
        }
        found.push(&self.root);
        found.reverse();
        found
    }

    /// The path of the root or a unit: `o-ID/r-ID/ou-ID/`.
    pub fn path_of_parent(&self, parent: &str) -> String {
        format!("{}/{}/", self.id, self.ancestry(parent).join("/"))
    }

    /// The path of the parent of an account, as `aws:PrincipalOrgPaths` has it.
    pub fn path_of_account(&self, account: &AccountId) -> Option<String> {
        self.members.get(account).map(|member| self.path_of_parent(&member.parent))
    }
}

/// The state of AWS Organizations.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(super) organizations: Vec<Organization>,
}

impl State {
    pub(super) fn of(&self, account: &AccountId) -> Option<&Organization> {
        self.organizations.iter().find(|organization| organization.members.contains_key(account))
    }

    pub(super) fn of_mut(&mut self, account: &AccountId) -> Option<&mut Organization> {
        self.organizations.iter_mut().find(|organization| organization.members.contains_key(account))
    }

    fn holding(&mut self, parent: &str) -> &mut Organization {
        self.organizations
            .iter_mut()
            .find(|organization| organization.has_parent(parent))
            .unwrap_or_else(|| panic!("no organization has {parent}"))
    }
}

/// Building organizations by hand.
impl World {
    /// Makes an organization with all features and this management account (which is made if need be), and returns the id of its root.
    ///
    /// # Panics
    /// If the account is in an organization already.
    pub fn create_organization(&mut self, management: &AccountId) -> String {
        assert!(self.organization_of(management).is_none(), "{management} is in an organization already");
        self.add_account(management);
        let number = self.fresh_number();
        let root = format!("r-{number:04x}");
        let member = Member { parent: root.clone(), status: AccountStatus::Active, joined: self.now() };
        self.organizations.organizations.push(Organization {
            id: format!("o-{number:010x}"),
            root: root.clone(),
            management: management.clone(),
            units: BTreeMap::new(),
            members: BTreeMap::from([(management.clone(), member)]),
            services: BTreeMap::new(),
            delegated: BTreeMap::new(),
        });
        root
    }

    /// The organization that an account is in.
    pub fn organization_of(&self, account: &AccountId) -> Option<&Organization> {
        self.organizations.of(account)
    }

    /// Makes an organizational unit under the root or another unit, and returns its id.
    ///
    /// # Panics
    /// If no organization has the parent.
    pub fn create_organizational_unit(&mut self, parent: &str, name: &str) -> String {
        let number = self.fresh_number();
        let organization = self.organizations.holding(parent);
        let id = format!("ou-{}-{number:08x}", &organization.root[2..]);
        organization.units.insert(id.clone(), Unit { parent: parent.to_owned(), name: name.to_owned() });
        id
    }

    /// Takes an account (which is made if need be) into the organization that has the parent; one that is in it already moves.
    ///
    /// # Panics
    /// If no organization has the parent, or the account is in another one.
    pub fn place_account(&mut self, account: &AccountId, parent: &str) {
        self.add_account(account);
        let joined = self.now();
        let elsewhere = self.organization_of(account).map(|organization| organization.id.clone());
        let organization = self.organizations.holding(parent);
        assert!(elsewhere.is_none_or(|id| id == organization.id), "{account} is in another organization");
        organization
            .members
            .entry(account.clone())
            .or_insert_with(|| Member { parent: parent.to_owned(), status: AccountStatus::Active, joined })
            .parent = parent.to_owned();
        self.account_moved(account);
    }

    /// Takes an account out of its organization, its delegations included.
    ///
    /// # Panics
    /// If it is the management account.
    pub fn remove_account_from_organization(&mut self, account: &AccountId) {
        if let Some(organization) = self.organizations.of_mut(account) {
            assert!(organization.management != *account, "the management account cannot leave its organization");
            organization.members.remove(account);
            organization.delegated.remove(account);
        }
        self.account_moved(account);
    }

    /// Sets an account's status; nothing happens to an account outside organizations.
    pub fn set_account_status(&mut self, account: &AccountId, status: AccountStatus) {
        if let Some(member) =
            self.organizations.of_mut(account).and_then(|organization| organization.members.get_mut(account))
        {
            member.status = status;
        }
    }

    /// Closes an account: it is `PENDING_CLOSURE` for an hour, then `SUSPENDED`, and leaves the organization after 90 days
    /// (Organizations User Guide, "Closing a member account"; how long it is pending is not documented).
    pub fn close_account(&mut self, account: &AccountId) {
        self.set_account_status(account, AccountStatus::PendingClosure);
        let closed = account.clone();
        self.after(SignedDuration::from_hours(1), move |world| {
            world.set_account_status(&closed, AccountStatus::Suspended);
        });
        let gone = account.clone();
        self.after(SignedDuration::from_hours(90 * 24), move |world| world.remove_account_from_organization(&gone));
    }

    /// Whether an account is suspended or being closed: then its roles may do nothing, and nobody can assume them.
    pub fn account_is_closed(&self, account: &AccountId) -> bool {
        self.organization_of(account)
            .and_then(|organization| organization.members.get(account))
            .is_some_and(|member| member.status != AccountStatus::Active)
    }
}
