//! The build whose safeguards can be switched off.

use super::super::pool::{self, Found, Job};
use super::super::reanchor::{Anchored, anchor};
use super::{AblateArgs, Safeguard, Safeguards, USAGE, find, oracles, scenarios, ways};
use crate::cli::searching::Way;
use crate::cli::{OK, VIOLATED, read_traces};
use crate::engine::shrink::{Shrunk, shrink};
use crate::oracle::{Oracles, Second};
use crate::plan::Size;
use crate::trace_file::TraceFile;
use crate::world::World;
use serde_json::{Value, json};
use std::path::Path;

pub(in crate::cli) const fn without(safeguard: Safeguard) -> Safeguards {
    Safeguards::ALL.without(safeguard)
}

/// Safeguards without which a change takes effect twice with the same outcome: only the store that is told to insert a row that it has
/// can notice, and whoever compares contents cannot.
const UNSEEN: [Safeguard; 1] = [Safeguard::SeamEndsAtF];

/// How many runs a trace that drifted may take to be found again close by.
const REANCHOR_RUNS: u32 = 20_000;

/// The promises that must break without a safeguard: any of these is the race it prevents.
pub(super) const fn expected(safeguard: Safeguard) -> &'static [&'static str] {
    match safeguard {
        Safeguard::CoveredBeforeConfirm
        | Safeguard::RecordBeforeAnnounce
        | Safeguard::EpochFence
        | Safeguard::MonotonicPosition => &["Durable"],
        Safeguard::OwnId | Safeguard::StandbyFollows => &["Converges"],
        Safeguard::Fresh => &["Fresh"],
        Safeguard::CredentialExpires => &["Scoped"],
        Safeguard::TransactionRowLast => &["Atomic", "Complete"],
        Safeguard::SettledSlot => &["Complete", "Ordered", "Invariant", "Converges"],
        Safeguard::CompareAndSet
        | Safeguard::EraStartWait
        | Safeguard::SeamFilter
        | Safeguard::SeamEndsAtF
        | Safeguard::SeamAwaitsCovered
        | Safeguard::KnownPosition
        | Safeguard::SameDatabase => &["Complete", "Ordered"],
        Safeguard::ChainedPages => &["Complete", "Ordered", "Atomic", "Invariant"],
        Safeguard::AnswerIncarnation => &["Durable", "Complete", "Fresh", "Ordered", "Invariant", "Converges"],
    }
}

pub(in crate::cli) fn run(args: &AblateArgs) -> u8 {
    if let Some(dir) = &args.traces {
        return bite(args, dir);
    }
    if args.scenarios {
        return scenarios::run(args);
    }
    let wanted = match &args.name {
        None => Safeguard::ALL.to_vec(),
        Some(name) => match find(name) {
            Ok(safeguard) => vec![safeguard],
            Err(why) => {
                eprintln!("{why}");
                return USAGE;
            }
        },
    };
    if args.oracles {
        return oracles::run(args, &wanted);
    }
    if let Some(runs) = args.ways {
        return ways::run(args, &wanted, runs);
    }
    let wanted =
        wanted.into_iter().filter(|safeguard| !args.naive || args.name.is_some() || !UNSEEN.contains(safeguard));
    let results: Vec<_> = wanted.map(|safeguard| ablate(args, safeguard)).collect();
    let ok = results.iter().all(|(_, found)| *found);
    if args.json {
        let safeguards: Vec<_> = results.into_iter().map(|(value, _)| value).collect();
        println!("{}", json!({ "v": 1, "ok": ok, "safeguards": safeguards }));
    }
    if ok { OK } else { VIOLATED }
}

