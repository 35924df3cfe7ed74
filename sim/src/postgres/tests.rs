//! The semantics of the model, one file per concern, on a rig that replicates by hand.

mod appends;
mod lease;
mod random;
mod reading;
mod registry;
mod retention;
mod schema;
mod seam;
mod slot;

use super::*;
use dormouse_core::change::{Change, Page, Relation, Scope, Transaction};
use dormouse_core::history::{HistoryRead, ReadHistory};
use dormouse_core::hub::{ReadChunk, SnapshotTaken, Spool, TakeSnapshot};
use dormouse_core::position::{Position, Waypoint};
use dormouse_core::replication::{
    BeginEra, CreateSlot, Fenced, InspectSource, LeaseTaken, LoadProgress, ReadSource, RecordPage, Recorded,
    StartStream, TakeLease, Token,
};
use dormouse_core::session::BackfillId;
use dormouse_core::source::SourceItem;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};
use dormouse_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A model with a hand-driven replicator beside it.
struct Rig {
    pg: Postgres,
    now: Timestamp,
    token: Token,
    stream: StreamId,
    expect: Position,
    relations: Vec<Arc<Relation>>,
}

fn done<T: std::fmt::Debug>(fenced: Result<Fenced<T>, Failure>) -> T {
    match fenced {
        Ok(Fenced::Done(done)) => done,
        other => panic!("not done: {other:?}"),
    }
}

fn insert(key: u64) -> Write {
    Write::Insert { table: 0, key, value: 10 * key }
}

fn update(key: u64, value: u64) -> Write {
    Write::Update { table: 0, key, value, large: false }
}

impl Rig {
    /// A model whose era has begun and whose stream is open.
    fn new() -> Self {
        let mut rig = Self::before_the_era();
        rig.begin_era();
        rig
    }

    fn before_the_era() -> Self {
        let pg = Postgres::new(Config::default());
        let (now, token, stream) = (Timestamp::from_millis(1_000), Token(0), StreamId(0));
        let mut rig = Self { pg, now, token, stream, expect: Position::ZERO, relations: Vec::new() };
        rig.take_lease("a");
        rig
    }

    fn take_lease(&mut self, holder: &str) {
        let ask = TakeLease { holder: holder.into(), ttl: Duration::from_secs(1) };
        let Ok(LeaseTaken::Taken { token, .. }) = self.pg.ask_take_lease(self.now, &ask) else { panic!("held") };
        self.token = token;
    }

    fn begin_era(&mut self) {
        let start = done(self.pg.ask_create_slot(&CreateSlot { token: self.token }));
        self.begin_era_at(start);
    }

    fn begin_era_at(&mut self, start: Lsn) {
        let state = done(self.pg.ask_inspect_source(&InspectSource { token: self.token }));
        let (evidence, fingerprints) = (state.evidence, state.fingerprints);
        let ask = BeginEra { token: self.token, start, evidence, fingerprints, reason: "the first".into() };
        done(self.pg.ask_begin_era(&ask));
        self.start_stream();
    }

    /// Opens the stream from the head, as a replicator does at each start.
    fn start_stream(&mut self) {
        let progress = done(self.pg.ask_load_progress(&LoadProgress { token: self.token })).expect("an era");
        self.expect = progress.head.position();
        let ask = StartStream { token: self.token, from: progress.head.covered };
        self.stream = self.pg.ask_start_stream(&ask).expect("a usable slot");
        self.relations.clear();
    }

    fn read_source(&mut self) -> Vec<SourceItem> {
        let ask = ReadSource { changes_max: 100, bytes_max: 1 << 20 };
        self.pg.ask_read_source(self.stream, &ask).expect("an open stream")
    }

    /// Records all that the stream has, one transaction per page, in pieces of at most `piece` changes.
    fn record(&mut self, piece: usize) {
        for page in self.pages(piece) {
            let recorded = self.record_page(&page, true, true);
            assert!(matches!(recorded, Recorded::Recorded { .. }), "{recorded:?}");
            self.expect = page.through.position;
        }
    }

    fn record_page(&mut self, page: &Arc<Page>, compare: bool, row_last: bool) -> Recorded {
        let (token, era, expect) = (self.token, page.through.era, page.after);
        let ask = RecordPage { token, era, expect, page: Arc::clone(page), compare, row_last };
        self.pg.ask_record_page(&ask).expect("shapes came first")
    }

    /// What the stream has, as pages to be recorded.
    fn pages(&mut self, piece: usize) -> Vec<Arc<Page>> {
        let items = self.read_source();
        let head = self.pg.head().expect("an era").waypoint;
        let (mut pages, mut begun, mut changes) = (Vec::new(), None, Vec::new());
        let mut after = self.expect;
        for item in items {
            match item {
                SourceItem::Begin { commit_lsn, committed_at, xid } => begun = Some((commit_lsn, committed_at, xid)),
                SourceItem::Relation(relation) => self.relations.push(relation),
                SourceItem::Change(change) => changes.push(change),
                SourceItem::Keepalive { .. } => {}
                SourceItem::Commit { end_lsn } => {
                    let (commit_lsn, committed_at, xid) = begun.take().expect("begun before it ends");
                    let all = std::mem::take(&mut changes);
                    let mut first = 0_u32;
                    if commit_lsn <= self.expect.commit_lsn {
                        continue; // What is replayed is recognised by its position.
                    }
                    for part in all.chunks(piece) {
                        let next = first + u32::try_from(part.len()).expect("few");
                        let complete = next as usize == all.len();
                        let index = if complete { Position::WHOLE } else { next - 1 };
                        let transaction = Transaction {
                            commit_lsn,
                            end_lsn: if complete { end_lsn } else { Lsn::ZERO },
                            xid: Xid(u64::from(xid)),
                            committed_at,
                            first,
                            complete,
                            changes: part.into(),
                        };
                        let position = Position { commit_lsn, index };
                        let through = Waypoint { position, xid: Xid(u64::from(xid)), committed_at, ..head };
                        let relations = self.relations.clone().into();
                        pages.push(Arc::new(Page { after, through, relations, transactions: vec![transaction] }));
                        (first, after) = (next, position);
                    }
                }
            }
        }
        pages
    }

