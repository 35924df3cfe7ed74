//! Worlds whose choices are bytes: for a fuzzer that is guided by coverage, and for a corpus of what it found worth keeping.
//!
//! The first eight bytes are the seed of the workload, the others are choices ([`crate::engine::chooser::Bytes`]). What guides is
//! either the compiler's coverage (`sim/fuzz`) or, on any compiler, our own: which fault met which phase, and which probes were hit
//! about how often.

use crate::chooser::{Source, mix};
use crate::engine::chooser::Bytes;
use crate::engine::fork::trace_of;
use crate::engine::subject::Subject;
use crate::plan::Size;
use crate::trace_file::{Setup, TraceFile};
use crate::world::World;
use dormouse_core::safeguard::Safeguards;
use std::collections::BTreeSet;

/// The longest input that growing makes.
const LENGTH_MAX: usize = 96;

/// The world of these bytes, at its end.
#[must_use]
pub fn run(bytes: &[u8]) -> World {
    let (seed, choices) = bytes.split_at(bytes.len().min(8));
    let mut word = [0; 8];
    word[..seed.len()].copy_from_slice(seed);
    let mut world = World::begin(&setup(u64::from_le_bytes(word)), Source::Bytes(Bytes::new(choices)));
    world.run();
    world
}

/// The run as a trace, to be replayed, shrunk and kept.
#[must_use]
pub fn trace(world: &World) -> TraceFile {
    trace_of(&setup(world.plan.seed), world)
}

fn setup(seed: u64) -> Setup {
    Setup::new(seed, Size::S, Safeguards::ALL)
}

/// What a run has shown: numbers of pairs and probes.
#[must_use]
pub fn features(world: &World) -> BTreeSet<u32> {
    let pairs = world.reached.iter().map(|pair| u32::try_from(pair).unwrap_or(u32::MAX));
    let about = |n: u64| n.checked_ilog2().map_or(0, |log| log.min(7) + 1);
    let probes = world.probes.iter().enumerate().filter(|(_, n)| *n > 0);
    let probes = probes.map(|(n, count)| 1 << 16 | u32::try_from(n).unwrap_or(0) << 4 | about(count));
    pairs.chain(probes).collect()
}

/// A corpus that grows by what shows something new.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    /// The inputs worth keeping.
    pub inputs: Vec<Vec<u8>>,
    /// All that they have shown.
    pub seen: BTreeSet<u32>,
    tried: u64,
}

impl Corpus {
    /// Runs an input and keeps it if it shows something new. Returns its world, and whether it was kept.
    pub fn offer(&mut self, input: &[u8]) -> (World, bool) {
        let world = run(input);
        let before = self.seen.len();
        self.seen.extend(features(&world));
        let new = self.seen.len() > before;
        if new {
            self.inputs.push(input.to_vec());
        }
        (world, new)
    }

    /// The next input to try: one of those kept, altered. Which and how follows from how many were tried.
    pub fn mutate(&mut self) -> Vec<u8> {
        self.tried += 1;
        let mut dice = Dice(mix(self.tried));
        let none = vec![0; 8];
        let mut input = self.inputs.get(dice.below(self.inputs.len())).unwrap_or(&none).clone();
        input.resize(input.len().max(8), 0);
        for _ in 0..=dice.below(4) {
            let at = dice.below(input.len());
            match dice.below(6) {
                0 => input[at] = dice.byte(),
                1 => input[at] = input[at].wrapping_add(1),
                2 if input.len() > 9 => drop(input.remove(at.max(8))),
                3 => input.insert(at.max(8), dice.byte()),
                4 => input.extend([dice.byte(), dice.byte()]),
                _ => {
                    let other = self.inputs.get(dice.below(self.inputs.len())).unwrap_or(&none);
                    let from = dice.below(other.len()).max(8).min(other.len());
                    input.truncate(at.max(8));
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input.truncate(LENGTH_MAX);
        input
    }
}

struct Dice(u64);

impl Dice {
    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15));
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exhausted_bytes_are_quiet() {
        for seed in 0..20_u64 {
            let world = run(&seed.to_le_bytes());
            assert!(world.violation.is_none() && world.chooser.made.is_empty(), "S:{seed}");
        }
    }

    #[test]
    fn a_corpus_grows_and_its_runs_are_traces_too() {
        let mut corpus = Corpus::default();
        for _ in 0..200 {
            let input = corpus.mutate();
            let (world, _) = corpus.offer(&input);
            assert!(world.violation.is_none());
            let again = trace(&world).run().expect("no machine panics");
            assert_eq!((again.digest, again.events), (world.digest, world.events));
        }
        let quiet = features(&run(&[0; 8])).len();
        assert!(corpus.inputs.len() > 10 && corpus.seen.len() > 2 * quiet, "{} of {quiet}", corpus.seen.len());
    }
}
