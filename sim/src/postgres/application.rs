//! The application's side: transactions that interleave, commit, and become visible in an order of their own.

use super::Postgres;
use super::tables::Table;
use super::wal::{Decoded, Sums, TABLES_MAX};
use dormouse_core::change::Change;
use dormouse_core::position::{CommitTime, Lsn};
use dormouse_core::rng::mix;
use dormouse_core::row::Row;
use dormouse_core::time::Timestamp;
use dormouse_core::xid::{Snapshot, Xid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a transaction of the application, before and after it has an xid. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u64);

/// One statement of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// A new row.
    Insert {
        /// Index of the table.
        table: usize,
        /// Its key.
        key: u64,
        /// Its value; the large column follows from it.
        value: u64,
    },
    /// Another value.
    Update {
        /// Index of the table.
        table: usize,
        /// Of the row.
        key: u64,
        /// The new value.
        value: u64,
        /// Whether the large column follows; else the stream says `unchanged`.
        large: bool,
    },
    /// Another key, and another value; the large column is left alone.
    Move {
        /// Index of the table.
        table: usize,
        /// Of the row so far.
        key: u64,
        /// Its new key.
        to: u64,
        /// The new value.
        value: u64,
    },
    /// No row any more.
    Delete {
        /// Index of the table.
        table: usize,
        /// Of the row.
        key: u64,
    },
    /// No rows any more.
    Truncate {
        /// Index of the table.
        table: usize,
    },
}

impl Write {
    /// The index of the table that is written.
    #[must_use]
    pub const fn table(&self) -> usize {
        match self {
            Self::Insert { table, .. }
            | Self::Update { table, .. }
            | Self::Move { table, .. }
            | Self::Delete { table, .. }
            | Self::Truncate { table } => *table,
        }
    }
}

/// Why a statement of the application had no effect. The transaction goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteError {
    /// Another transaction, not yet visible, or a snapshot holds a lock: Postgres would wait.
    Locked,
    /// There is no row with this key.
    NoSuchRow,
    /// There is a row with this key.
    RowExists,
    /// There is no such table.
    NoSuchTable,
    /// The transaction has ended or has written its commit record.
    Ended,
}

/// Where a commit record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where it begins.
    pub commit_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// Whose it is.
    pub xid: Xid,
}

/// A transaction that new snapshots do not see yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Transaction {
    pub(super) xid: Option<Xid>,
    pub(super) committed: Option<Lsn>,
    changes: Vec<Decoded>,
    publishes: bool,
    truncated: BTreeSet<usize>,
    rows: BTreeMap<(usize, u64), Option<Row>>,
    delta: Sums,
    touched: [bool; TABLES_MAX],
}

impl Postgres {
    /// Begins a transaction. It has no xid before its first write.
    pub fn begin(&mut self) -> TxId {
        self.transactions_begun += 1;
        let tx = TxId(self.transactions_begun);
        self.transactions.insert(tx, Transaction::default());
        tx
    }

    /// Gives a transaction its xid without a write, as `pg_current_xact_id()` does. `None` when it has ended.
    pub fn assign_xid(&mut self, tx: TxId) -> Option<Xid> {
        let transaction = self.transactions.get_mut(&tx)?;
        Some(*transaction.xid.get_or_insert_with(|| self.xids.allot()))
    }

    /// Carries out one statement.
    ///
    /// # Errors
    /// When it has no effect.
    pub fn write(&mut self, tx: TxId, write: Write) -> Result<(), WriteError> {
        self.check_locks(tx, write)?;
        let (change, rows) = self.plan(tx, write)?;
        let n = write.table();
        self.assign_xid(tx);
        self.wal.append_change(&change);
        let transaction = self.transactions.get_mut(&tx).ok_or(WriteError::Ended)?;
        let table = &mut self.tables[n];
        transaction.changes.push(Decoded { relation: Arc::clone(&table.relation), change });
        transaction.touched[n] = true;
        table.writers.insert(tx);
        let mut delta = 0_u128;
        if let Write::Truncate { .. } = write {
            table.exclusive = Some(tx);
            for row in current_rows(transaction, table, n) {
                delta = delta.wrapping_sub(table.hash(row));
            }
            transaction.rows.retain(|(table, _), _| *table != n);
            transaction.truncated.insert(n);
        }
        for (key, row) in rows {
            if let Some(old) = current_row(transaction, table, n, key) {
                delta = delta.wrapping_sub(table.hash(old));
            }
            if let Some(new) = &row {
                delta = delta.wrapping_add(table.hash(new));
            }
            table.locks.insert(key, tx);
            transaction.rows.insert((n, key), row);
        }
        transaction.delta.0[n] = transaction.delta.0[n].wrapping_add(delta);
        Ok(())
    }

