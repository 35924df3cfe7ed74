//! What a greeting needs to know, in one round trip.

use super::head::{self, HEAD, PRESENT};
use super::types::{Time, Xid8, count, lsn, pg_lsn};
use super::{Database, failure};
use dormouse_core::change::Scope;
use dormouse_core::fault::Failure;
use dormouse_core::hub::{JudgePosition, Judged, Named};
use dormouse_core::position::{Lsn, Position};
use tokio_postgres::types::PgLsn;

impl Database {
    /// Answers [`JudgePosition`].
    ///
    /// # Errors
    /// As every question; `Refused` on a standby, whose WAL has no insert position.
    pub async fn judge_position(&self, q: JudgePosition) -> Result<Judged, Failure> {
        let client = self.pool().get().await?;
        let sql = client.prepare_cached(sql()).await.map_err(failure::of)?;
        let tables: &[String] = match &q.scope {
            Scope::All => &[],
            Scope::Tables(tables) => tables,
        };
        let claimed = q.claim.map_or(Lsn::ZERO, |claim| claim.position.commit_lsn);
        let row = client.query_opt(&sql, &[&pg_lsn(claimed), &self.publication(), &tables]).await;
        let row = row.map_err(failure::of)?.ok_or_else(head::none_yet)?;
        let mark: Option<PgLsn> = row.get(8);
        let mark = mark.ok_or_else(|| {
            Failure::Refused("the database has become a standby: point the database URL at the primary".into())
        })?;
        let head = head::of_row(&row, 0)?;
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
}

/// The mark is read by the statement that reads the head: later than the greeting, which is all that it must be.
fn sql() -> &'static str {
    static SQL: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SQL.get_or_init(|| {
        format!(
            "select {HEAD}, case when pg_is_in_recovery() then null else pg_current_wal_insert_lsn() end, e.horizon_lsn, \
               named.xid, named.commit_time, named.changes, \
               array(select wanted from unnest($3::text[]) wanted where wanted not in \
                     (select p.schemaname || '.' || p.tablename from pg_publication_tables p where p.pubname = $2)) \
             from {PRESENT} \
             left join lateral (select h.xid, h.commit_time, h.changes from dormouse.transaction_history h \
                                where h.era = e.counter and h.commit_lsn = $1 \
                                union all select e.horizon_xid, e.horizon_time, e.horizon_changes where e.horizon_lsn = $1 \
                                limit 1) named on true"
        )
    })
}
