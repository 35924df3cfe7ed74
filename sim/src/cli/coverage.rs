//! `coverage`: fault × phase, and what was never reached.

use super::pool::{self, Job};
use super::searching::{ChooserArg, Way};
use super::{CoverageArgs, OK, VIOLATED};
use crate::coverage::{Class, Pair, Phase};
use crate::oracle::Oracles;
use crate::plan::Size;
use crate::probe::Probe;
use dormouse_core::safeguard::Safeguards;
use serde_json::json;

pub(super) fn run(args: &CoverageArgs) -> u8 {
    let job = Job {
        size: Size::from(args.size),
        from: args.from,
        seeds: args.seeds,
        seconds: None,
        safeguards: Safeguards::ALL,
        oracles: Oracles::default(),
        chooser: ChooserArg::Random,
        way: Way::AsItIs,
        violations_max: 10,
        threads: args.threads,
        progress: !args.json,
        twice_every: 0,
    };
    let outcome = pool::run(&job);
    let pairs: Vec<_> = outcome.coverage.pairs().collect();
    let unhit: Vec<_> = pairs.iter().filter(|pair| pair.runs == 0).map(ToString::to_string).collect();
    let probes: Vec<_> = outcome.probes.unhit().map(Probe::words).collect();
    let ok = unhit.is_empty() && probes.is_empty() && outcome.violations.is_empty();
    let per_mille = |pair: &Pair| pair.runs as u128 * 1_000 / u128::from(outcome.count.max(1));
    if args.json {
        let rows = pairs.iter().map(|pair| {
            json!({ "fault": pair.kind.name(), "phase": pair.phase.words(), "runs": pair.runs, "per_mille": per_mille(pair) as u64 })
        });
        let rows: Vec<_> = rows.collect();
        let seeds = json!({ "from": job.from, "count": outcome.count, "size": job.size.to_string() });
        println!(
            "{}",
            json!({ "v": 1, "ok": ok, "seeds": seeds, "pairs": rows, "unhit": unhit, "probes_unhit": probes })
        );
        return if ok { OK } else { VIOLATED };
    }
    println!("In how many of {} runs (of 1,000) a fault fell into a phase:", outcome.count);
    for class in [Class::Replication, Class::Hub, Class::Client, Class::Database] {
        print(class, &pairs, &per_mille);
    }
    unhit.iter().for_each(|pair| println!("never reached: {pair}"));
    probes.iter().for_each(|probe| println!("never reached: {probe}"));
    if ok { OK } else { VIOLATED }
}

fn print(class: Class, pairs: &[Pair], per_mille: &dyn Fn(&Pair) -> u128) {
    let phases: Vec<_> = Phase::ALL.iter().copied().filter(|phase| phase.class() == class).collect();
    println!();
    let name = |phase: &Phase| phase.words().rsplit(' ').next().unwrap_or_default().to_owned();
    let head: Vec<_> = phases.iter().map(|phase| format!("{:>12}", name(phase))).collect();
    println!("{:<20}{}", format!("{class:?}"), head.join(""));
    let mut kinds: Vec<_> = pairs.iter().filter(|pair| pair.phase.class() == class).map(|pair| pair.kind).collect();
    kinds.dedup();
    for kind in kinds {
        let cell = |phase: &Phase| match pairs.iter().find(|pair| (pair.kind, pair.phase) == (kind, *phase)) {
            None => format!("{:>12}", "·"),
            Some(pair) if pair.runs > 0 && per_mille(pair) == 0 => format!("{:>12}", "<1"),
            Some(pair) => format!("{:>12}", per_mille(pair)),
        };
        println!("{:<20}{}", kind.name(), phases.iter().map(cell).collect::<String>());
    }
}
