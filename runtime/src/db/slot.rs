//! The replication slot: looked at, created, taken back from our own stale walsender.

use super::catalogue::{self, EVIDENCE};
use super::types::lsn;
use super::{Database, failure, fingerprint};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{CreateSlot, Fenced, InspectSource, InspectTables, SettleSlot, SourceState};
use dormouse_core::source::{Fingerprints, SlotState};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;

/// How long the creation of a slot, and its settling, may wait for the transactions that run.
const CREATE_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Changes the catalogue and leaves no trace, by a right that every role has.
const CHANGE_CATALOGUE: &str = "select lo_unlink(lo_create(0))";

impl Database {
    /// Answers [`InspectSource`].
    ///
    /// # Errors
    /// As every question; `Refused` when `wal_level` is not `logical`, or the configured publication cannot serve.
    pub async fn inspect_source(&self, q: InspectSource) -> Result<Fenced<SourceState>, Failure> {
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        self.check_settings().await?;
        // A slot from before its publication fails at every change in between, for ever: it has to go first, so that no
        // crash leaves the two side by side.
        if self.owns_publication() && !self.publication_exists().await? {
            self.drop_slot().await?;
        }
        self.ensure_publication().await?;
        let client = self.control().get().await?;
        let row = client.query_one(&format!("select {EVIDENCE}"), &[]).await.map_err(failure::of)?;
        let evidence = catalogue::evidence(&row, 0);
        let slot = self.slot().await?;
        let fingerprints = fingerprint::read(&client, &self.publication()).await?;
        self.note_names(&client, &fingerprints).await?;
        if fingerprints.is_empty() {
            tracing::warn!("no table is published: nothing will be synced until there is one with a key");
        }
        Ok(Fenced::Done(SourceState { evidence, slot, fingerprints }))
    }

    /// Answers [`InspectTables`].
    ///
    /// # Errors
    /// As every question.
    pub async fn inspect_tables(&self, q: InspectTables) -> Result<Fenced<Fingerprints>, Failure> {
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        self.ensure_publication().await?;
        let client = self.control().get().await?;
        let fingerprints = fingerprint::read(&client, &self.publication()).await?;
        self.note_names(&client, &fingerprints).await?;
        Ok(Fenced::Done(fingerprints))
    }

    /// Answers [`CreateSlot`]. It waits for every transaction that runs now, and so holds no lock and no transaction itself.
    ///
    /// # Errors
    /// As every question.
    pub async fn create_slot(&self, q: CreateSlot) -> Result<Fenced<Lsn>, Failure> {
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        self.drop_slot().await?;
        let client = self.patient().await?;
        tracing::info!(slot = self.slot_name(), "creating the slot, which waits for the transactions that run now");
        let sql = "select lsn from pg_create_logical_replication_slot($1, 'pgoutput')";
        client.query_one(sql, &[&self.slot_name()]).await.map_err(failure::of)?;
        let slot = self.slot().await?;
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        let slot = slot.ok_or_else(|| Failure::Unavailable("the slot vanished as soon as it was created".into()))?;
        Ok(Fenced::Done(slot.confirmed))
    }

