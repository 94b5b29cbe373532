//! AWS Organizations: organizations, organizational units at any depth, accounts and their status, delegated
//! administrators and trusted access.
//!
//! Organizations are built by hand ([`World::create_organization`] and its neighbours), as histories need them; the operations
//! read them, and manage delegation and trusted access. Only the management account and delegated administrators may
//! read, only the management account may change, and any member may ask for `DescribeOrganization`
//! (AWS Organizations User Guide, "Delegated administrator for AWS services"). Policies (SCPs and the like), handshakes and
//! account creation are outside.

mod api;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use api::operations;
pub(crate) use tree::State;
pub use tree::{AccountStatus, Member, Organization, Unit};
