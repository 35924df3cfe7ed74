//! `fuzz`: many seeds, and a report.

use super::pool::{self, Found, Job, Outcome};
use super::{FuzzArgs, OK, VIOLATED};
use crate::plan::Size;
use crate::probe::Probe;
use dormouse_core::safeguard::Safeguards;
use serde_json::{Value, json};

const SEEDS: u64 = 1_000;
/// From so many seeds of size S on, every probe must have been hit.
const PROBED_FROM: u64 = 10_000;
/// One seed in so many is run twice and compared.
const TWICE_EVERY: u64 = 50;

pub(super) fn run(args: &FuzzArgs) -> u8 {
    let size = Size::from(args.size);
    let job = Job {
        size,
        from: args.from,
        seeds: args.seeds.unwrap_or(if args.seconds.is_some() { u64::MAX } else { SEEDS }),
        seconds: args.seconds,
        safeguards: Safeguards::ALL,
        chooser: args.chooser,
        violations_max: args.violations_max,
        threads: args.threads,
        progress: true,
        twice_every: TWICE_EVERY,
    };
    let outcome = pool::run(&job);
    if args.json {
        println!("{}", as_json(&job, &outcome));
    } else {
        print(&job, &outcome);
    }
    if is_ok(&job, &outcome) { OK } else { VIOLATED }
}

/// A suite that is long enough must also have reached everything: a simulator that does nothing must not be green.
fn is_ok(job: &Job, outcome: &Outcome) -> bool {
    let long = job.size == Size::S && outcome.count >= PROBED_FROM;
    outcome.violations.is_empty() && (!long || outcome.probes.unhit().next().is_none())
}

fn as_json(job: &Job, outcome: &Outcome) -> Value {
    json!({
        "v": 1,
        "ok": is_ok(job, outcome),
        "seeds": { "from": job.from, "count": outcome.count, "size": job.size.to_string() },
        "events": outcome.events,
        "wall_ms": u64::try_from(outcome.wall.as_millis()).unwrap_or(u64::MAX),
        "cores": outcome.cores,
        "double_runs": outcome.double_runs,
        "hash": format!("{:032x}", outcome.hash),
        "violations": outcome.violations.iter().map(|found| violation(job.size, found)).collect::<Vec<_>>(),
        "probes_unhit": outcome.probes.unhit().map(Probe::words).collect::<Vec<_>>(),
    })
}

/// A violation, as `fuzz --json` prints it.
pub(super) fn violation(size: Size, found: &Found) -> Value {
    json!({
        "seed": format!("{size}:{}", found.seed),
        "promise": found.promise,
        "oracle": found.oracle,
        "entity": found.entity,
        "event": found.event,
        "trace": found.choices,
        "replay": format!("dormouse-sim replay {size}:{}", found.seed),
    })
}

fn print(job: &Job, outcome: &Outcome) {
    for found in &outcome.violations {
        println!("{} is broken ({}), seed {}:{}", found.promise, found.oracle, job.size, found.seed);
        println!("  {}: {}", found.entity, found.event);
        println!(
            "  after {} choices; see it all: dormouse-sim replay {}:{}",
            found.choices.len(),
            job.size,
            found.seed
        );
    }
    let millis = outcome.wall.as_millis().max(1);
    println!(
        "{} seeds of size {}, {} events in {} ms on {} cores ({} seeds/s), hash {:032x}, {} violations",
        outcome.count,
        job.size,
        outcome.events,
        millis,
        outcome.cores,
        u128::from(outcome.count) * 1_000 / millis,
        outcome.hash,
        outcome.violations.len()
    );
    let unhit: Vec<_> = outcome.probes.unhit().map(Probe::words).collect();
    if !unhit.is_empty() {
        println!("never reached: {}", unhit.join(", "));
    }
}
