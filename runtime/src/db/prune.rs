//! Retention: what nobody needs is deleted, in short transactions, and the horizon says up to where.

use super::types::{Time, Xid8, count, lsn, micros, pg_lsn};
use super::{Database, failure, lease};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position};
use dormouse_core::replication::{Fenced, Prune};
use tokio_postgres::types::PgLsn;

/// The most transactions that one statement moves the horizon over.
const TRANSACTIONS_MAX: i64 = 2_000;
/// The most changes that one statement deletes. Appends wait for none of them.
const CHANGES_MAX: i64 = 5_000;
/// The most statements of each kind in one answer; the rest waits for the next.
const ROUNDS_MAX: usize = 200;

impl Database {
    /// Answers [`Prune`].
    ///
    /// # Errors
    /// As every question.
    pub async fn prune(&self, q: Prune) -> Result<Fenced<Position>, Failure> {
        self.in_time(self.delete_expired()).await?;
        for _ in 0..ROUNDS_MAX {
            match self.in_time(self.move_horizon(&q)).await? {
                Fenced::Superseded => return Ok(Fenced::Superseded),
                Fenced::Done(0) => break,
                Fenced::Done(_) => {}
            }
        }
        for _ in 0..ROUNDS_MAX {
            if self.in_time(self.delete_changes()).await? < CHANGES_MAX.unsigned_abs() {
                break;
            }
        }
        let client = self.control().get().await?;
        let row = client.query_opt("select horizon_lsn from dormouse.era order by counter desc limit 1", &[]).await;
        let horizon = row.map_err(failure::of)?.map_or(Lsn::ZERO, |row| lsn(row.get(0)));
        Ok(Fenced::Done(Position::after(horizon)))
    }

    async fn delete_expired(&self) -> Result<(), Failure> {
        let client = self.control().get().await?;
        let sql = "delete from dormouse.client where expires_at < clock_timestamp()";
        client.execute(sql, &[]).await.map_err(failure::of)?;
        let sql = "delete from dormouse.spool where expires_at < clock_timestamp()";
        client.execute(sql, &[]).await.map_err(failure::of)?;
        Ok(())
    }

    /// Takes the longest run of transactions from the oldest on that may go, makes the last of them the horizon, and deletes
    /// their rows, all in one commit. Returns how many.
    async fn move_horizon(&self, q: &Prune) -> Result<Fenced<u64>, Failure> {
        let mut client = self.control().get().await?;
        let transaction = client.transaction().await.map_err(failure::of)?;
        if !lease::hold(&transaction, q.token).await? {
            return Ok(Fenced::Superseded);
        }
        let rows = transaction
            .query(PRUNABLE, &[&micros(q.keep_min), &micros(q.keep_max), &TRANSACTIONS_MAX])
            .await
            .map_err(failure::of)?;
        let run: Vec<_> = rows.iter().take_while(|row| row.get(4)).collect();
        let Some(last) = run.last() else { return Ok(Fenced::Done(0)) };
        let (era, last_lsn): (i32, PgLsn) = (last.get(5), last.get(0));
        transaction
            .execute(
                // Covered must not fall back when the head itself goes: the slot may be confirmed up to there.
                "update dormouse.era set horizon_lsn = $2, horizon_xid = $3, horizon_time = $4, horizon_changes = $5, \
                 covered_lsn = greatest(covered_lsn, $6) where counter = $1",
                &[
                    &era,
                    &last_lsn,
                    &last.get::<_, Xid8>(1),
                    &last.get::<_, Time>(2),
                    &last.get::<_, i32>(3),
                    &last.get::<_, PgLsn>(6),
                ],
            )
            .await
            .map_err(failure::of)?;
        let sql = "delete from dormouse.transaction_history where era = $1 and commit_lsn <= $2";
        let deleted = transaction.execute(sql, &[&era, &last_lsn]).await.map_err(failure::of)?;
        transaction.commit().await.map_err(failure::of)?;
        tracing::debug!(transactions = deleted, horizon = %lsn(last_lsn), changes_of_last = count(last.get(3)), "pruned");
        Ok(Fenced::Done(deleted))
    }

    /// Deletes changes that no row of a transaction names any more: those up to the horizon, and those of earlier eras.
    async fn delete_changes(&self) -> Result<u64, Failure> {
        let client = self.control().get().await?;
        let era =
            client.query_opt("select counter, horizon_lsn from dormouse.era order by counter desc limit 1", &[]).await;
        let Some(era) = era.map_err(failure::of)? else { return Ok(0) };
        let (counter, horizon): (i32, PgLsn) = (era.get(0), era.get(1));
        let sql = "delete from dormouse.transaction_history where ctid = any(array( \
             select ctid from dormouse.transaction_history where era < $1 order by era, commit_lsn limit $2))";
        client.execute(sql, &[&counter, &CHANGES_MAX]).await.map_err(failure::of)?;
        let sql = "delete from dormouse.change_history where ctid = any(array( \
             select ctid from dormouse.change_history where (era, commit_lsn) <= ($1, $2) order by era, commit_lsn limit $3))";
        let horizon = pg_lsn(lsn(horizon));
        client.execute(sql, &[&counter, &horizon, &CHANGES_MAX]).await.map_err(failure::of)
    }
}

/// The oldest transactions, each with whether it may go. One that is not visible to new snapshots yet stays, whatever its age:
/// a snapshot taken now would need it in its seam.
const PRUNABLE: &str = "select h.commit_lsn, h.xid, h.commit_time, h.changes, \
       pg_visible_in_snapshot(h.xid, pg_current_snapshot()) and ( \
         h.commit_time < clock_timestamp() - $2 * interval '1 microsecond' \
         or (h.commit_time < clock_timestamp() - $1 * interval '1 microsecond' and h.commit_lsn <= k.kept_from)), e.counter, h.end_lsn \
     from (select * from dormouse.era order by counter desc limit 1) e, \
     lateral (select least( \
         (select min(case when c.index = 4294967295 then c.commit_lsn else c.commit_lsn - 1 end) from dormouse.client c \
          where c.expires_at > clock_timestamp() and c.era_counter = e.counter and c.era_id = e.id), \
         (select min(s.start_lsn) from dormouse.spool s where s.era = e.counter and s.expires_at > clock_timestamp()), \
         'FFFFFFFF/FFFFFFFF'::pg_lsn) as kept_from) k, \
     lateral (select * from dormouse.transaction_history h where h.era = e.counter \
              order by h.era, h.commit_lsn limit $3) h \
     order by h.commit_lsn";
