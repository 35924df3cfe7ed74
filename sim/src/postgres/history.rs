//! Our history tables, and how pages are appended to them.

use super::wal::{Commit, Decoded};
use super::{Postgres, unavailable};
use crate::sorted::Sorted;
use dormouse_core::change::{Page, Relation, RelationId, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::{CommitTime, Lsn, Position};
use dormouse_core::replication::{RecordPage, Recorded};
use dormouse_core::xid::Xid;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row of `transaction_history`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransactionRow {
    pub(super) end_lsn: Lsn,
    pub(super) xid: Xid,
    pub(super) committed_at: CommitTime,
    pub(super) changes: u32,
}

/// What is appended of one transaction: its row, and its rows of `change_history`, which nothing keeps from being there twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) row: Option<TransactionRow>,
    pub(super) changes: Vec<(u32, Decoded)>,
    /// Whether the last piece was appended. The row tells it, unless that is written with the first piece.
    whole: bool,
}

/// The history of the present era.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    entries: Sorted<Lsn, Entry>,
    /// The name of the last transaction that was pruned.
    horizon: Option<(Lsn, TransactionRow)>,
    relations: BTreeMap<RelationId, Arc<Relation>>,
    /// Every published commit of this era before this index is in history, or was.
    recorded: usize,
}

impl History {
    /// An era begins; `recorded` is the index of its first commit.
    pub(super) fn begin_era(&mut self, recorded: usize) {
        *self = Self { recorded, ..Self::default() };
    }

    /// Deletes what no transaction's row finishes; true when there was something.
    pub(super) fn delete_leftovers(&mut self) -> bool {
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.row.is_some());
        self.entries.values_mut().for_each(|entry| entry.whole = true);
        self.entries.len() < before
    }

    /// The last transaction that has its row.
    pub(super) fn last(&self) -> Option<(Lsn, &TransactionRow)> {
        self.entries.iter().rev().find_map(|(lsn, entry)| Some((*lsn, entry.row.as_ref()?)))
    }

    pub(super) fn horizon_row(&self) -> Option<(Lsn, &TransactionRow)> {
        self.horizon.as_ref().map(|(lsn, row)| (*lsn, row))
    }

    pub(super) fn horizon_end(&self) -> Lsn {
        self.horizon.map_or(Lsn::ZERO, |(_, row)| row.end_lsn)
    }

    /// One transaction that has its row.
    pub(super) fn get(&self, commit_lsn: Lsn) -> Option<(&TransactionRow, &Entry)> {
        let entry = self.entries.get(&commit_lsn)?;
        Some((entry.row.as_ref()?, entry))
    }

    /// The transactions that have their rows, in commit order, from beyond `after`.
    pub(super) fn after(&self, after: Lsn) -> impl Iterator<Item = (Lsn, &TransactionRow, &Entry)> {
        self.entries.after(&after).filter_map(|(lsn, entry)| Some((*lsn, entry.row.as_ref()?, entry)))
    }

    /// Deletes the oldest transactions, as long as they are prunable, and keeps the name of the last.
    pub(super) fn prune(&mut self, prunable: impl Fn(Lsn, &TransactionRow) -> bool) {
        let is = |lsn: &Lsn, entry: &Entry| entry.row.as_ref().is_some_and(|row| prunable(*lsn, row));
        if let Some((lsn, Entry { row: Some(row), .. })) = self.entries.remove_first_while(is) {
            self.horizon = Some((lsn, row));
        }
    }

    pub(super) const fn recorded(&self) -> usize {
        self.recorded
    }

    /// The last appended position, an unfinished transaction included.
    fn last_appended(&self) -> Option<Position> {
        let (lsn, entry) = self.entries.iter().next_back()?;
        let inside = entry.changes.last().filter(|_| !entry.whole);
        Some(inside.map_or(Position::after(*lsn), |(index, _)| Position { commit_lsn: *lsn, index: *index }))
    }

    /// Appends one transaction or piece, whose xid is widened already.
    fn append(&mut self, transaction: &Transaction, xid: Xid, row_last: bool) {
        let entry = self.entries.or_insert_with(transaction.commit_lsn, Entry::default);
        for (index, change) in (transaction.first..).zip(transaction.changes.iter()) {
            let relation = Arc::clone(&self.relations[&change.relation()]);
            entry.changes.push((index, Decoded { relation, change: change.clone(), old: None, at: Lsn::ZERO }));
        }
        entry.changes.sort_by_key(|(index, _)| *index);
        entry.whole = transaction.complete;
        if transaction.complete || !row_last {
            let changes = entry.changes.last().map_or(0, |(index, _)| index + 1);
            let Transaction { end_lsn, committed_at, .. } = *transaction;
            entry.row = Some(TransactionRow { end_lsn, xid, committed_at, changes });
        }
    }

    /// Moves `recorded` past every commit that is in history, whole.
    fn follow(&mut self, commits: &[Commit]) {
        while let Some(commit) = commits.get(self.recorded) {
            let entry = self.entries.get(&commit.commit_lsn);
            if !entry
                .is_some_and(|entry| entry.whole && entry.row.is_some() && entry.changes.len() >= commit.changes.len())
            {
                break;
            }
            self.recorded += 1;
        }
    }
}

