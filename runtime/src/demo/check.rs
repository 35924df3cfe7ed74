//! `demo --check`: the main promise, put to the test on this machine.
//!
//! A private Postgres, a server, writers and clients; kills of every kind while they work; then quiet, and every client is
//! compared with Postgres row by row.

use super::chaos::{self, ChaosError, Kills, Stage};
use super::cluster::{Cluster, ClusterError};
use super::fleet::{Fleet, Member};
use super::proxy::Proxy;
use super::server::Server;
use super::workload::{self, Writers};
use crate::source::Kind;
use crate::verify::VerifyError;
use crate::verify::compare::compare;
use crate::verify::truth::{Rows, Truth};
use dormouse_core::position::Position;
use dormouse_core::row::Value;
use dormouse_core::store::{Table, Tables};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// How long nothing may move at any client before all are at rest.
const QUIET_MAX: Duration = Duration::from_secs(45);
/// How long the first sync of all clients may take.
const FIRST_SYNC_MAX: Duration = Duration::from_secs(120);

/// How large a check.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program whose `serve` is put to the test.
    pub program: PathBuf,
    /// How long it kills.
    pub seconds: u64,
    /// How many clients.
    pub clients: usize,
    /// About how many rows the largest table starts with.
    pub rows: u64,
    /// From which the random choices follow.
    pub seed: u64,
    /// How the server reads changes.
    pub source: Kind,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of this form.
    pub v: u32,
    /// Whether every promise was kept.
    pub ok: bool,
    /// As planned, or drawn.
    pub seed: u64,
    /// As planned.
    pub seconds: u64,
    /// As planned.
    pub clients: usize,
    /// Transactions of the writers.
    pub transactions: i64,
    /// Changes of the writers.
    pub changes: i64,
    /// Changes that clients applied from the stream.
    pub delivered: u64,
    /// Ledger rows that a client lacks or has at an older version.
    pub lost: u64,
    /// Changes applied twice.
    pub duplicated: u64,
    /// Transactions applied at or below the position held.
    pub out_of_order: u64,
    /// Changes that did not fit the rows.
    pub anomalies: u64,
    /// First and repeated syncs.
    pub backfills: u64,
    /// Stores that were opened empty.
    pub store_lives: u64,
    /// What was killed.
    pub kills: Kills,
    /// Tables in which a client differs from Postgres.
    pub diverged: Vec<Divergence>,
    /// How long the clients took to come to rest.
    pub settled_ms: u64,
}

/// One client's table that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// Which client.
    pub client: String,
    /// Where it stands.
    pub position: Option<Position>,
    /// `schema.table`.
    pub table: String,
    /// Rows only in Postgres.
    pub missing: u64,
    /// Rows only at the client.
    pub extra: u64,
    /// Rows with other values.
    pub different: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no Postgres, or it fails.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What was killed does not come back.
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    /// A process or socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The database cannot be compared with.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A statement failed.
    #[error("{}", .0.as_db_error().map_or_else(|| .0.to_string(), |error| error.message().to_owned()))]
    Database(#[from] tokio_postgres::Error),
    /// The clients never got going.
    #[error("the first sync of all clients took more than {} seconds\n{log}", FIRST_SYNC_MAX.as_secs())]
    NoFirstSync {
        /// The ends of the server's log and of Postgres'.
        log: String,
    },
}

