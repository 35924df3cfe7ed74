//! From a failing run to the few choices that matter.
//!
//! A smaller run counts only when it fails in the same way: the same promise, noticed by the same oracle, for the same kind of
//! entity. Delays are kept or dropped, never squeezed to the least that fails, which would make a trace brittle.

use crate::chooser::{Choice, Kind};
use crate::trace::Trace;
use crate::trace_file::{Breaks, TraceFile};
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What shrinking came to.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The smallest run that was found.
    pub file: TraceFile,
    /// How many runs that took.
    pub runs: u32,
}

/// What breaks when this trace is run; `None` when every promise holds. A panic breaks the promise of the machines' invariants.
#[must_use]
pub fn outcome(file: &TraceFile, safeguards: Safeguards) -> Option<Breaks> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::replay(file, safeguards, Trace::default());
        world.run();
        world.violation.as_ref().map(Breaks::of)
    }));
    let panicked = || Breaks { promise: "Invariant".into(), oracle: "panic".into(), entity: "world".into() };
    run.unwrap_or_else(|_| Some(panicked()))
}

/// Shrinks a failing trace. `None` when it does not fail.
#[must_use]
pub fn shrink(file: &TraceFile, safeguards: Safeguards) -> Option<Shrunk> {
    let breaks = outcome(file, safeguards)?;
    let mut shrinker = Shrinker { best: TraceFile { breaks: Some(breaks), ..file.clone() }, safeguards, runs: 1 };
    // Fewer transactions can make more choices needless, and the other way round.
    loop {
        let before = (shrinker.best.choices.len(), shrinker.best.transactions, shrinker.best.rolled_back.len());
        shrinker.drop_kinds();
        shrinker.drop_choices();
        shrinker.write_less();
        shrinker.roll_back();
        if before == (shrinker.best.choices.len(), shrinker.best.transactions, shrinker.best.rolled_back.len()) {
            break;
        }
    }
    Some(Shrunk { file: shrinker.best, runs: shrinker.runs })
}

struct Shrinker {
    best: TraceFile,
    safeguards: Safeguards,
    runs: u32,
}

impl Shrinker {
    /// Takes a smaller run if it fails in the same way.
    fn take(&mut self, smaller: TraceFile) -> bool {
        self.runs += 1;
        let same = outcome(&smaller, self.safeguards) == self.best.breaks;
        if same {
            self.best = smaller;
        }
        same
    }

    fn take_choices(&mut self, choices: Vec<Choice>) -> bool {
        self.take(TraceFile { choices, ..self.best.clone() })
    }

    /// Whole classes of choices first: most of them have nothing to do with it.
    fn drop_kinds(&mut self) {
        let kinds: BTreeSet<Kind> = self.best.choices.iter().map(|choice| choice.kind).collect();
        for kind in kinds {
            let rest = self.best.choices.iter().filter(|choice| choice.kind != kind).copied().collect();
            self.take_choices(rest);
        }
    }

    /// Then runs of choices, halving their length down to single ones.
    fn drop_choices(&mut self) {
        let mut length = self.best.choices.len().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < self.best.choices.len() {
                let mut rest = self.best.choices.clone();
                rest.drain(from..(from + length).min(rest.len()));
                if !self.take_choices(rest) {
                    from += length;
                }
            }
            length = if length == 1 { 0 } else { length.div_ceil(2) };
        }
    }

    /// The fewest transactions, by halving.
    fn write_less(&mut self) {
        let mut least = 0;
        while least < self.best.transactions {
            let transactions = least + (self.best.transactions - least) / 2;
            if !self.take(TraceFile { transactions, ..self.best.clone() }) {
                least = transactions + 1;
            }
        }
        let written = |(_, n): &(u8, u32)| *n < self.best.transactions;
        self.best.rolled_back = self.best.rolled_back.iter().filter(|which| written(which)).copied().collect();
    }

    /// Of those, the ones that need not commit.
    fn roll_back(&mut self) {
        for (writer, begun) in begun(&self.best, self.safeguards).into_iter().enumerate() {
            for n in 0..begun {
                let mut rolled_back = self.best.rolled_back.clone();
                if rolled_back.insert((u8::try_from(writer).unwrap_or(u8::MAX), n)) {
                    self.take(TraceFile { rolled_back, ..self.best.clone() });
                }
            }
        }
    }
}

fn begun(file: &TraceFile, safeguards: Safeguards) -> Vec<u32> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::replay(file, safeguards, Trace::default());
        world.run();
        world.begun()
    }));
    run.unwrap_or_default()
}
