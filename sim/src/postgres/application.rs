//! The application's side: transactions that interleave, commit, and become visible in an order of their own.

use super::Postgres;
use super::wal::{Decoded, Sums, TABLES_MAX};
use super::writes::Write;
use crate::sorted::Sorted;
use dormouse_core::position::Lsn;
use dormouse_core::rng::mix;
use dormouse_core::row::Row;
use dormouse_core::time::Timestamp;
use dormouse_core::xid::{Snapshot, Xid};
use std::collections::BTreeSet;

/// Names a transaction of the application, before and after it has an xid. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u64);

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
    pub(super) changes: Vec<Decoded>,
    publishes: bool,
    pub(super) truncated: BTreeSet<usize>,
    pub(super) rows: Sorted<(usize, u64), Option<Row>>,
    pub(super) delta: Sums,
    pub(super) touched: [bool; TABLES_MAX],
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
            let committed_at = self.config.clock(now);
            let (delta, touched) = (transaction.delta, transaction.touched);
            self.wal.publish((commit_lsn, end_lsn), xid, committed_at, changes, &delta, touched);
        }
        if !transaction.truncated.is_empty() {
            self.catalogue_changes();
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
            if let Some(xid) = transaction.xid {
                self.tables[*n].stored_anew(xid);
            }
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

    /// Whether a transaction that has written, and took its xid before this one, is open.
    #[must_use]
    pub fn has_older_open(&self, tx: TxId) -> bool {
        let Some(xid) = self.transactions.get(&tx).and_then(|transaction| transaction.xid) else { return false };
        self.transactions.values().any(|other| other.committed.is_none() && other.xid.is_some_and(|older| older < xid))
    }

    /// The transactions whose commit record is written and which snapshots do not see, oldest first.
    pub fn invisible(&self) -> impl Iterator<Item = TxId> {
        self.transactions.iter().filter(|(_, transaction)| transaction.committed.is_some()).map(|(tx, _)| *tx)
    }

    /// The id that the next transaction will get.
    pub(super) const fn next_xid(&self) -> Xid {
        self.xids.next()
    }

    /// Whether a transaction with an id below this runs, or is committed and not visible yet.
    #[must_use]
    pub fn runs_since(&self, xid: Xid) -> bool {
        self.xids.oldest_running().is_some_and(|oldest| oldest < xid)
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
}
