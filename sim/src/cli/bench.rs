//! `bench`: how fast the simulator is, with all its oracles and its hash, and whether any run differs from its repetition.

#![expect(clippy::disallowed_types, reason = "a benchmark is no part of a simulated world")]

use super::pool::{self, Job, Outcome};
use super::searching::{ChooserArg, Way};
use super::{BenchArgs, OK, VIOLATED, read_traces};
use crate::engine::shrink::shrink;
use crate::engine::subject::Subject;
use crate::engine::trace::TraceFile;
use crate::oracle::Oracles;
use crate::plan::Size;
use crate::trace_file::Setup;
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// One seed in so many is also run twice and from its trace, in a pass of its own that is not timed.
const DOUBLED_OF: u64 = 1;

pub(super) fn run(args: &BenchArgs) -> u8 {
    let sizes = [(Size::S, args.seeds), (Size::M, args.seeds.div_ceil(10)), (Size::L, args.seeds.div_ceil(1_000))];
    let mut rates = Vec::new();
    let mut events = 0;
    for (size, seeds) in sizes {
        let mut runs: Vec<_> = (0..args.runs.max(1)).map(|_| measure(args, size, seeds)).collect();
        runs.sort_by_key(|(seeds, _)| *seeds);
        let (seeds_rate, events_rate) = runs[runs.len() / 2];
        if size == Size::S {
            events = events_rate;
        }
        if !args.json {
            println!("{size}: {seeds_rate} seeds/s and {events_rate} events/s per core, median of {} runs", runs.len());
        }
        rates.push(seeds_rate);
    }
    let doubled = pool::run(&Job { twice_every: DOUBLED_OF, ..job(args, Size::S, args.seeds) });
    let (shrink_ms, lengths) = shrinking();
    let divergences = doubled.violations.iter().filter(|found| found.promise == "Deterministic").count();
    if args.json {
        let value = json!({
            "v": 1, "load_avg": load(), "cores": doubled.cores, "events_per_second_per_core": events,
            "seeds_per_second_per_core": { "s": rates[0], "m": rates[1], "l": rates[2] },
            "double_runs": doubled.double_runs, "divergences": divergences,
            "shrink_ms_median": shrink_ms, "trace_len_median": lengths,
        });
        println!("{value}");
    } else {
        println!("{} seeds run twice and from their traces: {divergences} differ", doubled.double_runs);
        match (shrink_ms, lengths) {
            (Some(ms), Some(length)) => {
                println!("shrinking: {ms} ms, to {length} choices, medians over the committed traces")
            }
            _ => println!(
                "shrinking is measured in the build with the feature `ablation`, where the committed traces fail"
            ),
        }
        println!("load {}", load().map_or_else(|| "unknown".into(), |load| load.to_string()));
    }
    if divergences == 0 && doubled.violations.is_empty() { OK } else { VIOLATED }
}

fn job(args: &BenchArgs, size: Size, seeds: u64) -> Job {
    Job {
        size,
        from: 0,
        seeds,
        seconds: None,
        safeguards: Safeguards::ALL,
        oracles: Oracles::default(),
        chooser: ChooserArg::Random,
        way: Way::AsItIs,
        violations_max: 10,
        threads: args.threads,
        progress: false,
        twice_every: 0,
    }
}

/// Seeds and events a second and core.
fn measure(args: &BenchArgs, size: Size, seeds: u64) -> (u64, u64) {
    let Outcome { count, events, wall, cores, .. } = pool::run(&job(args, size, seeds));
    let per_second = |n: u64| {
        let micros = wall.as_micros().max(1) * cores as u128;
        u64::try_from(u128::from(n) * 1_000_000 / micros).unwrap_or(u64::MAX)
    };
    (per_second(count), per_second(events))
}

/// How long it takes to make a failing run small, and how small: medians over the committed traces' seeds, each as it was found.
fn shrinking() -> (Option<u64>, Option<usize>) {
    let (mut times, mut lengths) = (Vec::new(), Vec::new());
    for (_, file) in read_traces(Path::new("tests/seeds")).unwrap_or_default() {
        let Some(safeguards) = file.setup.without.and_then(|safeguard| super::ablate::without(safeguard.name()).ok())
        else {
            continue;
        };
        let setup = Setup { without: file.setup.without, ..Setup::new(file.setup.seed, file.setup.size, safeguards) };
        let mut world = World::begin(&setup, crate::chooser::Source::Random);
        world.run();
        let whole: TraceFile<World> = TraceFile::of_run(setup, world.chooser.made);
        let began = Instant::now();
        if let Some(shrunk) = shrink(&whole) {
            times.push(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            lengths.push(shrunk.file.choices.len());
        }
    }
    times.sort_unstable();
    lengths.sort_unstable();
    (times.get(times.len() / 2).copied(), lengths.get(lengths.len() / 2).copied())
}

/// How busy the machine is, in hundredths of a running process, over a minute.
fn load() -> Option<serde_json::Number> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
