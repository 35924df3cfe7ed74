//! Reads of history: pages of whole transactions, and pieces of those that are too large for a page.

use super::head::{self, HEAD, PRESENT};
use super::types::{Time, Xid8, count, lsn, pg_lsn, signed, small, unsigned};
use super::{Database, failure};
use bytes::Bytes;
use dormouse_core::change::{Change, Page, Relation, RelationId, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, HistoryRead, ReadHistory};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, Waypoint};
use dormouse_core::row::Row;
use dormouse_core::xid::Xid;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::types::PgLsn;

/// The shapes met so far. They are few, and never change.
#[derive(Default)]
pub(super) struct Relations {
    known: Mutex<BTreeMap<RelationId, Arc<Relation>>>,
}

impl Database {
    /// Answers [`ReadHistory`].
    ///
    /// # Errors
    /// As every question.
    pub async fn read_history(&self, q: ReadHistory) -> Result<HistoryRead, Failure> {
        let mut client = self.pool().get().await?;
        let transactions = client.prepare_cached(transactions_sql()).await.map_err(failure::of)?;
        let changes = client.prepare_cached(CHANGES).await.map_err(failure::of)?;
        // One snapshot for the horizon and the rows: pruning moves the one and deletes the others in one commit.
        let transaction = client.build_transaction().read_only(true);
        let transaction = transaction.isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await;
        let transaction = transaction.map_err(failure::of)?;
        let found = Found::read(&transaction, &transactions, &q).await?;
        let head = found.head;
        let run = match found.plan(&q) {
            Plan::OtherEra => return Ok(HistoryRead::OtherEra { head }),
            Plan::Pruned => return Ok(HistoryRead::Pruned { head }),
            Plan::End => return Ok(HistoryRead::End { head }),
            Plan::Read(run) => run,
        };
        let after_index = if run.first == 0 { -1 } else { small(run.first) - 1 };
        let bytes_max = if run.is_piece() { i64::from(q.bytes_max) } else { i64::MAX };
        let rows = transaction
            .query(
                &changes,
                &[
                    &small(q.era.counter),
                    &pg_lsn(run.transactions[0].commit_lsn),
                    &after_index,
                    &pg_lsn(run.transactions[run.transactions.len() - 1].commit_lsn),
                    &i64::from(q.changes_max.max(1)),
                    &bytes_max,
                ],
            )
            .await;
        let rows = rows.map_err(failure::of)?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            changes.push((lsn(row.get(0)), change(row)?));
        }
        drop(rows);
        let relations = self.relations(&transaction, changes.iter().map(|(_, change)| change.relation())).await?;
        transaction.commit().await.map_err(failure::of)?;
        run.page(&q, head, relations, changes).map(|page| HistoryRead::Page { page: Arc::new(page), head })
    }

    async fn relations(
        &self,
        transaction: &deadpool_postgres::Transaction<'_>,
        ids: impl Iterator<Item = RelationId>,
    ) -> Result<Arc<[Arc<Relation>]>, Failure> {
        let mut wanted: BTreeMap<RelationId, Option<Arc<Relation>>> = ids.map(|id| (id, None)).collect();
        {
            let known = self.inner.relations.known.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.iter_mut().for_each(|(id, relation)| *relation = known.get(id).cloned());
        }
        let missing: Vec<i64> =
            wanted.iter().filter(|(_, found)| found.is_none()).map(|(id, _)| signed(id.0)).collect();
        if !missing.is_empty() {
            let sql = "select definition::text from dormouse.relation where id = any($1)";
            for row in transaction.query(sql, &[&missing]).await.map_err(failure::of)? {
                let relation: Relation =
                    serde_json::from_str(row.get(0)).map_err(|_| failure::corrupt("an unreadable relation"))?;
                let relation = Arc::new(relation);
                wanted.insert(relation.id, Some(Arc::clone(&relation)));
                let mut known = self.inner.relations.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(relation.id, relation);
            }
        }
        let all: Option<Vec<_>> = wanted.into_values().collect();
        all.map(Into::into).ok_or_else(|| failure::corrupt("a change of an unknown relation"))
    }
}