    /// Answers [`SettleSlot`]. It waits as [`Database::create_slot`] does.
    ///
    /// # Errors
    /// As every question; `Unavailable` also when there is no slot, and when a transaction runs for longer than it can be waited for.
    pub async fn settle_slot(&self, q: SettleSlot) -> Result<Fenced<Lsn>, Failure> {
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        self.end_stale_walsender().await?;
        let client = self.patient().await?;
        let change = async || client.execute(CHANGE_CATALOGUE, &[]).await.map_err(failure::of);
        change().await?;
        self.await_all_before_now(&client).await?;
        change().await?; // Its commit flushes theirs: a slot is moved no further than what is flushed.
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        let sql = "select end_lsn from pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
        client.query_one(sql, &[&self.slot_name()]).await.map_err(|error| match error.code() {
            // It was invalidated meanwhile, which the next look at the source sees.
            Some(code) if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
                Failure::Unavailable(format!("the slot cannot be settled: {error}"))
            }
            _ => failure::of(error),
        })?;
        let slot = self.slot().await?;
        let slot = slot.ok_or_else(|| Failure::Unavailable("the slot vanished while it was settled".into()))?;
        Ok(Fenced::Done(slot.confirmed))
    }

    /// A connection of its own, whose statements may take long.
    async fn patient(&self) -> Result<tokio_postgres::Client, Failure> {
        let client = self.pool().dedicated().await?;
        let sql = format!("set statement_timeout = {}", CREATE_MAX.as_millis());
        client.batch_execute(&sql).await.map_err(failure::of)?;
        Ok(client)
    }

    async fn await_all_before_now(&self, client: &tokio_postgres::Client) -> Result<(), Failure> {
        let row = client.query_one("select pg_current_xact_id()::text", &[]).await.map_err(failure::of)?;
        let younger: &str = row.get(0);
        let ended = "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8";
        let deadline = Instant::now() + CREATE_MAX;
        let mut told = false;
        while !client.query_one(ended, &[&younger]).await.map_err(failure::of)?.get::<_, bool>(0) {
            if Instant::now() > deadline {
                return Err(Failure::Unavailable("the slot waits for a transaction that does not end".into()));
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(
                    slot = self.slot_name(),
                    "settling the slot, which waits for the transactions that run now"
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Ends a walsender of ours that still holds the slot. Returns whether one did.
    ///
    /// # Errors
    /// As every question.
    pub async fn end_stale_walsender(&self) -> Result<bool, Failure> {
        let client = self.control().get().await?;
        let sql = "select pg_terminate_backend(a.pid) from pg_replication_slots s \
             join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1 and a.application_name = $2";
        let row = client.query_opt(sql, &[&self.slot_name(), &super::APPLICATION_NAME]).await.map_err(failure::of)?;
        if row.is_some() {
            tracing::info!(slot = self.slot_name(), "ended a stale walsender of ours");
        }
        Ok(row.is_some())
    }

    async fn check_settings(&self) -> Result<(), Failure> {
        let client = self.control().get().await?;
        let sql = "select current_setting('wal_level'), pg_is_in_recovery()";
        let row = client.query_one(sql, &[]).await.map_err(failure::of)?;
        if row.get(1) {
            return Err(Failure::Refused("the database is a standby: point the database URL at the primary".into()));
        }
        let level: &str = row.get(0);
        if level == "logical" {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "wal_level is {level}, and must be logical: run ALTER SYSTEM SET wal_level = 'logical' and restart Postgres"
        )))
    }

    /// How far the slot is confirmed. `None` when there is none.
    pub(crate) async fn slot_confirmed(&self) -> Result<Option<Lsn>, Failure> {
        Ok(self.slot().await?.map(|slot| slot.confirmed))
    }

    async fn slot(&self) -> Result<Option<SlotState>, Failure> {
        let client = self.control().get().await?;
        let sql = "select s.confirmed_flush_lsn, s.slot_type = 'logical' and s.plugin = 'pgoutput' and s.database = current_database() \
               and s.wal_status is distinct from 'lost' and to_jsonb(s)->>'invalidation_reason' is null \
             from pg_replication_slots s where s.slot_name = $1";
        let row = client.query_opt(sql, &[&self.slot_name()]).await.map_err(failure::of)?;
        Ok(row.map(|row| {
            let confirmed: Option<PgLsn> = row.get(0);
            SlotState { confirmed: confirmed.map_or(Lsn::ZERO, lsn), usable: confirmed.is_some() && row.get(1) }
        }))
    }

    /// Drops the slot, if there is one; Postgres needs a moment to end the walsender that holds it.
    pub(crate) async fn drop_slot(&self) -> Result<(), Failure> {
        for patience in [50, 200, 1_000, 0] {
            let ended = self.end_stale_walsender().await?;
            let client = self.control().get().await?;
            let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1";
            match client.execute(sql, &[&self.slot_name()]).await.map_err(failure::of) {
                Ok(dropped) => {
                    if dropped > 0 {
                        tracing::info!(slot = self.slot_name(), "dropped the slot");
                    }
                    return Ok(());
                }
                Err(why) if patience == 0 || !ended => return Err(why),
                Err(_) => tokio::time::sleep(Duration::from_millis(patience)).await,
            }
        }
        Ok(())
    }
}
