//! The command line: fuzz, replay, ablate.

mod ablate;
mod fuzz;
mod pool;
mod replay;

use crate::plan::Size;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// The promises hold.
const OK: u8 = 0;
/// A promise broke.
const VIOLATED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;

/// Drives Dormouse's machines through races, and says which promise broke.
#[derive(Debug, Parser)]
#[command(name = "dormouse-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds. Exit status 1 when a promise broke.
    Fuzz(FuzzArgs),
    /// Runs one seed, and prints what happened in words.
    Replay(ReplayArgs),
    /// Switches off one safeguard after the other: a violation must be found for each.
    Ablate(AblateArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum SizeArg {
    /// 2 clients, 16 transactions.
    S,
    /// 8 clients, 200 transactions.
    M,
    /// 100 clients, 2,000 transactions.
    L,
}

impl From<SizeArg> for Size {
    fn from(size: SizeArg) -> Self {
        match size {
            SizeArg::S => Self::S,
            SizeArg::M => Self::M,
            SizeArg::L => Self::L,
        }
    }
}

#[derive(Debug, Args)]
struct FuzzArgs {
    /// How many seeds; 1,000 unless --seconds is given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after this time.
    #[arg(long)]
    seconds: Option<u64>,
    /// How large the worlds are.
    #[arg(long, default_value = "S")]
    size: SizeArg,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Go on after a violation, up to this many.
    #[arg(long, default_value_t = 10)]
    violations_max: usize,
    /// How many threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// A seed, as `S:123` or `123`.
    seed: String,
    /// Print every event, not only the choices and what surrounds the violation.
    #[arg(long)]
    all: bool,
    /// How many lines before the violation to print.
    #[arg(long, default_value_t = 80)]
    lines: usize,
    /// A safeguard to switch off, in a build with the feature `ablation`.
    #[arg(long)]
    without: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct AblateArgs {
    /// Only this safeguard.
    name: Option<String>,
    /// How many seeds to try at most.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let status = match Cli::parse().command {
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Ablate(args) => ablate::run(&args),
    };
    ExitCode::from(status)
}

/// Parses `S:123` or `123`.
fn parse_seed(text: &str) -> Option<(Size, u64)> {
    let (size, seed) = match text.split_once(':') {
        None => (Size::S, text),
        Some(("S", seed)) => (Size::S, seed),
        Some(("M", seed)) => (Size::M, seed),
        Some(("L", seed)) => (Size::L, seed),
        Some(_) => return None,
    };
    Some((size, seed.parse().ok()?))
}