fn transactions_sql() -> &'static str {
    static SQL: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SQL.get_or_init(|| {
        format!(
            "select {HEAD}, e.horizon_lsn, n.commit_lsn, n.end_lsn, n.xid, n.commit_time, n.changes, n.bytes \
             from {PRESENT} left join lateral ( \
               select h.* from dormouse.transaction_history h \
               where h.era = e.counter and h.commit_lsn >= $1 and h.commit_lsn < $2 \
               order by h.era, h.commit_lsn limit $3) n on true"
        )
    })
}

/// A run over the index; the window cuts a piece at its bytes, without reading out the values of the rows beyond.
const CHANGES: &str = "select commit_lsn, index, relation, operation, row, key from ( \
       select *, sum(32 + coalesce(octet_length(row), 0) + coalesce(octet_length(key), 0)) \
           over (order by commit_lsn, index rows unbounded preceding) as bytes, \
         row_number() over (order by commit_lsn, index rows unbounded preceding) as n from ( \
         select * from dormouse.change_history \
         where era = $1 and (commit_lsn, index) > ($2, $3) and commit_lsn <= $4 \
         order by era, commit_lsn, index limit $5) raw) weighed \
     where bytes <= $6 or n = 1 order by commit_lsn, index";

/// A transaction's row.
struct TransactionRow {
    commit_lsn: Lsn,
    end_lsn: Lsn,
    xid: Xid,
    committed_at: CommitTime,
    changes: u32,
    bytes: u64,
}

/// What follows a position, unread.
struct Found {
    head: Head,
    horizon: Position,
    transactions: Vec<TransactionRow>,
}

enum Plan {
    OtherEra,
    Pruned,
    End,
    Read(Run),
}

/// The transactions of the page to come: a run of whole ones, or a part of one.
struct Run {
    transactions: Vec<TransactionRow>,
    /// The first change that is missing, of a transaction read in pieces.
    first: u32,
    whole: bool,
}

impl Found {
    async fn read(
        transaction: &deadpool_postgres::Transaction<'_>,
        sql: &tokio_postgres::Statement,
        q: &ReadHistory,
    ) -> Result<Self, Failure> {
        // A position inside a transaction is continued there; a boundary, behind it.
        let from = if q.after.is_boundary() { Lsn(q.after.commit_lsn.0.saturating_add(1)) } else { q.after.commit_lsn };
        let until = q.until.unwrap_or(Lsn(u64::MAX));
        // The first may be one that is held to its last change: one more is looked for.
        let limit = i64::from(q.changes_max.max(1)) + 1;
        let rows = transaction.query(sql, &[&pg_lsn(from), &pg_lsn(until), &limit]).await;
        let rows = rows.map_err(failure::of)?;
        let row = rows.first().ok_or_else(head::none_yet)?;
        let horizon = Position::after(lsn(row.get(8)));
        let transactions = rows.iter().filter_map(|row| {
            Some(TransactionRow {
                commit_lsn: lsn(row.get::<_, Option<PgLsn>>(9)?),
                end_lsn: lsn(row.get(10)),
                xid: row.get::<_, Xid8>(11).0,
                committed_at: row.get::<_, Time>(12).0,
                changes: count(row.get(13)),
                bytes: unsigned(row.get(14)),
            })
        });
        Ok(Self { head: head::of_row(row, 0)?, horizon, transactions: transactions.collect() })
    }

