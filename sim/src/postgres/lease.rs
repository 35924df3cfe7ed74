//! Our tables of the replicator: the lease, the eras, what is noted of the source.

use super::tables::alterations_in;
use super::{Postgres, unavailable};
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, ReadHead};
use dormouse_core::lineage::Sighting;
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::replication::{
    BeginEra, Fenced, InspectSource, InspectTables, LeaseTaken, LoadProgress, NoteAttempt, Progress, RaiseSchema,
    ReleaseLease, RenewLease, SaveCovered, SourceState, TakeLease, Token,
};
use dormouse_core::rng::mix;
use dormouse_core::source::{Evidence, Fingerprints};
use dormouse_core::time::Timestamp;
use dormouse_core::xid::Xid;
use std::fmt;

/// The lease's row.
#[derive(Clone)]
pub struct Lease {
    /// The newest token.
    pub token: Token,
    /// Who took it; empty when it is free.
    pub holder: String,
    /// Until when, by Postgres' clock.
    pub expires: Timestamp,
    /// Whether the last holder released it.
    pub clean: bool,
    /// How often it was taken or renewed.
    pub renewals: u64,
    /// The start of the server in which it was last, and how often it had been when that began.
    counted: Option<(u64, u64)>,
}

/// What is counted is left out: only a restored database is asked for it, and no search of all ways restores one.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, holder, expires, clean, renewals: _, counted: _ } = self;
        f.debug_tuple("Lease").field(token).field(holder).field(expires).field(clean).finish()
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            token: Token(0),
            holder: String::new(),
            expires: Timestamp::ZERO,
            clean: true,
            renewals: 0,
            counted: None,
        }
    }
}

/// An era's row. Only the last one counts; the others tell the oracle what their schema numbers meant.
#[derive(Debug, Clone)]
pub(super) struct EraRow {
    pub(super) era: Era,
    /// The slot's confirmed LSN when it began.
    pub(super) start: Lsn,
    pub(super) x0: Xid,
    pub(super) covered: Lsn,
    evidence: Evidence,
    pub(super) fingerprints: Fingerprints,
    pub(super) schema: SchemaVersion,
    /// How many alterations of tables each schema number of this era knows.
    pub(super) noted: Vec<(SchemaVersion, u32)>,
}

