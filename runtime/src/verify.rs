//! `dormouse verify`: becomes a client and compares what it holds with what Postgres says, row by row.
//!
//! The comparison is exact while the database is written to: Postgres' rows come from a snapshot S, and what the client
//! received below the later watermark F without being seen by S is applied to them; the client is looked at as it was at the
//! last transaction below F.

pub mod compare;
pub mod recorder;
pub mod truth;

use crate::cli::CommandError;
use crate::client::{self as store, Client, Options, Security, Stopped, Store};
use crate::replica::Replica;
use compare::{Difference, compare};
use dormouse_core::change::{Change, Page, Relation, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::store::{MemoryStore, StoreRequest};
use dormouse_core::xid::Snapshot;
use recorder::Recorder;
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use truth::{Rows, Truth};

/// How often it begins anew when everything came again in the middle of it.
const ATTEMPTS: u32 = 5;

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, as in ws://127.0.0.1:7654
    #[arg(long, env = "DORMOUSE_URL")]
    url: String,
    /// Trust these authorities behind wss:// (a file in PEM), instead of the system's
    #[arg(long, env = "DORMOUSE_CA", value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// The database that the server serves
    #[arg(long, env = "DORMOUSE_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// The publication, when the server was given one
    #[arg(long)]
    publication: Option<String>,
    /// The name under which the server knows this client; drawn at random unless given
    #[arg(long)]
    client_id: Option<String>,
    /// What the client proves itself with
    #[arg(long, env = "DORMOUSE_CREDENTIAL", hide_env_values = true)]
    credential: Option<String>,
    /// Compare what is in this SQLite file, brought up to date first: a store of `tail --store` or of an application
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Where the client stood.
    pub at: Option<Waypoint>,
    /// Per published table.
    pub tables: Vec<Difference>,
    /// Changes that did not fit what the client held: 0 unless something is wrong.
    pub anomalies: u64,
}

impl Report {
    /// Whether the client holds exactly what Postgres says.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.anomalies == 0 && self.tables.iter().all(Difference::is_none)
    }

    fn json(&self) -> String {
        let (era, position) = (self.at.map(|at| at.era), self.at.map(|at| at.position));
        let (ok, tables, anomalies) = (self.ok(), &self.tables, self.anomalies);
        json!({ "v": 1, "ok": ok, "era": era, "position": position, "anomalies": anomalies, "tables": tables })
            .to_string()
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Postgres did not answer.
    #[error("the database cannot be read: {}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    /// The client's store failed.
    #[error("{}", .0.reason())]
    Store(Failure),
    /// Postgres cannot be reached, or refuses.
    #[error("the database cannot be reached: {}", .0.reason())]
    Unreachable(Failure),
    /// The server refused the client.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Every attempt was overtaken by a resync.
    #[error("everything came again {ATTEMPTS} times while comparing; try once more when the schema is quiet")]
    Restless,
}

/// Compares, prints the result and fails when there is a difference.
///
/// # Errors
/// When there is a difference, or the comparison cannot be made.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let report = report(&args).await?;
    if args.json {
        println!("{}", report.json());
    } else {
        for table in &report.tables {
            let Difference { name, rows, missing, extra, different } = table;
            println!("{name}: {rows} rows, {missing} missing, {extra} extra, {different} different");
        }
    }
    if report.ok() { Ok(()) } else { Err(CommandError::Failed("the client differs from the database".into())) }
}

async fn report(args: &Args) -> Result<Report, CommandError> {
    let fails = |error: VerifyError| match error {
        VerifyError::Database(_) | VerifyError::Unreachable(_) | VerifyError::Store(_) => {
            CommandError::Environment(error.to_string())
        }
        VerifyError::Stopped(_) | VerifyError::Restless => CommandError::Failed(error.to_string()),
    };
    let options = |client_id: &str| {
        let options = Options::new(&args.url, client_id).map_err(|wrong| CommandError::Usage(wrong.0))?;
        let security = Security::new(args.ca.clone());
        Ok(Options { security, ..options.with_credential(args.credential.clone()).with_fixed_credential() })
    };
    let to_check = options("nobody")?;
    to_check.security.check(&to_check.address).await.map_err(|wrong| CommandError::Environment(wrong.0))?;
    let publication = args.publication.as_deref();
    let Some(path) = &args.store else {
        let drawn = || format!("verify-{:016x}", rand::random::<u64>());
        let options = options(&args.client_id.clone().unwrap_or_else(drawn))?;
        return verify(options, &args.database_url, publication).await.map_err(fails);
    };
    let Replica { store, client_id, scope } = Replica::open_existing(path, args.client_id.as_deref())?;
    let mut options = options(&client_id)?;
    options.config.scope = scope.unwrap_or_default();
    if let Err(mismatch) = store.verify_sum().map_err(|failure| CommandError::Environment(failure.reason().into()))? {
        eprintln!("dormouse: {}: {mismatch}", path.display());
    }
    verify_store(options, &args.database_url, publication, store).await.map_err(fails)
}