    fn plan(mut self, q: &ReadHistory) -> Plan {
        if self.head.era() != q.era {
            return Plan::OtherEra;
        }
        if q.after < self.horizon {
            return Plan::Pruned;
        }
        let Some(next) = self.transactions.first() else { return Plan::End };
        let inside = !q.after.is_boundary() && next.commit_lsn == q.after.commit_lsn;
        if inside && q.after.index.saturating_add(1) < next.changes {
            self.transactions.truncate(1);
            return Plan::Read(Run { transactions: self.transactions, first: q.after.index + 1, whole: false });
        }
        if inside {
            self.transactions.remove(0); // It is held to its last change.
        }
        let fitting = fitting(&self.transactions, q);
        if self.transactions.is_empty() {
            return Plan::End;
        }
        self.transactions.truncate(fitting.max(1));
        Plan::Read(Run { transactions: self.transactions, first: 0, whole: fitting > 0 })
    }
}

/// How many whole transactions fit the limits of a page.
fn fitting(transactions: &[TransactionRow], q: &ReadHistory) -> usize {
    const TRANSACTION_BYTES: u64 = 128;
    let (mut changes, mut bytes) = (0_u64, 0_u64);
    let fits = transactions.iter().take_while(|transaction| {
        changes += u64::from(transaction.changes);
        bytes += transaction.bytes + TRANSACTION_BYTES;
        // One change is always returned, and then it is all of its transaction.
        changes <= u64::from(q.changes_max.max(1)) && (bytes <= u64::from(q.bytes_max) || changes == 1)
    });
    fits.count()
}

impl Run {
    fn is_piece(&self) -> bool {
        !self.whole
    }

    fn page(
        self,
        q: &ReadHistory,
        head: Head,
        relations: Arc<[Arc<Relation>]>,
        changes: Vec<(Lsn, Change)>,
    ) -> Result<Page, Failure> {
        let mut through = None;
        let mut transactions = Vec::with_capacity(self.transactions.len());
        let mut changes = changes.into_iter().peekable();
        for row in &self.transactions {
            let own: Arc<[Change]> =
                std::iter::from_fn(|| changes.next_if(|(lsn, _)| *lsn == row.commit_lsn)).map(|(_, c)| c).collect();
            let last = self.first + small_len(own.len());
            if own.is_empty() || (self.whole && last != row.changes) {
                return Err(failure::corrupt("a transaction without all of its changes"));
            }
            let complete = last == row.changes;
            let index = if complete { Position::WHOLE } else { last - 1 };
            through = Some(waypoint(q.era, head, row, index));
            transactions.push(Transaction {
                commit_lsn: row.commit_lsn,
                end_lsn: if complete { row.end_lsn } else { Lsn::ZERO },
                xid: row.xid,
                committed_at: row.committed_at,
                first: self.first,
                complete,
                changes: own,
            });
        }
        let through = through.ok_or_else(|| failure::corrupt("no transaction where there was one"))?;
        Ok(Page { after: q.after, through, relations, transactions })
    }
}

fn waypoint(era: Era, head: Head, row: &TransactionRow, index: u32) -> Waypoint {
    Waypoint {
        era,
        schema: head.schema(),
        position: Position { commit_lsn: row.commit_lsn, index },
        xid: row.xid,
        committed_at: row.committed_at,
    }
}

fn small_len(len: usize) -> u32 {
    u32::try_from(len).expect("a page holds far fewer changes than 2^32")
}

fn change(row: &tokio_postgres::Row) -> Result<Change, Failure> {
    let corrupt = || failure::corrupt("an unreadable change");
    let relation = RelationId(unsigned(row.get(2)));
    let values = |column: usize| -> Result<Row, Failure> {
        let bytes: Option<&[u8]> = row.get(column);
        Row::parse(Bytes::copy_from_slice(bytes.ok_or_else(corrupt)?)).map_err(|_| corrupt())
    };
    match row.get::<_, i8>(3).cast_unsigned() {
        b'I' => Ok(Change::Insert { relation, row: values(4)? }),
        b'U' => Ok(Change::Update { relation, row: values(4)? }),
        b'M' => Ok(Change::Move { relation, old_key: values(5)?, row: values(4)? }),
        b'D' => Ok(Change::Delete { relation, key: values(5)? }),
        b'T' => Ok(Change::Truncate { relation }),
        _ => Err(corrupt()),
    }
}
