//! A private cluster, a database on it, and what a replicator does by hand.

use crate::db::{Config, Database};
use crate::demo::cluster::Cluster;
use crate::source::{PollSource, Source, StreamSource, poll};
use dormouse_core::change::{Change, Column, Page, Relation, Transaction};
use dormouse_core::history::{Head, HistoryRead, ReadHead, ReadHistory};
use dormouse_core::position::{CommitTime, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::replication::{
    BeginEra, CreateSlot, Fenced, InspectSource, LeaseTaken, ReadSource, RecordPage, Recorded, SettleSlot, StartStream,
    TakeLease, Token,
};
use dormouse_core::row::{Row, Value};
use dormouse_core::source::SourceItem;
use dormouse_core::xid::Xid;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

pub const SECOND: Duration = Duration::from_secs(1);

/// A cluster with one database, and a connection of the application.
pub struct World {
    pub cluster: Cluster,
    pub database: Database,
    pub app: Client,
}

impl World {
    pub async fn new(schema: &str) -> Self {
        Self::with(&[], schema, |config| config).await
    }

    pub async fn with(settings: &[(&str, &str)], schema: &str, configure: impl FnOnce(Config) -> Config) -> Self {
        let cluster = Cluster::start_with(settings).expect("a cluster starts");
        let app = connect(&cluster.url()).await;
        app.batch_execute(schema).await.expect("the schema is made");
        let database = Database::connect(configure(Config::new(cluster.url()))).await.expect("connects");
        Self { cluster, database, app }
    }

    pub async fn token(&self) -> Token {
        let q = TakeLease { holder: "a test".into(), ttl: 30 * SECOND };
        match self.database.take_lease(q).await.expect("answers") {
            LeaseTaken::Taken { token, .. } => token,
            held @ LeaseTaken::Held { .. } => panic!("{held:?}"),
        }
    }

    /// Lease, publication, slot and era.
    pub async fn era(&self) -> (Token, Head) {
        let token = self.token().await;
        let source = done(self.database.inspect_source(InspectSource { token }).await.expect("answers"));
        done(self.database.create_slot(CreateSlot { token }).await.expect("answers"));
        let start = done(self.database.settle_slot(SettleSlot { token }).await.expect("answers"));
        let (evidence, fingerprints, reason) = (source.evidence, source.fingerprints, "a test".into());
        let q = BeginEra { token, start, evidence, fingerprints, reason };
        (token, done(self.database.begin_era(q).await.expect("answers")))
    }

    pub async fn head(&self) -> Head {
        self.database.read_head(ReadHead).await.expect("answers")
    }

    pub async fn replicator<S: UnderTest>(&self) -> Replicator<S> {
        let (token, head) = self.era().await;
        let stream = S::of(&self.database);
        stream.start(StartStream { token, from: head.covered }).await.expect("streams");
        Replicator { database: self.database.clone(), token, stream, last: head.position(), head }
    }

    pub async fn sql(&self, sql: &str) {
        self.app.batch_execute(sql).await.expect("runs");
    }

    pub async fn text(&self, sql: &str) -> String {
        self.app.query_one(sql, &[]).await.expect("answers").get(0)
    }

    pub async fn read(&self, head: Head, after: Position, changes_max: u32) -> HistoryRead {
        let q = ReadHistory { era: head.era(), after, until: None, changes_max, bytes_max: 1 << 20 };
        self.database.read_history(q).await.expect("answers")
    }
}

/// Every source keeps the same promises.
pub trait UnderTest: Source {
    fn of(database: &Database) -> Self;
}

impl UnderTest for StreamSource {
    fn of(database: &Database) -> Self {
        Self::new(database.clone())
    }
}

impl UnderTest for PollSource {
    fn of(database: &Database) -> Self {
        Self::new(database.clone(), poll::Config::default())
    }
}

/// Streams and records, one page per transaction.
pub struct Replicator<S> {
    database: Database,
    pub token: Token,
    pub stream: S,
    last: Position,
    head: Head,
}

impl<S: Source> Replicator<S> {
    /// Records what comes until covered has passed a mark taken now. Returns what was recorded.
    pub async fn catch_up(&mut self) -> Vec<Transaction> {
        let mark = self.database.nudge_source().await.expect("nudges");
        let (mut recorded, mut relations, mut open) = (Vec::new(), Vec::new(), None);
        let mut reached = false;
        loop {
            let q = ReadSource { changes_max: 1_000, bytes_max: 1 << 20 };
            let items = tokio::time::timeout(20 * SECOND, self.stream.read(q)).await.expect("in time");
            for item in items.expect("streams") {
                match item {
                    SourceItem::Begin { commit_lsn, committed_at, xid } => {
                        open = Some((commit_lsn, committed_at, xid, Vec::new()));
                    }
                    SourceItem::Relation(relation) => relations.push(relation),
                    SourceItem::Change(change) => open.as_mut().expect("begun").3.push(change),
                    SourceItem::Commit { end_lsn } => {
                        let (commit_lsn, committed_at, xid, changes) = open.take().expect("begun");
                        if !changes.is_empty() {
                            let xid = Xid(xid.into());
                            let (first, complete, changes) = (0, true, changes.into());
                            let t = Transaction { commit_lsn, end_lsn, xid, committed_at, first, complete, changes };
                            recorded.push(self.record(t, &relations).await);
                        }
                        reached |= end_lsn >= mark;
                    }
                    SourceItem::Keepalive { wal_end } => reached |= wal_end > mark,
                }
            }
            if reached && open.is_none() {
                return recorded;
            }
        }
    }

    async fn record(&mut self, transaction: Transaction, relations: &[Arc<Relation>]) -> Transaction {
        let page = page(self.head, self.last, relations, vec![transaction.clone()]);
        let through = page.through.position;
        let q = record(self.token, self.head, self.last, page);
        let Recorded::Recorded { reference } = self.database.record_page(q).await.expect("answers") else {
            panic!("not recorded")
        };
        self.last = through;
        let xid = u32::try_from(transaction.xid.0).expect("still narrow");
        Transaction { xid: Xid::widen(xid, reference), ..transaction }
    }
}

pub fn done<T: std::fmt::Debug>(fenced: Fenced<T>) -> T {
    match fenced {
        Fenced::Done(it) => it,
        Fenced::Superseded => panic!("superseded"),
    }
}

pub fn record(token: Token, head: Head, expect: Position, page: Page) -> RecordPage {
    RecordPage { token, era: head.era(), expect, page: Arc::new(page), compare: true, row_last: true }
}

pub fn page(head: Head, after: Position, relations: &[Arc<Relation>], transactions: Vec<Transaction>) -> Page {
    let last = transactions.last().expect("a page holds something");
    let index = last.first + u32::try_from(last.changes.len()).expect("few") - 1;
    let position = Position { commit_lsn: last.commit_lsn, index: if last.complete { Position::WHOLE } else { index } };
    let through = Waypoint { position, xid: last.xid, committed_at: last.committed_at, ..head.waypoint };
    Page { after, through: Waypoint { schema: SchemaVersion(1), ..through }, relations: relations.into(), transactions }
}

pub fn relation() -> Arc<Relation> {
    let column = |name: &str, type_oid, key| Column { name: name.into(), type_oid, type_name: "t".into(), key };
    Arc::new(Relation::new("public", "t", vec![column("id", 23, true), column("v", 25, false)]))
}

pub fn insert(n: u32) -> Change {
    let row = Row::of([Value::Text(&n.to_string()), Value::Text("value")]);
    Change::Insert { relation: relation().id, row }
}

/// A transaction, or a part of one, of inserts `first..first + len`, some way behind the start of the era.
pub fn transaction(head: Head, nth: u64, first: u32, len: u32, complete: bool) -> Transaction {
    let commit_lsn = Lsn(head.covered.0 + nth * 1_000);
    Transaction {
        commit_lsn,
        end_lsn: if complete { Lsn(commit_lsn.0 + 8) } else { Lsn::ZERO },
        xid: Xid(800 + nth),
        committed_at: CommitTime(1_700_000_000_000_000 + i64::try_from(nth).expect("small")),
        first,
        complete,
        changes: (first..first + len).map(insert).collect(),
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}
