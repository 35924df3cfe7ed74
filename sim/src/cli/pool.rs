//! Many seeds at once: the only place of this crate that knows threads and the clock of the machine it runs on.

#![expect(clippy::disallowed_types, reason = "the worker pool is no part of a simulated world")]

use crate::coverage::{Coverage, Reached};
use crate::engine::subject::Subject;
use crate::plan::Size;
use crate::probe::Probes;
use crate::trace::Trace;
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
    pub oracle: String,
    pub entity: String,
    pub event: String,
    pub choices: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub count: u64,
    pub events: u64,
    pub wall: Duration,
    /// The digests of all runs, added: whatever thread ran them, in whatever order.
    pub hash: u128,
    pub probes: Probes,
    pub coverage: Coverage,
    pub violations: Vec<Found>,
    pub cores: usize,
}

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
        all.events += run.events;
        all.hash = all.hash.wrapping_add(run.hash);
        all.probes.add(&run.probes);
        all.coverage.add(&run.reached);
        if let Some(found) = run.found {
            all.violations.push(found);
            if all.violations.len() >= job.violations_max {
                stop.store(true, Ordering::Relaxed);
            }
        }
        if job.progress && all.count.is_multiple_of(5_000) {
            let seconds = began.elapsed().as_secs().max(1);
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

struct One {
    events: u64,
    hash: u128,
    probes: Probes,
    reached: Reached,
    found: Option<Found>,
}

fn run_one(seed: u64, job: &Job) -> One {
    let first = catch(seed, job);
    if job.twice_every != 0 && seed.is_multiple_of(job.twice_every) {
        let second = catch(seed, job);
        if second.hash != first.hash {
            let event = "two runs of this seed differ".to_owned();
            return One {
                found: Some(found(seed, "Deterministic", "double run", "world", event, Vec::new())),
                ..first
            };
        }
        if let Some(event) = from_trace_differs(seed, job, first.hash) {
            return One {
                found: Some(found(seed, "Deterministic", "run from its trace", "world", event, Vec::new())),
                ..first
            };
        }
    }
    first
}

/// A run from the trace of its choices must be the same run.
fn from_trace_differs(seed: u64, job: &Job, hash: u128) -> Option<String> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, job.size, job.safeguards, Trace::default());
        world.run();
        let file =
            TraceFile::of_run(Setup::new(seed, job.size, job.safeguards), std::mem::take(&mut world.chooser.made));
        let mut again = World::replay(&file, Trace::default());
        again.run();
        again.digest.finish() == hash
    }));
    matches!(run, Ok(false)).then(|| "the run from its own trace differs".to_owned())
}

fn catch(seed: u64, job: &Job) -> One {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, job.size, job.safeguards, Trace::default());
        world.run();
        let violation = world.violation.as_ref().map(|v| {
            let choices = world.chooser.made.iter().map(ToString::to_string).collect();
            found(seed, &v.promise.to_string(), v.oracle, &v.entity.to_string(), v.event.clone(), choices)
        });
        One {
            events: world.events,
            hash: world.digest.finish(),
            probes: world.probes.clone(),
            reached: world.reached,
            found: violation,
        }
    }));
    run.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let event = format!("panicked: {}", why.unwrap_or_default());
        let found = Some(found(seed, "Invariant", "panic", "world", event, Vec::new()));
        One { events: 0, hash: u128::from(seed), probes: Probes::default(), reached: Reached::default(), found }
    })
}

fn found(seed: u64, promise: &str, oracle: &str, entity: &str, event: String, choices: Vec<String>) -> Found {
    Found { seed, promise: promise.into(), oracle: oracle.into(), entity: entity.into(), event, choices }
}
