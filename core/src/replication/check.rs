//! The invariants.

use super::phase::{Phase, Step};
use super::pipeline::{Job, Lane};
use super::stream::Stream;
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
            asks.read_head.len(),
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
        let looks = self.outside.timers.is_set(Timer::Follow) || !asks.read_head.is_empty();
        let must = (waits || matches!(self.phase, Phase::Halted(_))) && self.outside.holds(Safeguard::StandbyFollows);
        ensure!(looks || !must, "standing by, and nobody looks what another records");
        self.check_waits()
    }

    /// Nothing is forgotten: whatever waits, waits for an answer, or for a timer that is set.
    fn check_waits(&self) -> Result<(), BrokenInvariant> {
        let asks = &self.outside.asks;
        let set = |timer| self.outside.timers.is_set(timer);
        if let Phase::Preparing(..) | Phase::Streaming(_) = self.phase {
            ensure!(set(Timer::Renew) || !asks.renew_lease.is_empty(), "the lease runs out, and nobody renews it");
            ensure!(set(Timer::Prune) || !asks.prune.is_empty(), "history grows, and nobody prunes it");
        }
        match &self.phase {
            Phase::Preparing(_, step) => {
                let asked = match step {
                    Step::Waiting => set(Timer::Retry),
                    Step::Inspecting | Step::Verifying(_) => !asks.inspect_source.is_empty(),
                    Step::Loading(_) => !asks.load_progress.is_empty(),
                    Step::CreatingSlot { .. } => !asks.create_slot.is_empty(),
                    Step::SettlingSlot { .. } => !asks.settle_slot.is_empty(),
                    Step::BeginningEra { .. } => !asks.begin_era.is_empty(),
                    Step::Raising { .. } => !asks.raise_schema.is_empty(),
                    Step::Starting(_) => !asks.start_stream.is_empty(),
                };
                ensure!(asked, "the stream is prepared, and nobody goes on with it");
            }
            Phase::Streaming(stream) => self.check_stream_waits(stream)?,
            _ => {}
        }
        Ok(())
    }

    fn check_stream_waits(&self, stream: &Stream) -> Result<(), BrokenInvariant> {
        let asks = &self.outside.asks;
        let set = |timer| self.outside.timers.is_set(timer);
        let writes = match &stream.lane {
            Lane::Free => true,
            Lane::Asked(Job::Note(_)) => !asks.note_attempt.is_empty(),
            Lane::Asked(Job::Record(_)) => !asks.record_page.is_empty(),
            Lane::Asked(Job::Raise { .. }) => !asks.raise_schema.is_empty(),
            Lane::Waiting(_) => set(Timer::RetryJob),
        };
        ensure!(writes, "something is to be written, and nobody writes it");
        ensure!(set(Timer::Inspect) || !asks.inspect_tables.is_empty(), "the tables may change, and nobody looks");
        ensure!(set(Timer::Silence) || asks.read_source.is_empty(), "the stream is read, and may be silent for ever");
        let saved = stream.head.covered <= stream.durable || set(Timer::SaveIdle) || !asks.save_covered.is_empty();
        ensure!(saved, "covered is to be saved, and nobody saves it");
        let nudged = self.outside.wanted <= stream.head.covered || set(Timer::Nudge);
        ensure!(nudged, "covered is waited for, and nobody nudges the source");
        Ok(())
    }
}
