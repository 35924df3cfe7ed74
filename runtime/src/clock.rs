//! The one place where the clock of the operating system is read.

use dormouse_core::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The time of one process: the wall clock as it stood at the start, carried on by the monotonic one.
///
/// A wall clock that is set, or jumps, therefore moves no deadline of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started_at: Timestamp,
    started: Instant,
}

impl Clock {
    /// Reads both clocks.
    #[must_use]
    pub fn start() -> Self {
        Self { started_at: Self::wall(), started: Instant::now() }
    }

    /// The wall clock as it stands now, mended or not: what dates in credentials are compared with.
    #[must_use]
    pub fn wall() -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the place where the clock is read")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::ZERO + since_epoch
    }

    /// What machines are told the time is.
    #[must_use]
    pub fn now(self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }

    /// When the process started.
    #[must_use]
    pub const fn started_at(self) -> Timestamp {
        self.started_at
    }

    /// When a machine's deadline comes, for a timer of the runtime. At most a day ahead: whoever waits looks again.
    #[must_use]
    pub fn instant_of(self, at: Timestamp) -> Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        Instant::now() + at.since(self.now()).min(DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_lie_as_far_ahead_as_they_say() {
        let clock = Clock::start();
        let wait = clock.instant_of(clock.now() + Duration::from_secs(5)) - Instant::now();
        assert!(wait > Duration::from_secs(4) && wait <= Duration::from_secs(5));
        assert!(clock.instant_of(Timestamp::ZERO) <= Instant::now());
        assert!(clock.instant_of(Timestamp(u64::MAX)) <= Instant::now() + Duration::from_secs(86_400));
    }
}
