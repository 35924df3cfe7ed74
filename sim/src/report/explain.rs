//! From a trace to its report: the run, once to know when it breaks and once to keep what happens around that, and its neighbours.

use super::{Heading, Report, heading, parting};
use crate::engine::subject::Subject;
use crate::log::{Draft, Log, What};
use crate::oracle::{Promise, Violation};
use crate::trace_file::TraceFile;
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// From how many events before the violation on the states of machines are kept.
const STATES_BEFORE: u64 = 400;
/// The most choices of which each is left out once to see what becomes of the run.
const NEIGHBOURS_MAX: usize = 24;

/// What a trace comes to.
#[derive(Debug)]
pub enum Explained {
    /// A promise breaks.
    Broken(Box<Report>),
    /// None does, in so many events.
    Holds(u64),
}

/// Explains a run. `named` is how the command line calls it.
#[must_use]
pub fn explain(file: &TraceFile, named: &str) -> Explained {
    let (world, violation) = run(file, Log::default());
    let Some(_) = violation else { return Explained::Holds(world.events) };
    let (mut world, violation) = run(file, Log::kept_with_states(world.events.saturating_sub(STATES_BEFORE)));
    let Some(violation) = violation else { return Explained::Holds(world.events) };
    if world.violation.is_none() {
        let words = format!("{} is broken ({}): {}", violation.promise, violation.oracle, violation.event);
        world.log.add(|_| Draft::new(violation.entity, What::Violation, words));
    }
    let mut about = Heading { seed: format!("{}:{}", file.setup.size, file.setup.seed), ..heading(&violation) };
    about.families = world.plan.families.to_string();
    about.events = world.events;
    about.without = file
        .setup
        .without
        .filter(|_| dormouse_core::safeguard::ABLATION)
        .map(|safeguard| (safeguard.name().into(), safeguard.sentence().into()));
    about.facts = vec![
        (
            "noticed by".into(),
            format!("the oracle \"{}\", {} s into the run, in event {}", about.oracle, about.clock, about.events),
        ),
        (
            "run".into(),
            match about.families.as_str() {
                "" => format!("seed {}", about.seed),
                families => format!("seed {}, with {families}", about.seed),
            },
        ),
    ];
    let without = about.without.as_ref().map_or_else(String::new, |(name, _)| format!(" --without {name}"));
    (about.replay, about.explain) = (
        format!("dormouse-sim replay {named}{without}"),
        format!("dormouse-sim explain {named}{without} --html report.html"),
    );
    let mut report = Report::of_log(&world.log, crate::world::DAWN, about, file.to_string());
    neighbours(file, &world.log, &mut report);
    Explained::Broken(Box::new(report))
}

/// Runs a trace; a panic of a machine is a violation too, and what happened before it is kept.
fn run(file: &TraceFile, log: Log) -> (World, Option<Violation>) {
    let mut world = World::replay(file, log);
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let violation = world.violation.clone().or_else(|| {
        let panic = panicked?;
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        let (entity, event) = (crate::entity::Entity::World, format!("a machine panicked: {why}"));
        Some(Violation { promise: Promise::Invariant, oracle: "panic", entity, event, at: world.now })
    });
    (world, violation)
}

/// The same run with its safeguard, or without one of its choices: what becomes of it, and where it parts from this one.
fn neighbours(file: &TraceFile, log: &Log, report: &mut Report) {
    if let Some((name, _)) = &report.heading.without {
        let mut safe = file.clone();
        (safe.setup.safeguards, safe.setup.without) = (Safeguards::ALL, None);
        let (world, violation) = run(&safe, Log::kept());
        if violation.is_none() {
            report.parting = parting::of(format!("the same run with {name} in force"), log, &world.log);
        }
    }
    // The last choice that makes the difference leaves the two runs together for longest.
    for n in (0..report.choices.len()).rev().take(NEIGHBOURS_MAX) {
        let said = report.entries[report.choices[n].entry].w.clone();
        let named =
            |choice: &&crate::chooser::Choice| said.ends_with(&format!("[{} #{}]", choice.kind.name(), choice.n));
        let lane = &report.lanes[report.entries[report.choices[n].entry].l];
        let Some(dropped) = file.choices.iter().find(|c| named(c) && c.entity.to_string() == *lane) else { continue };
        let mut less = file.clone();
        less.choices.retain(|choice| choice.key() != dropped.key());
        let (world, violation) = run(&less, Log::kept());
        report.choices[n].without = Some(match &violation {
            None => "nothing breaks".into(),
            Some(other) => format!("{} still breaks: {}", other.promise, other.event),
        });
        if violation.is_none() && report.parting.is_none() {
            report.parting =
                parting::of(format!("the same run without its choice \"{lane}: {said}\""), log, &world.log);
        }
    }
}
