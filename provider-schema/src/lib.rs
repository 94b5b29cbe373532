//! The `Custom::EcrCleanup` resource: what a template may say ([`Properties`]), what `Fn::GetAtt` answers
//! ([`Attributes`]), and the JSON Schemas generated from both ([`schema`]). Nothing here calls AWS.
//!
//! # Guarantees
//! - What the schema and what [`Properties::parse`] accept cannot drift apart in the values: patterns, lengths and
//!   ranges are written once, in [`scalar`], and serve both.
//! - [`Properties::parse`] reports all problems of a request at once, each with the path of the property at fault.
//! - It never panics and never guesses: a property it does not know is refused by name.
//!
//! # Adding a property
//! Give [`Properties`] (or a part of it) a field with a doc comment, which becomes the schema's description; read it in
//! the `Read` implementation beside the type; run `cargo xtask schema`.

mod attributes;
mod properties;
mod reading;
pub mod scalar;
pub mod schema;

pub use attributes::Attributes;
pub use properties::{
    Accounts, Action, CallAs, ConcurrencyMode, KeepOrCheck, OptInTag, Organization, OutsidePullers, Properties,
    RegionConcurrencyType, Rollout, WorkloadSource, Workloads,
};
pub use reading::{Problem, Problems};
