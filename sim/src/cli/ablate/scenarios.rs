//! `ablate --scenarios`: a scenario that names a safeguard must be lost without it.

use super::ablated::without;
use super::{AblateArgs, Safeguard};
use crate::cli::scenario::judge;
use crate::cli::{OK, VIOLATED};
use crate::scenario;
use serde_json::json;

/// How many seeds a scenario is given to be lost in.
const SEEDS: u64 = 100;

/// Scenarios that hold without a safeguard that they name, and why.
const NOT_BITING: &[(&str, Safeguard, &str)] = &[
    (
        "filter-ends-by-xid",
        Safeguard::SeamEndsAtF,
        "the filter must also meet a transaction with an older id that the snapshot sees; one seed in ten thousand does, and the trace",
    ),
    (
        "answer-to-an-earlier-life",
        Safeguard::AnswerIncarnation,
        "the late answer must bear the number of a question of its kind that the next life has open; seeds and the trace find that",
    ),
];

pub(super) fn run(args: &AblateArgs) -> u8 {
    let (mut results, mut ok) = (Vec::new(), true);
    for (_, scenario) in scenario::all() {
        let Some(held) = scenario.held() else { continue };
        for safeguard in held.safeguards {
            let seeds = args.from..args.from + SEEDS.min(args.seeds);
            let verdict = judge(scenario, held, seeds, without(*safeguard));
            let known = NOT_BITING.iter().find(|(name, of, _)| (*name, *of) == (scenario.name, *safeguard));
            let bites = verdict.broken.is_some();
            ok &= bites == known.is_none();
            let why = known.map(|(_, _, why)| *why);
            let says = match (&verdict.broken, why) {
                (Some((seed, breaks)), None) => {
                    format!("{} breaks with seed {seed} ({})", breaks.promise, breaks.oracle)
                }
                (Some(_), Some(_)) => "BITES, although it is noted that it does not: take the note away".into(),
                (None, Some(why)) => format!("does not bite: {why}"),
                (None, None) => format!("NO LONGER BITES in {} seeds", verdict.seeds),
            };
            if !args.json {
                println!("{} without {}: {says}", scenario.name, safeguard.name());
            }
            results.push(json!({
                "name": scenario.name, "safeguard": safeguard.name(), "bites": bites, "seeds": verdict.seeds,
                "promise": verdict.broken.as_ref().map(|(_, breaks)| &breaks.promise), "why_not": why,
            }));
        }
    }
    if args.json {
        println!("{}", json!({ "v": 1, "ok": ok, "scenarios": results }));
    }
    if ok { OK } else { VIOLATED }
}