/// Each trace must still break its promise without its safeguard.
fn bite(args: &AblateArgs, dir: &Path) -> u8 {
    let as_json = args.json;
    let traces = match read_traces(dir) {
        Ok(traces) => traces,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let mut results = Vec::new();
    for (path, file) in &traces {
        let Some(safeguard) = file.setup.without else { continue };
        let mut off: TraceFile = file.clone();
        off.setup.safeguards = without(safeguard);
        let broke = off.outcome();
        let mut bites = broke.is_some() && broke == file.breaks;
        let mut verdict = if bites { "bites" } else { "NO LONGER BITES" };
        if !bites && args.reanchor {
            (bites, verdict) = match anchor(path, &off, REANCHOR_RUNS) {
                Ok(Anchored::Again) => (true, "bites again, close by,"),
                Ok(Anchored::Same | Anchored::Lost) => {
                    let anew = AblateArgs { write: Some(dir.to_owned()), json: true, ..args.clone() };
                    (ablate(&anew, safeguard).1, "was found anew from seeds, and bites")
                }
                Err(why) => {
                    eprintln!("{why}");
                    return USAGE;
                }
            };
        }
        if !as_json {
            println!("{}: {verdict} without {}", path.display(), safeguard.name());
        }
        results.push(json!({ "file": path.display().to_string(), "safeguard": safeguard.name(), "bites": bites }));
    }
    let missing: Vec<_> = Safeguard::ALL
        .iter()
        .filter(|safeguard| !traces.iter().any(|(_, file)| file.setup.without == Some(**safeguard)))
        .map(|safeguard| safeguard.name())
        .collect();
    if !as_json && !missing.is_empty() {
        println!("no trace for {}", missing.join(", "));
    }
    let ok = missing.is_empty() && results.iter().all(|result| result["bites"] == true);
    if as_json {
        println!("{}", json!({ "v": 1, "ok": ok, "traces": results, "missing": missing }));
    }
    if ok { OK } else { VIOLATED }
}

/// The shortest trace of what was found, written where it is wanted.
fn shortest(args: &AblateArgs, safeguard: Safeguard, found: &Found) -> Option<Shrunk<World>> {
    let mut file = found.file.clone()?;
    file.setup.without = Some(safeguard);
    let mut shrunk = shrink(&file)?;
    shrunk.file.about.push(safeguard.sentence().into());
    if let Some(dir) = &args.write {
        let path = dir.join(format!("{}.trace", safeguard.name()));
        if let Err(why) = std::fs::write(&path, shrunk.file.to_string()) {
            eprintln!("cannot write {}: {why}", path.display());
        }
    }
    Some(shrunk)
}

/// What was found of a missing safeguard.
pub(super) struct Search {
    /// The first violation of a promise that must break.
    pub found: Option<Found>,
    /// How many seeds were run.
    pub seeds: u64,
    pub cpu_ms: u64,
    /// How many violations of other promises there were before.
    others: usize,
}

/// Runs seeds without a safeguard until a promise breaks that must, at most so many as were asked for.
pub(super) fn search(args: &AblateArgs, safeguard: Safeguard, oracles: Oracles, way: Way) -> Search {
    let mut search = Search { found: None, seeds: 0, cpu_ms: 0, others: 0 };
    while search.seeds < args.seeds {
        let job = Job {
            size: Size::S,
            from: args.from + search.seeds,
            seeds: args.seeds - search.seeds,
            seconds: None,
            safeguards: without(safeguard),
            oracles,
            chooser: args.chooser,
            way,
            violations_max: 1,
            threads: args.threads,
            progress: false,
            twice_every: 0,
        };
        let outcome = pool::run(&job);
        search.seeds += outcome.count;
        search.cpu_ms += u64::try_from(outcome.wall.as_millis()).unwrap_or(u64::MAX) * outcome.cores as u64;
        let is_expected = |found: &Found| expected(safeguard).contains(&found.promise.as_str());
        let others = outcome.violations.len();
        search.found = outcome.violations.into_iter().find(is_expected);
        if search.found.is_some() || outcome.count == 0 {
            break;
        }
        search.others += others;
    }
    search
}

fn ablate(args: &AblateArgs, safeguard: Safeguard) -> (Value, bool) {
    let second = if args.naive { Second::Alone } else { Second::Sample };
    let Search { found, seeds, cpu_ms, others } = search(args, safeguard, Oracles { off: None, second }, Way::AsItIs);
    let expected = expected(safeguard);
    let Some(found) = found else {
        if !args.json {
            println!("{}: NOT FOUND in {seeds} seeds ({others} violations of other promises)", safeguard.name());
        }
        let value = json!({
            "name": safeguard.name(), "expected": expected, "found": false, "promise": null,
            "seeds": seeds, "cpu_ms": cpu_ms, "trace": [],
        });
        return (value, false);
    };
    let shrunk = shortest(args, safeguard, &found);
    let trace = shrunk.as_ref().map_or(&[][..], |shrunk| &shrunk.file.choices);
    let trace: Vec<_> = trace.iter().map(ToString::to_string).collect();
    if !args.json {
        println!("{}: {} broken after {seeds} seeds ({cpu_ms} ms of one core)", safeguard.name(), found.promise);
        println!("  {}: {} ({})", found.entity, found.event, found.oracle);
        println!("  prevents {}", safeguard.races().join(", "));
        println!("  replay S:{} --without {}", found.seed, safeguard.name());
        println!("  {} choices, reduced to {}:", found.choices.len(), trace.len());
        trace.iter().for_each(|choice| println!("    {choice}"));
    }
    let value = json!({
        "name": safeguard.name(), "races": safeguard.races(), "expected": expected, "found": true, "promise": found.promise,
        "oracle": found.oracle, "entity": found.entity, "event": found.event,
        "seed": format!("S:{}", found.seed), "seeds": seeds, "cpu_ms": cpu_ms, "trace": trace,
        "shrink_runs": shrunk.map_or(0, |shrunk| shrunk.runs),
    });
    (value, true)
}
