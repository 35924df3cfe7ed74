//! Appends to history: one short database transaction per page or piece, on a connection of their own.

use super::lease::HOLD;
use super::tuples::{self, COPY_CHANGES, too_many};
use super::types::{Time, Xid8, lsn, pg_lsn, signed, small};
use super::{Database, failure};
use bytes::Bytes;
use dormouse_core::change::{Change, Page, RelationId, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position};
use dormouse_core::replication::{RecordPage, Recorded};
use dormouse_core::xid::Xid;
use futures::SinkExt;
use std::collections::BTreeSet;
use std::pin::pin;
use tokio::sync::Mutex;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, CopyInSink, Error, Statement};

/// The most bytes of COPY in one message.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// The connection for appends. It is dropped after any failure: what became of its transaction is then unknown.
#[derive(Default)]
pub(super) struct Appender {
    session: Mutex<Option<Session>>,
}

struct Session {
    client: Client,
    hold: Statement,
    last: Statement,
    changes: Statement,
    transactions: Statement,
    relations: Statement,
    /// Shapes that are surely in our table.
    known: BTreeSet<RelationId>,
    /// The bytes of an unfinished transaction so far.
    unfinished: Option<(Lsn, i64)>,
}

impl Database {
    /// Answers [`RecordPage`].
    ///
    /// # Errors
    /// As every question.
    pub async fn record_page(&self, q: RecordPage) -> Result<Recorded, Failure> {
        let mut slot = self.inner.appender.session.lock().await;
        let mut session = match slot.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => Session::open(self.pool().dedicated().await?).await.map_err(failure::of)?,
        };
        // Not put back before all is well: a future that is dropped half-way leaves no open transaction behind.
        let recorded = session.record(&q).await?;
        *slot = Some(session);
        Ok(recorded)
    }
}

/// The last appended position is not kept but looked up, one probe into each index: a counter that every append updates
/// halves their rate within seconds under one old snapshot.
const LAST: &str = "select greatest(e.horizon_lsn, t.commit_lsn), c.commit_lsn, c.index::bigint, pg_current_xact_id() \
     from dormouse.era e \
     left join lateral (select h.commit_lsn from dormouse.transaction_history h where h.era = $1 \
                        order by h.era desc, h.commit_lsn desc limit 1) t on true \
     left join lateral (select h.commit_lsn, h.index from dormouse.change_history h where h.era = $1 \
                        order by h.era desc, h.commit_lsn desc, h.index desc limit 1) c on true \
     where e.counter = $1 and e.id = $2 and e.counter = (select max(counter) from dormouse.era)";

/// The row of a transaction whose pieces were appended by another process counts their bytes itself (-1).
const TRANSACTIONS: &str = "insert into dormouse.transaction_history as h \
       (era, schema, commit_lsn, end_lsn, xid, commit_time, changes, bytes) \
     select $1, $2, t.commit_lsn, t.end_lsn, t.xid, t.commit_time, t.changes, case when t.bytes >= 0 then t.bytes else \
       (select coalesce(sum(32 + coalesce(octet_length(c.row), 0) + coalesce(octet_length(c.key), 0)), 0) \
        from dormouse.change_history c where c.era = $1 and c.commit_lsn = t.commit_lsn) end \
     from unnest($3::pg_lsn[], $4::pg_lsn[], $5::xid8[], $6::timestamptz[], $7::int4[], $8::int8[]) \
       t (commit_lsn, end_lsn, xid, commit_time, changes, bytes)";

/// Only a row that did not wait for the last piece has no end yet.
const OR_COMPLETE: &str = " on conflict (era, commit_lsn) do update set changes = excluded.changes, bytes = excluded.bytes, \
     end_lsn = excluded.end_lsn where h.end_lsn = '0/0'";

const RELATIONS: &str = "insert into dormouse.relation (id, definition) \
     select r.id, r.definition::jsonb from unnest($1::int8[], $2::text[]) r (id, definition) on conflict do nothing";

impl Session {
    async fn open(client: Client) -> Result<Self, Error> {
        let (hold, last, changes, transactions, relations) = tokio::try_join!(
            client.prepare(HOLD),
            client.prepare(LAST),
            client.prepare(COPY_CHANGES),
            client.prepare(TRANSACTIONS),
            client.prepare(RELATIONS),
        )?;
        let (known, unfinished) = (BTreeSet::new(), None);
        Ok(Self { client, hold, last, changes, transactions, relations, known, unfinished })
    }

