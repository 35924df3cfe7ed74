//! The machine's handles on the outside: its open questions, timers and outputs, and what it has promised.

use super::Config;
use super::io::*;
use crate::ask::{Asker, Incarnation, Open};
use crate::change::Page;
use crate::history::{Announcement, Head, ReadHead};
use crate::position::{Lsn, Position};
use crate::rng::Backoff;
use crate::safeguard::Safeguard;
use crate::time::Timestamp;
use crate::timers::Timers;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Why the machine wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// The wait after a failure is over: take the lease, or prepare, again.
    Retry,
    /// The lease wants to be renewed.
    Renew,
    /// The wait after a failed write to history is over.
    RetryJob,
    /// Compare the tables.
    Inspect,
    /// Delete old history.
    Prune,
    /// An idle advance has waited long enough to be saved.
    SaveIdle,
    /// Somebody still waits for covered.
    Nudge,
    /// The stream has delivered nothing for long.
    Silence,
    /// Another process may have recorded something.
    Follow,
}

/// The open questions. Most memos are empty: at most one of a kind is open, and the phase says what for.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asks {
    pub take_lease: Open<TakeLease, ()>,
    pub renew_lease: Open<RenewLease, ()>,
    pub release_lease: Open<ReleaseLease, ()>,
    pub inspect_source: Open<InspectSource, ()>,
    pub load_progress: Open<LoadProgress, ()>,
    pub create_slot: Open<CreateSlot, ()>,
    pub settle_slot: Open<SettleSlot, ()>,
    pub begin_era: Open<BeginEra, ()>,
    pub start_stream: Open<StartStream, ()>,
    pub read_source: Open<ReadSource, ()>,
    pub note_attempt: Open<NoteAttempt, ()>,
    pub record_page: Open<RecordPage, ()>,
    /// Remembers what is being saved.
    pub save_covered: Open<SaveCovered, Lsn>,
    pub inspect_tables: Open<InspectTables, ()>,
    pub raise_schema: Open<RaiseSchema, ()>,
    pub prune: Open<Prune, ()>,
    pub read_head: Open<ReadHead, ()>,
}

/// What every phase can reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outside {
    pub config: Config,
    pub asker: Asker,
    pub asks: Asks,
    pub timers: Timers<Timer>,
    pub outputs: VecDeque<Output>,
    /// Between tries to get the stream going.
    pub backoff: Backoff,
    /// Why the last preparation or stream ended.
    pub trouble: Option<String>,
    /// The stream was asked for and not closed since.
    pub stream_open: bool,
    /// The last head that was announced in this life.
    pub announced: Option<Head>,
    /// What Postgres was last allowed to forget in this life.
    pub confirmed: Lsn,
    /// The greatest LSN that somebody waits, or waited, for.
    pub wanted: Lsn,
    /// How often the source was nudged for it.
    pub nudges: u32,
    /// The transaction whose attempt this life has counted, or was about to, and under which lease.
    pub noted: Option<(Lsn, Token)>,
}

/// Takes out the reply to an open question, counting answers that nobody waits for.
macro_rules! reply {
    ($outside:expr, $kind:ident, $answer:expr) => {{
        let outside = &mut $outside;
        let safeguards = outside.config.safeguards;
        let taken = outside.asks.$kind.take(&mut outside.asker, safeguards, $answer);
        let Some((_, reply)) = taken else { return };
        reply
    }};
}

/// Asks a question of which no other is open.
macro_rules! ask {
    ($outside:expr, $kind:ident, $output:ident, $question:expr) => {{
        let outside = &mut *$outside;
        let ask = outside.asks.$kind.ask(&mut outside.asker, $question, ());
        outside.outputs.push_back(Output::$output(ask));
    }};
}
pub(super) use {ask, reply};

impl Outside {
    pub fn new(config: Config) -> Self {
        let backoff = Backoff::new(config.backoff_first, config.backoff_most, config.seed);
        Self {
            config,
            asker: Asker::default(),
            asks: Asks::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            backoff,
            trouble: None,
            stream_open: false,
            announced: None,
            confirmed: Lsn::ZERO,
            wanted: Lsn::ZERO,
            nudges: 0,
            noted: None,
        }
    }

    pub fn start(&mut self, incarnation: Incarnation) {
        self.asker = Asker::new(incarnation);
    }

    pub fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub const fn holds(&self, safeguard: Safeguard) -> bool {
        self.config.safeguards.holds(safeguard)
    }

    /// Sets a timer; never for now, so that firing always moves the deadline on.
    pub fn set(&mut self, now: Timestamp, timer: Timer, wait: Duration) {
        self.timers.set(timer, now + wait.max(Duration::from_millis(1)));
    }

    /// Sets a timer unless it runs already.
    pub fn set_once(&mut self, now: Timestamp, timer: Timer, wait: Duration) {
        if !self.timers.is_set(timer) {
            self.set(now, timer, wait);
        }
    }

    /// Ends all that belongs to a lease: its answers will be ignored.
    pub fn forget_tenure(&mut self) {
        self.asks = Asks::default();
        self.timers.clear();
    }

    /// Ends all that belongs to one preparation or stream; renewing the lease and pruning go on.
    pub fn forget_work(&mut self) {
        let asks = std::mem::take(&mut self.asks);
        self.asks = Asks { renew_lease: asks.renew_lease, prune: asks.prune, ..Asks::default() };
        self.stop_timers();
    }

    /// Stops the timers of one preparation or stream.
    pub fn stop_timers(&mut self) {
        for timer in [Timer::Retry, Timer::RetryJob, Timer::Inspect, Timer::SaveIdle, Timer::Nudge, Timer::Silence] {
            self.timers.stop(timer);
        }
    }

    /// Closes the stream, if it may be open.
    pub fn stop_stream(&mut self) {
        if std::mem::take(&mut self.stream_open) {
            self.push(Output::StopStream);
        }
    }

    /// Tells the hubs a head that history has.
    pub fn announce(&mut self, after: Position, head: Head, page: Option<Arc<Page>>) {
        self.announced = Some(head);
        self.push(Output::Announce(Arc::new(Announcement { after, head, page })));
    }

    /// An idle source moves past what somebody waits for. Ever more rarely, because after a restore to an earlier time
    /// that can be out of reach.
    pub fn nudge(&mut self, now: Timestamp, covered: Lsn) {
        if self.wanted <= covered {
            self.nudges = 0;
        } else if !self.timers.is_set(Timer::Nudge) {
            let wait = self.config.nudge_every.saturating_mul(1 << self.nudges.min(16));
            self.set(now, Timer::Nudge, wait.min(self.config.backoff_most));
            self.nudges += 1;
            self.push(Output::NudgeSource);
        }
    }

    /// Lets Postgres forget what is below `lsn`.
    pub fn confirm(&mut self, lsn: Lsn) {
        if lsn > self.confirmed {
            self.confirmed = lsn;
            self.push(Output::Confirm { lsn });
        }
    }
}
