//! `fuzz`: many seeds, and a report.

use super::pool::{self, Found, Job, Outcome};
use super::searching::{ChooserArg, Way};
use super::{FuzzArgs, OK, USAGE, VIOLATED, explain};
use crate::oracle::{Oracles, Second};
use crate::plan::Size;
use crate::probe::Probe;
use crate::trace_file::TraceFile;
use clap::ValueEnum;
use dormouse_core::safeguard::Safeguards;
use serde_json::{Value, json};
use std::path::Path;

const SEEDS: u64 = 1_000;
/// From so many seeds of size S on, every probe must have been hit.
const PROBED_FROM: u64 = 10_000;

pub(super) fn run(args: &FuzzArgs) -> u8 {
    let size = Size::from(args.size);
    let job = Job {
        size,
        from: args.from,
        seeds: args.seeds.unwrap_or(if args.seconds.is_some() { u64::MAX } else { SEEDS }),
        seconds: args.seconds,
        safeguards: Safeguards::ALL,
        oracles: Oracles { off: None, second: if args.naive { Second::All } else { Second::Sample } },
        chooser: args.chooser,
        way: Way::AsItIs,
        violations_max: args.violations_max,
        threads: args.threads,
        progress: true,
        twice_every: args.twice_every,
    };
    let outcome = pool::run(&job);
    if let Some(dir) = &args.report
        && let Err(why) = write_reports(dir, &job, &outcome)
    {
        eprintln!("{why}");
        return USAGE;
    }
    if args.json {
        println!("{}", as_json(&job, &outcome));
    } else {
        print(&job, &outcome, args.report.as_deref());
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

/// Writes a page, a text and a trace file of each violation.
fn write_reports(dir: &Path, job: &Job, outcome: &Outcome) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|why| format!("cannot make {}: {why}", dir.display()))?;
    for found in &outcome.violations {
        let stem = format!("{}-{}", job.size, found.seed);
        let path = |ending: &str| dir.join(format!("{stem}.{ending}"));
        let named = path("trace").display().to_string();
        let Some((file, report)) = found.file.as_ref().and_then(|file| explain::of_failure(file, &named)) else {
            eprintln!("{}:{}: there is no report, because no trace of it fails again", job.size, found.seed);
            continue;
        };
        explain::write(&path("trace"), &file.to_string())?;
        explain::write(&path("txt"), &report.text())?;
        explain::write(&path("html"), &report.html())?;
    }
    Ok(())
}

/// What makes the report of a seed. Only random choices follow from the seed alone.
fn report_command(job: &Job, seed: u64) -> String {
    let size = job.size;
    match job.chooser.to_possible_value().filter(|_| job.chooser != ChooserArg::Random) {
        None => format!("dormouse-sim explain {size}:{seed} --html {size}-{seed}.html"),
        Some(chooser) => format!(
            "dormouse-sim fuzz --size {size} --chooser {} --from {seed} --seeds 1 --report reports",
            chooser.get_name()
        ),
    }
}

/// The few choices of a failure that matter, in words.
fn minimal(file: &TraceFile, named: &str) -> Option<Vec<String>> {
    let (_, report) = explain::of_failure(file, named)?;
    Some(report.choices.iter().map(|choice| report.line(choice.entry)).collect())
}

fn print(job: &Job, outcome: &Outcome, reports: Option<&Path>) {
    for found in &outcome.violations {
        println!("{} is broken ({}), seed {}:{}", found.promise, found.oracle, job.size, found.seed);
        println!("  {}: {}", found.entity, found.event);
        let named = format!("{}:{}", job.size, found.seed);
        // Larger worlds take too long to be made small unasked.
        let small = found.file.as_ref().filter(|_| job.size == Size::S).and_then(|file| minimal(file, &named));
        match small {
            Some(choices) => {
                println!("  it takes {} of its {} choices:", choices.len(), found.choices.len());
                choices.iter().for_each(|choice| println!("    {choice}"));
            }
            None => println!("  after {} choices", found.choices.len()),
        }
        match reports {
            Some(dir) => println!("  the report: {}", dir.join(format!("{}-{}.html", job.size, found.seed)).display()),
            None => println!("  the report: {}", report_command(job, found.seed)),
        }
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
