//! The running stream: what is read is queued, and one append at a time follows.

use super::interrupt::Interrupted;
use super::io::*;
use super::outside::{Outside, Timer, ask};
use super::phase::{Ready, Tenure};
use super::pipeline::Lane;
use super::prepare::durably_covered;
use super::queue::{PageLimits, Queue};
use super::schema::{Gate, Noted};
use crate::fault::Failure;
use crate::history::Head;
use crate::position::{Lsn, Position};
use crate::rng::{Backoff, mix};
use crate::safeguard::Safeguard;
use crate::source::{Fingerprints, SourceItem};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All that lives as long as one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    pub tenure: Tenure,
    /// What is recorded; covered as far as it is known to be true.
    pub head: Head,
    /// Below here everything is durably known to be in history: no confirmation exceeds it.
    pub durable: Lsn,
    /// The last appended position, an unfinished transaction included.
    pub appended: Position,
    pub queue: Queue,
    pub lane: Lane,
    pub gate: Gate,
    /// The tables whose shapes were told since the last look that was asked for because of one.
    pub told: BTreeSet<String>,
    /// What was noted of the tables, and what is to be.
    pub noted: Noted,
    /// Between tries to write to history.
    pub backoff: Backoff,
    pub saving: Saving,
    /// The stream was nudged because it was silent, and has not delivered since.
    silent: bool,
    pub database_oid: u32,
}

/// When an idle advance is saved next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Saving {
    /// Once it is large, or old.
    Rarely,
    /// At once.
    Now,
    /// After the wait that follows a failure.
    Later,
}

impl Stream {
    pub fn new(tenure: Tenure, ready: Ready, outside: &mut Outside) -> Self {
        let Ready { head, slot, fingerprints, evidence } = ready;
        let config = &outside.config;
        let limits = PageLimits {
            changes_max: config.page_changes_max.max(1) as usize,
            bytes_max: config.page_bytes_max.max(1) as usize,
        };
        let backoff = Backoff::new(config.backoff_first, config.backoff_most, mix(config.seed));
        let durable = durably_covered(&head);
        outside.confirmed = slot.min(durable);
        Self {
            tenure,
            head: Head { covered: durable, ..head },
            durable,
            appended: head.position(),
            queue: Queue::new(limits, head.position().commit_lsn),
            lane: Lane::Free,
            gate: Gate::Open,
            told: BTreeSet::new(),
            noted: Noted::new(fingerprints),
            backoff,
            saving: Saving::Rarely,
            silent: false,
            database_oid: evidence.database_oid,
        }
    }

    /// Begins to read, after a last look at the tables.
    pub fn start(&mut self, now: Timestamp, found: Fingerprints, outside: &mut Outside) -> Result<(), Interrupted> {
        self.noted.found(found, &BTreeSet::new());
        outside.set(now, Timer::Inspect, outside.config.inspect_every);
        self.pump(now, outside)
    }

    /// Does what can be done after something has changed.
    pub fn pump(&mut self, now: Timestamp, outside: &mut Outside) -> Result<(), Interrupted> {
        self.inspect_for_gate(outside);
        self.pass_marks();
        self.start_job(outside);
        self.read(now, outside);
        self.announce_covered(outside);
        self.save_covered(now, outside);
        outside.nudge(now, self.head.covered);
        Ok(())
    }

    /// Reads while there is room; and always when nothing can be taken, as before the end of one large change's transaction.
    fn read(&mut self, now: Timestamp, outside: &mut Outside) {
        let starved = self.lane.is_free() && self.gate.is_open();
        if outside.asks.read_source.is_empty() && (self.queue.has_room() || starved) {
            let (changes_max, bytes_max) = (outside.config.page_changes_max, outside.config.page_bytes_max);
            ask!(outside, read_source, ReadSource, ReadSource { changes_max, bytes_max });
            outside.set(now, Timer::Silence, outside.config.silence_after);
        }
    }

    /// A connection can die without a word: what delivers nothing is nudged, and what is silent even then is dead.
    pub fn on_silence(&mut self, now: Timestamp, outside: &mut Outside) -> Result<(), Interrupted> {
        if outside.asks.read_source.is_empty() {
            return Ok(()); // We do not read; the next read sets the timer.
        }
        if self.silent {
            return Err(Interrupted::Failed("the stream delivered nothing even when it was nudged".into()));
        }
        self.silent = true;
        outside.push(Output::NudgeSource);
        outside.set(now, Timer::Silence, outside.config.silence_after);
        Ok(())
    }

    pub fn on_read(
        &mut self,
        reply: Result<Vec<SourceItem>, Failure>,
        outside: &mut Outside,
    ) -> Result<(), Interrupted> {
        let items = reply?;
        outside.backoff.succeeded();
        outside.trouble = None;
        self.silent = false;
        for item in items {
            if let SourceItem::Relation(relation) = &item {
                self.told.insert(relation.full_name());
            }
            let pushed = self.queue.push(item)?;
            if pushed.shape {
                self.gate.shut();
            }
            if let Some(sent) = pushed.sent
                && !outside.holds(Safeguard::CoveredBeforeConfirm)
            {
                outside.confirm(sent);
            }
        }
        Ok(())
    }

    /// Whether an append is under way.
    pub fn is_recording(&self) -> bool {
        self.lane.is_recording()
    }
}
