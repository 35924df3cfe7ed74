//! The machine that turns the WAL into history: lease, slot, eras, the pipelined read → record → announce → confirm.
//!
//! One page is written at a time while the next ones are read. A page that is recorded is announced, then confirmed to the
//! slot; nothing is promised earlier. Whatever goes wrong, the way back is the same: look at the source, load what is
//! recorded, start the stream, and recognise by position what history has already.

mod check;
mod config;
mod covered;
mod follow;
mod interrupt;
mod io;
mod lease;
mod outside;
mod phase;
mod pipeline;
mod prepare;
mod queue;
mod schema;
mod stream;
#[cfg(test)]
mod tests;

pub use config::*;
pub use io::*;

use crate::ask::Answer;
use crate::machine::{BrokenInvariant, Machine};
use crate::position::Lsn;
use crate::time::Timestamp;
use interrupt::Interrupted;
use outside::{Outside, Timer, reply};
use phase::{Ending, Phase, Step};
use serde::{Deserialize, Serialize};
use stream::Stream;

/// The one replicator, or one that stands by to become it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    phase: Phase,
    outside: Outside,
}

impl Replication {
    /// A machine that waits for [`Input::Started`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { phase: Phase::Idle, outside: Outside::new(config) }
    }

    /// What it is doing.
    #[must_use]
    pub const fn phase(&self) -> PhaseName {
        self.phase.name()
    }

    /// A view for people and monitors.
    #[must_use]
    pub fn status(&self) -> Status {
        let halt = if let Phase::Halted(halt) = &self.phase { Some(halt.clone()) } else { None };
        Status {
            phase: self.phase(),
            token: self.phase.tenure().map(|tenure| tenure.token),
            head: self.phase.stream().map(|stream| stream.head).or(self.outside.announced),
            confirmed: self.outside.confirmed,
            halt,
        }
    }

    /// Why the last preparation or stream ended, until the next stream delivers.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.outside.trouble.as_deref()
    }

    /// How many answers were ignored because an earlier life had asked, or nobody waited any more.
    #[must_use]
    pub const fn stale_answers(&self) -> u64 {
        self.outside.asker.stale()
    }

    /// How many bytes wait to be recorded.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.phase.stream().map_or(0, |stream| stream.queue.bytes())
    }

    /// Lets the stream act, then do what has become possible.
    fn stream(&mut self, now: Timestamp, act: impl FnOnce(&mut Stream, &mut Outside) -> Result<(), Interrupted>) {
        let Phase::Streaming(stream) = &mut self.phase else { return };
        let done = act(stream, &mut self.outside).and_then(|()| stream.pump(now, &mut self.outside));
        if let Err(why) = done {
            let tenure = stream.tenure;
            self.interrupt(now, tenure, why);
        }
    }

    fn on_covered_wanted(&mut self, now: Timestamp, lsn: Lsn) {
        self.outside.wanted = lsn.max(self.outside.wanted);
        if let Phase::Preparing(_, Step::Starting(ready) | Step::Verifying(ready)) = &self.phase
            && ready.head.covered >= lsn
        {
            let head = ready.head; // It was announced, but perhaps before this hub was awake.
            self.outside.announce(head.position(), head, None);
        }
        if self.follows() {
            self.on_wanted_standing_by(now, lsn);
        }
        self.stream(now, |stream, outside| {
            stream.on_wanted(now, lsn, outside);
            Ok(())
        });
    }

    fn on_source_read(&mut self, now: Timestamp, answer: Answer<ReadSource>) {
        let reply = reply!(self.outside, read_source, answer);
        self.stream(now, |stream, outside| stream.on_read(reply, outside));
    }

    fn on_attempt_noted(&mut self, now: Timestamp, answer: Answer<NoteAttempt>) {
        let reply = reply!(self.outside, note_attempt, answer);
        self.stream(now, |stream, outside| stream.on_attempt_noted(reply, outside));
    }

    fn on_page_recorded(&mut self, now: Timestamp, answer: Answer<RecordPage>) {
        let reply = reply!(self.outside, record_page, answer);
        if let Phase::Stopping(Ending::Recording(stream)) = &mut self.phase {
            // Whatever became of it, nothing is done about it any more.
            let token = stream.tenure.token;
            let _ = stream.on_page_recorded(now, reply, &mut self.outside);
            return self.release(token);
        }
        self.stream(now, |stream, outside| stream.on_page_recorded(now, reply, outside));
    }

    fn on_covered_saved(&mut self, now: Timestamp, answer: Answer<SaveCovered>) {
        let safeguards = self.outside.config.safeguards;
        let taken = self.outside.asks.save_covered.take(&mut self.outside.asker, safeguards, answer);
        let Some((saved, reply)) = taken else { return };
        self.stream(now, |stream, outside| stream.on_covered_saved(now, saved, reply, outside));
    }

    fn on_tables_inspected(&mut self, now: Timestamp, answer: Answer<InspectTables>) {
        let reply = reply!(self.outside, inspect_tables, answer);
        self.stream(now, |stream, outside| stream.on_tables_inspected(now, reply, outside));
    }

    fn on_schema_raised(&mut self, now: Timestamp, answer: Answer<RaiseSchema>) {
        let reply = reply!(self.outside, raise_schema, answer);
        match &self.phase {
            Phase::Preparing(..) => self.on_schema_raised_early(now, reply),
            _ => self.stream(now, |stream, outside| stream.on_schema_raised(now, reply, outside)),
        }
    }

    fn on_timer(&mut self, now: Timestamp, timer: Timer) {
        match timer {
            Timer::Retry => self.on_retry(),
            Timer::Renew => self.renew_lease(),
            Timer::Prune => self.prune(),
            Timer::RetryJob => self.stream(now, |stream, outside| {
                stream.on_retry_job(outside);
                Ok(())
            }),
            Timer::Inspect => self.stream(now, |stream, outside| {
                stream.on_inspection_due(outside);
                Ok(())
            }),
            Timer::SaveIdle => self.stream(now, |stream, _| {
                stream.on_save_due();
                Ok(())
            }),
            Timer::Silence => self.stream(now, |stream, outside| stream.on_silence(now, outside)),
            Timer::Nudge if self.follows() => self.nudge_standing_by(now),
            Timer::Nudge => self.stream(now, |_, _| Ok(())),
            Timer::Follow => self.on_follow(),
        }
    }
}

