//! Which database, which tables, and how our sessions are set.

use super::target::Target;
use dormouse_core::fault::Failure;
use dormouse_core::limits::VALUE_BYTES_MAX;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a database, and what of it is synced.
#[derive(Clone)]
pub struct Config {
    /// As libpq takes it: `postgres://user:password@host:port/database`.
    pub url: String,
    /// Which tables.
    pub selection: Selection,
    /// The most pooled connections for sessions. Replication has up to six of its own, and each of two snapshots one.
    pub connections_max: usize,
    /// How long an answer to a question of few statements may take; longer than the minute that Postgres gives a statement.
    pub answer_max: Duration,
    /// Where spools are kept; `None` is the system's folder for temporary files.
    pub spool_dir: Option<PathBuf>,
    /// Larger values of a snapshot travel as the marker `omitted`.
    pub value_bytes_max: usize,
    /// How long a spool lives after the last read of it.
    pub spool_idle_max: Duration,
    /// A snapshot of the same scope that is no older is shared, unless much was written since.
    pub snapshot_share_max: Duration,
}

/// Which tables are synced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// Every ordinary table outside system schemas that has a key. Leaf partitions count one by one, their roots do not:
    /// with roots, a truncated, attached or detached partition would go unnoticed.
    #[default]
    Keyed,
    /// These (`schema.table`, or `table` for `public.table`).
    Tables(Vec<String>),
    /// What this publication names. It is the operator's and never altered.
    Publication(String),
}

impl Config {
    /// The default selection of a database.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            selection: Selection::Keyed,
            connections_max: 12,
            answer_max: Duration::from_secs(90),
            spool_dir: None,
            value_bytes_max: VALUE_BYTES_MAX,
            spool_idle_max: Duration::from_secs(15 * 60),
            snapshot_share_max: Duration::from_secs(10 * 60),
        }
    }

    /// The same with another selection.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    pub(crate) fn parsed(&self) -> Result<Target, Failure> {
        let mut target = Target::parse(&self.url)?;
        let config = target.config_mut();
        let own = config.get_options().map_or_else(String::new, |options| format!("{options} "));
        // Plans are made while history is small and kept while it grows: they had better walk its indices in order.
        let plans = "-c jit=off -c enable_bitmapscan=off";
        let timeouts = "-c statement_timeout=60s -c lock_timeout=5s -c idle_in_transaction_session_timeout=20s";
        // As our own below: Postgres would else wait for a host that is gone for two hours, with all that its session locks.
        let keepalives =
            "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=30s";
        config
            .options(format!("{own}{SESSION_OPTIONS} {plans} {timeouts} {keepalives}"))
            .application_name(super::APPLICATION_NAME)
            .connect_timeout(Duration::from_secs(5))
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30));
        Ok(target)
    }
}

/// Set on every connection, that of replication included, so that a value has the same text wherever it is read, and an append
/// never waits for a standby while it holds the lease.
pub(crate) const SESSION_OPTIONS: &str = "-c synchronous_commit=local -c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres \
     -c extra_float_digits=3 -c bytea_output=hex -c xmlbinary=base64 -c lc_monetary=C -c search_path=pg_catalog -c row_security=off";

impl std::fmt::Debug for Config {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("selection", &self.selection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_url_is_refused_without_quoting_it() {
        let refused = Config::new("postgres://u:secret@host:port:x/d").parsed().map(drop).expect_err("no URL");
        assert!(matches!(&refused, Failure::Refused(why) if !why.contains("secret")));
        assert!(!format!("{:?}", Config::new("postgres://u:secret@h/d")).contains("secret"));
    }

    #[test]
    fn own_options_of_the_url_are_kept() {
        let config = Config::new("postgres://h/d?options=-c%20work_mem%3D8MB&sslmode=prefer").parsed().expect("valid");
        let options = config.config().get_options().expect("set");
        assert!(options.starts_with("-c work_mem=8MB -c synchronous_commit=local"));
    }
}