    async fn record(&mut self, q: &RecordPage) -> Result<Recorded, Failure> {
        // The look comes in a statement after the lock's: its snapshot then sees all that was appended before.
        let (era, id, token) = (small(q.era.counter), signed(q.era.id), signed(q.token.0));
        // COPY is opened with them: what follows is then sent in one flight.
        let (_, held, last, changes) = tokio::try_join!(
            self.client.batch_execute("begin"),
            async { self.client.query_opt(&self.hold, &[&token]).await },
            async { self.client.query_opt(&self.last, &[&era, &id]).await },
            self.client.copy_in(&self.changes),
        )
        .map_err(failure::of)?;
        let (Some(_), Some(last)) = (held, last) else {
            drop(changes); // Or the rollback would wait for its end.
            self.client.batch_execute("rollback").await.map_err(failure::of)?;
            return Ok(Recorded::Superseded);
        };
        let reference = last.get::<_, Xid8>(3).0;
        let mut position = Position::after(lsn(last.get(0)));
        if let (Some(commit_lsn), Some(index)) = (last.get::<_, Option<PgLsn>>(1), last.get::<_, Option<i64>>(2)) {
            let in_piece = !q.row_last && lsn(commit_lsn) == q.expect.commit_lsn && !q.expect.is_boundary();
            if lsn(commit_lsn) > position.commit_lsn || in_piece {
                position = Position { commit_lsn: lsn(commit_lsn), index: u32::try_from(index).unwrap_or(0) };
            }
        }
        if q.compare && position != q.expect {
            drop(changes);
            self.client.batch_execute("rollback").await.map_err(failure::of)?;
            return Ok(Recorded::AlreadyAt { position, reference });
        }
        self.append(q, changes, reference).await?;
        Ok(Recorded::Recorded { reference })
    }

    async fn append(&mut self, q: &RecordPage, changes: CopyInSink<Bytes>, reference: Xid) -> Result<(), Failure> {
        let page = &*q.page;
        let tuples = tuples::changes(page, q.era)?;
        let transactions = TransactionColumns::of(page, q.row_last, reference, self.unfinished)?;
        let new = page.relations.iter().filter(|relation| !self.known.contains(&relation.id));
        let (ids, definitions): (Vec<i64>, Vec<String>) = new
            .map(|relation| {
                let definition = serde_json::to_string(&**relation).expect("a relation is strings and numbers");
                (signed(relation.id.0), definition)
            })
            .unzip();
        let (era, schema) = (small(q.era.counter), small(page.through.schema.0));
        let relations = async {
            if ids.is_empty() { Ok(0) } else { self.client.execute(&self.relations, &[&ids, &definitions]).await }
        };
        let appended = async {
            let mut changes = pin!(changes);
            let mut rest = tuples;
            while !rest.is_empty() {
                changes.send(rest.split_to(rest.len().min(MESSAGE_BYTES_MAX))).await?;
            }
            changes.finish().await
        };
        let finished = async {
            let columns: [&(dyn ToSql + Sync); 8] = [
                &era,
                &schema,
                &transactions.commit_lsns,
                &transactions.end_lsns,
                &transactions.xids,
                &transactions.times,
                &transactions.changes,
                &transactions.bytes,
            ];
            if q.row_last {
                self.client.execute(&self.transactions, &columns).await
            } else {
                self.client.execute(&format!("{TRANSACTIONS}{OR_COMPLETE}"), &columns).await
            }
        };
        // One round trip: a failure of one makes a rollback of the commit behind it, and is seen here.
        let committed = self.client.batch_execute("commit");
        tokio::try_join!(relations, appended, finished, committed).map_err(failure::of)?;
        self.known.extend(page.relations.iter().map(|relation| relation.id));
        self.unfinished = transactions.unfinished;
        Ok(())
    }
}

#[derive(Default)]
struct TransactionColumns {
    commit_lsns: Vec<PgLsn>,
    end_lsns: Vec<PgLsn>,
    xids: Vec<Xid8>,
    times: Vec<Time>,
    changes: Vec<i32>,
    bytes: Vec<i64>,
    unfinished: Option<(Lsn, i64)>,
}

impl TransactionColumns {
    fn of(page: &Page, row_last: bool, reference: Xid, before: Option<(Lsn, i64)>) -> Result<Self, Failure> {
        let mut columns = Self::default();
        for transaction in &page.transactions {
            let bytes = bytes_through(transaction, before);
            if !transaction.complete {
                columns.unfinished = bytes.map(|bytes| (transaction.commit_lsn, bytes));
                if row_last {
                    continue;
                }
            }
            let changes = transaction.first as usize + transaction.changes.len();
            columns.commit_lsns.push(pg_lsn(transaction.commit_lsn));
            columns.end_lsns.push(pg_lsn(transaction.end_lsn));
            columns.xids.push(Xid8(widen(transaction.xid, reference)));
            columns.times.push(Time(transaction.committed_at));
            columns.changes.push(i32::try_from(changes).map_err(|_| too_many())?);
            columns.bytes.push(bytes.unwrap_or(-1));
        }
        Ok(columns)
    }
}

/// How many bytes a transaction has up to the end of this part; `None` when an earlier part was not appended here.
fn bytes_through(transaction: &Transaction, before: Option<(Lsn, i64)>) -> Option<i64> {
    let here: usize = transaction.changes.iter().map(Change::weight).sum();
    let earlier = match before {
        _ if transaction.first == 0 => 0,
        Some((lsn, bytes)) if lsn == transaction.commit_lsn => bytes,
        _ => return None,
    };
    Some(earlier + i64::try_from(here).unwrap_or(i64::MAX))
}

/// The stream's ids are 32 bits wide.
fn widen(xid: Xid, reference: Xid) -> Xid {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    Xid::widen(xid.0 as u32, reference)
}