impl Machine for Replication {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Started { incarnation } => self.on_started(incarnation),
            Input::Stopping => self.on_stopping(),
            Input::CoveredWanted { lsn } => self.on_covered_wanted(now, lsn),
            Input::LeaseTaken(answer) => self.on_lease_taken(now, answer),
            Input::LeaseRenewed(answer) => self.on_lease_renewed(now, answer),
            Input::LeaseReleased(answer) => self.on_lease_released(answer),
            Input::SourceInspected(answer) => self.on_source_inspected(now, answer),
            Input::ProgressLoaded(answer) => self.on_progress_loaded(now, answer),
            Input::SlotCreated(answer) => self.on_slot_created(now, answer),
            Input::SlotSettled(answer) => self.on_slot_settled(now, answer),
            Input::EraBegun(answer) => self.on_era_begun(now, answer),
            Input::StreamStarted(answer) => self.on_stream_started(now, answer),
            Input::SourceRead(answer) => self.on_source_read(now, answer),
            Input::AttemptNoted(answer) => self.on_attempt_noted(now, answer),
            Input::PageRecorded(answer) => self.on_page_recorded(now, answer),
            Input::CoveredSaved(answer) => self.on_covered_saved(now, answer),
            Input::TablesInspected(answer) => self.on_tables_inspected(now, answer),
            Input::SchemaRaised(answer) => self.on_schema_raised(now, answer),
            Input::Pruned(answer) => self.on_pruned(now, answer),
            Input::HeadRead(answer) => self.on_head_read(now, answer),
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(timer) = self.outside.timers.take_due(now) {
            self.on_timer(now, timer);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outside.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.outside.timers.next()
    }

    fn check(&self) -> Result<(), BrokenInvariant> {
        self.check_touched()
    }

    fn check_all(&self) -> Result<(), BrokenInvariant> {
        self.check_whole()
    }
}
