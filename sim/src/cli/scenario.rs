//! `scenario` and `scenarios`: the race catalogue, by name.

use super::{OK, ScenarioArgs, ScenariosArgs, USAGE, VIOLATED, ablate};
use crate::engine::subject::{Breaks, Subject};
use crate::log::Log;
use crate::scenario::{self, Held, Scenario, State};
use crate::trace_file::{Setup, TraceFile};
use dormouse_core::safeguard::Safeguards;
use serde_json::{Value, json};
use std::path::Path;

/// What the seeds of one scenario came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many seeds were run.
    pub seeds: u64,
    /// In how many the race's window was entered.
    pub entered: u64,
    /// What the first seed that did not enter it lacked.
    pub missed: Option<(u64, Vec<String>)>,
    /// The first seed in which a promise broke, and what broke.
    pub broken: Option<(u64, Breaks)>,
}

impl Verdict {
    /// Whether the window was entered in as many seeds as the scenario says.
    pub(crate) const fn is_entered(&self, held: &Held) -> bool {
        self.entered * 100 >= self.seeds * held.entered_percent
    }
}

/// Runs the seeds of a scenario; stops at the first that breaks a promise.
pub(crate) fn judge(
    scenario: &'static Scenario,
    held: &Held,
    seeds: std::ops::Range<u64>,
    safeguards: Safeguards,
) -> Verdict {
    let mut verdict = Verdict::default();
    for seed in seeds {
        verdict.seeds += 1;
        let Some(file) = trace_of(scenario, held, seed, safeguards) else { continue };
        match file {
            Ran::Held(missed) if missed.is_empty() => verdict.entered += 1,
            Ran::Held(missed) => verdict.missed = verdict.missed.or(Some((seed, missed))),
            Ran::Broke(breaks) => {
                verdict.broken = Some((seed, breaks));
                break;
            }
        }
    }
    verdict
}

enum Ran {
    Held(Vec<String>),
    Broke(Breaks),
}

/// One seed. A panic of a machine breaks the promise of its invariants.
fn trace_of(scenario: &'static Scenario, held: &Held, seed: u64, safeguards: Safeguards) -> Option<Ran> {
    let run = std::panic::catch_unwind(|| {
        let world = scenario.run(seed, safeguards, Log::default())?;
        Some(match world.broken() {
            Some(breaks) => Ran::Broke(breaks),
            None => Ran::Held(held.missed(&world)),
        })
    });
    run.unwrap_or_else(|_| Some(Ran::Broke(Breaks::panic())))
}

/// Lists the catalogue.
pub(super) fn list(args: &ScenariosArgs) -> u8 {
    if args.json {
        println!("{}", Value::Array(scenario::all().map(|(letter, scenario)| as_json(letter, scenario)).collect()));
        return OK;
    }
    for (letter, scenario) in scenario::all() {
        match &scenario.state {
            State::Held(held) => {
                let names: Vec<_> = held.safeguards.iter().map(|safeguard| safeguard.name()).collect();
                let by = if names.is_empty() { format!("noticed by {}", held.noticed_by) } else { names.join(", ") };
                println!("{letter} {:<36} held     {by}", scenario.name);
            }
            State::Waiting(what) => println!("{letter} {:<36} waiting  for {what}", scenario.name),
        }
    }
    let held = scenario::all().filter(|(_, scenario)| scenario.held().is_some()).count();
    println!("{held} of {} are held", scenario::all().count());
    OK
}

fn as_json(letter: char, scenario: &Scenario) -> Value {
    let held = scenario.held();
    let safeguards = held.map_or(&[][..], |held| held.safeguards);
    json!({
        "name": scenario.name, "family": letter.to_string(), "tells": scenario.tells,
        "promises": scenario.promises.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "safeguards": safeguards.iter().map(|safeguard| safeguard.name()).collect::<Vec<_>>(),
        "noticed_by": held.map(|held| held.noticed_by),
        "state": if held.is_some() { "held" } else { "waiting" },
        "waits_for": if let State::Waiting(what) = scenario.state { Some(what) } else { None },
    })
}

/// Runs one scenario.
pub(super) fn run(args: &ScenarioArgs) -> u8 {
    let Some(scenario) = scenario::find(&args.name) else {
        eprintln!("{:?} is no scenario; `dormouse-sim scenarios` lists them", args.name);
        return USAGE;
    };
    let Some(held) = scenario.held() else {
        if let State::Waiting(what) = scenario.state {
            eprintln!("{} waits for {what}; `dormouse-sim scenarios` lists those that are held", scenario.name);
        }
        return USAGE;
    };
    let safeguards = match args.without.as_deref().map_or(Ok(Safeguards::ALL), ablate::without) {
        Ok(safeguards) => safeguards,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let verdict = judge(scenario, held, args.from..args.from.saturating_add(args.seeds), safeguards);
    if let Some(path) = &args.write
        && let Err(why) = write(path, scenario, args, &verdict, safeguards)
    {
        eprintln!("{why}");
        return USAGE;
    }
    let ok = verdict.broken.is_none() && verdict.is_entered(held);
    if args.json {
        let broken = verdict.broken.as_ref().map(|(seed, breaks)| {
            json!({ "seed": format!("{}:{seed}", held.size), "promise": breaks.promise, "oracle": breaks.oracle, "entity": breaks.entity })
        });
        let missed = verdict
            .missed
            .as_ref()
            .map(|(seed, missed)| json!({ "seed": format!("{}:{seed}", held.size), "missed": missed }));
        println!(
            "{}",
            json!({
                "v": 1, "ok": ok, "name": scenario.name, "seeds": verdict.seeds, "entered": verdict.entered,
                "entered_percent": held.entered_percent, "broken": broken, "missed": missed,
            })
        );
    } else {
        tell(scenario, held, &verdict);
    }
    if ok { OK } else { VIOLATED }
}

fn tell(scenario: &Scenario, held: &Held, verdict: &Verdict) {
    println!("{}: {}", scenario.name, scenario.tells);
    if let Some((seed, Breaks { promise, oracle, entity })) = &verdict.broken {
        println!(
            "{promise} is broken ({oracle}) for a {entity} with seed {}:{seed}; --write FILE makes a trace of it",
            held.size
        );
        return;
    }
    println!("its window was entered in {} of {} seeds, and every promise held", verdict.entered, verdict.seeds);
    if !verdict.is_entered(held) {
        println!("that is too few: {} in a hundred are asked for", held.entered_percent);
        if let Some((seed, missed)) = &verdict.missed {
            missed.iter().for_each(|missed| println!("  seed {}:{seed} {missed}", held.size));
        }
    }
}

/// Writes the run that broke a promise, or else the first, as a trace.
fn write(
    path: &Path,
    scenario: &'static Scenario,
    args: &ScenarioArgs,
    verdict: &Verdict,
    safeguards: Safeguards,
) -> Result<(), String> {
    let seed = verdict.broken.as_ref().map_or(args.from, |(seed, _)| *seed);
    let world = scenario.run(seed, safeguards, Log::default()).ok_or("the scenario is not held")?;
    let mut setup = Setup::of_scenario(seed, scenario, safeguards).ok_or("the scenario is not held")?;
    setup.without = args.without.as_deref().and_then(|name| ablate::find(name).ok());
    let mut file = TraceFile::of_run(setup, world.chooser.made);
    file.about.push(format!("{}: {}.", scenario.name, scenario.tells));
    file.breaks = file.outcome();
    std::fs::write(path, file.to_string()).map_err(|why| format!("cannot write {}: {why}", path.display()))
}
