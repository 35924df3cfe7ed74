//! What the engine must know of a world to search it.

use super::chooser::Chooser;
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// What is chosen. Numbers are frozen: a seed keeps its meaning when kinds are added.
pub trait Kind: Copy + Ord + Debug + 'static {
    /// One more than the greatest number.
    const COUNT: usize;

    /// The number.
    fn number(self) -> u16;

    /// The name, as trace files have it.
    fn name(self) -> &'static str;

    /// The kind of this name.
    fn by_name(name: &str) -> Option<Self>;

    /// A choice of this kind, in words.
    fn words(self, pick: u64) -> String;

    /// Whether it is a delay: one that changes when something happens, and not what.
    fn is_delay(self) -> bool;
}

/// Whom a choice concerns, named by meaning: `client/2`, whatever happens in a run.
pub trait Entity: Copy + Ord + Debug + Display + FromStr + 'static {
    /// A small number of its own.
    fn index(self) -> usize;
}

/// A world of machines: a value that goes from event to event. One that starts twice from one setup and is given the same choices
/// is the same world.
pub trait Subject: Clone {
    /// What is chosen in it.
    type Kind: Kind;
    /// Who is in it.
    type Entity: Entity;
    /// What a run has beside its choices.
    type Setup: Setup;

    /// The world before its first event.
    fn begin(setup: &Self::Setup, source: super::chooser::Source<Self::Kind, Self::Entity>) -> Self;

    /// Takes the next event. False when it has come to its end, or a promise broke.
    fn step(&mut self) -> bool;

    /// Where its choices come from.
    fn chooser(&self) -> &Chooser<Self::Kind, Self::Entity>;

    /// The same, to be told how to choose from now on.
    fn chooser_mut(&mut self) -> &mut Chooser<Self::Kind, Self::Entity>;

    /// What broke.
    fn broken(&self) -> Option<Breaks>;

    /// The hash over everything that has happened.
    fn history(&self) -> u128;

    /// A hash of what it *is*: two worlds of one hash have the same futures. Times count from now, and ids in their order.
    fn state(&self) -> u128;

    /// Looks for a simpler setup with which a run still fails; `self` is the run at its end. Tells each candidate to `fails`, which
    /// says whether it does and has then been taken.
    fn simplify(&self, setup: &Self::Setup, fails: &mut dyn FnMut(&Self::Setup) -> bool) {
        let _ = (setup, fails);
    }

    /// Runs to the end.
    fn run(&mut self) {
        while self.step() {}
    }
}

/// What a run has beside its choices: the lines of a trace file before them.
pub trait Setup: Clone + PartialEq + Debug {
    /// From which everything that is drawn and not chosen follows.
    fn seed(&self) -> u64;

    /// The lines of a trace file that say all of it.
    fn lines(&self) -> Vec<String>;

    /// Setups that are much like this one, nearest first, in which a trace that drifted is looked for.
    fn neighbours(&self) -> Vec<Self> {
        Vec::new()
    }

    /// Reads such lines.
    ///
    /// # Errors
    /// What was expected where.
    fn parse(lines: &[(usize, &str)]) -> Result<Self, String>;
}

/// What tells one kind of failure from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaks {
    /// The promise.
    pub promise: String,
    /// What noticed it.
    pub oracle: String,
    /// The kind of entity for which it broke.
    pub entity: String,
}

impl Breaks {
    /// A panic of a machine.
    #[must_use]
    pub fn panic() -> Self {
        Self { promise: "Invariant".into(), oracle: "panic".into(), entity: "world".into() }
    }
}
