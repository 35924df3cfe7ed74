//! The simulator's model as a subject.

use super::op::{Act, Fault, Tx};
use super::reply::{Anchors, Answered, Did};
use super::subject::{Question, Subject};
use super::{LARGE_BYTES, TABLES};
use dormouse_core::fault::Failure;
use dormouse_core::hub::{ReadChunk, SnapshotTaken, TakeSnapshot};
use dormouse_core::position::Lsn;
use dormouse_core::replication::ReadSource;
use dormouse_core::source::SourceItem;
use dormouse_core::time::Timestamp;
use dormouse_core::xid::Xid;
use dormouse_sim::postgres::{Config, Postgres, SnapshotBegun, StreamId, TxId, WriteError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The model, and what its caller keeps.
pub struct Model {
    pg: Postgres,
    now: Timestamp,
    transactions: BTreeMap<Tx, TxId>,
    xids: BTreeSet<Xid>,
    stream: Option<StreamId>,
}

impl Model {
    pub fn new() -> Self {
        let config = Config { tables: TABLES, large_bytes: LARGE_BYTES, ..Config::default() };
        Self {
            pg: Postgres::new(config),
            now: Timestamp::from_millis(1_000_000_000_000),
            transactions: BTreeMap::new(),
            xids: BTreeSet::new(),
            stream: None,
        }
    }

    fn snapshot(&mut self, ask: &TakeSnapshot) -> Result<Answered, Failure> {
        // A server reserves its spool first, by a write of its own.
        self.pg.nudge();
        let id = match self.pg.snapshot_begin(ask)? {
            SnapshotBegun::Begun(id) => id,
            SnapshotBegun::Answered(taken) => return Ok(Answered::Snapshot(taken, Vec::new())),
        };
        let taken = self.pg.snapshot_finish(id)?;
        let SnapshotTaken::Spooled(spool) = &taken else { return Ok(Answered::Snapshot(taken, Vec::new())) };
        let mut chunks = Vec::new();
        for n in 0..spool.chunks {
            chunks.extend(self.pg.ask_read_chunk(&ReadChunk { spool: id, n })?);
        }
        Ok(Answered::Snapshot(taken, chunks))
    }

    fn answer(&mut self, question: &Question) -> Result<Answered, Failure> {
        let (pg, now) = (&mut self.pg, self.now);
        Ok(match question {
            Question::TakeLease(q) => Answered::Lease(pg.ask_take_lease(now, q)?),
            Question::RenewLease(q) => Answered::Fenced(pg.ask_renew_lease(now, q)?),
            Question::ReleaseLease(q) => Answered::Fenced(pg.ask_release_lease(q)?),
            Question::InspectSource(q) => Answered::Source(pg.ask_inspect_source(q)?),
            Question::LoadProgress(q) => Answered::Progress(pg.ask_load_progress(q)?),
            Question::CreateSlot(q) => {
                if pg.slot_waits(q).is_some() {
                    return Err(Failure::Unavailable("it waits for a transaction that runs".into()));
                }
                Answered::Slot(pg.ask_create_slot(q)?)
            }
            Question::SettleSlot(q) => {
                if pg.settle_waits(q).is_some() {
                    return Err(Failure::Unavailable("it waits for a transaction that runs".into()));
                }
                Answered::Slot(pg.ask_settle_slot(q)?)
            }
            Question::BeginEra(q) => Answered::Era(pg.ask_begin_era(q)?),
            Question::StartStream(q) => {
                self.stream = None;
                self.stream = Some(pg.ask_start_stream(q)?);
                Answered::Unit
            }
            Question::NoteAttempt(q) => Answered::Attempts(pg.ask_note_attempt(q)?),
            Question::RecordPage(q) => Answered::Recorded(pg.ask_record_page(q)?),
            Question::SaveCovered(q) => Answered::Fenced(pg.ask_save_covered(q)?),
            Question::InspectTables(q) => Answered::Tables(pg.ask_inspect_tables(q)?),
            Question::RaiseSchema(q) => Answered::Schema(pg.ask_raise_schema(q)?),
            Question::Prune(q) => Answered::Horizon(pg.ask_prune(now, q)?),
            Question::ReadHead(q) => Answered::Head(pg.ask_read_head(q)?),
            Question::ReadHistory(q) => Answered::History(pg.ask_read_history(q)?),
            Question::JudgePosition(q) => Answered::Judged(pg.ask_judge_position(q)?),
            Question::TakeSnapshot(q) => self.snapshot(q)?,
            Question::TakeEpoch(q) => Answered::Epoch(pg.ask_take_epoch(now, q)?),
            Question::SavePositions(q) => {
                pg.ask_save_positions(q)?;
                Answered::Unit
            }
            Question::RenewRegistrations(q) => Answered::Clients(pg.ask_renew_registrations(now, q)?),
            Question::Unregister(q) => {
                pg.ask_unregister(q)?;
                Answered::Unit
            }
            Question::Renewals => Answered::Renewals(pg.sighting().renewals),
            Question::Registrations => {
                let living = pg.registrations().iter().filter(|(_, row)| row.expires_at > now);
                Answered::Registrations(living.map(|(id, row)| (id.clone(), row.epoch, row.position)).collect())
            }
        })
    }

    fn take_open(&mut self, tx: Tx) -> Option<TxId> {
        let id = *self.transactions.get(&tx)?;
        let is_open = self.pg.open().any(|open| open == id);
        if is_open { self.transactions.remove(&tx) } else { None }
    }
}

impl Subject for Model {
    const NAME: &'static str = "the model";

    async fn act(&mut self, act: &Act) -> Did {
        let named = |model: &Self, tx: &Tx| model.transactions.get(tx).copied();
        let whether = |done: bool| if done { Did::Done } else { Did::Impossible };
        match act {
            Act::Begin(tx) => {
                let id = self.pg.begin();
                self.transactions.insert(*tx, id);
                Did::Done
            }
            Act::AssignXid(tx) => match named(self, tx).and_then(|tx| self.pg.assign_xid(tx)) {
                Some(xid) => {
                    self.xids.insert(xid);
                    Did::Xid(xid)
                }
                None => Did::Impossible,
            },
            Act::Write(tx, write) => {
                let Some(tx) = named(self, tx) else { return Did::Impossible };
                let wrote = self.pg.write(tx, *write);
                if wrote == Err(WriteError::Ended) {
                    return Did::Impossible;
                }
                if wrote.is_ok() {
                    self.xids.extend(self.pg.assign_xid(tx));
                }
                Did::Wrote(wrote)
            }
            Act::Commit(tx) => {
                let Some(id) = self.take_open(*tx) else { return Did::Impossible };
                if self.pg.commit(self.now, id).is_some() {
                    self.pg.make_visible(id);
                }
                Did::Done
            }
            Act::CommitHeld(tx) => {
                let Some(id) = self.take_open(*tx) else { return Did::Impossible };
                let committed = self.pg.commit(self.now, id).is_some();
                if committed {
                    self.transactions.insert(*tx, id);
                }
                whether(committed)
            }
            Act::Release(tx) => whether(named(self, tx).is_some_and(|id| self.pg.make_visible(id))),
            Act::Abort(tx) => whether(self.take_open(*tx).is_some_and(|id| self.pg.abort(id))),
            Act::Run(writes) => {
                self.xids.extend(self.pg.run(self.now, writes).map(|committed| committed.xid));
                Did::Done
            }
            Act::Alter { table, rewrite } => Did::Wrote(self.pg.alter_table(*table, *rewrite)),
            Act::Rows => {
                let rows = |n| self.pg.visible_rows(n).into_iter().flat_map(|rows| rows.values().cloned()).collect();
                Did::Rows((0..TABLES).map(|n| (format!("public.t{n}"), rows(n))).collect())
            }
            Act::Snapshot => Did::Snapshot(self.pg.current_snapshot()),
        }
    }

    async fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Checkpoint => self.pg.checkpoint(),
            Fault::Restart => self.pg.restart(),
            Fault::Crash => self.pg.crash(),
            Fault::DropSlot => self.pg.drop_slot(),
            Fault::InvalidateSlot => self.pg.invalidate_slot(),
            Fault::AdvanceSlot => self.pg.advance_slot(self.pg.insert_lsn()),
            Fault::Hours(hours) => {
                self.now = self.now + Duration::from_secs(3_600 * u64::from(hours));
                self.pg.nudge(); // Where the clock cannot be moved, what is stored is written anew.
            }
        }
        if matches!(fault, Fault::Restart | Fault::Crash) {
            self.transactions.clear();
        }
    }

    async fn ask(&mut self, question: Question, answer_lost: bool) -> Result<Answered, Failure> {
        let answer = self.answer(&question);
        if answer_lost { Err(Failure::Unavailable("the answer was lost".into())) } else { answer }
    }

    async fn read(&mut self) -> Result<Vec<SourceItem>, Failure> {
        let stream = self.stream.ok_or_else(|| Failure::Unavailable("the stream is not open".into()))?;
        self.pg.nudge();
        let mut items = Vec::new();
        loop {
            // A keepalive may come between any two reads.
            items.extend(self.pg.keepalive(stream));
            let some = self.pg.ask_read_source(stream, &ReadSource { changes_max: 2, bytes_max: 1 << 20 });
            match some {
                Ok(some) if some.is_empty() => return Ok(items),
                Ok(some) => items.extend(some),
                Err(why) => {
                    self.stream = None;
                    return Err(why);
                }
            }
        }
    }

    async fn confirm(&mut self, lsn: Lsn) {
        if let Some(stream) = self.stream {
            self.pg.confirm(stream, lsn);
        }
    }

    async fn anchors(&mut self) -> Anchors {
        let commits = self.pg.commits();
        let mut xids = std::mem::take(&mut self.xids);
        xids.extend(commits.iter().map(|commit| commit.xid));
        Anchors {
            commits: commits.iter().map(|commit| (commit.commit_lsn, commit.end_lsn)).collect(),
            xids: xids.into_iter().collect(),
        }
    }
}
