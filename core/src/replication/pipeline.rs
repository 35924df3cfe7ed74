//! One write to history at a time: a page is recorded, then announced, then confirmed.

use super::interrupt::{Interrupted, fenced};
use super::io::*;
use super::outside::{Outside, Timer, ask};
use super::queue::Taken;
use super::stream::Stream;
use crate::change::{Page, Transaction};
use crate::fault::{Failure, Halt};
use crate::history::Head;
use crate::position::{Position, Waypoint};
use crate::safeguard::Safeguard;
use crate::source::Fingerprints;
use crate::time::Timestamp;
use crate::xid::Xid;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The one writer's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lane {
    Free,
    /// The answer is awaited.
    Asked(Job),
    /// For the wait after a failure; then the same is asked again.
    Waiting(Job),
}

/// What is being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Job {
    /// The attempt at a page's transaction.
    Note(Arc<Page>),
    /// A page.
    Record(Arc<Page>),
    /// The shape of the tables.
    Raise { noted: Fingerprints, fingerprints: Fingerprints, reason: Option<String> },
}

impl Lane {
    pub const fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    pub const fn is_recording(&self) -> bool {
        matches!(self, Self::Asked(Job::Record(_)))
    }

    /// The page that was taken from the queue and is not yet recorded.
    pub const fn page(&self) -> Option<&Arc<Page>> {
        match self {
            Self::Asked(Job::Note(page) | Job::Record(page)) | Self::Waiting(Job::Note(page) | Job::Record(page)) => {
                Some(page)
            }
            Self::Free | Self::Asked(Job::Raise { .. }) | Self::Waiting(Job::Raise { .. }) => None,
        }
    }
}

impl Stream {
    /// Takes up the next write, if the lane is free: the tables' shape before the changes that follow it.
    pub fn start_job(&mut self, outside: &mut Outside) {
        if !self.lane.is_free() {
            return;
        }
        if let Some((noted, fingerprints, reason)) = self.noted.take() {
            return self.ask_job(Job::Raise { noted, fingerprints, reason }, outside);
        }
        if !self.gate.is_open() {
            return;
        }
        let most = if self.tenure.suspect { 1 } else { usize::MAX };
        let Some(taken) = self.queue.take_page(most) else { return };
        let Some(page) = self.page(taken) else { return };
        let Some(first) = page.transactions.first() else { return };
        if first.is_piece() && first.first == 0 {
            self.cover(first.commit_lsn); // All before it is recorded: who waits for that need not wait for its end.
        }
        // Once in a life, whatever becomes of the answer: each count stands for an end.
        let suspect = self.tenure.suspect
            && outside
                .noted
                .replace((first.commit_lsn, self.tenure.token))
                .is_none_or(|(lsn, _)| lsn != first.commit_lsn);
        let page = Arc::new(page);
        if !outside.holds(Safeguard::RecordBeforeAnnounce) {
            self.announce_early(&page, outside);
        }
        self.ask_job(if suspect { Job::Note(page) } else { Job::Record(page) }, outside);
    }

    fn page(&self, taken: Taken) -> Option<Page> {
        let last = taken.transactions.last()?;
        let index = taken.last_index().unwrap_or(Position::WHOLE);
        let through = Waypoint {
            era: self.head.era(),
            schema: self.head.schema(),
            position: Position { commit_lsn: last.commit_lsn, index },
            xid: last.xid,
            committed_at: last.committed_at,
        };
        let Taken { relations, transactions } = taken;
        Some(Page { after: self.appended, through, relations, transactions })
    }

    /// Asks for a write, anew or again: a page is asked for again as it was, with what it follows.
    fn ask_job(&mut self, job: Job, outside: &mut Outside) {
        let (token, era) = (self.tenure.token, self.head.era());
        match &job {
            Job::Note(page) => {
                let commit_lsn = page.through.position.commit_lsn;
                ask!(outside, note_attempt, NoteAttempt, NoteAttempt { token, commit_lsn });
            }
            Job::Record(page) => {
                let (page, expect) = (Arc::clone(page), self.appended);
                let compare = outside.holds(Safeguard::CompareAndSet);
                let row_last = outside.holds(Safeguard::TransactionRowLast);
                let question = RecordPage { token, era, expect, page, compare, row_last };
                ask!(outside, record_page, RecordPage, question);
            }
            Job::Raise { noted, fingerprints, reason } => {
                let (from, noted) = (self.head.schema(), noted.clone());
                let (fingerprints, reason) = (fingerprints.clone(), reason.clone());
                let question = RaiseSchema { token, era, from, noted, fingerprints, reason };
                ask!(outside, raise_schema, RaiseSchema, question);
            }
        }
        self.lane = Lane::Asked(job);
    }

    /// The wait after a failed write is over.
    pub fn on_retry_job(&mut self, outside: &mut Outside) {
        match std::mem::replace(&mut self.lane, Lane::Free) {
            Lane::Waiting(job) => self.ask_job(job, outside),
            other => self.lane = other,
        }
    }

    pub fn wait_with(&mut self, now: Timestamp, job: Job, outside: &mut Outside) {
        outside.set(now, Timer::RetryJob, self.backoff.next_wait());
        self.lane = Lane::Waiting(job);
    }

