//! What will happen later, in the order of virtual time.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use crate::World;
use crate::function::Invocation;

/// A change of the world that happens at a certain time.
pub(crate) type Step = Box<dyn FnOnce(&mut World) + Send>;

/// An entry of the agenda.
pub(crate) enum Due {
    /// A change of the world.
    Step(Step),
    /// A function to run; its end is a change of the world too.
    Invoke(Box<Invocation>),
}

/// A queue ordered by time, then by insertion.
#[derive(Default)]
pub(crate) struct Agenda {
    entries: BTreeMap<(Timestamp, u64), Due>,
    next: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Timestamp, due: Due) {
        self.entries.insert((at, self.next), due);
        self.next += 1;
    }

    /// Takes the first entry if it is due at `limit`.
    pub(crate) fn pop_until(&mut self, limit: Timestamp) -> Option<(Timestamp, Due)> {
        let first = self.entries.first_entry().filter(|entry| entry.key().0 <= limit)?;
        let ((at, _), due) = first.remove_entry();
        Some((at, due))
    }
}

impl fmt::Debug for Agenda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agenda").field("entries", &self.entries.keys()).finish()
    }
}
