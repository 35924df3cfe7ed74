//! The replication slot: looked at, created, taken back from our own stale walsender.

use super::catalogue::{self, EVIDENCE};
use super::types::lsn;
use super::{Database, failure, fingerprint};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{CreateSlot, Fenced, InspectSource, InspectTables, SourceState};
use dormouse_core::source::{Fingerprints, SlotState};
use std::time::{Duration, Instant};
use tokio_postgres::types::PgLsn;

/// How long the creation of a slot may wait for the transactions that run, at each of its two waits.
const CREATE_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Whether a slot that is there would be adopted for the first era: `dormouse setup` made it, or a server that was killed before
/// it had moved it, so it may be unsure (see `leave_what_is_unsure`).
const NO_ERA: &str = "select not exists (select from dormouse.era)";
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
        if slot.is_some() && client.query_one(NO_ERA, &[]).await.map_err(failure::of)?.get(0) {
            client.execute(CHANGE_CATALOGUE, &[]).await.map_err(failure::of)?;
        }
        let fingerprints = fingerprint::read(&client, &self.publication()).await?;
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
        fingerprint::read(&client, &self.publication()).await.map(Fenced::Done)
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
        let client = self.pool().dedicated().await?;
        client
            .batch_execute(&format!("set statement_timeout = {}", CREATE_MAX.as_millis()))
            .await
            .map_err(failure::of)?;
        tracing::info!(slot = self.slot_name(), "creating the slot, which waits for the transactions that run now");
        let sql = "select lsn from pg_create_logical_replication_slot($1, 'pgoutput')";
        client.query_one(sql, &[&self.slot_name()]).await.map_err(failure::of)?;
        self.leave_what_is_unsure(&client).await?;
        let slot = self.slot().await?;
        if !self.is_newest(q.token).await? {
            return Ok(Fenced::Superseded);
        }
        let slot = slot.ok_or_else(|| Failure::Unavailable("the slot vanished as soon as it was created".into()))?;
        Ok(Fenced::Done(slot.confirmed))
    }

    /// Moves a new slot past everything that Postgres may decode by an outdated catalogue.
    ///
    /// While a slot waits for transactions, its decoder keeps the catalogue that it knew at the first write it met. What was
    /// truncated, published or altered at that time and committed before the slot was ready stays unknown to it until the next
    /// change of the catalogue commits: rows fail to be decoded, or are left out in silence. So one such change is made here,
    /// all that may have written before it is waited for, and the slot begins after that.
    async fn leave_what_is_unsure(&self, client: &tokio_postgres::Client) -> Result<(), Failure> {
        client.execute(CHANGE_CATALOGUE, &[]).await.map_err(failure::of)?;
        let row = client.query_one("select pg_current_xact_id()::text", &[]).await.map_err(failure::of)?;
        let younger: &str = row.get(0);
        let ended = "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8";
        let deadline = Instant::now() + CREATE_MAX;
        while !client.query_one(ended, &[&younger]).await.map_err(failure::of)?.get::<_, bool>(0) {
            if Instant::now() > deadline {
                return Err(Failure::Unavailable("the slot waits for a transaction that does not end".into()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // Its commit flushes theirs: a slot is moved no further than what is flushed.
        client.execute(CHANGE_CATALOGUE, &[]).await.map_err(failure::of)?;
        let sql = "select from pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
        client.execute(sql, &[&self.slot_name()]).await.map_err(failure::of)?;
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
