//! The command line: fuzz, replay, shrink, ablate.

mod ablate;
mod bench;
mod corpus;
mod coverage;
mod exhaust;
mod explain;
mod fuzz;
mod golden;
pub mod journal;
mod pool;
mod reanchor;
mod replay;
mod scenario;
mod searching;
mod shrink;

use crate::engine::subject::Subject;
use crate::log::Log;
use crate::plan::Size;
use crate::trace_file::{Setup, TraceFile, parse_seed};
use crate::world::World;
use clap::{Args, Parser, Subcommand, ValueEnum};
use dormouse_core::safeguard::Safeguards;
use dormouse_core::time::Timestamp;
use std::path::{Path, PathBuf};
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
    /// Runs one seed, trace or flight recording, and prints what happened in words.
    Replay(ReplayArgs),
    /// Explains a failing seed or trace: what broke, which few choices it took, and how it came about. Of a flight recording, shows
    /// who did what. Exit status 1 when something broke.
    Explain(ExplainArgs),
    /// Reduces a failing seed or trace to the few choices that matter, and prints them as a trace.
    Shrink(ShrinkArgs),
    /// Shows which faults fell into which phases, and how often. Exit status 1 when a possible pair was never reached.
    Coverage(CoverageArgs),
    /// Tries every schedule of a small scope and prints a certificate. Exit status 1 when a promise broke or the scope was not done.
    Exhaust(ExhaustArgs),
    /// Runs the inputs of a folder, whose bytes say what goes wrong, and keeps alterations of them that show something new.
    Corpus(CorpusArgs),
    /// Compares the hashes of 64 seeds with those in the repository.
    Golden(GoldenArgs),
    /// Measures how fast the simulator is, and whether any run differs from its repetition.
    Bench(BenchArgs),
    /// Steers worlds into one race of the catalogue. Exit status 1 when its window was not entered, or a promise broke.
    Scenario(ScenarioArgs),
    /// Lists the race catalogue: which races are held, and what the others wait for.
    Scenarios(ScenariosArgs),
    /// Switches off one safeguard after the other: a violation must be found for each.
    Ablate(AblateArgs),
    /// Finds traces again that drifted and no longer break their promise, close by, and writes them anew. Needs the ablation build.
    Reanchor(ReanchorArgs),
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
    /// How choices are made.
    #[arg(long, value_enum, default_value_t)]
    chooser: searching::ChooserArg,
    /// Let the second, naive oracle look at every run, and not at one in sixteen: slower.
    #[arg(long)]
    naive: bool,
    /// Run one seed in so many twice and from its own trace, and compare; 0: none.
    #[arg(long, value_name = "N", default_value_t = 50)]
    twice_every: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write a report of each violation into this folder: a page, a text and a trace file.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Go on after a violation, up to this many.
    #[arg(long, default_value_t = 10)]
    violations_max: usize,
    /// How many threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// A seed, as `S:123` or `123`, a trace file, or a folder of `dormouse serve --record`, or one of its segments.
    run: String,
    /// Print every event, not only the choices and what surrounds the violation.
    #[arg(long)]
    all: bool,
    /// How many lines before the violation to print.
    #[arg(long, default_value_t = 80)]
    lines: usize,
    /// Of a recording's segment: print this step and the machine after it.
    #[arg(long, value_name = "N")]
    step: Option<u64>,
    /// Of a recording's segment: print what happened around this step, and the machine after it.
    #[arg(long, value_name = "N", conflicts_with = "step")]
    around: Option<u64>,
    /// Of a recording's segment: print what happened up to this step, and the machine after it.
    #[arg(long, value_name = "N", conflicts_with_all = ["step", "around"])]
    until: Option<u64>,
    /// Of a recording: print every input and output of each segment, and the machine at its end.
    #[arg(long, conflicts_with_all = ["step", "around", "until"])]
    verbose: bool,
    /// A safeguard to switch off, in a build with the feature `ablation`.
    #[arg(long)]
    without: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// A seed, as `S:123` or `123`, a trace file, or a folder of `dormouse serve --record`, or one of its segments. A seed is reduced first.
    run: String,
    /// Of a recording: tell what happened up to this time, in seconds since 1970 as `replay` prints it.
    #[arg(long, value_name = "SECONDS", value_parser = time)]
    until: Option<Timestamp>,
    /// Write the report as one HTML page to this file.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Do not reduce a seed first.
    #[arg(long)]
    whole: bool,
    /// A safeguard to switch off, in a build with the feature `ablation`; that of the trace file unless given.
    #[arg(long)]
    without: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShrinkArgs {
    /// A seed, as `S:123` or `123`, or a trace file.
    run: String,
    /// A safeguard to switch off, in a build with the feature `ablation`; that of the trace file unless given.
    #[arg(long)]
    without: Option<String>,
    /// Write the trace to this file.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CoverageArgs {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How large the worlds are.
    #[arg(long, default_value = "S")]
    size: SizeArg,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct ExhaustArgs {
    /// How many transactions are written.
    #[arg(long, default_value_t = 2)]
    transactions: u32,
    /// At most so many crashes of a node.
    #[arg(long, default_value_t = 1)]
    crashes: u32,
    /// At most so many connections cut.
    #[arg(long, default_value_t = 1)]
    cuts: u32,
    /// At most so many hubs put to sleep: between any two of their outputs, and at any time.
    #[arg(long, default_value_t = 1)]
    hibernations: u32,
    /// At most so many delays beyond the least.
    #[arg(long, default_value_t = 0)]
    delays: u32,
    /// Of the ways in which one choice can go, at most so many are tried: 2 is "not, or in the first way".
    #[arg(long, default_value_t = 2)]
    picks: u64,
    /// Whose workload; the first seed whose families fit unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many states.
    #[arg(long)]
    states_max: Option<u64>,
    /// A safeguard to switch off, in a build with the feature `ablation`.
    #[arg(long)]
    without: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ScenarioArgs {
    /// Its name in the catalogue.
    name: String,
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// A safeguard to switch off, in a build with the feature `ablation`.
    #[arg(long)]
    without: Option<String>,
    /// Write the run that broke a promise, or else the first, as a trace into this file.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CorpusArgs {
    /// The folder of inputs.
    #[arg(default_value = "sim/fuzz/corpus/world")]
    dir: PathBuf,
    /// How many alterations to try; what shows something new is written into the folder.
    #[arg(long, default_value_t = 0)]
    grow: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct GoldenArgs {
    /// The table.
    #[arg(long, default_value = "sim/golden.txt")]
    file: PathBuf,
    /// Write the table as it is now.
    #[arg(long)]
    write: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// How many seeds of size S; a tenth of them of size M, and a thousandth of size L.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// How many runs each size gets; the median is told.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ScenariosArgs {
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
struct AblateArgs {
    /// Only this safeguard.
    name: Option<String>,
    /// Write the shortest trace of each safeguard into this folder.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Run the traces of this folder instead: each must break its promise without its safeguard.
    #[arg(long, conflicts_with_all = ["name", "write"])]
    traces: Option<PathBuf>,
    /// Of those, write anew what no longer breaks its promise but does close by, and else what is found from seeds.
    #[arg(long, requires = "traces")]
    reanchor: bool,
    /// Switch off one oracle after the other as well: which safeguards would then not be missed?
    #[arg(long, conflicts_with_all = ["write", "traces"])]
    oracles: bool,
    /// Switch off each safeguard in the scenarios that name it instead: each must then break a promise, but for those known not to.
    #[arg(long, conflicts_with_all = ["write", "traces", "oracles"])]
    scenarios: bool,
    /// Compare ways of making worlds, each from so many places among the seeds: how long until what is missing is noticed?
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "8", conflicts_with_all = ["write", "traces", "oracles", "scenarios"])]
    ways: Option<u64>,
    /// Let only the second, naive oracle judge what clients show, in every run.
    #[arg(long, conflicts_with_all = ["write", "traces", "oracles", "scenarios"])]
    naive: bool,
    /// How many seeds to try at most.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How choices are made.
    #[arg(long, value_enum, default_value_t)]
    chooser: searching::ChooserArg,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many threads; as many as there are cores unless given.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Args)]
struct ReanchorArgs {
    /// A trace file, or a folder of them.
    path: PathBuf,
    /// How many runs a trace may take.
    #[arg(long, default_value_t = 20_000)]
    runs: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command line.
#[must_use]
pub fn run() -> ExitCode {
    let status = match Cli::parse().command {
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Exhaust(args) => exhaust::run(&args),
        Command::Corpus(args) => corpus::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Scenario(args) => scenario::run(&args),
        Command::Scenarios(args) => scenario::list(&args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Reanchor(args) => reanchor::run(&args),
    };
    ExitCode::from(status)
}

/// The run that a person names, a seed or a trace file, with what is named here, or else in the file, switched off.
fn find_run(named: &str, without: Option<&str>) -> Result<TraceFile, String> {
    if let Some((size, seed)) = parse_seed(named) {
        let safeguards = without.map_or(Ok(Safeguards::ALL), ablate::without)?;
        let without = without.and_then(|name| ablate::find(name).ok());
        let setup = Setup { without, ..Setup::new(seed, size, safeguards) };
        let mut world = World::new(seed, size, safeguards, Log::default());
        world.run();
        return Ok(TraceFile::of_run(setup, world.chooser.made));
    }
    let mut file = read_trace(named.as_ref())
        .map_err(|why| format!("{why}; {named:?} is no seed either: those look like S:123"))?;
    let without =
        without.map(ToOwned::to_owned).or_else(|| file.setup.without.map(|safeguard| safeguard.name().into()));
    // A build whose safeguards all hold replays the trace with them: that is what a regression trace is for.
    let without = without.filter(|_| dormouse_core::safeguard::ABLATION);
    file.setup.safeguards = without.map_or(Ok(Safeguards::ALL), |name| ablate::without(&name))?;
    Ok(file)
}

/// A time as machines print it: seconds since 1970, with up to six places behind the point.
fn time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim_end_matches('s');
    let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let micros = format!("{rest:0<6}");
    let whole = seconds.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1_000_000));
    match (whole, micros.parse::<u64>()) {
        (Some(whole), Ok(micros)) if digits(rest) && rest.len() <= 6 => Ok(Timestamp(whole.saturating_add(micros))),
        _ => Err("a time is seconds since 1970, as in 1790000000.250000".into()),
    }
}

fn read_trace(path: &Path) -> Result<TraceFile, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
    text.parse().map_err(|why| format!("{}: {why}", path.display()))
}

/// The trace files of a folder, by name.
///
/// # Errors
/// When the folder or one of the files cannot be read.
pub fn read_traces(dir: &Path) -> Result<Vec<(PathBuf, TraceFile)>, String> {
    let entries = std::fs::read_dir(dir).map_err(|why| format!("cannot read {}: {why}", dir.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "trace"));
    paths.sort();
    paths.into_iter().map(|path| read_trace(&path).map(|file| (path, file))).collect()
}
