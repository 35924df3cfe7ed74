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
    /// Where the database's WAL ends.
    pub wal_end: Lsn,
    /// The WAL that the slot holds back.
    pub retained_wal_bytes: u64,
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
               s.confirmed_flush_lsn, \
               coalesce(case when pg_is_in_recovery() then 0 else pg_current_wal_lsn() - s.restart_lsn end, 0)::int8, \
               case when pg_is_in_recovery() then '0/0' else pg_current_wal_lsn() end \
             from dormouse.lease l left join pg_replication_slots s on s.slot_name = $1",
            &[&self.slot_name()],
        ).await;
        let row = row.map_err(failure::of)?;
        Ok(SourceStatus {
            holder: row.get(0),
            token: Token(unsigned(row.get(1))),
            remaining: Duration::try_from_secs_f64(row.get(2)).unwrap_or_default(),
            confirmed: row.get::<_, Option<PgLsn>>(3).map(lsn),
            wal_end: lsn(row.get(5)),
            retained_wal_bytes: u64::try_from(row.get::<_, i64>(4)).unwrap_or(0),
        })
    }
}
