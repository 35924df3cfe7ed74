//! Where the source stands, for people and monitors.

use super::types::{lsn, unsigned};
use super::{Database, failure};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::Token;
use std::time::Duration;
use tokio_postgres::types::PgLsn;

/// The lease and the slot, as Postgres has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Who replicates, or did last.
    pub holder: String,
    /// The newest token.
    pub token: Token,
    /// How long the lease lasts; zero when it was released or has run out.
    pub remaining: Duration,
    /// What Postgres was last allowed to forget; `None` without a slot.
    pub confirmed: Option<Lsn>,
    /// Where the database's WAL ends; zero on a standby.
    pub wal_end: Lsn,
    /// The WAL that the slot holds back.
    pub retained_wal_bytes: u64,
    /// How much of it Postgres keeps before it gives the slot up (`max_slot_wal_keep_size`); `None`: any amount.
    pub retained_wal_bytes_max: Option<u64>,
    /// Who sends the slot's WAL, if anybody.
    pub walsender: Option<Walsender>,
}

/// The process of Postgres that sends the slot's WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walsender {
    /// How far it has sent.
    pub sent: Lsn,
    /// How long ago its receiver last said something.
    pub silence: Duration,
}

impl SourceStatus {
    /// Whether somebody holds the lease.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        !self.remaining.is_zero()
    }
}

impl Database {
    /// Reads the lease and the slot.
    ///
    /// # Errors
    /// As every question.
    pub async fn source_status(&self) -> Result<SourceStatus, Failure> {
        let client = self.control().get().await?;
        let row = client.query_one(
            "select l.holder, l.token, \
               case when l.released then 0 else greatest(extract(epoch from l.expires_at - clock_timestamp()), 0) end::float8, \
               s.confirmed_flush_lsn, w.written, coalesce(w.written - s.restart_lsn, 0)::int8, \
               pg_size_bytes(current_setting('max_slot_wal_keep_size')), r.sent_lsn, \
               extract(epoch from clock_timestamp() - coalesce(r.reply_time, r.backend_start))::float8 \
             from dormouse.lease l \
             cross join (select case when not pg_is_in_recovery() then pg_current_wal_lsn() end as written) w \
             left join pg_replication_slots s on s.slot_name = $1 \
             left join pg_stat_replication r on r.pid = s.active_pid",
            &[&self.slot_name()],
        ).await;
        let row = row.map_err(failure::of)?;
        let seconds = |n: f64| Duration::try_from_secs_f64(n).unwrap_or_default();
        let sent = row.get::<_, Option<PgLsn>>(7).map(lsn);
        Ok(SourceStatus {
            holder: row.get(0),
            token: Token(unsigned(row.get(1))),
            remaining: seconds(row.get(2)),
            confirmed: row.get::<_, Option<PgLsn>>(3).map(lsn),
            wal_end: row.get::<_, Option<PgLsn>>(4).map_or(Lsn::ZERO, lsn),
            retained_wal_bytes: u64::try_from(row.get::<_, i64>(5)).unwrap_or(0),
            retained_wal_bytes_max: u64::try_from(row.get::<_, i64>(6)).ok(),
            walsender: sent
                .map(|sent| Walsender { sent, silence: seconds(row.get::<_, Option<f64>>(8).unwrap_or(0.0)) }),
        })
    }

    /// The WAL insert position of the primary: all that is committed by now was written below it.
    ///
    /// # Errors
    /// As every question; `Unavailable` on a server that became a standby.
    pub async fn read_mark(&self) -> Result<Lsn, Failure> {
        let client = self.pool().get().await?;
        let sql = "select case when not pg_is_in_recovery() then pg_current_wal_insert_lsn() end";
        let row = client.query_one(sql, &[]).await.map_err(failure::of)?;
        let mark = row.get::<_, Option<PgLsn>>(0).map(lsn);
        mark.ok_or_else(|| Failure::Unavailable("the database has become a standby".into()))
    }
}
