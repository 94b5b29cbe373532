//! What goes wrong with events and messages on their way: they are lost, doubled, late, and so out of order.

use jiff::SignedDuration;

use crate::World;

/// Chances, each from 0 to 1. All zero unless set, so that nothing goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryFaults {
    /// That an event of an AWS service (CloudTrail, Config, …) is never published: these are best effort.
    pub lost: f64,
    /// That an event of an AWS service, an event's delivery, a schedule's invocation or a queue's message comes twice.
    pub doubled: f64,
    /// That it comes late; one that comes twice may come late each time.
    pub late: f64,
    /// At most so much late.
    pub late_by: SignedDuration,
    /// That one attempt of EventBridge or Scheduler to deliver fails, as if the target were overloaded.
    pub failing: f64,
}

impl Default for DeliveryFaults {
    fn default() -> Self {
        Self { lost: 0.0, doubled: 0.0, late: 0.0, late_by: SignedDuration::ZERO, failing: 0.0 }
    }
}

impl World {
    /// What goes wrong with events and messages from now on.
    pub fn set_delivery_faults(&mut self, faults: DeliveryFaults) {
        self.events.faults = faults;
    }

    fn strikes(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }

    fn lateness(&mut self) -> SignedDuration {
        let most = self.events.faults.late_by.as_millis().max(0) as u64;
        SignedDuration::from_millis(self.rng.u64(0..=most) as i64)
    }

    /// Whether an event of an AWS service is lost.
    pub(crate) fn loses_service_event(&mut self) -> bool {
        self.strikes(self.events.faults.lost)
    }

    /// Whether an attempt to deliver fails.
    pub(crate) fn fails_delivery(&mut self) -> bool {
        self.strikes(self.events.faults.failing)
    }

    /// After which times something arrives: once or more.
    pub(crate) fn arrivals(&mut self) -> Vec<SignedDuration> {
        let copies = if self.strikes(self.events.faults.doubled) { 2 } else { 1 };
        (0..copies)
            .map(|_| if self.strikes(self.events.faults.late) { self.lateness() } else { SignedDuration::ZERO })
            .collect()
    }
}
