//! `dormouse bench`: first figures, each measured against a running server or one over a private Postgres.

mod process;
mod report;
mod scenario;
mod store;
mod subject;

use crate::cli::CommandError;
use clap::ValueEnum;
use report::{Report, Settings};
use subject::Subject;

/// What `dormouse bench` is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure.
    scenario: Scenario,
    /// How many clients [default: 100; first-sync and throughput: 1; idle: 1000].
    #[arg(long)]
    clients: Option<usize>,
    /// How many rows the table has [default: 1000; first-sync: 100000].
    #[arg(long)]
    rows: Option<usize>,
    /// How many transactions are written [default: 400; throughput: 50000].
    #[arg(long)]
    transactions: Option<usize>,
    /// Transactions per second of fan-out.
    #[arg(long, default_value_t = 20)]
    rate: u32,
    /// How often to measure.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// A running server, `ws://HOST:PORT`, instead of one of our own.
    #[arg(long, requires = "database_url")]
    url: Option<String>,
    /// That server's database, in which a table `bench` is made.
    #[arg(long, requires = "url", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Rows per second of a first sync (rows of about 250 bytes).
    FirstSync,
    /// Commit returned to client applied, at a steady rate, every client seeing every change.
    FanOut,
    /// Changes per second while transactions commit as fast as Postgres can.
    Throughput,
    /// Memory per connected session that has nothing to do.
    Idle,
}

/// Runs a benchmark.
///
/// # Errors
/// When a client lost or doubled a change, or there is no server or database to measure.
pub async fn run(args: Args) -> Result<(), CommandError> {
    /// So that a row is about 250 bytes with its other columns.
    const FILLER_BYTES: usize = 220;
    let named = args.url.zip(args.database_url);
    let (clients, rows, transactions) = match args.scenario {
        Scenario::FirstSync => (1, 100_000, 0),
        Scenario::FanOut => (100, 1_000, 400),
        Scenario::Throughput => (1, 1_000, 50_000),
        Scenario::Idle => (1_000, 1_000, 0),
    };
    let settings = Settings {
        clients: args.clients.unwrap_or(clients),
        rows: args.rows.unwrap_or(rows),
        transactions: args.transactions.unwrap_or(transactions),
        rate: args.rate,
        synchronous_commit: "on",
    };
    let scenario = args.scenario.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let subject = Subject::open(named).await?;
    let mut report = Report { v: 1, scenario, settings, load_avg: process::load_avg(), runs: Vec::new() };
    for run in 1..=args.runs {
        eprintln!("{} run {run} of {}", report.scenario, args.runs);
        // A later first sync shares the first one's spool while that is fresh, and would have to catch up from it.
        if run == 1 || args.scenario != Scenario::FirstSync {
            scenario::prepare(&subject, report.settings.rows, FILLER_BYTES).await?;
        }
        let settings = &report.settings;
        let figures = match args.scenario {
            Scenario::FirstSync => scenario::first_sync(&subject, settings).await?,
            Scenario::FanOut => scenario::fan_out(&subject, settings).await?,
            Scenario::Throughput => scenario::throughput(&subject, settings).await?,
            Scenario::Idle => scenario::idle(&subject, settings).await?,
        };
        report.runs.push(figures);
    }
    if args.json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    } else {
        report.print();
    }
    let once = report.runs.iter().all(|run| run.exactly_once);
    if once { Ok(()) } else { Err(CommandError::Failed("a client lost or doubled a change".into())) }
}