impl Postgres {
    /// Answers [`RecordPage`], in one transaction that locks the lease's row first.
    ///
    /// # Errors
    /// When a change names a shape that neither this nor an earlier page brought, or before the first era.
    pub fn ask_record_page(&mut self, ask: &RecordPage) -> Result<Recorded, Failure> {
        if !self.holds_lease(ask.token) || self.era() != Some(ask.era) {
            return Ok(Recorded::Superseded);
        }
        let Some(mut last) = self.last_appended() else { return unavailable("no era has begun") };
        let has_row = self.in_history(last.commit_lsn);
        if has_row && (ask.row_last || ask.expect.is_boundary() || ask.expect.commit_lsn != last.commit_lsn) {
            // A row that did not wait for the last piece is taken for the whole, but by who is inside of it.
            last = Position::after(last.commit_lsn);
        }
        let reference = self.own_write();
        if ask.compare && last != ask.expect {
            return Ok(Recorded::AlreadyAt { position: last, reference });
        }
        self.append_page(&ask.page, reference, ask.row_last)?;
        if ask.page.through.position.is_boundary() {
            self.unclean_ends = 0;
        }
        Ok(Recorded::Recorded { reference })
    }

    /// Whether a transaction's row is in the history of the present era.
    #[must_use]
    pub fn in_history(&self, commit_lsn: Lsn) -> bool {
        self.history.get(commit_lsn).is_some()
    }

    /// How many changes are kept in history, doubles and leftovers included.
    #[must_use]
    pub fn history_changes(&self) -> usize {
        self.history.entries.values().map(|entry| entry.changes.len()).sum()
    }

    /// The last appended position, an unfinished transaction included. `None` before the first era.
    #[must_use]
    pub fn last_appended(&self) -> Option<Position> {
        self.history.last_appended().or_else(|| Some(self.horizon()?.position))
    }

    fn append_page(&mut self, page: &Page, reference: Xid, row_last: bool) -> Result<(), Failure> {
        self.history.relations.extend(page.relations.iter().map(|relation| (relation.id, Arc::clone(relation))));
        let mut changes = page.transactions.iter().flat_map(|transaction| transaction.changes.iter());
        if let Some(change) = changes.find(|change| !self.history.relations.contains_key(&change.relation())) {
            return Err(Failure::Refused(format!("no page brought the shape {:?}", change.relation())));
        }
        for transaction in &page.transactions {
            #[expect(clippy::cast_possible_truncation, reason = "the stream tells the low half")]
            let xid = Xid::widen(transaction.xid.0 as u32, reference);
            self.history.append(transaction, xid, row_last);
        }
        self.wal.append(page.weight() as u64);
        self.wal.flush();
        self.history.follow(self.wal.commits());
        Ok(())
    }
}
