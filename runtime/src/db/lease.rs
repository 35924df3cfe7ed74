//! The right to replicate, and the fence of everything that is done under it.

use super::types::{count, micros, pg_lsn, signed, unsigned};
use super::{Database, failure};
use dormouse_core::fault::Failure;
use dormouse_core::replication::{Fenced, LeaseTaken, NoteAttempt, ReleaseLease, RenewLease, TakeLease, Token};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Transaction};

/// Counts a taking or a renewal, and keeps how many there had been when the server was started.
const COUNT: &str = "renewals = renewals + 1, started_at = pg_postmaster_start_time(), renewals_at_start = \
     case when started_at = pg_postmaster_start_time() then renewals_at_start else renewals end";

/// Locks the lease's row, if the token is the newest; a plain read of it would not fence.
pub(super) const HOLD: &str = "select from dormouse.lease where token = $1 for update";

impl Database {
    /// Answers [`TakeLease`].
    ///
    /// # Errors
    /// As every question.
    pub async fn take_lease(&self, q: TakeLease) -> Result<LeaseTaken, Failure> {
        let mut client = self.control().get().await?;
        match self.try_to_take_lease(&mut client, &q).await {
            Err(why) if why.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && end_a_silent_holder(&client).await? => {
                self.try_to_take_lease(&mut client, &q).await.map_err(failure::of)
            }
            taken => taken.map_err(failure::of),
        }
    }

    async fn try_to_take_lease(&self, client: &mut Client, q: &TakeLease) -> Result<LeaseTaken, Error> {
        let transaction = client.transaction().await?;
        // An append of the holder before ends before this lock is given: what is read later is all that it ever wrote.
        let found = transaction
            .query_one(
                "select released or expires_at < clock_timestamp() or holder = $1, released, holder, \
             greatest(extract(epoch from expires_at - clock_timestamp()), 0)::float8, renewals from dormouse.lease \
             for update",
                &[&q.holder],
            )
            .await?;
        self.inner.lineage.renewed(unsigned(found.get(4)));
        if !found.get::<_, bool>(0) {
            let remaining = Duration::try_from_secs_f64(found.get(3)).unwrap_or_default();
            return Ok(LeaseTaken::Held { holder: found.get(2), remaining });
        }
        let take = format!(
            "update dormouse.lease set token = token + 1, holder = $1, released = false, {COUNT}, \
             expires_at = clock_timestamp() + $2 * interval '1 microsecond' returning token"
        );
        let token: i64 = transaction.query_one(&take, &[&q.holder, &micros(q.ttl)]).await?.get(0);
        transaction.commit().await?;
        Ok(LeaseTaken::Taken { token: Token(unsigned(token)), clean: found.get(1) })
    }

    /// Answers [`RenewLease`].
    ///
    /// # Errors
    /// As every question.
    pub async fn renew_lease(&self, q: RenewLease) -> Result<Fenced<()>, Failure> {
        let client = self.control().get().await?;
        let renewed = match self.try_to_renew_lease(&client, &q).await {
            // One of our own, whose connection is lost to us and still there for Postgres.
            Err(why) if why.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && end_a_silent_holder(&client).await? => {
                self.try_to_renew_lease(&client, &q).await
            }
            renewed => renewed,
        };
        renewed.map_err(failure::of)
    }

    async fn try_to_renew_lease(&self, client: &Client, q: &RenewLease) -> Result<Fenced<()>, Error> {
        let renew = format!(
            "update dormouse.lease set expires_at = clock_timestamp() + $2 * interval '1 microsecond', {COUNT} \
             where token = $1 returning renewals"
        );
        let renewed = client.query_opt(&renew, &[&signed(q.token.0), &micros(q.ttl)]).await?;
        let Some(row) = renewed else { return Ok(Fenced::Superseded) };
        self.inner.lineage.renewed(unsigned(row.get(0)));
        Ok(Fenced::Done(()))
    }

    /// Answers [`ReleaseLease`].
    ///
    /// # Errors
    /// As every question.
    pub async fn release_lease(&self, q: ReleaseLease) -> Result<Fenced<()>, Failure> {
        let sql = "update dormouse.lease set released = true, expires_at = clock_timestamp() where token = $1";
        let client = self.control().get().await?;
        let rows = client.execute(sql, &[&signed(q.token.0)]).await.map_err(failure::of)?;
        Ok(if rows == 1 { Fenced::Done(()) } else { Fenced::Superseded })
    }

    /// Answers [`NoteAttempt`].
    ///
    /// # Errors
    /// As every question.
    pub async fn note_attempt(&self, q: NoteAttempt) -> Result<Fenced<u32>, Failure> {
        let client = self.control().get().await?;
        let noted = client.query_opt(
            "update dormouse.lease set attempts = case when attempt_lsn = $2 then attempts + 1 else 1 end, attempt_lsn = $2 \
             where token = $1 returning attempts",
            &[&signed(q.token.0), &pg_lsn(q.commit_lsn)],
        ).await;
        let noted = noted.map_err(failure::of)?;
        Ok(noted.map_or(Fenced::Superseded, |row| Fenced::Done(count(row.get(0)))))
    }

    /// Whether the token is the newest at this moment. It fences nothing: for what cannot run under the lock.
    pub(super) async fn is_newest(&self, token: Token) -> Result<bool, Failure> {
        let client = self.control().get().await?;
        let row = client.query_opt("select from dormouse.lease where token = $1", &[&signed(token.0)]).await;
        Ok(row.map_err(failure::of)?.is_some())
    }
}

/// Ends the session that keeps the row of an expired lease locked while it waits for its own client. True when there was one.
///
/// A process that is suspended in the midst of an append, or whose host is gone, would keep it for ever: a COPY that waits for
/// rows heeds no `statement_timeout`. What it has appended so far was never committed. Silent is who says nothing for about as long
/// as the lock was waited for, our `lock_timeout`.
async fn end_a_silent_holder(client: &Client) -> Result<bool, Failure> {
    let end = "select a.pid, pg_terminate_backend(a.pid, 2000) \
         from dormouse.lease l \
         join pg_locks k on k.locktype = 'transactionid' and k.transactionid = l.xmax and k.mode = 'ExclusiveLock' and k.granted \
         join pg_stat_activity a using (pid) \
         where (l.released or l.expires_at < clock_timestamp()) and a.wait_event = 'ClientRead' \
         and a.query_start < clock_timestamp() - interval '4 seconds'";
    let ended = client.query_opt(end, &[]).await.map_err(failure::of)?;
    if let Some(row) = &ended {
        let pid: i32 = row.get(0);
        tracing::warn!(pid, "a session that was silent in the midst of an append kept the expired lease: it was ended");
    }
    Ok(ended.is_some_and(|row| row.get(1)))
}

/// Who holds the lease now, and for how many more seconds unless it is renewed; none when it is free.
pub(crate) async fn holder(client: &Client) -> Result<Option<(String, f64)>, tokio_postgres::Error> {
    let sql = "select holder, extract(epoch from expires_at - clock_timestamp())::float8 from dormouse.lease \
         where not released and expires_at > clock_timestamp()";
    Ok(client.query_opt(sql, &[]).await?.map(|row| (row.get(0), row.get(1))))
}

/// Takes the fence for the rest of a transaction. False when a newer token exists.
pub(super) async fn hold(transaction: &Transaction<'_>, token: Token) -> Result<bool, Failure> {
    let row = transaction.query_opt(HOLD, &[&signed(token.0)]).await.map_err(failure::of)?;
    Ok(row.is_some())
}
