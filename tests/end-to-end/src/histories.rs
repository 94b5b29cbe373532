//! Random histories: what teams do over some days, and what goes wrong meanwhile, against an oracle that knows the truth.
//!
//! # Guarantees
//! - A seed makes a [`History`], a plain list of timed actions; the same history runs the same way each time.
//! - Any action can be left out of a history, so that a failing one can be minimized: an action whose subject is missing
//!   does nothing.
//! - The [`oracle`] judges by the simulation's truth about ECS and ECR, never by what the product says.
//!
//! # What the oracle demands
//! - No used image was deleted, unless it became used within Config's delay before, or while an account and region no longer
//!   showed its uses and the proof that it does was still remembered.
//! - Nothing was deleted while an account and region that may pull did not show its uses, once that proof was forgotten.
//! - Every unused image of an opted-in repository that no setting keeps is gone, whatever events were lost, at the latest
//!   one rollback window and one sweep after the last thing that concerned it.
//! - Nothing outside opted-in repositories was touched, nothing under `DryRun`, nothing within the rollback window of an
//!   event, a push, a recorded pull, or the end of a service's deployment that a newer one replaced.
//! - No message is left in a queue, and a dead one is in a queue that has an alarm.
//! - The simulation refused nothing.

mod action;
mod blindfold;
mod generator;
mod minimize;
mod oracle;
mod replay;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use action::{Action, Blindness, By, History, OptIn, Spot, Timed, WireFault};
pub use blindfold::Blindfold;
pub use generator::generate;
pub use minimize::shortest;

use replay::Replay;

/// Runs a history, with one kind of evidence hidden from the product if there is a blindfold.
///
/// # Errors
/// What the oracle has to say against it, or the panic that ended it.
pub fn run(history: &History, blindfold: Option<Blindfold>) -> Result<(), Vec<String>> {
    let outcome = catch_unwind(AssertUnwindSafe(|| Replay::new(history, blindfold).run(history)));
    match outcome {
        Ok(violations) if violations.is_empty() => Ok(()),
        Ok(violations) => Err(violations),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("an unknown panic");
            Err(vec![format!("the history ended in a panic: {text}")])
        }
    }
}
