//! How far history is known to be complete: advanced by the stream's marks, announced when wanted, saved rarely.

use super::interrupt::{Interrupted, fenced};
use super::io::*;
use super::outside::{Outside, Timer};
use super::stream::{Saving, Stream};
use crate::fault::Failure;
use crate::position::Lsn;
use crate::time::Timestamp;

impl Stream {
    /// Everything below `lsn` is in history.
    pub fn cover(&mut self, lsn: Lsn) {
        self.head.covered = lsn.max(self.head.covered);
    }

    /// A mark counts once everything that was sent before it is recorded.
    pub fn pass_marks(&mut self) {
        if self.lane.page().is_none() {
            while let Some(lsn) = self.queue.take_covered() {
                self.cover(lsn);
            }
        }
    }

    /// Somebody waits for covered.
    pub fn on_wanted(&mut self, now: Timestamp, lsn: Lsn, outside: &mut Outside) {
        if self.head.covered >= lsn {
            outside.announce(self.head.position(), self.head, None);
        } else {
            outside.nudges = 0;
            if outside.timers.is_set(Timer::Nudge) {
                outside.timers.set_at_latest(Timer::Nudge, now + outside.config.nudge_every);
            }
        }
    }

    /// An idle advance is told to those who wait for it, and to nobody else.
    pub fn announce_covered(&mut self, outside: &mut Outside) {
        let told = outside.announced.map_or(Lsn::ZERO, |told| told.covered);
        if self.head.covered > told && outside.wanted > told {
            outside.announce(self.head.position(), self.head, None);
        }
    }

    /// Saves an idle advance: rarely, because saving makes WAL, which makes a keepalive, and idle would never come.
    pub fn save_covered(&mut self, now: Timestamp, outside: &mut Outside) {
        let idle = self.head.covered.0.saturating_sub(self.durable.0);
        if idle == 0 {
            if self.saving == Saving::Rarely {
                outside.timers.stop(Timer::SaveIdle);
            }
            return;
        }
        let large = idle >= outside.config.idle_save_bytes;
        match self.saving {
            _ if !outside.asks.save_covered.is_empty() => {}
            Saving::Now => self.ask_save(outside),
            Saving::Rarely if large => self.ask_save(outside),
            Saving::Rarely => outside.set_once(now, Timer::SaveIdle, outside.config.idle_save_every),
            Saving::Later => {}
        }
    }

    fn ask_save(&mut self, outside: &mut Outside) {
        let covered = self.head.covered;
        let question = SaveCovered { token: self.tenure.token, era: self.head.era(), covered };
        let ask = outside.asks.save_covered.ask(&mut outside.asker, question, covered);
        outside.push(Output::SaveCovered(ask));
        outside.timers.stop(Timer::SaveIdle);
        self.saving = Saving::Rarely;
    }

    /// The idle advance waited long enough.
    pub fn on_save_due(&mut self) {
        self.saving = if self.head.covered > self.durable { Saving::Now } else { Saving::Rarely };
    }

    /// The idle advance is durable, so Postgres may forget what is below.
    pub fn on_covered_saved(
        &mut self,
        now: Timestamp,
        saved: Lsn,
        reply: Result<Fenced<()>, Failure>,
        outside: &mut Outside,
    ) -> Result<(), Interrupted> {
        match fenced(reply) {
            Ok(()) => {
                self.durable = self.durable.max(saved);
                outside.confirm(self.durable);
            }
            Err(Interrupted::Failed(_)) => {
                self.saving = Saving::Later;
                outside.set(now, Timer::SaveIdle, self.backoff.next_wait());
            }
            Err(why) => return Err(why),
        }
        Ok(())
    }
}