impl Postgres {
    /// Answers [`TakeLease`]: it is taken when it is free, expired, or the holder's own.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_take_lease(&mut self, now: Timestamp, ask: &TakeLease) -> Result<LeaseTaken, Failure> {
        let lease = &mut self.lease;
        if !lease.holder.is_empty() && lease.holder != ask.holder && now < lease.expires {
            return Ok(LeaseTaken::Held { holder: lease.holder.clone(), remaining: lease.expires.since(now) });
        }
        let clean = lease.clean;
        self.unclean_ends += u32::from(!clean);
        self.unclean_ends_most = self.unclean_ends.max(self.unclean_ends_most);
        let token = Token(lease.token.0 + 1);
        let taken = Lease { token, holder: ask.holder.clone(), expires: now + ask.ttl, clean: false, ..lease.clone() };
        self.lease = taken;
        self.count_renewal();
        self.own_write();
        Ok(LeaseTaken::Taken { token, clean })
    }

    /// Answers [`RenewLease`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_renew_lease(&mut self, now: Timestamp, ask: &RenewLease) -> Result<Fenced<()>, Failure> {
        self.fenced(ask.token, |pg| {
            pg.lease.expires = now + ask.ttl;
            pg.count_renewal();
            pg.own_write();
        })
    }

    /// Answers [`ReleaseLease`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_release_lease(&mut self, ask: &ReleaseLease) -> Result<Fenced<()>, Failure> {
        self.fenced(ask.token, |pg| {
            (pg.lease.holder, pg.lease.expires, pg.lease.clean) = (String::new(), Timestamp::ZERO, true);
            pg.own_write();
        })
    }

    /// Answers [`InspectSource`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_inspect_source(&mut self, ask: &InspectSource) -> Result<Fenced<SourceState>, Failure> {
        self.fenced(ask.token, |pg| SourceState {
            evidence: pg.evidence(),
            slot: pg.slot_state(),
            fingerprints: pg.fingerprints(),
        })
    }

    /// Answers [`LoadProgress`]: pieces that no transaction's row finishes are deleted first.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_load_progress(&mut self, ask: &LoadProgress) -> Result<Fenced<Option<Progress>>, Failure> {
        self.fenced(ask.token, |pg| {
            if pg.history.delete_leftovers() {
                pg.own_write();
            }
            let era = pg.eras.last()?;
            let (evidence, fingerprints) = (era.evidence.clone(), era.fingerprints.clone());
            Some(Progress { head: pg.head()?, evidence, fingerprints })
        })
    }

    /// Answers [`BeginEra`]. X0 is the xid of this very transaction: all that has one and might be missed by the slot is below it.
    ///
    /// (A snapshot's xmax would not do: it follows the latest xid that *ended*, so a younger one may run and commit unseen.)
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_begin_era(&mut self, ask: &BeginEra) -> Result<Fenced<Head>, Failure> {
        self.fenced(ask.token, |pg| {
            let x0 = pg.own_write();
            let counter = pg.eras.last().map_or(1, |era| era.era.counter + 1);
            let era = Era { counter, id: mix(pg.config.seed ^ u64::from(counter) ^ pg.restores << 32) };
            let schema = SchemaVersion(pg.eras.last().map_or(1, |era| era.schema.0 + 1));
            let noted = vec![(schema, alterations_in(&ask.fingerprints))];
            let (evidence, fingerprints) = (ask.evidence.clone(), ask.fingerprints.clone());
            let (start, covered) = (ask.start, ask.start);
            pg.eras.push(EraRow { era, start, x0, covered, evidence, fingerprints, schema, noted });
            pg.history.begin_era(pg.wal.first_at(start));
            pg.attempts = None;
            pg.head().expect("an era has just begun")
        })
    }

    /// Answers [`NoteAttempt`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_note_attempt(&mut self, ask: &NoteAttempt) -> Result<Fenced<u32>, Failure> {
        self.fenced(ask.token, |pg| {
            let before = pg.attempts.filter(|(lsn, _)| *lsn == ask.commit_lsn).map_or(0, |(_, count)| count);
            pg.attempts = Some((ask.commit_lsn, before + 1));
            pg.own_write();
            before + 1
        })
    }

    /// Answers [`SaveCovered`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_save_covered(&mut self, ask: &SaveCovered) -> Result<Fenced<()>, Failure> {
        if self.era() != Some(ask.era) {
            return Ok(Fenced::Superseded);
        }
        self.fenced(ask.token, |pg| {
            if let Some(era) = pg.eras.last_mut() {
                era.covered = era.covered.max(ask.covered);
            }
            pg.own_write();
        })
    }

    /// Answers [`InspectTables`].
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_inspect_tables(&mut self, ask: &InspectTables) -> Result<Fenced<Fingerprints>, Failure> {
        self.fenced(ask.token, |pg| pg.fingerprints())
    }

    /// Answers [`RaiseSchema`]. A raised number raises X0 as well: a table may have become published while a transaction
    /// was writing to it, and what that one wrote is in neither stream nor an earlier snapshot.
    ///
    /// # Errors
    /// None; the form is that of all answers.
    pub fn ask_raise_schema(&mut self, ask: &RaiseSchema) -> Result<Fenced<SchemaVersion>, Failure> {
        let became = SchemaVersion(ask.from.0 + u32::from(ask.reason.is_some()));
        let follows = |era: &&EraRow| {
            era.era == ask.era
                && (era.schema == ask.from && is_known(&era.fingerprints, &ask.noted)
                    || era.schema == became && era.fingerprints == ask.fingerprints)
        };
        if self.eras.last().filter(follows).is_none() {
            return Ok(Fenced::Superseded);
        }
        self.fenced(ask.token, |pg| {
            let xid = pg.own_write();
            let Some(era) = pg.eras.last_mut() else { return became };
            era.fingerprints = ask.fingerprints.clone();
            if ask.reason.is_some() {
                era.x0 = era.x0.max(xid);
            }
            if era.schema != became {
                era.schema = became;
                era.noted.push((became, alterations_in(&ask.fingerprints)));
            }
            became
        })
    }

    /// Answers [`ReadHead`].
    ///
    /// # Errors
    /// Before the first era.
    pub fn ask_read_head(&self, _: &ReadHead) -> Result<Head, Failure> {
        self.head().map_or_else(|| unavailable("no era has begun"), Ok)
    }

    /// The end of history, with durable covered. `None` before the first era.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let era = self.eras.last()?;
        let (waypoint, end_lsn) = match self.history.last() {
            Some((commit_lsn, row)) => (self.waypoint(commit_lsn, row.xid, row.committed_at)?, row.end_lsn),
            None => (self.horizon()?, self.history.horizon_end()),
        };
        Some(Head { waypoint, covered: era.covered.max(end_lsn) })
    }

    /// How many holders of the lease ended without releasing it since a transaction was recorded last.
    #[must_use]
    pub const fn unclean_ends(&self) -> u32 {
        self.unclean_ends
    }

    /// How many holders of the lease ended, at most, without releasing it or recording a transaction.
    #[must_use]
    pub const fn unclean_ends_most(&self) -> u32 {
        self.unclean_ends_most
    }

    /// Whether the present era's row says of the tables what they are.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.eras.last().is_none_or(|era| era.fingerprints == self.fingerprints())
    }

    /// The present era.
    #[must_use]
    pub fn era(&self) -> Option<Era> {
        Some(self.eras.last()?.era)
    }

    /// The lease's row.
    #[must_use]
    pub const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The oldest place from which history can be read: the last that was pruned, or the era's start.
    ///
    /// The era's start is the boundary just below the slot's confirmed LSN, for a commit record may begin exactly there.
    #[must_use]
    pub fn horizon(&self) -> Option<Waypoint> {
        match self.history.horizon_row() {
            Some((commit_lsn, row)) => self.waypoint(commit_lsn, row.xid, row.committed_at),
            None => {
                let before = Lsn(self.eras.last()?.start.0.saturating_sub(1));
                self.waypoint(before, Xid(0), CommitTime(0))
            }
        }
    }

    /// The boundary after a transaction, in the present era and schema.
    pub(super) fn waypoint(&self, commit_lsn: Lsn, xid: Xid, committed_at: CommitTime) -> Option<Waypoint> {
        let EraRow { era, schema, .. } = *self.eras.last()?;
        Some(Waypoint { era, schema, position: Position::after(commit_lsn), xid, committed_at })
    }

    pub(super) fn holds_lease(&self, token: Token) -> bool {
        token == self.lease.token
    }

    pub(super) fn fenced<T>(&mut self, token: Token, act: impl FnOnce(&mut Self) -> T) -> Result<Fenced<T>, Failure> {
        Ok(if self.holds_lease(token) { Fenced::Done(act(self)) } else { Fenced::Superseded })
    }

    /// What whoever opens a connection sees of it before anything is asked.
    #[must_use]
    pub fn sighting(&self) -> Sighting {
        let Lease { renewals, counted, .. } = self.lease;
        let since = counted.filter(|(started, _)| *started == self.started);
        let renewals_at_start = since.map_or(renewals, |(_, renewals)| renewals);
        Sighting { evidence: self.evidence(), renewals, started: self.started, renewals_at_start }
    }

    fn count_renewal(&mut self) {
        let lease = &mut self.lease;
        if lease.counted.is_none_or(|(started, _)| started != self.started) {
            lease.counted = Some((self.started, lease.renewals));
        }
        lease.renewals += 1;
    }

    fn evidence(&self) -> Evidence {
        Evidence {
            system_identifier: mix(self.config.seed ^ 0x5157_ea11),
            database_oid: 16_383,
            timeline: self.timeline,
        }
    }
}

/// Whether all that is noted is what whoever notes something else knew to be.
fn is_known(noted: &Fingerprints, known: &Fingerprints) -> bool {
    noted.iter().all(|(name, table)| known.get(name) == Some(table))
}
