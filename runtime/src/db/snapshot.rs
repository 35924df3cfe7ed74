//! Snapshots, and the seam that joins them to the stream.
//!
//! A commit is decoded, and can be in history, before it is visible to new snapshots. So no LSN labels a snapshot: what it
//! sees is told by transaction ids.

use super::catalogue::{self, Table};
use super::copy::{Lines, append_row};
use super::head::{self, HEAD, PRESENT};
use super::spool::{Pending, ROW_TTL, Writer};
use super::types::{Xid8, lsn, micros, pg_lsn, signed, small, unsigned, waypoint};
use super::{Database, failure};
use dormouse_core::change::Scope;
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, ReadHead};
use dormouse_core::hub::{SnapshotTaken, Spool, SpoolId, TakeSnapshot};
use dormouse_core::limits::CHUNK_BYTES_MAX;
use dormouse_core::position::{Era, Lsn, Waypoint};
use dormouse_core::xid::Snapshot;
use futures::{StreamExt, pin_mut};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::PgLsn;

/// How often it is looked whether a snapshot holds up a migration; the second look in a row that says so ends the snapshot.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How many bytes of WAL may have been written since a spool for it to be shared still: those who share it read that stretch from history, which
/// costs the published tables nothing, but takes them longer than a snapshot of little would.
fn worth(spool: &Spool) -> u64 {
    const LITTLE: u64 = 64 * 1024 * 1024;
    LITTLE + 4 * u64::from(spool.chunks) * CHUNK_BYTES_MAX as u64
}

impl Database {
    /// Answers [`TakeSnapshot`]. Whoever asks for the scope of a recent spool shares it.
    ///
    /// # Errors
    /// As every question; `Unavailable` too when a table stays locked, or the snapshot held up a migration.
    pub async fn take_snapshot(&self, q: TakeSnapshot) -> Result<SnapshotTaken, Failure> {
        let gate = self.inner.spools.gate(&q.scope);
        let _alone = gate.lock().await;
        let head = self.read_head(ReadHead).await?;
        if head.era() != q.era {
            return Ok(SnapshotTaken::OtherEra { head });
        }
        let fits = |spool: &Spool| {
            let behind = head.position().commit_lsn.0.saturating_sub(spool.start.position.commit_lsn.0);
            (spool.start.era, spool.schema) == (q.era, head.schema()) && behind <= worth(spool)
        };
        if let Some(spool) = self.inner.spools.share(&q.scope, self.inner.config.snapshot_share_max, fits) {
            return Ok(SnapshotTaken::Spooled(spool));
        }
        let permit = self.inner.spools.permits.acquire().await;
        let _permit = permit.map_err(|_| Failure::Unavailable("shutting down".into()))?;
        self.start_sweeping();
        let id = self.in_time(self.reserve(head)).await?;
        let taken = self.take(id, &q).await;
        if !matches!(taken, Ok(SnapshotTaken::Spooled(_))) {
            let client = self.pool().get().await?;
            client.execute("delete from dormouse.spool where id = $1", &[&signed(id.0)]).await.map_err(failure::of)?;
        }
        taken
    }

    /// Keeps all history from now on, before anything is read: P0 is not known yet.
    async fn reserve(&self, head: Head) -> Result<SpoolId, Failure> {
        let client = self.pool().get().await?;
        let sql = "insert into dormouse.spool (id, era, start_lsn, expires_at) \
             select nextval('dormouse.spool_id'), counter, horizon_lsn, clock_timestamp() + $2 * interval '1 microsecond' \
             from dormouse.era where counter = $1 returning id";
        let row = client.query_one(sql, &[&small(head.era().counter), &micros(ROW_TTL)]).await.map_err(failure::of)?;
        Ok(SpoolId(unsigned(row.get(0))))
    }

