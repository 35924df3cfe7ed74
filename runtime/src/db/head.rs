//! The end of history.

use super::types::{lsn, waypoint};
use super::{Database, failure};
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, ReadHead};
use tokio_postgres::Row;
use tokio_postgres::types::PgLsn;

/// The head as eight columns, for [`of_row`]: the waypoint's seven, and durable covered. Of [`PRESENT`]'s `e` and `t`.
pub(super) const HEAD: &str = "e.counter, e.id, e.schema, coalesce(t.commit_lsn, e.horizon_lsn), 4294967295::bigint, \
     coalesce(t.xid, e.horizon_xid), coalesce(t.commit_time, e.horizon_time), \
     greatest(t.end_lsn, e.covered_lsn, e.start_lsn)";

/// The present era `e`, with its last transaction `t`, if any. What was pruned is the horizon, kept in the era's row.
pub(super) const PRESENT: &str = "(select * from dormouse.era order by counter desc limit 1) e \
     left join lateral (select h.* from dormouse.transaction_history h where h.era = e.counter \
                        order by h.era desc, h.commit_lsn desc limit 1) t on true";

/// Reads [`HEAD`]'s columns.
pub(super) fn of_row(row: &Row, from: usize) -> Result<Head, Failure> {
    let waypoint = waypoint(row, from).ok_or_else(|| failure::corrupt("an era without a start"))?;
    Ok(Head { waypoint, covered: lsn(row.get::<_, PgLsn>(from + 7)) })
}

/// There is no head before the first era.
pub(super) fn none_yet() -> Failure {
    Failure::Unavailable("no era has begun yet: replication is starting".into())
}

impl Database {
    /// Answers [`ReadHead`]; whoever waits shares what is read.
    ///
    /// # Errors
    /// As every question; `Unavailable` before the first era, and on a server that became a standby.
    pub async fn read_head(&self, q: ReadHead) -> Result<Head, Failure> {
        let database = self.clone();
        let work = move |batch: Vec<ReadHead>| {
            let database = database.clone();
            async move { vec![database.present_head().await; batch.len()] }
        };
        self.inner.heads.ask(q, work).await
    }

    async fn present_head(&self) -> Result<Head, Failure> {
        let client = self.pool().get().await?;
        let sql = client.prepare_cached(&format!("select {HEAD}, pg_is_in_recovery() from {PRESENT}")).await;
        let sql = sql.map_err(failure::of)?;
        let row = client.query_opt(&sql, &[]).await.map_err(failure::of)?.ok_or_else(none_yet)?;
        if row.get(8) {
            return Err(Failure::Unavailable("the database has become a standby".into()));
        }
        of_row(&row, 0)
    }
}
