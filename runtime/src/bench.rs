//! `dormouse bench`: what a server costs and how fast it is, against a running one or one over a private Postgres.
//!
//! ```text
//! this process: writes, measures ──▶ [subject] server, Postgres: processes of their own
//!        └─ [part] ──▶ [load] a fleet of clients, a raw server: processes of their own
//! ```
//!
//! Each scenario counts per client whether all came exactly once, and measures beside it what the machine allows at most:
//! the ceiling.

mod ceiling;
mod disk;
mod histogram;
mod load;
mod meter;
mod part;
mod process;
mod report;
mod scenario;
mod subject;
mod writer;

pub use part::{Args as PartArgs, run as run_part};

use crate::cli::CommandError;
use clap::ValueEnum;
use report::{Report, Settings};
use scenario::Scenario;
use subject::{Named, Subject};

/// What stands below the options.
pub(crate) const HELP: &str = "\
Without --url a private Postgres (fsync and synchronous_commit on) and a server are started and gone afterwards.
Server, Postgres and clients are processes of their own and measured apart. The ratio says how many times the ceiling's cost
ours is, where the ceiling is the same work with nothing around it, measured in the same run: a broadcast of the same frames to
the same clients (fan-out, storm, idle), COPY (first-sync), a drain of the walsender (throughput, catch-up), the same run before
the trouble began (mixed). Exit status 1 says that a client lost or doubled a change.";

/// What `dormouse bench` is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure
    scenario: Scenario,
    /// How many clients [default: 100; first-sync, throughput, catch-up: 1; idle, storm: 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    clients: Option<u32>,
    /// How many rows the table has [default: 1000; first-sync: 100000; mixed: 20000]
    #[arg(long)]
    rows: Option<u32>,
    /// Bytes of a row's text column [default: 220; throughput and catch-up: 60]
    #[arg(long)]
    row_bytes: Option<u32>,
    /// How many transactions are written [default: 400; throughput and catch-up: 50000]
    #[arg(long)]
    transactions: Option<u32>,
    /// How many rows each transaction writes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rows_per_transaction: u32,
    /// Transactions per second [default: 20; throughput: as fast as Postgres commits]
    #[arg(long)]
    rate: Option<u32>,
    /// throughput: write all while the server is down, so that it has a backlog to catch up with
    #[arg(long, conflicts_with_all = ["url", "rate"])]
    backlog: bool,
    /// How often to measure
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long idle watches a server, without clients and with them
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Over how many servers idle spreads the clients, each on a database of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16), conflicts_with = "url")]
    servers: u32,
    /// A further argument of the server that is started, such as --serve=--hubs=1
    #[arg(long, conflicts_with = "url", allow_hyphen_values = true)]
    serve: Vec<String>,
    /// A running server, ws://HOST:PORT, instead of one of our own
    #[arg(long, requires = "database_url")]
    url: Option<String>,
    /// That server's database, in which a table `bench` is made
    #[arg(long, requires = "url", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// That server's process, to measure its memory and CPU
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    fn settings(&self) -> Settings {
        let (clients, rows, transactions, rate, row_bytes) = self.scenario.defaults();
        let or = |wish: Option<u32>, default: usize| wish.map_or(default, |wish| wish as usize);
        let rows_per_transaction = self.rows_per_transaction as usize;
        Settings {
            clients: or(self.clients, clients),
            rows: or(self.rows, rows).max(rows_per_transaction.min(1_000)),
            row_bytes: or(self.row_bytes, row_bytes),
            transactions: or(self.transactions, transactions),
            rows_per_transaction,
            rate: self.rate.unwrap_or(rate),
            backlog: self.backlog,
            seconds: self.seconds,
            serve: self.serve.clone(),
            servers: self.servers as usize,
            synchronous_commit: "on",
            fsync: if self.url.is_some() { "as the server has it" } else { "on" },
        }
    }
}

/// Runs a benchmark.
///
/// # Errors
/// When a client lost or doubled a change, or there is no server or database to measure.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let settings = args.settings();
    if settings.backlog && args.scenario != Scenario::Throughput {
        return Err(CommandError::Usage(
            "--backlog is for throughput: what else is measured needs a server that is up".into(),
        ));
    }
    let (database_url, pid) = (args.database_url.clone(), args.pid);
    let named = args.url.clone().zip(database_url).map(|(url, database_url)| Named { url, database_url, pid });
    let scenario = args.scenario.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let mut subject = Subject::open(named, settings.servers, &settings.serve).await?;
    let load_avg = process::load_avg();
    let fsync = disk::fsync().map_err(|why| CommandError::Environment(format!("the disk: {why}")))?;
    let (runs, ceiling, ratio) = (Vec::new(), None, None);
    let mut report = Report { v: 1, scenario, settings, load_avg, fsync: Some(fsync), runs, ceiling, ratio };
    for run in 1..=args.runs {
        eprintln!("{} run {run} of {}", report.scenario, args.runs);
        report.runs.push(args.scenario.run(&mut subject, &report.settings).await?);
    }
    report.settle();
    if args.json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    } else {
        report.print();
    }
    let once = report.runs.iter().all(|run| run.exactly_once);
    if once { Ok(()) } else { Err(CommandError::Failed("a client lost or doubled a change".into())) }
}