/// Becomes a new client, compares it with the database, and is forgotten.
///
/// # Errors
/// When the comparison cannot be made.
pub async fn verify(options: Options, database_url: &str, publication: Option<&str>) -> Result<Report, VerifyError> {
    let store = Arc::new(Mutex::new(Recorder::new(MemoryStore::new())));
    compare_with(&options, database_url, publication, &store, true).await
}

/// Goes on with the client whose store this is, and compares it with the database. It is left where it then stands.
///
/// # Errors
/// When the comparison cannot be made.
pub async fn verify_store<S: store::Replica>(
    options: Options,
    database_url: &str,
    publication: Option<&str>,
    store: S,
) -> Result<Report, VerifyError> {
    let store = Arc::new(Mutex::new(Recorder::new(store)));
    compare_with(&options, database_url, publication, &store, false).await
}

async fn compare_with<S: store::Replica>(
    options: &Options,
    database_url: &str,
    publication: Option<&str>,
    store: &Arc<Mutex<Recorder<S>>>,
    forget: bool,
) -> Result<Report, VerifyError> {
    let mut truth = Truth::connect(database_url).await?;
    for _ in 0..ATTEMPTS {
        if let Some(report) = attempt(options, &mut truth, publication, store, forget).await? {
            return Ok(report);
        }
    }
    Err(VerifyError::Restless)
}

/// `None` when everything came again in between, so that there is nothing to compare.
async fn attempt<S: store::Replica>(
    options: &Options,
    truth: &mut Truth,
    publication: Option<&str>,
    store: &Arc<Mutex<Recorder<S>>>,
    forget: bool,
) -> Result<Option<Report>, VerifyError> {
    let lock = || store.lock().unwrap_or_else(PoisonError::into_inner);
    let first = Client::connect_shared(options.clone(), Arc::clone(store));
    live(&first).await?;
    let backfills = {
        let mut recorder = lock();
        recorder.close_gate();
        recorder.backfills()
    };
    let mut relations = truth.published(publication).await?;
    relations.retain(|relation| options.config.scope.includes(relation));
    let rows = truth.read(&relations).await?;
    first.close().await;
    // A second greeting: told that it is live, the client has everything below a mark that is read after F.
    let second = Client::connect_shared(options.clone(), Arc::clone(store));
    live(&second).await?;
    if forget {
        second.forget().await;
    } else {
        second.close().await;
    }
    let mut recorder = lock();
    if recorder.backfills() != backfills {
        return Ok(None);
    }
    let (replica, log) = recorder.finish(rows.watermark).map_err(VerifyError::Store)?;
    Ok(Some(judge(rows, &relations, &replica, log)))
}

/// Waits until a client is live, or its store has failed.
async fn live<S: Store>(client: &Client<S>) -> Result<(), VerifyError> {
    let status = client.wait_for(|status| status.live || status.store_failure.is_some()).await?;
    status.store_failure.map_or(Ok(()), |failure| Err(VerifyError::Store(failure)))
}

/// Brings the snapshot's rows to the point where the client stands, and compares.
fn judge(rows: Rows, relations: &[Arc<Relation>], replica: &MemoryStore, log: &[Arc<Page>]) -> Report {
    let Rows { snapshot, watermark, store: mut expected } = rows;
    let before = expected.held().anomalies;
    for page in unseen(log, &snapshot, watermark) {
        expected.apply(&StoreRequest::ApplyPage { page });
    }
    let held = replica.held();
    let names = relations.iter().map(|relation| relation.full_name());
    let misfits = expected.held().anomalies - before;
    Report {
        at: held.shown,
        tables: compare(names, expected.tables(), replica.tables()),
        anomalies: held.anomalies + misfits,
    }
}

/// Each transaction below the watermark that the snapshot does not see, once, in commit order, as a page of its own.
fn unseen(log: &[Arc<Page>], snapshot: &Snapshot, watermark: Lsn) -> Vec<Arc<Page>> {
    let mut transactions: Vec<(&Arc<Page>, &Transaction)> = log
        .iter()
        .flat_map(|page| page.transactions.iter().map(move |transaction| (page, transaction)))
        .filter(|(_, transaction)| transaction.commit_lsn < watermark && !snapshot.sees(transaction.xid))
        .collect();
    transactions.sort_by_key(|(_, transaction)| (transaction.commit_lsn, transaction.first));
    let mut held = (Lsn::ZERO, 0);
    let mut pages = Vec::with_capacity(transactions.len());
    for (page, transaction) in transactions {
        // A transaction that was cut off in the middle may have come again from its start.
        let from = if held.0 == transaction.commit_lsn { held.1 } else { 0 };
        let skip = (from as usize).saturating_sub(transaction.first as usize).min(transaction.changes.len());
        let changes: Arc<[Change]> = transaction.changes[skip..].into();
        #[expect(clippy::cast_possible_truncation, reason = "an index of a change is a u32")]
        let end = transaction.first + transaction.changes.len() as u32;
        held = (transaction.commit_lsn, from.max(end));
        let through = Waypoint { position: Position::after(transaction.commit_lsn), ..page.through };
        // A piece is applied like the rest: what counts here is only the order.
        let whole = Transaction { first: 0, complete: true, changes, ..transaction.clone() };
        pages.push(Arc::new(Page { through, transactions: vec![whole], ..Page::clone(page) }));
    }
    pages
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}