    async fn take(&self, id: SpoolId, q: &TakeSnapshot) -> Result<SnapshotTaken, Failure> {
        let (client, tables) = self.in_time(self.begin(&q.scope)).await?;
        let seen = match self.in_time(see(&client, q)).await? {
            Ok(seen) => seen,
            Err(not_now) => return Ok(not_now),
        };
        let tables = self.in_time(self.same_tables(&client, &q.scope, tables)).await?;
        // One that is gone again before anybody notes it would be kept by whoever was given its rows.
        if let Some(table) = tables.iter().find(|table| !seen.noted.contains(&table.relation.full_name())) {
            return Err(Failure::Unavailable(format!(
                "replication has not noted yet that {} is published",
                table.relation.full_name()
            )));
        }
        let (start, fence) = self.in_time(self.seam(&seen, q.era)).await?;
        let keep = "update dormouse.spool set start_lsn = $2 where id = $1";
        let kept = self.pool().get().await?.execute(keep, &[&signed(id.0), &pg_lsn(start.position.commit_lsn)]).await;
        if kept.map_err(failure::of)? == 0 {
            return Err(Failure::Unavailable("the spool expired before it was begun".into()));
        }
        let writer = self.copy_unless_in_the_way(&client, &tables).await?;
        let spool = Arc::new(Spool {
            id,
            snapshot: seen.snapshot,
            start,
            fence,
            chunks: writer.chunks()?,
            rows: writer.rows(),
            relations: tables.into_iter().map(|table| table.relation).collect(),
            schema: seen.head.schema(),
        });
        tracing::info!(
            spool = id.0,
            rows = spool.rows,
            chunks = spool.chunks,
            disk_bytes = writer.bytes(),
            start = %start.position,
            fence = %fence,
            "spooled a snapshot"
        );
        self.inner.spools.insert(&spool, q.scope.clone(), writer.finish());
        Ok(SnapshotTaken::Spooled(spool))
    }

    /// Opens the transaction and locks the tables. Neither takes the snapshot yet: a table that is rewritten between snapshot and
    /// copy would yield no rows at all.
    async fn begin(&self, scope: &Scope) -> Result<(Client, Vec<Table>), Failure> {
        let client = self.pool().dedicated().await?;
        let tables = self.tables_in(&client, scope).await?;
        let begin = "begin isolation level repeatable read read only; set local lock_timeout = '2s'; \
             set local statement_timeout = 0; set local idle_in_transaction_session_timeout = '5min'";
        client.batch_execute(begin).await.map_err(failure::of)?;
        if !tables.is_empty() {
            let names: Vec<&str> = tables.iter().map(|table| table.quoted.as_str()).collect();
            let lock = format!("lock table {} in access share mode", names.join(", "));
            client.batch_execute(&lock).await.map_err(failure::of)?;
        }
        Ok((client, tables))
    }

    /// The tables as the snapshot sees them, if they are those that were locked.
    async fn same_tables(&self, client: &Client, scope: &Scope, locked: Vec<Table>) -> Result<Vec<Table>, Failure> {
        let tables = self.tables_in(client, scope).await?;
        if tables.iter().map(|table| &table.quoted).eq(locked.iter().map(|table| &table.quoted)) {
            Ok(tables)
        } else {
            Err(Failure::Unavailable("tables were published or left out while a snapshot began".into()))
        }
    }

    async fn tables_in(&self, client: &Client, scope: &Scope) -> Result<Vec<Table>, Failure> {
        let mut tables = catalogue::tables(client, &self.publication()).await?;
        tables.retain(|table| scope.includes(&table.relation));
        Ok(tables)
    }

    /// P0 and F, read no earlier than S, by a statement of another connection.
    ///
    /// L is the first transaction in history that S does not see. Such a one may have been recorded before S was taken, or
    /// since. If before, this statement sees its row, unless that was pruned, which spares what new snapshots do not see. If
    /// since, it stands after H in commit order, because history grows in that order and H is its end as S sees it: whether or
    /// not it is found here, P0 = H is before it.
    async fn seam(&self, seen: &Seen, era: Era) -> Result<(Waypoint, Lsn), Failure> {
        let client = self.pool().get().await?;
        let running: Vec<Xid8> = seen.snapshot.running.iter().map(|xid| Xid8(*xid)).collect();
        let counter = small(era.counter);
        let row = client.query_one(FIRST_UNSEEN, &[&counter, &running, &Xid8(seen.snapshot.xmax)]).await;
        let row = row.map_err(failure::of)?;
        let fence = lsn(row.get(1));
        let unseen = row.get::<_, Option<PgLsn>>(0).map(lsn);
        let Some(unseen) = unseen.filter(|unseen| *unseen <= seen.head.position().commit_lsn) else {
            return Ok((seen.head.waypoint, fence));
        };
        let row = client.query_one(JUST_BEFORE, &[&counter, &pg_lsn(unseen)]).await.map_err(failure::of)?;
        let before = waypoint(&row, 0).ok_or_else(|| failure::corrupt("an era without a start"))?;
        if before.position.commit_lsn >= unseen {
            return Err(Failure::Unavailable("history was pruned while a snapshot began".into()));
        }
        Ok((Waypoint { schema: seen.head.schema(), ..before }, fence))
    }

    async fn copy_unless_in_the_way(&self, client: &Client, tables: &[Table]) -> Result<Writer, Failure> {
        let row = client.query_one("select pg_backend_pid()", &[]).await.map_err(failure::of)?;
        let copy = self.copy(client, tables);
        let in_the_way = self.in_the_way(row.get(0));
        tokio::select! {
            copied = copy => copied,
            why = in_the_way => Err(why),
        }
    }

