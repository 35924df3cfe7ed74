//! From a failing run to the few choices that matter.
//!
//! A smaller run counts only when it fails in the same way: the same promise, noticed by the same oracle, for the same kind of
//! entity. Delays are kept or dropped, never squeezed to the least that fails, which would make a trace brittle.

use super::subject::Subject;
use super::trace::{ChoiceOf, TraceFile};
use std::collections::BTreeSet;

/// What shrinking came to.
#[derive(Debug, Clone)]
pub struct Shrunk<S: Subject> {
    /// The smallest run that was found.
    pub file: TraceFile<S>,
    /// How many runs that took.
    pub runs: u32,
}

/// Shrinks a failing trace. `None` when it does not fail.
#[must_use]
pub fn shrink<S: Subject>(file: &TraceFile<S>) -> Option<Shrunk<S>> {
    let breaks = file.outcome()?;
    let mut shrinker = Shrinker { best: TraceFile { breaks: Some(breaks), ..file.clone() }, runs: 1 };
    // A simpler setup can make more choices needless, and the other way round.
    loop {
        let before = (shrinker.best.choices.len(), shrinker.best.setup.clone());
        shrinker.drop_kinds();
        shrinker.drop_choices();
        shrinker.simplify();
        if before == (shrinker.best.choices.len(), shrinker.best.setup.clone()) {
            break;
        }
    }
    Some(Shrunk { file: shrinker.best, runs: shrinker.runs })
}

struct Shrinker<S: Subject> {
    best: TraceFile<S>,
    runs: u32,
}

impl<S: Subject> Shrinker<S> {
    /// Takes a smaller run if it fails in the same way.
    fn take(&mut self, smaller: TraceFile<S>) -> bool {
        self.runs += 1;
        let same = smaller.outcome() == self.best.breaks;
        if same {
            self.best = smaller;
        }
        same
    }

    fn take_choices(&mut self, choices: Vec<ChoiceOf<S>>) -> bool {
        self.take(TraceFile { choices, ..self.best.clone() })
    }

    /// Whole classes of choices first: most of them have nothing to do with it.
    fn drop_kinds(&mut self) {
        let kinds: BTreeSet<_> = self.best.choices.iter().map(|choice| choice.kind).collect();
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

    /// A smaller world.
    fn simplify(&mut self) {
        let Some(run) = self.best.run() else { return };
        let setup = self.best.setup.clone();
        run.simplify(&setup, &mut |setup| self.take(TraceFile { setup: setup.clone(), ..self.best.clone() }));
    }
}
