//! The time, from where the SDK takes it too: tests run on a clock of their own.

use aws_smithy_async::time::SharedTimeSource;
use jiff::Timestamp;

/// Tells the time.
#[derive(Debug, Clone)]
pub struct Clock(SharedTimeSource);

impl Clock {
    /// A clock that reads `source`.
    pub fn new(source: SharedTimeSource) -> Self {
        Self(source)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        // A system time that jiff cannot hold lies ten thousand years off; the epoch makes everything look young, and
        // what looks young is not deleted.
        Timestamp::try_from(self.0.now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
