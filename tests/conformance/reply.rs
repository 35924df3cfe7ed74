//! What a subject replies: core's own types, raw. They are told apart only once they are told by rank.

use dormouse_core::change::{Chunk, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, HistoryRead};
use dormouse_core::hub::{EpochTaken, Judged, SnapshotTaken};
use dormouse_core::position::{Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::replication::{Fenced, LeaseTaken, Progress, Recorded, SourceState};
use dormouse_core::row::Row;
use dormouse_core::session::{ClientId, Epoch};
use dormouse_core::source::Fingerprints;
use dormouse_core::xid::{Snapshot, Xid};
use dormouse_sim::postgres::WriteError;
use std::sync::Arc;

/// What came of one step.
#[derive(Debug, Clone)]
pub enum Reply {
    Did(Did),
    Answers(Vec<Result<Answered, Failure>>),
    /// The script lacks what the step needs, such as a transaction to record.
    Nothing,
}

/// What came of an act of the application.
#[derive(Debug, Clone)]
pub enum Did {
    Done,
    /// There is no such transaction, or it cannot do that any more.
    Impossible,
    Xid(Xid),
    Wrote(Result<(), WriteError>),
    Rows(Vec<(String, Vec<Row>)>),
    Snapshot(Snapshot),
}

/// An answer to a question.
#[derive(Debug, Clone)]
pub enum Answered {
    Unit,
    Fenced(Fenced<()>),
    Lease(LeaseTaken),
    Source(Fenced<SourceState>),
    Progress(Fenced<Option<Progress>>),
    Slot(Fenced<Lsn>),
    Era(Fenced<Head>),
    Attempts(Fenced<u32>),
    Recorded(Recorded),
    Tables(Fenced<Fingerprints>),
    Schema(Fenced<SchemaVersion>),
    Horizon(Fenced<Position>),
    Head(Head),
    History(HistoryRead),
    Judged(Judged),
    Snapshot(SnapshotTaken, Vec<Arc<Chunk>>),
    Epoch(EpochTaken),
    Clients(Vec<ClientId>),
    Renewals(u64),
    Registrations(Vec<(ClientId, Epoch, Option<Waypoint>)>),
    Streamed(Streamed),
    /// How the tables differ from the last look at them, in words: their numbers are nobody's business.
    Compared(String),
}

/// What a stream told until it had told all.
#[derive(Debug, Clone, Default)]
pub struct Streamed {
    pub transactions: Vec<Transaction>,
    /// Whether each change is of a table that this stream had introduced. It may do so again whenever it likes.
    pub introduced: bool,
    /// Each keepalive, and how many transactions had been told before it.
    pub keepalives: Vec<(usize, Lsn)>,
    /// From where this stream tells.
    pub from: Lsn,
    /// How many transactions this stream had told before.
    pub before: usize,
    /// After a restart Postgres may tell again what ends up to here, although it was confirmed: it may have forgotten.
    pub forgettable: Lsn,
}

/// By what the numbers of a run are told: its transactions, which both subjects have in the same order.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    /// The published commits, where each begins and ends, in commit order.
    pub commits: Vec<(Lsn, Lsn)>,
    /// The ids that the application's transactions got, ascending.
    pub xids: Vec<Xid>,
}
