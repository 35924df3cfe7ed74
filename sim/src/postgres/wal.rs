//! The write-ahead log: where it ends, and the commits in it, each with what the published tables hold after it.

use dormouse_core::change::{Change, Relation};
use dormouse_core::position::{CommitTime, Lsn};
use dormouse_core::rng::mix;
use dormouse_core::row::Row;
use dormouse_core::xid::Xid;
use std::sync::Arc;

/// The most published tables.
pub const TABLES_MAX: usize = 4;
/// What one transaction on our own tables adds.
pub(super) const OWN_WRITE_BYTES: u64 = 160;
const COMMIT_BYTES: u64 = 48;
const CHANGE_BYTES: u64 = 32;

/// The wrapping content sum of each published table ([`dormouse_core::sum::row_hash`]).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sums(pub [u128; TABLES_MAX]);

impl Sums {
    /// All tables together.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.0.iter().fold(0, |sum, table| sum.wrapping_add(*table))
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, other) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(other);
        }
    }
}

/// What the published tables hold at a boundary of commit order.
#[derive(Debug, Default, Clone)]
pub struct Expected {
    /// The transaction at that boundary; zero before the first.
    pub commit_lsn: Lsn,
    /// Its id.
    pub xid: Xid,
    /// The contents.
    pub sums: Sums,
    /// The wrapping sum of `mix(xid)` over all published transactions up to here.
    pub effects: u64,
    /// The same, of the transactions that touch each table.
    pub effects_by_table: [u64; TABLES_MAX],
    /// How many alterations of tables stand before it.
    pub alterations: u32,
    /// The contents after each alteration that stands between this commit and the next.
    pub altered: Vec<Sums>,
}

/// A change as the stream tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The table's shape then.
    pub relation: Arc<Relation>,
    /// The change.
    pub change: Change,
    /// What the row was, which the stream tells of a table whose identity is FULL.
    pub old: Option<Row>,
    /// Where its record stands. Zero where that is not known.
    pub at: Lsn,
}

/// A commit record with the published changes of its transaction.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Where the commit record begins.
    pub commit_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// Whose.
    pub xid: Xid,
    /// When.
    pub committed_at: CommitTime,
    /// At least one.
    pub changes: Arc<[Decoded]>,
    /// What the tables hold after it.
    pub expected: Expected,
}

/// What became of a table without a word in the stream.
#[derive(Debug, Clone)]
pub struct Alteration {
    /// Its shape since.
    pub relation: Arc<Relation>,
    /// Whether that is another than before: then the stream tells it, once something is written.
    pub reshaped: bool,
    /// Its rows since, where those of before do not tell: all of them.
    pub rows: Option<Arc<[Row]>>,
}

#[derive(Debug, Clone)]
pub(super) struct Wal {
    insert: Lsn,
    flushed: Lsn,
    base: Expected,
    commits: Vec<Commit>,
    /// What became of each table that was altered, and how many commits stand before that.
    alterations: Vec<(usize, Alteration)>,
}

impl Wal {
    pub(super) fn new(first: Lsn) -> Self {
        Self { insert: first, flushed: first, base: Expected::default(), commits: Vec::new(), alterations: Vec::new() }
    }

    pub(super) const fn insert(&self) -> Lsn {
        self.insert
    }

    pub(super) const fn flushed(&self) -> Lsn {
        self.flushed
    }

    pub(super) fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// Adds a record; returns where it begins.
    pub(super) fn append(&mut self, bytes: u64) -> Lsn {
        let at = self.insert;
        self.insert = Lsn(at.0 + bytes.next_multiple_of(8));
        at
    }

    /// Adds the record of a change; returns where it begins.
    pub(super) fn append_change(&mut self, change: &Change) -> Lsn {
        self.append(CHANGE_BYTES + change.weight() as u64)
    }

    pub(super) const fn flush(&mut self) {
        self.flushed = self.insert;
    }

    /// Writes and flushes a commit record; returns where it begins and ends.
    pub(super) fn append_commit(&mut self) -> (Lsn, Lsn) {
        let commit_lsn = self.append(COMMIT_BYTES);
        self.flush();
        (commit_lsn, self.insert)
    }

    /// Notes what a commit record publishes, and what the tables hold after it.
    pub(super) fn publish(
        &mut self,
        (commit_lsn, end_lsn): (Lsn, Lsn),
        xid: Xid,
        committed_at: CommitTime,
        changes: Arc<[Decoded]>,
        delta: &Sums,
        touched: [bool; TABLES_MAX],
    ) {
        let last = self.last();
        let mut expected = Expected {
            commit_lsn,
            xid,
            sums: *last.altered.last().unwrap_or(&last.sums),
            effects: last.effects.wrapping_add(mix(xid.0)),
            effects_by_table: last.effects_by_table,
            alterations: alterations(last),
            altered: Vec::new(),
        };
        expected.sums.add(delta);
        for (effects, touched) in expected.effects_by_table.iter_mut().zip(touched) {
            *effects = effects.wrapping_add(if touched { mix(xid.0) } else { 0 });
        }
        self.commits.push(Commit { commit_lsn, end_lsn, xid, committed_at, changes, expected });
    }

    /// Notes that existing rows changed without a word in the stream.
    pub(super) fn alter(&mut self, delta: &Sums, alteration: Alteration) {
        self.alterations.push((self.commits.len(), alteration));
        let last = self.commits.last_mut().map_or(&mut self.base, |commit| &mut commit.expected);
        let mut sums = *last.altered.last().unwrap_or(&last.sums);
        sums.add(delta);
        last.altered.push(sums);
    }

    pub(super) fn alterations(&self) -> &[(usize, Alteration)] {
        &self.alterations
    }

    /// The index of the first commit whose record begins at `lsn` or later.
    pub(super) fn first_at(&self, lsn: Lsn) -> usize {
        self.commits.partition_point(|commit| commit.commit_lsn < lsn)
    }

    /// What the tables hold after the last commit at or below `lsn`.
    pub(super) fn expected_at(&self, lsn: Lsn) -> &Expected {
        match self.commits.partition_point(|commit| commit.commit_lsn <= lsn) {
            0 => &self.base,
            n => &self.commits[n - 1].expected,
        }
    }

    fn last(&self) -> &Expected {
        self.commits.last().map_or(&self.base, |commit| &commit.expected)
    }
}

/// How many alterations stand before the commit that follows this boundary.
pub(super) fn alterations(expected: &Expected) -> u32 {
    expected.alterations + u32::try_from(expected.altered.len()).expect("runs are short")
}

/// The row that a change brings, if it does.
#[must_use]
pub const fn row_of(change: &Change) -> Option<&Row> {
    match change {
        Change::Insert { row, .. } | Change::Update { row, .. } | Change::Move { row, .. } => Some(row),
        Change::Delete { .. } | Change::Truncate { .. } => None,
    }
}
