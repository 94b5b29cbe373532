//! An AWS organization in memory, which speaks the AWS wire protocols to real SDK clients.
//!
//! It exists so that the product is tested below the SDK: several accounts and regions, a virtual clock, IAM that
//! refuses, events that are forwarded, queues that redeliver, functions that crash. It depends on nothing of the
//! product.
//!
//! # Guarantees
//! - The same seed and the same calls give the same history: no wall clock, no thread, no unordered iteration.
//! - What is not implemented is refused by name (`NotSimulated`), whether an operation, a parameter or a value; it is
//!   never answered with a made-up success. [`World::refusals`] lists what was refused.
//! - Where AWS's behaviour is not documented, [`Behaviours`] offers each possibility, and its default is the nastier one.
//!
//! # How it is put together
//! [`World`] is the state of everything. [`operation`] is the registry: one row for each API operation with its wire
//! protocol, its authorization and its handler, which takes and returns JSON in the member names of the published
//! service model. [`protocol`] turns HTTP into that JSON and back. [`SimulatedAws`] is the handle that drives
//! virtual time, runs the registered function code and hands out SDK configurations.

mod agenda;
mod behaviours;
mod connector;
mod delivery;
mod driver;
mod fault;
mod function;
mod identity;
mod input;
mod members;
pub mod operation;
mod paging;
pub mod protocol;
mod recording;
mod serve;
mod service_role;
mod world;

pub mod cloudformation;
pub mod cloudtrail;
pub mod cloudwatch;
pub mod config;
pub mod ecr;
pub mod ecs;
pub mod events;
pub mod iam;
pub mod lambda;
pub mod logs;
pub mod organizations;
pub mod scheduler;
pub mod sns;
pub mod sqs;
pub mod ssm;
pub mod sts;

pub use behaviours::{Behaviours, PastSchedule};
pub use delivery::DeliveryFaults;
pub use driver::SimulatedAws;
pub use fault::{CallSummary, Fault};
pub use function::{Done, Function, FunctionContext, Invocation, InvocationError};
pub use identity::{AccountId, Principal, Region};
pub use operation::{Call, ServiceError};
pub use recording::CallRecord;
pub use serve::serve;
pub use world::World;
