//! The functions of EcrCleanup, as a library: `schedule-checks`, `check-images` and what they share.
//!
//! Deciding is separate from acting: what is decided is a pure function of plain values, and thin async code around it
//! asks AWS and carries out.

pub mod account;
pub mod image;
pub mod opt_in;
pub mod region;
pub mod repository;
pub mod tag_pattern;
pub mod task_definition;
pub mod text;