    /// Writes and flushes the commit record: decoded from now on, though no snapshot sees it before [`Postgres::make_visible`].
    ///
    /// `None` when there is nothing to commit: unknown, committed already, or without an xid (which ends it).
    pub fn commit(&mut self, now: Timestamp, tx: TxId) -> Option<Committed> {
        let transaction = self.transactions.get_mut(&tx)?;
        let Some(xid) = transaction.xid else {
            self.transactions.remove(&tx);
            return None;
        };
        if transaction.committed.is_some() {
            return None;
        }
        let (commit_lsn, end_lsn) = self.wal.append_commit();
        transaction.committed = Some(commit_lsn);
        if !transaction.changes.is_empty() {
            transaction.publishes = true;
            let changes = std::mem::take(&mut transaction.changes).into();
            let committed_at = CommitTime(i64::try_from(now.micros()).unwrap_or(i64::MAX));
            let (delta, touched) = (transaction.delta, transaction.touched);
            self.wal.publish((commit_lsn, end_lsn), xid, committed_at, changes, &delta, touched);
        }
        Some(Committed { commit_lsn, end_lsn, xid })
    }

    /// Ends a committed transaction: the standby has answered, snapshots see it, its locks are free. False when it is not one.
    pub fn make_visible(&mut self, tx: TxId) -> bool {
        let Some(commit_lsn) = self.transactions.get(&tx).and_then(|transaction| transaction.committed) else {
            return false;
        };
        let Some(transaction) = self.transactions.remove(&tx) else { return false };
        for n in &transaction.truncated {
            self.tables[*n].rows.clear();
        }
        for ((n, key), row) in transaction.rows {
            match row {
                Some(row) => self.tables[n].rows.insert(key, row),
                None => self.tables[n].rows.remove(&key),
            };
        }
        self.release(tx, transaction.xid);
        if let (true, Some(xid)) = (transaction.publishes, transaction.xid) {
            self.spools.visible.effects = self.spools.visible.effects.wrapping_add(mix(xid.0));
            self.spools.visible.newest = self.spools.visible.newest.max(commit_lsn);
            for (effects, touched) in self.spools.visible.effects_by_table.iter_mut().zip(transaction.touched) {
                *effects = effects.wrapping_add(if touched { mix(xid.0) } else { 0 });
            }
        }
        true
    }

    /// Rolls a transaction back. False when it has ended or has written its commit record.
    pub fn abort(&mut self, tx: TxId) -> bool {
        if self.transactions.get(&tx).is_none_or(|transaction| transaction.committed.is_some()) {
            return false;
        }
        let xid = self.transactions.remove(&tx).and_then(|transaction| transaction.xid);
        if xid.is_some() {
            self.wal.append(32);
        }
        self.release(tx, xid);
        true
    }

    /// A whole transaction at once, visible at once. A statement without effect is left out.
    pub fn run(&mut self, now: Timestamp, writes: &[Write]) -> Option<Committed> {
        let tx = self.begin();
        for write in writes {
            let _ = self.write(tx, *write);
        }
        let committed = self.commit(now, tx)?;
        self.make_visible(tx);
        Some(committed)
    }

    /// The transactions that have begun and are not committed, oldest first.
    pub fn open(&self) -> impl Iterator<Item = TxId> {
        self.transactions.iter().filter(|(_, transaction)| transaction.committed.is_none()).map(|(tx, _)| *tx)
    }

    /// The transactions whose commit record is written and which snapshots do not see, oldest first.
    pub fn invisible(&self) -> impl Iterator<Item = TxId> {
        self.transactions.iter().filter(|(_, transaction)| transaction.committed.is_some()).map(|(tx, _)| *tx)
    }

