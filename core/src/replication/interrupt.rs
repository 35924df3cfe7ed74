//! What ends a preparation or a stream, sorted by what follows.

use super::io::Fenced;
use super::outside::Timer;
use super::phase::{Phase, Step, Tenure};
use super::queue::Incoherent;
use super::{Output, Replication};
use crate::fault::{Failure, Halt};
use crate::time::Timestamp;

/// Why work under a lease cannot go on as it is.
#[derive(Debug)]
pub(super) enum Interrupted {
    /// Passing trouble: prepare again after a wait.
    Failed(String),
    /// Another holds the lease now.
    Superseded,
    /// The operator must act.
    Halted(Halt),
}

impl From<Failure> for Interrupted {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable(why) => Self::Failed(why),
            Failure::Refused(why) => Self::Halted(Halt { code: "refused".into(), message: why }),
        }
    }
}

/// The effect's result, if the lease still was ours.
pub(super) fn fenced<T>(reply: Result<Fenced<T>, Failure>) -> Result<T, Interrupted> {
    match reply? {
        Fenced::Done(value) => Ok(value),
        Fenced::Superseded => Err(Interrupted::Superseded),
    }
}

impl Replication {
    /// Leaves whatever was going on under this lease.
    pub(super) fn interrupt(&mut self, now: Timestamp, tenure: Tenure, why: Interrupted) {
        self.outside.stop_stream();
        let wait = self.outside.backoff.next_wait();
        match why {
            Interrupted::Failed(why) => {
                self.outside.trouble = Some(why);
                self.outside.forget_work();
                self.outside.set(now, Timer::Retry, wait);
                self.phase = Phase::Preparing(tenure, Step::Waiting);
            }
            Interrupted::Superseded => {
                self.outside.forget_tenure();
                self.outside.set(now, Timer::Retry, wait);
                self.phase = Phase::Standby;
                self.stand_by(now);
            }
            Interrupted::Halted(halt) => {
                self.outside.forget_tenure();
                self.outside.push(Output::Halt(halt.clone()));
                self.phase = Phase::Halted(halt);
                self.stand_by(now);
            }
        }
    }
}

impl From<Incoherent> for Interrupted {
    fn from(Incoherent(why): Incoherent) -> Self {
        Self::Failed(why.into())
    }
}
