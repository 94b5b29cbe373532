//! Harness of the end-to-end tests: an organization in the simulated AWS with the product's functions in its hub, and the
//! hands of the teams that use it.
//!
//! Only this crate links both the product and the simulation. What teams do goes through AWS calls; what is true is read
//! from the simulation ([`simulated_aws::ecs`], [`simulated_aws::ecr`]), never from the product.

pub mod cleanup;
pub mod histories;
mod installation;
mod inventory;
mod organization;
mod outcomes;
mod stacks;
mod team;

pub use installation::{
    CLEANUP_STACK, HUB_STACK, Installation, deploy_hub, deploy_hub_with, install_hub, keep_functions_warm, prepare_hub,
};
pub use inventory::Item;
pub use organization::{ORGANIZATION_HUB, Organization};
pub use outcomes::{Outcome, Outcomes};
pub use stacks::{Stack, stack_set_roles};
pub use team::{Mutability, Pushed};
