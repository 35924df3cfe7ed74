//! The invariants.

use super::phase::Phase;
use super::{Replication, Timer};
use crate::ensure;
use crate::machine::BrokenInvariant;
use crate::safeguard::Safeguard;

impl Replication {
    /// What the last input may have broken.
    pub(super) fn check_touched(&self) -> Result<(), BrokenInvariant> {
        let Some(stream) = self.phase.stream() else { return Ok(()) };
        let outside = &self.outside;
        ensure!(stream.queue.is_bounded(), "the queue holds more than {} pages", super::queue::QUEUE_PAGES);
        ensure!(
            stream.durable <= stream.head.covered,
            "durably covered to {}, but covered only to {}",
            stream.durable,
            stream.head.covered
        );
        ensure!(
            outside.confirmed <= stream.durable || !outside.holds(Safeguard::CoveredBeforeConfirm),
            "confirmed {} beyond what is durably covered ({})",
            outside.confirmed,
            stream.durable
        );
        ensure!(stream.head.position() <= stream.appended, "the head is beyond what was appended");
        let Some(told) = outside.announced.filter(|told| told.era() == stream.head.era()) else { return Ok(()) };
        let ahead = told.position() > stream.head.position() || told.covered > stream.head.covered;
        ensure!(
            !ahead || !outside.holds(Safeguard::RecordBeforeAnnounce),
            "announced {} covered {}, but recorded {} covered {}",
            told.position(),
            told.covered,
            stream.head.position(),
            stream.head.covered
        );
        Ok(())
    }

    /// Everything.
    pub(super) fn check_whole(&self) -> Result<(), BrokenInvariant> {
        self.check_touched()?;
        let asks = &self.outside.asks;
        let open = [
            asks.read_source.len(),
            asks.record_page.len() + asks.note_attempt.len() + asks.raise_schema.len(),
            asks.save_covered.len(),
            asks.inspect_tables.len(),
            asks.renew_lease.len(),
            asks.prune.len(),
            asks.take_lease.len() + asks.inspect_source.len() + asks.load_progress.len(),
        ];
        ensure!(open.iter().all(|open| *open <= 1), "a question was asked twice at once: {open:?}");
        if let Some(stream) = self.phase.stream() {
            ensure!(stream.queue.adds_up(), "the queue's counts are not those of its entries");
            ensure!(
                stream.lane.page().is_none_or(|page| page.after == stream.appended),
                "the page under way does not follow what was appended"
            );
        }
        let waits = matches!(self.phase, Phase::Standby) && asks.take_lease.is_empty();
        ensure!(!waits || self.outside.timers.is_set(Timer::Retry), "standing by, and nothing will end that");
        Ok(())
    }
}
