//! The demonstration: a private Postgres, a server, writers and clients, all in one command.

pub mod audit;
pub mod chaos;
pub mod check;
pub mod cluster;
pub mod fleet;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod server;
pub mod workload;

use crate::cli::CommandError;
use check::{CheckError, Plan, Report};

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kill everything at random while clients sync, then compare each with Postgres
    #[arg(long, required = true)]
    check: bool,
    /// How long to kill, in seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many clients
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// About how many rows the largest table starts with
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    rows: u64,
    /// From which the random choices follow; drawn unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Print one object of JSON
    #[arg(long)]
    json: bool,
}

/// Runs the check, and ends everything that it started, also when it is interrupted.
///
/// # Errors
/// When a promise is broken, or the check cannot be made here.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let program = std::env::current_exe().map_err(|error| CommandError::Environment(error.to_string()))?;
    let plan = Plan {
        program,
        seconds: args.seconds,
        clients: usize::try_from(args.clients).unwrap_or(usize::MAX),
        rows: args.rows,
        // Fits a JSON number of every reader.
        seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
    };
    let mut tell = |line: &str| eprintln!("dormouse: {line}");
    let report = tokio::select! {
        report = check::check(&plan, &mut tell) => report.map_err(|error| explain(&error))?,
        () = interrupted() => return Err(CommandError::Failed("interrupted; everything was ended".into())),
    };
    if args.json {
        let text = serde_json::to_string(&report).map_err(|error| CommandError::Failed(error.to_string()))?;
        println!("{text}");
    } else {
        print(&report);
    }
    if report.ok { Ok(()) } else { Err(CommandError::Failed("a promise was broken".into())) }
}

fn explain(error: &CheckError) -> CommandError {
    match error {
        CheckError::Cluster(_) | CheckError::Io(_) => CommandError::Environment(error.to_string()),
        CheckError::Chaos(_) | CheckError::Database(_) | CheckError::NoFirstSync { .. } => {
            CommandError::Failed(error.to_string())
        }
    }
}

/// Ctrl-C, or the request to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn print(report: &Report) {
    let Report { seed, seconds, clients, transactions, changes, delivered, kills, .. } = report;
    println!();
    println!("{transactions} transactions with {changes} changes were committed;");
    println!(
        "{clients} clients applied {delivered} changes in {} first or repeated syncs and the stream.",
        report.backfills
    );
    println!(
        "In {seconds} seconds we killed the server {} times, Postgres {} times and clients {} times,",
        kills.server, kills.postgres, kills.client
    );
    println!("cut {} connections, and evicted all hubs {} times.", kills.cut, kills.hibernate);
    println!();
    println!("  lost          {}", report.lost);
    println!("  duplicated    {}", report.duplicated);
    println!("  out of order  {}", report.out_of_order);
    println!("  misfits       {}", report.anomalies);
    println!("  diverged      {}", report.diverged.len());
    for divergence in &report.diverged {
        let check::Divergence { client, table, missing, extra, different, .. } = divergence;
        println!("    {client} {table}: {missing} missing, {extra} extra, {different} different");
    }
    println!();
    let verdict = if report.ok { "ok: every client holds exactly what Postgres holds" } else { "NOT OK" };
    println!("{verdict} (seed {seed}, at rest after {} ms)", report.settled_ms);
}