    pub fn on_attempt_noted(
        &mut self,
        reply: Result<Fenced<u32>, Failure>,
        outside: &mut Outside,
    ) -> Result<(), Interrupted> {
        let page = match std::mem::replace(&mut self.lane, Lane::Free) {
            Lane::Asked(Job::Note(page)) => page,
            other => {
                self.lane = other;
                return Ok(());
            }
        };
        match fenced(reply) {
            // Not at each attempt from there on: whoever has mended the cause and starts again has as many as before.
            Ok(attempts) if attempts > 0 && attempts.is_multiple_of(outside.config.attempts_max.max(1)) => {
                Err(Interrupted::Halted(self.poisoned(&page, attempts)))
            }
            // A failure may hide a count: counting again could halt for nothing, and going on at worst has as many tries again.
            Ok(_) | Err(Interrupted::Failed(_)) => {
                self.ask_job(Job::Record(page), outside);
                Ok(())
            }
            Err(why) => Err(why),
        }
    }

    fn poisoned(&self, page: &Page, attempts: u32) -> Halt {
        let (lsn, xid, oid) = (page.through.position.commit_lsn, page.through.xid, self.database_oid);
        let message = format!(
            "replication ended {attempts} times in a row at the transaction that commits at {lsn} (xid {xid}): look at the log \
             of those ends and mend their cause, then start again; or give up continuity and synchronize every client anew with \
             SELECT pg_drop_replication_slot('dormouse_{oid}')"
        );
        Halt { code: "poison_transaction".into(), message }
    }

    pub fn on_page_recorded(
        &mut self,
        now: Timestamp,
        reply: Result<Recorded, Failure>,
        outside: &mut Outside,
    ) -> Result<(), Interrupted> {
        let page = match std::mem::replace(&mut self.lane, Lane::Free) {
            Lane::Asked(Job::Record(page)) => page,
            other => {
                self.lane = other;
                return Ok(());
            }
        };
        match reply {
            Ok(Recorded::Recorded { reference }) => self.recorded(&page, reference, outside),
            // An append whose answer was lost had succeeded.
            Ok(Recorded::AlreadyAt { position, reference }) if position == page.through.position => {
                self.recorded(&page, reference, outside);
            }
            // Something of ours arrived late. What is recorded is asked for anew.
            Ok(Recorded::AlreadyAt { position, .. }) => {
                let why = format!("history stands at {position}, not at {}", self.appended);
                return Err(Interrupted::Failed(why));
            }
            Ok(Recorded::Superseded) => return Err(Interrupted::Superseded),
            Err(Failure::Unavailable(_)) => self.wait_with(now, Job::Record(page), outside),
            Err(refused @ Failure::Refused(_)) => return Err(refused.into()),
        }
        Ok(())
    }

    /// The page is in history: the promises that rest on it are made here.
    fn recorded(&mut self, page: &Arc<Page>, reference: Xid, outside: &mut Outside) {
        self.backoff.succeeded();
        self.appended = page.through.position;
        let Some(last) = page.transactions.last().filter(|last| last.complete) else { return };
        let end_lsn = last.end_lsn;
        let page = Arc::new(widened(page, reference));
        if outside.holds(Safeguard::RecordBeforeAnnounce) {
            self.announce_page(&page, outside);
        }
        self.head.waypoint = page.through;
        self.cover(end_lsn);
        self.durable = self.durable.max(end_lsn);
        self.tenure.suspect = false;
        if outside.holds(Safeguard::CoveredBeforeConfirm) {
            outside.confirm(self.durable);
        }
    }

    /// What the safeguard prevents. No reference is known yet, but the head's own id is near.
    fn announce_early(&self, page: &Arc<Page>, outside: &mut Outside) {
        let near = self.head.waypoint.xid;
        let page = if near == Xid::default() { Arc::clone(page) } else { Arc::new(widened(page, near)) };
        self.announce_page(&page, outside);
    }

    /// Tells the hubs what the page's last transaction completes; a body in pieces is left to be read from history.
    fn announce_page(&self, page: &Arc<Page>, outside: &mut Outside) {
        let Some(last) = page.transactions.last().filter(|last| last.complete) else { return };
        let head = Head { waypoint: page.through, covered: self.head.covered.max(last.end_lsn) };
        let body = (!page.is_piece()).then(|| Arc::clone(page));
        outside.announce(self.head.position(), head, body);
    }
}

/// The page with its transactions' ids in 64 bits, as history has them.
fn widened(page: &Page, reference: Xid) -> Page {
    let widen = |xid: Xid| {
        #[expect(clippy::cast_possible_truncation, reason = "the stream tells 32 bits, and these are they")]
        let low = xid.0 as u32;
        Xid::widen(low, reference)
    };
    let transactions = page.transactions.iter();
    let transactions = transactions.map(|one| Transaction { xid: widen(one.xid), ..one.clone() }).collect();
    let through = Waypoint { xid: widen(page.through.xid), ..page.through };
    Page { after: page.after, through, relations: Arc::clone(&page.relations), transactions }
}
