//! Many futures of one rare state: what took a long way to reach is worth more than one look.

use super::chooser::{Source, mix};
use super::subject::Subject;
use super::trace::TraceFile;

/// Runs a world, and at its rare states also other futures of it. Returns the ends of all, the world's own first.
pub fn fork<S: Subject>(mut world: S, futures: u64, mut is_rare: impl FnMut(&S) -> bool) -> Vec<S> {
    let mut ends = Vec::new();
    while world.step() {
        if is_rare(&world) {
            for n in 1..=futures {
                let mut other = world.clone();
                let salt = mix(n ^ u64::try_from(world.history() >> 64).unwrap_or(n));
                other.chooser_mut().source = Source::Salted(salt);
                other.run();
                ends.push(other);
            }
        }
    }
    ends.insert(0, world);
    ends
}

/// The trace of a run, whatever chose in it.
#[must_use]
pub fn trace_of<S: Subject>(setup: &S::Setup, end: &S) -> TraceFile<S> {
    TraceFile { breaks: end.broken(), ..TraceFile::of_run(setup.clone(), end.chooser().made.clone()) }
}
