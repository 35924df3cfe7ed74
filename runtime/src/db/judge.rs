//! What greetings need to know, for all that wait in one round trip.

use super::head::{self, HEAD, PRESENT};
use super::types::{Time, Xid8, count, lsn, pg_lsn, small};
use super::{Database, failure};
use dormouse_core::change::Scope;
use dormouse_core::fault::Failure;
use dormouse_core::hub::{JudgePosition, Judged, Named};
use dormouse_core::position::{Lsn, Position};
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

impl Database {
    /// Answers [`JudgePosition`]; greetings that wait share a statement.
    ///
    /// # Errors
    /// As every question; `Refused` on a standby, whose WAL has no insert position.
    pub async fn judge_position(&self, q: JudgePosition) -> Result<Judged, Failure> {
        let database = self.clone();
        let work = move |batch: Vec<JudgePosition>| {
            let database = database.clone();
            async move {
                match database.judge_positions(&batch).await {
                    Ok(judged) => judged,
                    Err(why) => vec![Err(why); batch.len()],
                }
            }
        };
        self.inner.judgements.ask(q, work).await
    }

    async fn judge_positions(&self, batch: &[JudgePosition]) -> Result<Vec<Result<Judged, Failure>>, Failure> {
        // Clients that were cut together hold the same: each distinct question is asked once.
        let mut distinct: Vec<&JudgePosition> = Vec::new();
        let which: Vec<usize> = batch
            .iter()
            .map(|q| {
                distinct.iter().position(|other| *other == q).unwrap_or_else(|| {
                    distinct.push(q);
                    distinct.len() - 1
                })
            })
            .collect();
        let claimed = |q: &&JudgePosition| pg_lsn(q.claim.map_or(Lsn::ZERO, |claim| claim.position.commit_lsn));
        let claims: Vec<PgLsn> = distinct.iter().map(claimed).collect();
        let (mut owners, mut tables) = (Vec::new(), Vec::new());
        for (n, q) in (1_u32..).zip(&distinct) {
            if let Scope::Tables(names) = &q.scope {
                owners.extend(names.iter().map(|_| small(n)));
                tables.extend(names.iter().map(String::as_str));
            }
        }
        let client = self.pool().get().await?;
        let sql = client.prepare_cached(sql()).await.map_err(failure::of)?;
        let rows = client.query(&sql, &[&claims, &self.publication(), &owners, &tables]).await.map_err(failure::of)?;
        if rows.is_empty() {
            return Err(head::none_yet());
        }
        let judged: Vec<_> = distinct.iter().zip(&rows).map(|(q, row)| judged(q, row)).collect();
        Ok(which.into_iter().map(|n| judged[n].clone()).collect())
    }
}

fn judged(q: &JudgePosition, row: &Row) -> Result<Judged, Failure> {
    let mark: Option<PgLsn> = row.get(8);
    let mark = mark.ok_or_else(|| {
        Failure::Refused("the database has become a standby: point the database URL at the primary".into())
    })?;
    let head = head::of_row(row, 0)?;
    let horizon = Position::after(lsn(row.get(9)));
    let named = q.claim.filter(|claim| claim.era == head.era()).and_then(|_| {
        row.get::<_, Option<Xid8>>(10).map(|xid| Named {
            xid: xid.0,
            committed_at: row.get::<_, Time>(11).0,
            changes: count(row.get(12)),
        })
    });
    Ok(Judged { head, mark: lsn(mark), horizon, named, unknown_tables: row.get(13) })
}

/// The mark is read by the statement that reads the head: later than the greetings, which is all that it must be.
fn sql() -> &'static str {
    static SQL: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SQL.get_or_init(|| {
        format!(
            "select {HEAD}, case when pg_is_in_recovery() then null else pg_current_wal_insert_lsn() end, e.horizon_lsn, \
               named.xid, named.commit_time, named.changes, \
               array(select w.name from unnest($3::int4[], $4::text[]) w (n, name) where w.n = q.n and w.name not in \
                     (select p.schemaname || '.' || p.tablename from pg_publication_tables p where p.pubname = $2)) \
             from {PRESENT} \
             cross join unnest($1::pg_lsn[]) with ordinality q (claim, n) \
             left join lateral (select h.xid, h.commit_time, h.changes from dormouse.transaction_history h \
                                where h.era = e.counter and h.commit_lsn = q.claim \
                                union all select e.horizon_xid, e.horizon_time, e.horizon_changes where e.horizon_lsn = q.claim \
                                limit 1) named on true order by q.n"
        )
    })
}