/// Carries out a plan; `tell` hears how it goes.
///
/// # Errors
/// When it cannot be carried out. Broken promises are in the report.
pub async fn check(plan: &Plan, tell: &mut dyn FnMut(&str)) -> Result<Report, CheckError> {
    tell("starting a private Postgres");
    let mut cluster = tokio::task::block_in_place(Cluster::start)?;
    workload::prepare(&cluster.url(), plan.rows).await?;
    tell("starting the server");
    let source = match plan.source {
        Kind::Stream => ["--source", "stream"],
        Kind::Poll => ["--source", "poll"],
    };
    let mut server = Server::start(&plan.program, &cluster.url(), &source).await?;
    let proxy = Proxy::start(server.port()).await?;
    let url = format!("ws://127.0.0.1:{}", proxy.port());
    let mut fleet = Fleet::start(&url, plan.clients, plan.seed).map_err(|wrong| std::io::Error::other(wrong.0))?;
    tell(&format!("{} clients take their first sync, while 4 writers begin", plan.clients));
    let writers = Writers::start(&cluster.url(), plan.seed, plan.rows);
    await_first_sync(&fleet, &server, &cluster).await?;
    tell(&format!("killing for {} seconds: server, Postgres, clients, connections, hubs", plan.seconds));
    let mut random = SmallRng::seed_from_u64(plan.seed);
    let mut stage = Stage { cluster: &mut cluster, server: &mut server, proxy: &proxy, fleet: &mut fleet };
    let kills = chaos::rage(&mut stage, &mut random, Duration::from_secs(plan.seconds)).await?;
    tell("quiet: the writers stop, the clients catch up");
    writers.stop().await;
    fleet.calm();
    let mut truth = Truth::connect(&cluster.url()).await?;
    let tables = truth.published(None).await?;
    let rows = truth.read(&tables).await?;
    let start = tokio::time::Instant::now();
    if !fleet.all_reach(rows.store.tables().sum(), QUIET_MAX).await {
        tell(&format!("some clients did not come to rest; the server says:\n{}", server.log_tail(30)));
    }
    let settled = start.elapsed();
    fleet.rest();
    tell("comparing every client with Postgres");
    let ledger = count_ledger(&cluster.url()).await?;
    Ok(report(plan, kills, ledger, &fleet, &rows, settled))
}

async fn await_first_sync(fleet: &Fleet, server: &Server, cluster: &Cluster) -> Result<(), CheckError> {
    let deadline = tokio::time::Instant::now() + FIRST_SYNC_MAX;
    while !fleet.members().iter().all(|member| member.store().counts().backfills > 0) {
        if tokio::time::Instant::now() > deadline {
            let log = format!("{}\n{}", server.log_tail(30), cluster.log_tail());
            return Err(CheckError::NoFirstSync { log });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn count_ledger(url: &str) -> Result<(i64, i64), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let connection = tokio::spawn(connection);
    let sums = "select count(*), coalesce(sum(changes), 0)::bigint from ledger";
    let row = client.query_one(sums, &[]).await?;
    connection.abort();
    Ok((row.get(0), row.get(1)))
}

fn report(plan: &Plan, kills: Kills, ledger: (i64, i64), fleet: &Fleet, rows: &Rows, settled: Duration) -> Report {
    let counts = fleet.counts();
    let expected = rows.store.tables();
    let diverged: Vec<_> = fleet.members().iter().flat_map(|member| divergences(member, expected)).collect();
    let lost = fleet.members().iter().map(|member| lost(expected, member.store().store().tables())).sum();
    let mut report = Report {
        v: 1,
        ok: false,
        seed: plan.seed,
        seconds: plan.seconds,
        clients: plan.clients,
        transactions: ledger.0,
        changes: ledger.1,
        delivered: counts.delivered,
        lost,
        duplicated: counts.duplicated,
        out_of_order: counts.out_of_order,
        anomalies: counts.anomalies,
        backfills: counts.backfills,
        store_lives: counts.lives,
        kills,
        diverged,
        settled_ms: u64::try_from(settled.as_millis()).unwrap_or(u64::MAX),
    };
    let spotless = report.lost == 0 && report.duplicated == 0 && report.out_of_order == 0 && report.anomalies == 0;
    report.ok = spotless && report.diverged.is_empty() && report.transactions > 0 && kills.of_every_kind();
    report
}

fn divergences(member: &Member, expected: &Tables) -> Vec<Divergence> {
    let store = member.store();
    let store = store.store();
    let differences = compare([], expected, store.tables()).into_iter().filter(|difference| !difference.is_none());
    let divergence = |difference: crate::verify::compare::Difference| Divergence {
        client: member.name(),
        position: store.held().shown.map(|shown| shown.position),
        table: difference.name,
        missing: difference.missing,
        extra: difference.extra,
        different: difference.different,
    };
    differences.map(divergence).collect()
}

/// How many ledger rows a client lacks, or has at an older version.
fn lost(expected: &Tables, actual: &Tables) -> u64 {
    const LEDGER: &str = "public.ledger";
    let version = |table: Option<&Table>, key| -> Option<i64> {
        match table?.get(key)?.row.values().nth(2)? {
            Value::Text(text) => text.parse().ok(),
            Value::Null | Value::Unchanged | Value::Omitted(_) => None,
        }
    };
    let Some(ledger) = expected.get(LEDGER) else { return 0 };
    let is_lost = |key| version(actual.get(LEDGER), key) < version(Some(ledger), key);
    ledger.rows().filter(|(key, _)| is_lost(*key)).count() as u64
}
