//! The race catalogue: every race that a system of this kind has lost, by name, and how a world is steered into it.
//!
//! A scenario forces the plan of a run (families, workload, when clients start) and answers the choices of a few
//! situations ([`rule`]); all else is quiet. Its *window* says how we know that the race was really come to: a scenario
//! whose window was not entered has shown nothing, and fails. What it chose is recorded as any choice is, so that a run
//! of a scenario is a trace like others.

mod client;
mod live;
mod retention;
pub mod rule;
mod seam;
mod sessions;
mod source;
mod uploads;

use crate::engine::subject::Subject;
use crate::log::Log;
use crate::plan::{Family, Size};
use crate::probe::Probe;
use crate::world::World;
use dormouse_core::safeguard::{Safeguard, Safeguards};
use rule::Rule;
use std::fmt;

/// What a user is promised, as the catalogue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "`docs/DESIGN.md` says what each means")]
pub enum Promised {
    Complete,
    Ordered,
    Atomic,
    Durable,
    Converges,
    Bounded,
    Scoped,
    Once,
    Fresh,
}

impl fmt::Display for Promised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One race of the catalogue.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What happens.
    pub tells: &'static str,
    /// What would break.
    pub promises: &'static [Promised],
    /// Whether it is held.
    pub state: State,
}

/// Whether a world can be steered into a race.
#[derive(Debug)]
pub enum State {
    /// It can.
    Held(Held),
    /// It cannot yet: what it waits for.
    Waiting(&'static str),
}

/// How a world is steered into a race, and what must be seen then.
#[derive(Debug)]
pub struct Held {
    /// What keeps the race from being lost: without any one of these a promise breaks in some seed. Empty where the
    /// mechanism lives in SQL or in a type, and cannot be switched off.
    pub safeguards: &'static [Safeguard],
    /// What would notice if the race were lost.
    pub noticed_by: &'static str,
    /// How large the world is.
    pub size: Size,
    /// Which families of faults the plan has; the others are off.
    pub families: &'static [Family],
    /// What is written.
    pub script: Script,
    /// When the clients start, in ms after dawn; those beyond the list as the seed draws it.
    pub starts_ms: &'static [u64],
    /// What is made to happen.
    pub rules: &'static [Rule],
    /// All of these must be reached in a run for the race's window to have been entered.
    pub window: &'static [Probe],
    /// None of these may be reached.
    pub never: &'static [Probe],
    /// In how many of a hundred seeds the window must be entered.
    pub entered_percent: u64,
}

/// What the applications write in a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// How many transactions.
    pub transactions: u32,
    /// How many changes each makes, in turn. Drawn when empty.
    pub sizes: &'static [u64],
    /// What is written. All kinds when empty.
    pub verbs: &'static [Verb],
    /// The first writer's first transaction stays open until so many others have committed.
    pub outlasts: u32,
    /// How long a writer rests between two transactions, in ms. Drawn when 0.
    pub gap_ms: u64,
}

/// A kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// A new row.
    Insert,
    /// Another value; the large column is left alone in every other one.
    Update,
    /// No row any more.
    Delete,
    /// Another key.
    Move,
    /// No rows any more.
    Truncate,
}

/// What a scenario does not say.
const HELD: Held = Held {
    safeguards: &[],
    noticed_by: "content sum",
    size: Size::S,
    families: &[],
    script: SCRIPT,
    starts_ms: &[20, 400],
    rules: &[],
    window: &[],
    never: &[],
    entered_percent: 100,
};

/// What a script does not say.
const SCRIPT: Script = Script { transactions: 30, sizes: &[], verbs: &[], outlasts: 0, gap_ms: 0 };

/// The families of the catalogue, by letter, in its order.
const FAMILIES: [(char, &[Scenario]); 7] = [
    ('A', source::ALL),
    ('B', seam::ALL),
    ('C', live::ALL),
    ('D', sessions::ALL),
    ('E', retention::ALL),
    ('F', uploads::ALL),
    ('G', client::ALL),
];

/// The whole catalogue with its families' letters, in its order.
pub fn all() -> impl Iterator<Item = (char, &'static Scenario)> {
    FAMILIES.into_iter().flat_map(|(letter, scenarios)| scenarios.iter().map(move |scenario| (letter, scenario)))
}

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().map(|(_, scenario)| scenario).find(|scenario| scenario.name == name)
}

/// The races that a safeguard prevents, by the names of the catalogue.
pub fn races_of(safeguard: Safeguard) -> impl Iterator<Item = &'static str> {
    let prevents = move |scenario: &Scenario| scenario.held().is_some_and(|held| held.safeguards.contains(&safeguard));
    all().map(|(_, scenario)| scenario).filter(move |scenario| prevents(scenario)).map(|scenario| scenario.name)
}

impl PartialEq for Scenario {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scenario {}

impl Scenario {
    /// How a world is steered into it, if one can be.
    #[must_use]
    pub const fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Held(held) => Some(held),
            State::Waiting(_) => None,
        }
    }

    /// Runs one seed; `None` while the scenario waits.
    #[must_use]
    pub fn run(&'static self, seed: u64, safeguards: Safeguards, log: Log) -> Option<World> {
        let mut world = World::steered(seed, self, safeguards, log)?;
        world.run();
        Some(world)
    }
}

impl Held {
    /// What of its window a run did not come to, and what it must not have come to; empty when the race's window was entered.
    #[must_use]
    pub fn missed(&self, world: &World) -> Vec<String> {
        let unreached = self.window.iter().filter(|probe| world.probes.count(**probe) == 0);
        let reached = self.never.iter().filter(|probe| world.probes.count(**probe) > 0);
        let unreached = unreached.map(|probe| format!("never: {}", probe.words()));
        unreached.chain(reached.map(|probe| format!("although it must not: {}", probe.words()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_promises_named() {
        let names: std::collections::BTreeSet<_> = all().map(|(_, scenario)| scenario.name).collect();
        assert_eq!(names.len(), all().count());
        for (_, scenario) in all() {
            assert!(!scenario.promises.is_empty() && !scenario.tells.is_empty(), "{}", scenario.name);
        }
    }

    #[test]
    fn each_safeguard_names_the_races_that_name_it() {
        for safeguard in Safeguard::ALL {
            let races: Vec<_> = races_of(*safeguard).collect();
            assert_eq!(safeguard.races(), races, "{}", safeguard.name());
        }
    }

    #[test]
    fn what_is_held_has_a_window_and_somebody_who_notices() {
        for (_, scenario) in all() {
            if let Some(held) = scenario.held() {
                assert!(!held.window.is_empty(), "{} says how it knows", scenario.name);
                assert!(!held.noticed_by.is_empty(), "{}", scenario.name);
            }
        }
    }
}
