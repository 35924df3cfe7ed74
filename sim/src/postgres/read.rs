//! How hubs read history.

use super::history::{Entry, TransactionRow};
use super::wal::Decoded;
use super::{Postgres, unavailable};
use dormouse_core::change::{Change, Page, Relation, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::{HistoryRead, ReadHistory};
use dormouse_core::hub::{JudgePosition, Judged, Named};
use dormouse_core::position::{CommitTime, Lsn, Position, Waypoint};
use dormouse_core::xid::Xid;
use std::sync::Arc;

impl Postgres {
    /// Answers [`ReadHistory`]: whole transactions, or one piece of one that is larger than the limits or that `after` is inside of.
    ///
    /// # Errors
    /// Before the first era.
    pub fn ask_read_history(&self, ask: &ReadHistory) -> Result<HistoryRead, Failure> {
        let (Some(head), Some(horizon)) = (self.head(), self.horizon()) else {
            return unavailable("no era has begun");
        };
        if ask.era != head.era() {
            return Ok(HistoryRead::OtherEra { head });
        }
        if ask.after < horizon.position {
            return Ok(HistoryRead::Pruned { head });
        }
        let transactions = match self.rest_of_transaction(ask) {
            Some(rest) => vec![rest],
            None => self.following(ask),
        };
        let Some(last) = transactions.last() else { return Ok(HistoryRead::End { head }) };
        let index = match last.transaction.complete {
            true => Position::WHOLE,
            false => last.transaction.first + last.count() - 1,
        };
        let Transaction { commit_lsn, xid, committed_at, .. } = last.transaction;
        let through = Waypoint { position: Position { commit_lsn, index }, xid, committed_at, ..head.waypoint };
        let relations = shapes(&transactions);
        let transactions = transactions.into_iter().map(|read| read.transaction).collect();
        let page = Arc::new(Page { after: ask.after, through, relations, transactions });
        Ok(HistoryRead::Page { page, head })
    }

    /// Answers [`JudgePosition`].
    ///
    /// # Errors
    /// Before the first era.
    pub fn ask_judge_position(&self, ask: &JudgePosition) -> Result<Judged, Failure> {
        let (Some(head), Some(horizon)) = (self.head(), self.horizon()) else {
            return unavailable("no era has begun");
        };
        let claim = ask.claim.filter(|claim| claim.era == head.era());
        Ok(Judged {
            head,
            mark: self.insert_lsn(),
            horizon: horizon.position,
            named: claim.and_then(|claim| self.named(claim.position.commit_lsn)),
            unknown_tables: self.unknown_tables(&ask.scope),
        })
    }

    /// What stands at a commit LSN of the present era: a transaction, the last that was pruned, or the era's start.
    fn named(&self, commit_lsn: Lsn) -> Option<Named> {
        let name = |row: &TransactionRow| Named { xid: row.xid, committed_at: row.committed_at, changes: row.changes };
        let held = self.history.get(commit_lsn).map(|(row, _)| name(row));
        held.or_else(|| {
            if self.horizon()?.position.commit_lsn != commit_lsn {
                return None;
            }
            let start = Named { xid: Xid(0), committed_at: CommitTime(0), changes: 0 };
            Some(self.history.horizon_row().map_or(start, |(_, row)| name(row)))
        })
    }

    /// When `after` is inside a transaction and something follows in it: one piece of that.
    fn rest_of_transaction(&self, ask: &ReadHistory) -> Option<Read<'_>> {
        let commit_lsn = ask.after.commit_lsn;
        if ask.after.is_boundary() || ask.until.is_some_and(|until| commit_lsn >= until) {
            return None;
        }
        let (row, entry) = self.history.get(commit_lsn).filter(|(row, _)| ask.after.index + 1 < row.changes)?;
        Some(piece(commit_lsn, row, entry, ask.after.index + 1, ask))
    }

    /// The whole transactions that follow and fit, or one piece of the first when it does not.
    fn following(&self, ask: &ReadHistory) -> Vec<Read<'_>> {
        let (mut changes, mut bytes) = (0, 0);
        let mut read = Vec::new();
        for (commit_lsn, row, entry) in self.history.after(ask.after.commit_lsn) {
            if ask.until.is_some_and(|until| commit_lsn >= until) {
                break;
            }
            changes += entry.changes.len();
            let weights = entry.changes.iter().map(|(_, decoded)| decoded.change.weight());
            bytes += TRANSACTION_BYTES + weights.sum::<usize>();
            if changes > ask.changes_max as usize || bytes > ask.bytes_max as usize {
                if read.is_empty() {
                    read.push(piece(commit_lsn, row, entry, 0, ask));
                }
                break;
            }
            read.push(piece(commit_lsn, row, entry, 0, ask));
        }
        read
    }
}

/// What a whole transaction counts for in a page beside its changes.
const TRANSACTION_BYTES: usize = 128;

/// One transaction or piece that was read, with the rows it came from.
struct Read<'a> {
    transaction: Transaction,
    rows: &'a [(u32, Decoded)],
}

impl Read<'_> {
    fn count(&self) -> u32 {
        u32::try_from(self.rows.len()).expect("a page's limit is a u32")
    }
}

/// As much of a transaction from its change `first` on as the limits allow, at least one change.
fn piece<'a>(commit_lsn: Lsn, row: &TransactionRow, entry: &'a Entry, first: u32, ask: &ReadHistory) -> Read<'a> {
    let rest = &entry.changes[entry.changes.partition_point(|(index, _)| *index < first)..];
    let (mut count, mut bytes) = (0, 0);
    for (_, decoded) in rest {
        bytes += decoded.change.weight();
        if count > 0 && (count >= ask.changes_max as usize || bytes > ask.bytes_max as usize) {
            break;
        }
        count += 1;
    }
    let rows = &rest[..count];
    let complete = count == rest.len();
    let end_lsn = if complete { row.end_lsn } else { Lsn::ZERO };
    let changes: Arc<[Change]> = rows.iter().map(|(_, decoded)| decoded.change.clone()).collect();
    let TransactionRow { xid, committed_at, .. } = *row;
    Read { transaction: Transaction { commit_lsn, end_lsn, xid, committed_at, first, complete, changes }, rows }
}

/// The shapes that what was read refers to, each once.
fn shapes(read: &[Read<'_>]) -> Arc<[Arc<Relation>]> {
    let mut shapes: Vec<Arc<Relation>> = Vec::new();
    for (_, Decoded { relation, .. }) in read.iter().flat_map(|read| read.rows) {
        if !shapes.iter().any(|shape| shape.id == relation.id) {
            shapes.push(Arc::clone(relation));
        }
    }
    shapes.into()
}
