//! Every schedule of a small scope: depth first, forking the world where it chooses, and never from one state twice.

use super::chooser::{Path, Scope, Source};
use super::subject::{Breaks, Subject};
use super::trace::ChoiceOf;
use std::collections::BTreeSet;
use std::rc::Rc;

/// How many steps lie between two copies of a world that may yet be forked.
const ANCHOR_EVERY: u32 = 16;

/// How far to go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Ends after so many states; `None` when only the scope ends it.
    pub states_max: Option<u64>,
}

/// What was enumerated.
pub struct Certificate<S: Subject> {
    /// What could happen, and how often at most.
    pub scope: Scope<S::Kind>,
    /// Distinct states from which the world was followed, each after another choice.
    pub states: u64,
    /// Choices that led to a state from which it had been followed before.
    pub merged: u64,
    /// Events that were taken.
    pub transitions: u64,
    /// Runs that came to their end.
    pub ends: u64,
    /// The first that broke a promise, with its choices.
    pub broken: Option<(Breaks, Vec<ChoiceOf<S>>)>,
    /// Whether nothing of the scope is left.
    pub complete: bool,
}

/// Tries all ways through a scope, until one breaks a promise.
#[must_use]
pub fn exhaust<S: Subject>(
    setup: &S::Setup,
    scope: Scope<S::Kind>,
    bounds: Bounds,
    mut progress: impl FnMut(&Certificate<S>),
) -> Certificate<S> {
    let mut search = Search {
        todo: vec![(Rc::new(S::begin(setup, Source::Path(Path::new(scope.clone())))), Vec::new())],
        seen: BTreeSet::new(),
        told: Certificate { scope, states: 0, merged: 0, transitions: 0, ends: 0, broken: None, complete: false },
    };
    while let Some((base, picks)) = search.todo.pop() {
        search.follow(&base, &picks);
        if search.told.states.is_multiple_of(4_096) {
            progress(&search.told);
        }
        let enough = bounds.states_max.is_some_and(|most| search.told.states >= most);
        if search.told.broken.is_some() || enough {
            return search.told;
        }
    }
    search.told.complete = true;
    search.told
}

struct Search<S: Subject> {
    /// Worlds before a step, and the picks that lead elsewhere in it.
    todo: Vec<(Rc<S>, Vec<u64>)>,
    seen: BTreeSet<u128>,
    told: Certificate<S>,
}

impl<S: Subject> Search<S> {
    /// Goes one way to its end, and notes the other ways that lead off it.
    fn follow(&mut self, base: &Rc<S>, picks: &[u64]) {
        let mut world = (**base).clone();
        if !self.step(&mut world, base, picks) {
            return self.end(&world);
        }
        if !self.seen.insert(world.state()) {
            self.told.merged += 1;
            return;
        }
        self.told.states += 1;
        let (mut anchor, mut since) = (Rc::new(world.clone()), 0);
        loop {
            if path(&mut world).is_none_or(|path| path.is_spent()) {
                while world.step() {
                    self.told.transitions += 1;
                }
                return self.end(&world);
            }
            if since == ANCHOR_EVERY {
                (anchor, since) = (Rc::new(world.clone()), 0);
            }
            let more = self.quiet_step(&mut world, &anchor, since);
            since += 1;
            if !more {
                return self.end(&world);
            }
        }
    }

    /// A step of which nothing is told; where it could have gone otherwise, the world before it is made again.
    fn quiet_step(&mut self, world: &mut S, anchor: &Rc<S>, since: u32) -> bool {
        tell(world, &[]);
        let more = world.step();
        self.told.transitions += 1;
        if path(world).is_some_and(|path| !path.bounds().is_empty()) {
            let mut base = (**anchor).clone();
            for _ in 0..since {
                tell(&mut base, &[]);
                base.step();
            }
            self.branch(world, &Rc::new(base), 0);
        }
        more
    }

    fn step(&mut self, world: &mut S, base: &Rc<S>, picks: &[u64]) -> bool {
        tell(world, picks);
        let more = world.step();
        self.told.transitions += 1;
        self.branch(world, base, picks.len());
        more
    }

    /// Notes the ways that the step just taken left open, from its choice `from` on.
    fn branch(&mut self, world: &mut S, base: &Rc<S>, from: usize) {
        let Some(path) = path(world) else { return };
        let (bounds, told) = (path.bounds().to_vec(), path.told().to_vec());
        for (n, bound) in bounds.iter().enumerate().skip(from) {
            for pick in 1..*bound {
                let mut picks = told.clone();
                picks.resize(n, 0);
                picks.push(pick);
                self.todo.push((Rc::clone(base), picks));
            }
        }
    }

    fn end(&mut self, world: &S) {
        self.told.ends += 1;
        if let Some(breaks) = world.broken() {
            self.told.broken = Some((breaks, world.chooser().made.clone()));
        }
    }
}

fn path<S: Subject>(world: &mut S) -> Option<&mut Path<S::Kind>> {
    match &mut world.chooser_mut().source {
        Source::Path(path) => Some(path),
        _ => None,
    }
}

fn tell<S: Subject>(world: &mut S, picks: &[u64]) {
    if let Some(path) = path(world) {
        path.tell(picks);
    }
}
