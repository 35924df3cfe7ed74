//! Eras, and what is recorded in the present one.

use super::head::{self, HEAD, PRESENT};
use super::types::{count, pg_lsn, signed, small, unsigned};
use super::{Database, failure, lease};
use dormouse_core::fault::Failure;
use dormouse_core::history::Head;
use dormouse_core::position::SchemaVersion;
use dormouse_core::replication::{BeginEra, Fenced, LoadProgress, Progress, RaiseSchema, SaveCovered};
use dormouse_core::source::{Evidence, Fingerprints};
use tokio_postgres::Transaction;

impl Database {
    /// Answers [`LoadProgress`].
    ///
    /// # Errors
    /// As every question.
    pub async fn load_progress(&self, q: LoadProgress) -> Result<Fenced<Option<Progress>>, Failure> {
        let mut client = self.control().get().await?;
        let transaction = client.transaction().await.map_err(failure::of)?;
        if !lease::hold(&transaction, q.token).await? {
            return Ok(Fenced::Superseded);
        }
        let leftovers = transaction.execute(
            "delete from dormouse.change_history c using (select * from dormouse.era order by counter desc limit 1) e \
             where c.era = e.counter and c.commit_lsn > greatest(e.horizon_lsn, \
               (select h.commit_lsn from dormouse.transaction_history h where h.era = e.counter order by h.commit_lsn desc limit 1))",
            &[],
        ).await;
        let leftovers = leftovers.map_err(failure::of)?;
        if leftovers > 0 {
            tracing::info!(changes = leftovers, "deleted the pieces of a transaction that was not finished");
        }
        let progress = read(&transaction).await?;
        transaction.commit().await.map_err(failure::of)?;
        Ok(Fenced::Done(progress))
    }

    /// Answers [`BeginEra`].
    ///
    /// # Errors
    /// As every question.
    pub async fn begin_era(&self, q: BeginEra) -> Result<Fenced<Head>, Failure> {
        let mut client = self.control().get().await?;
        let transaction = client.transaction().await.map_err(failure::of)?;
        if !lease::hold(&transaction, q.token).await? {
            return Ok(Fenced::Superseded);
        }
        // X0 is this transaction's own id: every transaction that runs now, or has a commit record and is not yet visible,
        // has a lower one. The xmax of a snapshot is only the last *ended* one plus one, and may lie below those that run.
        // The first position is just below the start: a commit record may begin exactly there.
        let insert = transaction
            .execute(
                "insert into dormouse.era (counter, id, start_lsn, covered_lsn, x0, schema, horizon_lsn, horizon_xid, \
               horizon_time, horizon_changes, system_identifier, database_oid, timeline, reason, fingerprints) \
            select coalesce(max(counter), 0) + 1, $1, $2::pg_lsn, $2, \
               greatest(pg_current_xact_id(), pg_snapshot_xmax(pg_current_snapshot())), coalesce(max(schema), 0) + 1, \
               $2 - 1, '0'::xid8, 'epoch', 0, $3, $4, $5, $6, $7::text::jsonb from dormouse.era",
                &[
                    &signed(rand::random()),
                    &pg_lsn(q.start),
                    &signed(q.evidence.system_identifier),
                    &i64::from(q.evidence.database_oid),
                    &i64::from(q.evidence.timeline),
                    &q.reason,
                    &to_json(&q.fingerprints),
                ],
            )
            .await;
        insert.map_err(failure::of)?;
        let progress = read(&transaction).await?.ok_or_else(|| failure::corrupt("no era after one was begun"))?;
        transaction.commit().await.map_err(failure::of)?;
        Ok(Fenced::Done(progress.head))
    }

    /// Answers [`SaveCovered`].
    ///
    /// # Errors
    /// As every question.
    pub async fn save_covered(&self, q: SaveCovered) -> Result<Fenced<()>, Failure> {
        let client = self.control().get().await?;
        let saved = client.execute(
            "with held as materialized (select from dormouse.lease where token = $1 for update) \
             update dormouse.era e set covered_lsn = greatest(e.covered_lsn, $4) from held where e.counter = $2 and e.id = $3",
            &[&signed(q.token.0), &small(q.era.counter), &signed(q.era.id), &pg_lsn(q.covered)],
        ).await;
        let saved = saved.map_err(failure::of)?;
        Ok(if saved == 1 { Fenced::Done(()) } else { Fenced::Superseded })
    }

    /// Answers [`RaiseSchema`].
    ///
    /// # Errors
    /// As every question.
    pub async fn raise_schema(&self, q: RaiseSchema) -> Result<Fenced<SchemaVersion>, Failure> {
        let mut client = self.control().get().await?;
        let transaction = client.transaction().await.map_err(failure::of)?;
        if !lease::hold(&transaction, q.token).await? {
            return Ok(Fenced::Superseded);
        }
        // A table may have become published while a transaction was writing to it. What that one wrote before is in no
        // stream, and it may be visible to no snapshot yet: so X0 is raised, as at the start of an era.
        // What a version before noted has no member that was not looked at then: so what follows need only contain it.
        let noted = transaction
            .query_opt(
                "update dormouse.era e set fingerprints = q.noted, schema = q.became, \
               schema_reason = coalesce(q.reason, e.schema_reason), \
               x0 = case when q.reason is null then e.x0 else greatest(e.x0, pg_current_xact_id()) end \
             from (select $1::text::jsonb, $2::text, $3::int, $3 + case when $2 is null then 0 else 1 end, $6::text::jsonb) \
                  as q (noted, reason, before, became, follows) \
             where e.counter = $4 and e.id = $5 and e.counter = (select max(counter) from dormouse.era) \
               and (e.schema = q.before and q.follows @> e.fingerprints or e.schema = q.became and e.fingerprints = q.noted) \
             returning e.schema",
                &[
                    &to_json(&q.fingerprints),
                    &q.reason,
                    &small(q.from.0),
                    &small(q.era.counter),
                    &signed(q.era.id),
                    &to_json(&q.noted),
                ],
            )
            .await;
        let Some(noted) = noted.map_err(failure::of)? else { return Ok(Fenced::Superseded) };
        transaction.commit().await.map_err(failure::of)?;
        Ok(Fenced::Done(SchemaVersion(count(noted.get(0)))))
    }
}

async fn read(transaction: &Transaction<'_>) -> Result<Option<Progress>, Failure> {
    let sql =
        format!("select {HEAD}, e.system_identifier, e.database_oid, e.timeline, e.fingerprints::text from {PRESENT}");
    let Some(row) = transaction.query_opt(&sql, &[]).await.map_err(failure::of)? else { return Ok(None) };
    let evidence = Evidence {
        system_identifier: unsigned(row.get(8)),
        database_oid: u32::try_from(row.get::<_, i64>(9)).unwrap_or(0),
        timeline: u32::try_from(row.get::<_, i64>(10)).unwrap_or(0),
    };
    let fingerprints = serde_json::from_str(row.get(11)).map_err(|_| failure::corrupt("unreadable fingerprints"))?;
    Ok(Some(Progress { head: head::of_row(&row, 0)?, evidence, fingerprints }))
}

fn to_json(fingerprints: &Fingerprints) -> String {
    // Postgres' jsonb cannot hold NUL, and no identifier or expression of Postgres contains one.
    serde_json::to_string(fingerprints).expect("fingerprints are strings and numbers")
}