    /// Returns when the snapshot's locks hold somebody up.
    async fn in_the_way(&self, pid: i32) -> Failure {
        let sql = "select exists (select from pg_locks l where not l.granted and $1 = any(pg_blocking_pids(l.pid)))";
        let mut looks = 0;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Ok(client) = self.pool().get().await else { continue };
            let blocks = client.query_one(sql, &[&pid]).await.is_ok_and(|row| row.get(0));
            looks = if blocks { looks + 1 } else { 0 };
            if looks >= 2 {
                return Failure::Unavailable("the snapshot was given up because a migration waited for it".into());
            }
        }
    }

    async fn copy(&self, client: &Client, tables: &[Table]) -> Result<Writer, Failure> {
        let mut writer = self.inner.spools.writer()?;
        let mut pending = Pending::default();
        for table in tables {
            writer.begin_table(Arc::clone(&table.relation));
            let rows = client.copy_out(&copy_sql(table)).await.map_err(failure::of)?;
            pin_mut!(rows);
            let (mut lines, mut scratch) = (Lines::default(), Vec::new());
            while let Some(data) = rows.next().await {
                let mut full = false;
                let max = self.inner.config.value_bytes_max;
                lines.push(&data.map_err(failure::of)?, |line| {
                    let mut values = 0;
                    full |= pending.push(|out| values = append_row(line, max, &mut scratch, out));
                    if values == table.relation.columns.len() {
                        Ok(())
                    } else {
                        Err(Failure::Unavailable("a row of a snapshot has another number of values".into()))
                    }
                })?;
                if full {
                    (writer, pending) = writer.write(pending).await?;
                }
            }
            if !pending.is_empty() {
                (writer, pending) = writer.write(pending).await?;
            }
        }
        // The client's end rolls the transaction back; nobody waits for that.
        Ok(writer)
    }
}

/// What the snapshot sees.
struct Seen {
    /// S.
    snapshot: Snapshot,
    /// H, with the schema's number.
    head: Head,
    /// The tables that are published as far as replication has noted.
    noted: Vec<String>,
}

/// The transaction's first statement that takes a snapshot: S and H are of the same moment.
async fn see(client: &Client, q: &TakeSnapshot) -> Result<Result<Seen, SnapshotTaken>, Failure> {
    let sql = format!(
        "select {HEAD}, pg_current_snapshot()::text, pg_snapshot_xmin(pg_current_snapshot()) >= e.x0, pg_is_in_recovery(), \
           array(select jsonb_object_keys(e.fingerprints)) \
         from {PRESENT}"
    );
    let row = client.query_opt(&sql, &[]).await.map_err(failure::of)?.ok_or_else(head::none_yet)?;
    if row.get(10) {
        // The snapshot of a standby lists no running transactions.
        return Err(Failure::Unavailable("the database has become a standby".into()));
    }
    let head = head::of_row(&row, 0)?;
    if head.era() != q.era {
        return Ok(Err(SnapshotTaken::OtherEra { head }));
    }
    if q.await_era_start && !row.get::<_, bool>(9) {
        return Ok(Err(SnapshotTaken::EraStarting));
    }
    let snapshot = Snapshot::parse(row.get(8)).ok_or_else(|| failure::corrupt("a snapshot that cannot be read"))?;
    Ok(Ok(Seen { snapshot, head, noted: row.get(11) }))
}

/// One probe of the index on `(era, xid)` per running transaction. `offset 0` keeps the planner from walking history in commit
/// order instead.
const FIRST_UNSEEN: &str = "select (select min(u.commit_lsn) from ( \
         (select commit_lsn from dormouse.transaction_history where era = $1 and xid = any($2) offset 0) \
         union all (select commit_lsn from dormouse.transaction_history where era = $1 and xid >= $3 offset 0)) u), \
       pg_current_wal_insert_lsn()";

const JUST_BEFORE: &str = "select e.counter, e.id, e.schema, coalesce(t.commit_lsn, e.horizon_lsn), 4294967295::bigint, \
       coalesce(t.xid, e.horizon_xid), coalesce(t.commit_time, e.horizon_time) \
     from dormouse.era e left join lateral (select h.* from dormouse.transaction_history h \
       where h.era = $1 and h.commit_lsn < $2 order by h.era desc, h.commit_lsn desc limit 1) t on true \
     where e.counter = $1";

fn copy_sql(table: &Table) -> String {
    let columns: Vec<_> = table.relation.columns.iter().map(|column| catalogue::quoted(&column.name)).collect();
    let filter = table.filter.as_ref().map_or_else(String::new, |filter| format!(" where {filter}"));
    format!("copy (select {} from {}{filter}) to stdout", columns.join(", "), table.quoted)
}
