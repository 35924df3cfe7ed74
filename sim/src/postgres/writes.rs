//! The application's statements: what each needs, locks, leaves, and makes the stream tell.

use super::Postgres;
use super::application::{Transaction, TxId};
use super::tables::Table;
use super::wal::Decoded;
use dormouse_core::change::Change;
use dormouse_core::row::Row;
use std::sync::Arc;

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

/// A key and the row that has it now, if any.
type RowLeft = (u64, Option<Row>);

impl Postgres {
    /// Carries out one statement.
    ///
    /// # Errors
    /// When it has no effect.
    pub fn write(&mut self, tx: TxId, write: Write) -> Result<(), WriteError> {
        self.check_locks(tx, write)?;
        let old = self.old_row(tx, write);
        let (change, rows) = self.plan(tx, write)?;
        let n = write.table();
        self.assign_xid(tx);
        self.met_by_decoder();
        let at = self.wal.append_change(&change);
        let transaction = self.transactions.get_mut(&tx).ok_or(WriteError::Ended)?;
        let table = &mut self.tables[n];
        transaction.changes.push(Decoded { relation: Arc::clone(&table.relation), change, old, at });
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

    fn check_locks(&self, tx: TxId, write: Write) -> Result<(), WriteError> {
        let transaction = self.transactions.get(&tx).ok_or(WriteError::Ended)?;
        if transaction.committed.is_some() {
            return Err(WriteError::Ended);
        }
        let table = self.tables.get(write.table()).ok_or(WriteError::NoSuchTable)?;
        if !table.published {
            return Err(WriteError::Locked); // What is written meanwhile, its publication does at once.
        }
        // Nobody waits for a row that he does not see, unless it is his own that would be in its way.
        let seen = |key| current_row(transaction, table, write.table(), key).is_some();
        let sees_none = match write {
            Write::Update { key, .. } | Write::Move { key, .. } | Write::Delete { key, .. } => !seen(key),
            Write::Insert { .. } | Write::Truncate { .. } => false,
        };
        if sees_none && table.exclusive.is_none_or(|owner| owner == tx) {
            return Err(WriteError::NoSuchRow);
        }
        let free = |key| table.locks.get(&key).is_none_or(|owner| *owner == tx);
        let free = table.exclusive.is_none_or(|owner| owner == tx)
            && match write {
                Write::Insert { key, .. } | Write::Update { key, .. } | Write::Delete { key, .. } => free(key),
                Write::Move { key, to, .. } => free(key) && free(to),
                Write::Truncate { .. } => table.readers == 0 && table.writers.iter().all(|writer| *writer == tx),
            };
        if free { Ok(()) } else { Err(WriteError::Locked) }
    }

    /// The row that a statement changes, where the stream tells it.
    fn old_row(&self, tx: TxId, write: Write) -> Option<Row> {
        let table = self.tables.get(write.table()).filter(|table| table.is_full())?;
        match write {
            Write::Update { key, .. } | Write::Move { key, .. } | Write::Delete { key, .. } => {
                current_row(self.transactions.get(&tx)?, table, write.table(), key).cloned()
            }
            Write::Insert { .. } | Write::Truncate { .. } => None,
        }
    }

    /// What the stream will tell of a statement, and what it leaves of the rows it writes.
    fn plan(&self, tx: TxId, write: Write) -> Result<(Change, Vec<RowLeft>), WriteError> {
        let transaction = self.transactions.get(&tx).ok_or(WriteError::Ended)?;
        let table = &self.tables[write.table()];
        let relation = table.relation.id;
        let current = |key| current_row(transaction, table, write.table(), key);
        Ok(match write {
            Write::Insert { key, value, .. } => {
                if current(key).is_some() {
                    return Err(WriteError::RowExists);
                }
                let row = table.row(key, value, self.config.large_bytes(value));
                (Change::Insert { relation, row: row.clone() }, vec![(key, Some(row))])
            }
            Write::Update { key, value, large: true, .. } => {
                let old = current(key).ok_or(WriteError::NoSuchRow)?;
                let row = table.row(key, value, self.config.large_bytes(value));
                (table.updated(old, &row, row.clone()), vec![(key, Some(row))])
            }
            Write::Update { key, value, large: false, .. } => {
                let old = current(key).ok_or(WriteError::NoSuchRow)?;
                let row = Table::with(old, key, value);
                (table.updated(old, &row, table.told(&row)), vec![(key, Some(row))])
            }
            Write::Move { key, to, value, .. } => {
                let old = current(key).ok_or(WriteError::NoSuchRow)?;
                if current(to).is_some() {
                    return Err(WriteError::RowExists);
                }
                let row = Table::with(old, to, value);
                let told = table.updated(old, &row, table.told(&row));
                (told, vec![(key, None), (to, Some(row))])
            }
            Write::Delete { key, .. } => {
                let old = current(key).ok_or(WriteError::NoSuchRow)?;
                (Change::Delete { relation, key: table.relation.key_of(old) }, vec![(key, None)])
            }
            Write::Truncate { .. } => (Change::Truncate { relation }, Vec::new()),
        })
    }
}

impl Table {
    /// What the stream tells of a row that became another: its old key, where that has changed.
    fn updated(&self, old: &Row, new: &Row, told: Row) -> Change {
        let (relation, old_key) = (self.relation.id, self.relation.key_of(old));
        if old_key == self.relation.key_of(new) {
            Change::Update { relation, row: told }
        } else {
            Change::Move { relation, old_key, row: told }
        }
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
    let own = transaction.rows.iter().filter(move |((table, _), _)| *table == n).filter_map(|(_, row)| row.as_ref());
    let truncated = transaction.truncated.contains(&n);
    let others = table.rows.iter().filter(move |(key, _)| !truncated && !transaction.rows.contains_key(&(n, **key)));
    own.chain(others.map(|(_, row)| row))
}
