//! `ablate --ways`: whether what makes worlds dangerous shortens the time to find a race, and by how much.
//!
//! Each safeguard is switched off, and a violation looked for, from several places among the seeds and with worlds made in
//! each of these ways. What counts is the mean: of one place it is one draw from a distribution.

use super::ablated::{Search, search};
use super::{AblateArgs, Safeguard};
use crate::cli::searching::Way;
use crate::cli::{OK, VIOLATED};
use crate::oracle::Oracles;
use crate::plan::Family;
use serde_json::json;

/// The ways that are compared.
const WAYS: [(&str, Way); 4] = [
    ("as it is", Way::AsItIs),
    ("dangerous windows weigh no more", Way::EvenWeights),
    ("all families in every run", Way::AllFamilies),
    ("nothing is held until a moment", Way::Without(Family::Holds)),
];
/// How far the places lie apart.
const APART: u64 = 10_000_000;

/// What came of one way for one safeguard.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    found: u64,
    seeds: u64,
    cpu_ms: u64,
}

pub(super) fn run(args: &AblateArgs, wanted: &[Safeguard], runs: u64) -> u8 {
    let mut rows = Vec::new();
    let mut all = [Mean::default(); WAYS.len()];
    for safeguard in wanted {
        let means = WAYS.map(|(_, way)| mean(args, *safeguard, way, runs));
        all.iter_mut().zip(&means).for_each(|(all, mean)| {
            (all.found, all.seeds, all.cpu_ms) =
                (all.found + mean.found, all.seeds + mean.seeds, all.cpu_ms + mean.cpu_ms);
        });
        if !args.json {
            tell(safeguard.name(), &means, runs);
        }
        let ways = WAYS.iter().zip(&means).map(|((words, _), mean)| {
            json!({ "way": words, "found": mean.found, "seeds": mean.seeds / runs, "cpu_ms": mean.cpu_ms / runs })
        });
        rows.push(json!({ "name": safeguard.name(), "ways": ways.collect::<Vec<_>>() }));
    }
    let ok = all[0].found == runs * wanted.len() as u64;
    if args.json {
        println!("{}", json!({ "v": 1, "ok": ok, "runs": runs, "seeds": args.seeds, "safeguards": rows }));
    } else {
        tell("together", &all, runs);
    }
    if ok { OK } else { VIOLATED }
}

fn tell(name: &str, means: &[Mean], runs: u64) {
    println!("{name}:");
    for ((words, _), Mean { found, seeds, cpu_ms }) in WAYS.iter().zip(means) {
        println!(
            "  {words}: found {found} times, after {} seeds and {} ms of one core in the mean",
            seeds / runs,
            cpu_ms / runs
        );
    }
}

/// Looks from several places. What is not found counts with the seeds that were tried.
fn mean(args: &AblateArgs, safeguard: Safeguard, way: Way, runs: u64) -> Mean {
    let mut mean = Mean::default();
    for run in 0..runs {
        let args = AblateArgs { from: args.from + run * APART, ..args.clone() };
        let Search { found, seeds, cpu_ms, .. } = search(&args, safeguard, Oracles::default(), way);
        mean.found += u64::from(found.is_some());
        (mean.seeds, mean.cpu_ms) = (mean.seeds + seeds, mean.cpu_ms + cpu_ms);
    }
    mean
}
