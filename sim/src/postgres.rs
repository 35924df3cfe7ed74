//! The model Postgres: a pure value that answers what the machines ask of a database.
//!
//! It has no time and no randomness of its own: the world passes the clock in, decides when a commit becomes visible, when
//! an answer is late or lost, and when the server falls over. It is synchronous: each question has one method, whose call
//! is the moment of its effect. Where Postgres is strange, so is the model: a commit is decoded before snapshots see it,
//! xids are given out at the first write, the stream is in commit order and tells low halves of xids, a confirmation can
//! be forgotten by a crash. Our own tables have no unique keys, so that nothing but the named safeguards hides a race.

mod application;
mod faults;
mod history;
mod lease;
mod oracle;
mod outdated;
mod pgoutput;
mod read;
mod registry;
mod replace;
mod retention;
mod slot;
mod snapshot;
mod tables;
mod types;
mod wal;
mod writes;
mod xids;

pub use application::{Committed, TxId};
pub use lease::Lease;
pub use oracle::Verdict;
pub use registry::Registration;
pub use slot::StreamId;
pub use snapshot::SnapshotBegun;
pub use types::default_of;
pub use wal::{Alteration, Commit, Decoded, Expected, Sums, TABLES_MAX, row_of};
pub use writes::{Write, WriteError};

use crate::sorted::Sorted;
use application::Transaction;
use dormouse_core::fault::Failure;
use dormouse_core::position::{CommitTime, Lsn};
use dormouse_core::time::Timestamp;
use dormouse_core::xid::Xid;
use history::History;
use lease::EraRow;
use registry::Registry;
use slot::{Slot, Stream};
use snapshot::Spools;
use tables::Table;
use wal::Wal;
use xids::Xids;

/// What a model Postgres starts with.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many published tables `public.t0`, `public.t1`, … there are: 1 to [`TABLES_MAX`].
    pub tables: usize,
    /// The first transaction id; near a multiple of 2³² to see it wrap.
    pub first_xid: Xid,
    /// Where the WAL begins.
    pub first_lsn: Lsn,
    /// The ids of eras follow from it.
    pub seed: u64,
    /// The most rows in a chunk of a spool.
    pub chunk_rows: usize,
    /// About how many bytes the large column holds, which updates may leave unchanged.
    pub large_bytes: usize,
    /// Whether our own transactions take xids of this cluster. If not, our tables live in another one, as the design allows.
    pub own_xids: bool,
    /// Whether tables have columns of many types, NULLs, values over the limit and the identity FULL, and the stream tells of
    /// origins, logical messages and our own tables.
    pub odd_shapes: bool,
    /// Whether tables may be created again, given another key, or taken out of the publication: then each fingerprint also tells how
    /// many alterations there were, in a place where no machine looks for any.
    pub replaces: bool,
    /// Whether the large column differs in size from row to row, up to more than a page takes.
    pub wide: bool,
    /// Whether the second table has the name of the first, in another schema.
    pub namesakes: bool,
    /// What its clock says when the run begins, in microseconds.
    pub clock_us: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tables: 2,
            first_xid: Xid((1 << 32) - 20),
            first_lsn: Lsn(0x16B_3748),
            seed: 0,
            chunk_rows: 3,
            large_bytes: 24,
            own_xids: true,
            odd_shapes: false,
            replaces: false,
            wide: false,
            namesakes: false,
            clock_us: 0,
        }
    }
}

impl Config {
    /// What its clock says.
    fn clock(&self, now: Timestamp) -> CommitTime {
        CommitTime(i64::try_from(now.micros()).unwrap_or(i64::MAX).saturating_add(self.clock_us))
    }

    /// The schema and the name of a table.
    fn name_of(&self, n: usize) -> (&'static str, String) {
        match n {
            1 if self.namesakes => ("other", "t0".into()),
            n => ("public", format!("t{n}")),
        }
    }

    /// About how many bytes the large column of a row holds: in wide worlds that of one in sixteen has more than a page takes, and half have
    /// as many as elsewhere.
    fn large_bytes(&self, value: u64) -> usize {
        match crate::chooser::mix(self.seed ^ value) % 16 {
            0 if self.wide => 1_700,
            1..=3 if self.wide => 400,
            4..=7 if self.wide => 120,
            _ => self.large_bytes,
        }
    }
}

/// A whole server: its WAL, its tables, its slot, and our schema in it.
#[derive(Debug, Clone)]
pub struct Postgres {
    config: Config,
    timeline: u32,
    wal: Wal,
    xids: Xids,
    tables: Vec<Table>,
    transactions: Sorted<TxId, Transaction>,
    transactions_begun: u64,
    slot: Option<Slot>,
    stream: Option<Stream>,
    streams_started: u64,
    lease: Lease,
    eras: Vec<EraRow>,
    attempts: Option<(Lsn, u32)>,
    history: History,
    registry: Registry,
    spools: Spools,
    /// How often it was restored from a copy: an era that begins then has another id than those that are gone.
    restores: u64,
    /// Which start of the server this is.
    started: u64,
    /// Whether a table has ever been created again, or published again.
    replaced_rows: bool,
    /// How many holders of the lease ended without releasing it, since a transaction was recorded.
    unclean_ends: u32,
    unclean_ends_most: u32,
}

impl Postgres {
    /// A server with empty tables and without our schema's rows.
    ///
    /// # Panics
    /// When `tables` is 0 or above [`TABLES_MAX`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        assert!((1..=TABLES_MAX).contains(&config.tables), "the model has 1 to {TABLES_MAX} tables");
        Self {
            timeline: 1,
            wal: Wal::new(config.first_lsn),
            xids: Xids::new(config.first_xid),
            tables: (0..config.tables).map(|n| Table::new(n, &config)).collect(),
            transactions: Sorted::default(),
            transactions_begun: 0,
            slot: None,
            stream: None,
            streams_started: 0,
            lease: Lease::default(),
            eras: Vec::new(),
            attempts: None,
            history: History::default(),
            registry: Registry::default(),
            spools: Spools::default(),
            restores: 0,
            started: 1,
            replaced_rows: false,
            unclean_ends: 0,
            unclean_ends_most: 0,
            config,
        }
    }

    /// Where the next WAL record will be written.
    #[must_use]
    pub const fn insert_lsn(&self) -> Lsn {
        self.wal.insert()
    }

    /// What is on disk, and so may be sent.
    #[must_use]
    pub const fn flushed_lsn(&self) -> Lsn {
        self.wal.flushed()
    }

    /// WAL of tables that are not published, or of vacuum, checkpoints and the like.
    pub fn advance_wal(&mut self, bytes: u64) {
        self.wal.append(bytes);
        self.wal.flush();
    }

    /// The small logical message of [`dormouse_core::replication::Output::NudgeSource`].
    pub fn nudge(&mut self) {
        self.met_by_decoder();
        self.own_write();
    }

    /// The WAL writer's round: what was inserted is on disk.
    pub const fn flush(&mut self) {
        self.wal.flush();
    }

    /// One transaction on tables of our schema: it takes an xid and makes WAL, and the stream tells nothing of it.
    fn own_write(&mut self) -> Xid {
        self.wal.append(wal::OWN_WRITE_BYTES);
        self.wal.flush();
        if !self.config.own_xids {
            return self.xids.next();
        }
        let xid = self.xids.allot();
        self.xids.complete(xid);
        xid
    }
}

fn unavailable<T>(why: &str) -> Result<T, Failure> {
    Err(Failure::Unavailable(why.into()))
}

#[cfg(test)]
mod tests;