    fn read(&self, after: Position, until: Option<Lsn>, changes_max: u32) -> HistoryRead {
        let era = self.pg.era().expect("an era");
        let ask = ReadHistory { era, after, until, changes_max, bytes_max: 1 << 20 };
        self.pg.ask_read_history(&ask).expect("an era")
    }

    /// All pages of history beyond `after`, below `until`.
    fn read_all(&self, mut after: Position, until: Option<Lsn>, changes_max: u32) -> Vec<Arc<Page>> {
        let mut pages = Vec::new();
        while let HistoryRead::Page { page, .. } = self.read(after, until, changes_max) {
            assert!(page.through.position > after, "{page:?} goes on");
            after = page.through.position;
            pages.push(page);
        }
        pages
    }

    fn snapshot(&mut self, await_era_start: bool) -> SnapshotBegun {
        let era = self.pg.era().expect("an era");
        let ask = TakeSnapshot { era, scope: Scope::All, await_era_start };
        self.pg.snapshot_begin(&ask).expect("no lock is held")
    }

    fn spool(&mut self) -> Arc<Spool> {
        let SnapshotBegun::Begun(id) = self.snapshot(true) else { panic!("the era has begun") };
        let Ok(SnapshotTaken::Spooled(spool)) = self.pg.snapshot_finish(id) else { panic!("it was begun") };
        spool
    }

    /// A replica that stages a spool and what `keep` says of each transaction of its seam.
    fn backfill(&self, spool: &Spool, mut keep: impl FnMut(&Transaction) -> bool) -> MemoryStore {
        let mut store = MemoryStore::new();
        let (backfill, mut through) = (BackfillId(1), spool.start);
        for n in 0..spool.chunks {
            let chunk = self.pg.ask_read_chunk(&ReadChunk { spool: spool.id, n }).expect("no failure").expect("kept");
            store.apply(&StoreRequest::StageChunk { backfill, n, chunk });
        }
        let mut kept = Vec::new();
        let mut relations = Vec::new();
        for page in self.read_all(spool.start.position, Some(spool.fence), 100) {
            through = page.through;
            relations.extend(page.relations.iter().cloned());
            kept.extend(page.transactions.iter().filter(|transaction| keep(transaction)).cloned());
        }
        let (after, relations) = (spool.start.position, relations.into());
        let page = Some(Arc::new(Page { after, through, relations, transactions: kept }));
        store.apply(&StoreRequest::StageSeam { backfill, n: spool.chunks, page, complete: Some(through) });
        store
    }

    /// The rest of history, applied to a replica.
    fn follow(&self, store: &mut MemoryStore) -> Held {
        for page in self.read_all(store.held().shown.expect("shown").position, None, 2) {
            store.apply(&StoreRequest::ApplyPage { page });
        }
        store.held()
    }

    fn judge(&self, held: Held) -> Verdict {
        self.pg.judge_sum(&held.shown.expect("shown"), held.sum, &Scope::All)
    }
}

fn keys(transaction: &Transaction) -> Vec<String> {
    let told = transaction.changes.iter().map(|change| match change {
        Change::Insert { row, .. } => format!("insert {row:?}"),
        Change::Update { row, .. } => format!("update {row:?}"),
        Change::Move { old_key, row, .. } => format!("move {old_key:?} to {row:?}"),
        Change::Delete { key, .. } => format!("delete {key:?}"),
        Change::Truncate { .. } => "truncate".into(),
    });
    told.collect()
}

#[test]
fn a_replica_by_stream_shows_what_the_tables_hold() {
    let mut rig = Rig::new();
    let spool = rig.spool();
    let writes = [
        insert(1),
        insert(2),
        update(1, 7),
        Write::Move { table: 0, key: 2, to: 3, value: 8 },
        Write::Insert { table: 1, key: 1, value: 1 },
        Write::Update { table: 1, key: 1, value: 2, large: true },
        Write::Delete { table: 0, key: 1 },
    ];
    rig.pg.run(rig.now, &writes).expect("a commit");
    rig.pg.run(rig.now, &[insert(9), Write::Truncate { table: 0 }, insert(4)]).expect("a commit");
    rig.record(100);
    let mut store = rig.backfill(&spool, |_| panic!("nothing committed below F"));
    let held = rig.follow(&mut store);
    assert_eq!(held.anomalies, 0);
    assert_eq!(rig.judge(held), Verdict::Right);
    assert_eq!(held.sum, rig.pg.commits()[1].expected.sums.total());
    assert_eq!(rig.pg.visible_rows(0).expect("t0").keys().collect::<Vec<_>>(), [&4]);
}