    /// What `pg_current_snapshot()` says.
    #[must_use]
    pub fn current_snapshot(&self) -> Snapshot {
        self.xids.snapshot()
    }

    fn release(&mut self, tx: TxId, xid: Option<Xid>) {
        for table in &mut self.tables {
            table.release(tx);
        }
        if let Some(xid) = xid {
            self.xids.complete(xid);
        }
    }

    fn check_locks(&self, tx: TxId, write: Write) -> Result<(), WriteError> {
        let transaction = self.transactions.get(&tx).ok_or(WriteError::Ended)?;
        if transaction.committed.is_some() {
            return Err(WriteError::Ended);
        }
        let table = self.tables.get(write.table()).ok_or(WriteError::NoSuchTable)?;
        let free = |key| table.locks.get(&key).is_none_or(|owner| *owner == tx);
        let free = table.exclusive.is_none_or(|owner| owner == tx)
            && match write {
                Write::Insert { key, .. } | Write::Update { key, .. } | Write::Delete { key, .. } => free(key),
                Write::Move { key, to, .. } => free(key) && free(to),
                Write::Truncate { .. } => table.readers == 0 && table.writers.iter().all(|writer| *writer == tx),
            };
        if free { Ok(()) } else { Err(WriteError::Locked) }
    }

    /// What the stream will tell of a statement, and the rows it leaves.
    fn plan(&self, tx: TxId, write: Write) -> Result<(Change, Vec<(u64, Option<Row>)>), WriteError> {
        let transaction = self.transactions.get(&tx).ok_or(WriteError::Ended)?;
        let table = &self.tables[write.table()];
        let relation = table.relation.id;
        let current = |key| current_row(transaction, table, write.table(), key);
        Ok(match write {
            Write::Insert { key, value, .. } => {
                if current(key).is_some() {
                    return Err(WriteError::RowExists);
                }
                let row = table.row(key, value, self.config.large_bytes);
                (Change::Insert { relation, row: row.clone() }, vec![(key, Some(row))])
            }
            Write::Update { key, value, large: true, .. } => {
                current(key).ok_or(WriteError::NoSuchRow)?;
                let row = table.row(key, value, self.config.large_bytes);
                (Change::Update { relation, row: row.clone() }, vec![(key, Some(row))])
            }
            Write::Update { key, value, large: false, .. } => {
                let row = Table::with(current(key).ok_or(WriteError::NoSuchRow)?, key, value);
                (Change::Update { relation, row: Table::unchanged_large(&row) }, vec![(key, Some(row))])
            }
            Write::Move { key, to, value, .. } => {
                let old = current(key).ok_or(WriteError::NoSuchRow)?;
                if current(to).is_some() {
                    return Err(WriteError::RowExists);
                }
                let row = Table::with(old, to, value);
                let told = Change::Move { relation, old_key: Table::key(key), row: Table::unchanged_large(&row) };
                (told, vec![(key, None), (to, Some(row))])
            }
            Write::Delete { key, .. } => {
                current(key).ok_or(WriteError::NoSuchRow)?;
                (Change::Delete { relation, key: Table::key(key) }, vec![(key, None)])
            }
            Write::Truncate { .. } => (Change::Truncate { relation }, Vec::new()),
        })
    }
}

/// A row as its transaction sees it.
fn current_row<'a>(transaction: &'a Transaction, table: &'a Table, n: usize, key: u64) -> Option<&'a Row> {
    match transaction.rows.get(&(n, key)) {
        Some(own) => own.as_ref(),
        None if transaction.truncated.contains(&n) => None,
        None => table.rows.get(&key),
    }
}

/// All rows of a table as a transaction sees them.
fn current_rows<'a>(transaction: &'a Transaction, table: &'a Table, n: usize) -> impl Iterator<Item = &'a Row> {
    let own = transaction.rows.range((n, 0)..=(n, u64::MAX)).filter_map(|(_, row)| row.as_ref());
    let truncated = transaction.truncated.contains(&n);
    let others = table.rows.iter().filter(move |(key, _)| !truncated && !transaction.rows.contains_key(&(n, **key)));
    own.chain(others.map(|(_, row)| row))
}
