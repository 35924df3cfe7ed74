//! `exhaust`: every schedule of a small scope, and a certificate.

#![expect(clippy::disallowed_types, reason = "how long it took is said to people, and no part of a simulated world")]

use super::{ExhaustArgs, OK, USAGE, VIOLATED};
use crate::chooser::{Chooser, Kind, Source};
use crate::engine::chooser::Scope;
use crate::engine::exhaust::{Bounds, Certificate, exhaust};
use crate::engine::trace::TraceFile;
use crate::plan::{Family, Plan, Size};
use crate::trace_file::Setup;
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use serde_json::{Value, json};
use std::time::Instant;

/// What a world must be able to do for the faults of the scope to exist.
const ON: [Family; 4] = [Family::NodeCrash, Family::Evict, Family::Cuts, Family::Hibernate];
/// What would only make it larger, or happen without being chosen.
const OFF: [Family; 6] =
    [Family::Forged, Family::Large, Family::Retention, Family::Idle, Family::Thin, Family::Credentials];
/// Among so many seeds there is one of any few families.
const SEEDS: u64 = 1_000_000;

pub(super) fn run(args: &ExhaustArgs) -> u8 {
    let safeguards = match args.without.as_deref().map_or(Ok(Safeguards::ALL), super::ablate::without) {
        Ok(safeguards) => safeguards,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let Some(seed) = args.seed.or_else(|| (0..SEEDS).find(|seed| fits(*seed))) else {
        eprintln!("no seed below {SEEDS} has the families of this scope");
        return USAGE;
    };
    let setup = Setup { transactions: args.transactions, tight: true, ..Setup::new(seed, Size::S, safeguards) };
    let scope = Scope {
        budgets: vec![
            (vec![Kind::CrashAtOutput, Kind::CrashAnytime], args.crashes),
            (vec![Kind::Cut], args.cuts),
            (vec![Kind::EvictAtOutput, Kind::EvictAnytime], args.hibernations),
            (delays(), args.delays),
        ],
        picks_max: args.picks,
    };
    let began = Instant::now();
    let progress = |told: &Certificate<World>| {
        let seconds = began.elapsed().as_secs();
        eprintln!(
            "{} states, {} merged, {} ends, {} events, {seconds} s",
            told.states, told.merged, told.ends, told.transitions
        );
    };
    let told = exhaust::<World>(&setup, scope, Bounds { states_max: args.states_max }, progress);
    let seconds = began.elapsed().as_secs();
    if args.json {
        println!("{}", as_json(&setup, &told, seconds));
    } else {
        print(&setup, &told, seconds);
    }
    if told.broken.is_none() && told.complete { OK } else { VIOLATED }
}

fn fits(seed: u64) -> bool {
    let setup = Setup::new(seed, Size::S, Safeguards::ALL);
    let mut chooser = Chooser::new(seed, setup.entities().count(), Source::Random);
    let plan = Plan::new(seed, Size::S, Safeguards::ALL, &mut chooser);
    ON.iter().all(|family| plan.has(*family)) && OFF.iter().all(|family| !plan.has(*family))
}

fn delays() -> Vec<Kind> {
    use crate::engine::subject::Kind as _;
    Kind::ALL.iter().copied().filter(|kind| kind.is_delay()).collect()
}

const WORDS: [&str; 4] = ["crash", "cut", "hibernation", "delay"];

fn as_json(setup: &Setup, told: &Certificate<World>, seconds: u64) -> Value {
    let scope: serde_json::Map<_, _> =
        WORDS.iter().zip(&told.scope.budgets).map(|(word, (_, budget))| ((*word).into(), json!(budget))).collect();
    let broken = told.broken.as_ref().map(|(breaks, choices)| {
        let file: TraceFile<World> =
            TraceFile { breaks: Some(breaks.clone()), ..TraceFile::of_run(setup.clone(), choices.clone()) };
        json!({ "promise": breaks.promise, "oracle": breaks.oracle, "entity": breaks.entity, "file": file.to_string() })
    });
    json!({
        "v": 1, "ok": broken.is_none() && told.complete, "complete": told.complete, "seed": format!("S:{}", setup.seed),
        "scope": { "clients": setup.size.clients(), "transactions": setup.transactions, "at_most": scope, "ways": told.scope.picks_max },
        "states": told.states, "merged": told.merged, "transitions": told.transitions, "ends": told.ends,
        "seconds": seconds, "violation": broken,
    })
}

fn print(setup: &Setup, told: &Certificate<World>, seconds: u64) {
    let at_most: Vec<_> =
        WORDS.iter().zip(&told.scope.budgets).map(|(word, (_, budget))| format!("{budget} {word}")).collect();
    let clients = setup.size.clients();
    println!("scope: {clients} clients, {} transactions, at most {}", setup.transactions, at_most.join(", "));
    println!(
        "{} states, {} more were met again, {} events, {} ends, {seconds} s",
        told.states, told.merged, told.transitions, told.ends
    );
    match (&told.broken, told.complete) {
        (Some((breaks, choices)), _) => {
            println!("{} is broken ({}) for {}:", breaks.promise, breaks.oracle, breaks.entity);
            choices.iter().for_each(|choice| println!("  {choice}"));
        }
        (None, true) => println!("every promise holds on every way: the scope is enumerated in full"),
        (None, false) => println!("nothing broke, but the scope is NOT enumerated in full: --states-max ended it"),
    }
}
