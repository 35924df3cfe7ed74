//! Postgres, as the machines ask for it: one method per typed question.
//!
//! Everything durable is in the schema `dormouse` of the database itself. The SQL of one concern, and the reasons for it,
//! stand in one file.

mod append;
mod catalogue;
mod config;
mod copy;
mod epochs;
mod failure;
mod fingerprint;
mod gather;
mod head;
mod history;
mod judge;
mod lease;
mod lineage;
mod migrate;
mod names;
mod pool;
mod progress;
mod prune;
mod publication;
mod registry;
mod slot;
mod snapshot;
mod spool;
mod status;
mod target;
#[cfg(test)]
mod tests;
mod tuples;
mod types;
mod url;

pub(crate) use catalogue::{KEY, quoted};
pub(crate) use config::SESSION_OPTIONS;
pub use config::{Config, Selection};
pub(crate) use failure::is_refusal_code;
pub(crate) use lease::holder as lease_holder;
pub(crate) use migrate::{VERSION as SCHEMA_VERSION, lock as lock_schema, scripts_from as migration};
pub use registry::Registration;
pub use status::{SourceStatus, Walsender};
pub(crate) use target::Target;
pub use target::connect;
pub use url::{REDACTED, judge as judge_url, redact};

use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, ReadHead};
use dormouse_core::hub::{EpochTaken, JudgePosition, Judged, TakeEpoch};
use dormouse_core::position::Lsn;
use gather::Gather;
use std::sync::Arc;

/// The name under which all our sessions appear in `pg_stat_activity`.
pub const APPLICATION_NAME: &str = "dormouse";

/// The most connections for lease, eras, slot, tables and pruning.
const CONTROL_CONNECTIONS_MAX: usize = 4;

/// One database. A cheap handle: clones share connections and spools.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    /// Of the database, which names our slot and publication.
    oid: u32,
    opener: pool::Opener,
    pool: pool::Pool,
    /// For replication: a storm of sessions must not keep it from renewing its lease.
    control: pool::Pool,
    lineage: Arc<lineage::Lineage>,
    appender: append::Appender,
    relations: history::Relations,
    names: names::Latest,
    spools: spool::Spools,
    epochs: Gather<TakeEpoch, EpochTaken>,
    judgements: Gather<JudgePosition, Judged>,
    heads: Gather<ReadHead, Head>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("slot", &self.slot_name()).finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, and creates or migrates the schema `dormouse`.
    ///
    /// # Errors
    /// `Unavailable` while the server cannot be reached; `Refused` when the operator must act: a wrong URL or password, a missing
    /// grant, a standby, or a schema made by a newer Dormouse.
    pub async fn connect(config: Config) -> Result<Self, Failure> {
        let lineage = Arc::new(lineage::Lineage::default());
        let opener = pool::Opener::new(config.parsed()?);
        let pool = pool::Pool::new(&opener, config.connections_max, &lineage)?;
        let control = pool::Pool::new(&opener, CONTROL_CONNECTIONS_MAX, &lineage)?;
        let oid = migrate::migrate(&pool, config.answer_max.min(pool::OPEN_MAX)).await?;
        lineage.begin(&*pool.get().await?).await?;
        let spools = spool::Spools::new(&config)?;
        let inner = Inner {
            config,
            oid,
            opener,
            pool,
            control,
            lineage,
            appender: append::Appender::default(),
            relations: history::Relations::default(),
            names: names::Latest::default(),
            spools,
            epochs: Gather::default(),
            judgements: Gather::default(),
            heads: Gather::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The replication slot: one per database, named after its oid.
    #[must_use]
    pub fn slot_name(&self) -> String {
        format!("dormouse_{}", self.inner.oid)
    }

    /// The publication that is streamed: the configured one, or ours.
    #[must_use]
    pub fn publication(&self) -> String {
        match &self.inner.config.selection {
            Selection::Publication(name) => name.clone(),
            Selection::Tables(_) | Selection::Keyed => self.slot_name(),
        }
    }

    /// How this database was configured.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Writes a small logical message, so that an idle source moves past what somebody waits for. Returns its LSN.
    ///
    /// # Errors
    /// As every question.
    pub async fn nudge_source(&self) -> Result<Lsn, Failure> {
        let client = self.control().get().await?;
        let row = client.query_one("select pg_logical_emit_message(true, 'dormouse', '')", &[]);
        Ok(types::lsn(row.await.map_err(failure::of)?.get(0)))
    }

    /// Waits until this database is met as another than it was, which is told. Nothing is asked of it any more.
    pub async fn became_another(&self) -> String {
        self.inner.lineage.ended().await
    }

    /// Of each pool its name, how many connections are open, and how many of them are in use.
    #[must_use]
    pub fn connections(&self) -> [(&'static str, usize, usize); 2] {
        let of = |name, pool: &pool::Pool| (name, pool.usage().0, pool.usage().1);
        [of("main", self.pool()), of("control", self.control())]
    }

    /// The reply to a question of few statements, each of which Postgres itself would end after a minute. When it does not come in
    /// [`Config::answer_max`], the server is there and silent, or something between: all connections that were open when it was
    /// asked are opened anew, and what is under way on them begins anew.
    ///
    /// # Errors
    /// As the question, and `Unavailable` when there was no reply: it may have been carried out, or may still be.
    pub async fn in_time<T>(&self, reply: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let (max, trust) = (self.inner.config.answer_max, self.inner.opener.trust());
        tokio::time::timeout(max, reply).await.unwrap_or_else(|_| {
            let seconds = max.as_secs();
            if !trust.is_cancelled() {
                tracing::warn!(seconds, "the database is there and does not answer: all connections are opened anew");
                trust.cancel();
            }
            Err(Failure::Unavailable(format!("the database has not answered for {seconds} s")))
        })
    }

    /// A connection of its own for a source that polls. It ends when the client is dropped.
    pub(crate) async fn dedicated(&self) -> Result<tokio_postgres::Client, Failure> {
        self.pool().dedicated().await
    }

    /// How to connect, for replication.
    pub(crate) fn target(&self) -> &Target {
        self.inner.pool.target()
    }

    fn pool(&self) -> &pool::Pool {
        &self.inner.pool
    }

    fn control(&self) -> &pool::Pool {
        &self.inner.control
    }
}
