//! The functions of EcrCleanup, as a library: `provider`, `schedule-checks`, `check-images`, `sweep`, and what they share.
//!
//! Deciding is separate from acting: what is decided is a pure function of plain values, and thin async code around it
//! asks AWS and carries out.

pub mod account;
pub mod batch;
pub mod causes;
pub mod check_images;
pub mod checks;
pub mod clients;
pub mod clock;
pub mod function;
pub mod image;
pub mod log;
pub mod metrics;
pub mod names;
pub mod opt_in;
pub mod provider;
pub mod region;
pub mod repository;
pub mod schedule_checks;
pub mod settings;
pub mod sweep;
pub mod tag_pattern;
pub mod task_definition;
pub mod task_definition_event;
pub mod text;
