//! Many seeds at once: the only place of this crate that knows threads and the clock of the machine it runs on.

#![expect(clippy::disallowed_types, reason = "the worker pool is no part of a simulated world")]

use super::searching::{ChooserArg, Way, ends};
use crate::coverage::{Coverage, Reached};
use crate::engine::fork::trace_of;
use crate::engine::subject::Subject;
use crate::log::Log;
use crate::oracle::Oracles;
use crate::plan::Size;
use crate::probe::Probes;
use crate::trace_file::{Setup, TraceFile};
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub size: Size,
    pub from: u64,
    pub seeds: u64,
    pub seconds: Option<u64>,
    pub safeguards: Safeguards,
    /// Who watches.
    pub oracles: Oracles,
    /// How choices are made.
    pub chooser: ChooserArg,
    /// How worlds are made.
    pub way: Way,
    /// Stop after so many violations.
    pub violations_max: usize,
    pub threads: Option<usize>,
    /// Whether to say on stderr how it goes.
    pub progress: bool,
    /// Every so many seeds one is run twice and compared.
    pub twice_every: u64,
}

/// A seed that broke a promise.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub seed: u64,
    pub promise: String,
    pub oracle: &'static str,
    pub entity: String,
    pub event: String,
    pub choices: Vec<String>,
    /// The run as a trace; none when it panicked.
    pub file: Option<TraceFile>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub count: u64,
    pub events: u64,
    /// How long it took; while it goes on, when it was said last how far it is.
    pub wall: Duration,
    /// The digests of all runs, added: whatever thread ran them, in whatever order.
    pub hash: u128,
    pub probes: Probes,
    pub coverage: Coverage,
    pub violations: Vec<Found>,
    /// How many seeds were run twice and from their traces.
    pub double_runs: u64,
    pub cores: usize,
}

/// How often it is said how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// How many threads there are by default.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs the seeds of a job.
pub(super) fn run(job: &Job) -> Outcome {
    let began = Instant::now();
    let threads = job.threads.unwrap_or_else(cores).max(1);
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let outcome = Mutex::new(Outcome { cores: threads, ..Outcome::default() });
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(job, began, &next, &stop, &outcome));
        }
    });
    let mut outcome = outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    outcome.violations.sort_by_key(|found| found.seed);
    outcome.wall = began.elapsed();
    outcome
}

fn work(job: &Job, began: Instant, next: &AtomicU64, stop: &AtomicBool, outcome: &Mutex<Outcome>) {
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let late = job.seconds.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds));
        if n >= job.seeds || late || stop.load(Ordering::Relaxed) {
            return;
        }
        let seed = job.from + n;
        let run = run_one(seed, job);
        let mut all = outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.count += 1;
        all.double_runs += u64::from(is_doubled(seed, job));
        all.events += run.events;
        all.hash = all.hash.wrapping_add(run.hash);
        all.probes.add(&run.probes);
        all.coverage.add(&run.reached);
        if let Some(found) = run.found {
            if job.progress {
                eprintln!("{}:{}: {} is broken ({})", job.size, found.seed, found.promise, found.oracle);
            }
            all.violations.push(found);
            if all.violations.len() >= job.violations_max {
                stop.store(true, Ordering::Relaxed);
            }
        }
        let elapsed = began.elapsed();
        if job.progress && elapsed >= all.wall + TOLD_EVERY {
            all.wall = elapsed;
            let seconds = elapsed.as_secs().max(1);
            eprintln!(
                "{} seeds, {} seeds/s, {} violations, {} probes unhit",
                all.count,
                all.count / seconds,
                all.violations.len(),
                all.probes.unhit().count()
            );
        }
    }
}

#[derive(Default)]
struct One {
    events: u64,
    hash: u128,
    probes: Probes,
    reached: Reached,
    found: Option<Found>,
}

fn is_doubled(seed: u64, job: &Job) -> bool {
    job.twice_every != 0 && seed.is_multiple_of(job.twice_every)
}

fn run_one(seed: u64, job: &Job) -> One {
    let setup = job.way.of(Setup { oracles: job.oracles, ..Setup::new(seed, job.size, job.safeguards) });
    let first = catch(&setup, job.chooser);
    if is_doubled(seed, job)
        && let Some((oracle, event)) = differs(&setup, job.chooser, &first)
    {
        return One { found: Some(found(seed, "Deterministic", oracle, "world", event)), ..first };
    }
    first
}

/// A second run, and runs from the traces of the ends, must be the same runs, with the same verdicts.
fn differs(setup: &Setup, chooser: ChooserArg, first: &One) -> Option<(&'static str, String)> {
    let verdict = |one: &One| (one.hash, one.events, one.found.as_ref().map(|found| found.event.clone()));
    if verdict(&catch(setup, chooser)) != verdict(first) {
        return Some(("double run", "two runs of this seed differ".into()));
    }
    let from_traces = catch_unwind(AssertUnwindSafe(|| {
        ends(setup, chooser).iter().all(|end| {
            let mut again = World::replay(&trace_of(setup, end), Log::default());
            again.run();
            (again.digest, again.broken()) == (end.digest, end.broken())
        })
    }));
    matches!(from_traces, Ok(false)).then(|| ("run from its trace", "the run from its own trace differs".into()))
}

fn catch(setup: &Setup, chooser: ChooserArg) -> One {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut one = One::default();
        for end in ends(setup, chooser) {
            one.events += end.events;
            one.hash = one.hash.wrapping_add(end.digest.finish());
            one.probes.add(&end.probes);
            one.reached.join(&end.reached);
            if let (Some(v), None) = (&end.violation, &one.found) {
                let (promise, entity) = (v.promise.to_string(), v.entity.to_string());
                let mut found = found(setup.seed, &promise, v.oracle, &entity, v.event.clone());
                found.choices = end.chooser.made.iter().map(ToString::to_string).collect();
                found.file = Some(trace_of(setup, &end));
                one.found = Some(found);
            }
        }
        one
    }));
    run.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let event = format!("panicked: {}", why.unwrap_or_default());
        let found = Some(found(setup.seed, "Invariant", "panic", "world", event));
        One { hash: u128::from(setup.seed), found, ..One::default() }
    })
}

fn found(seed: u64, promise: &str, oracle: &'static str, entity: &str, event: String) -> Found {
    let (choices, file) = (Vec::new(), None);
    Found { seed, promise: promise.into(), oracle, entity: entity.into(), event, choices, file }
}
