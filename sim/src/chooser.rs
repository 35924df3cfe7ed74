//! Where everything undetermined comes from: keyed choices, of which 0 is always the quiet one.
//!
//! A choice follows from the seed, its kind, the entity it concerns, and how many choices of that kind that entity has had.
//! A new draw in one component therefore never disturbs another, and a run is fully described by its few non-quiet choices.

mod kind;
mod script;
#[cfg(test)]
mod tests;

pub use kind::Kind;
pub use script::Script;

use crate::entity::{Entities, Entity};
use dormouse_core::time::Timestamp;
use std::fmt;

/// The weight that stands for certainty: probabilities are counted in 65,536ths.
pub const ALWAYS: u32 = 1 << 16;

/// A weight from a share in a thousand.
#[must_use]
pub const fn per_mille(n: u32) -> u32 {
    n * ALWAYS / 1_000
}

/// One non-quiet choice, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// When it was made.
    pub at: Timestamp,
    /// What was chosen.
    pub kind: Kind,
    /// For whom.
    pub entity: Entity,
    /// How many choices of this kind this entity had before.
    pub n: u32,
    /// More than 0.
    pub pick: u64,
}

impl Choice {
    /// What names the choice, whenever it is made and whatever is chosen.
    #[must_use]
    pub const fn key(&self) -> (Kind, Entity, u32) {
        (self.kind, self.entity, self.n)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} #{}", self.kind.words(self.pick), self.kind.joint(), self.entity, self.n)
    }
}

/// Chooses, at random or as it is told, and remembers what it chose.
#[derive(Debug, Clone)]
pub struct Chooser {
    seed: u64,
    entities: Entities,
    counts: Vec<u32>,
    quiet: bool,
    /// What decides instead of the seed. The workload is drawn from the seed all the same.
    script: Option<Script>,
    /// The non-quiet choices so far.
    pub made: Vec<Choice>,
}

impl Chooser {
    /// A chooser whose choices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, entities: Entities) -> Self {
        let counts = vec![0; Kind::COUNT * entities.count()];
        Self { seed, entities, counts, quiet: false, script: None, made: Vec::new() }
    }

    /// A chooser that follows a script: what the script does not name is quiet.
    #[must_use]
    pub fn scripted(seed: u64, entities: Entities, script: Script) -> Self {
        Self { script: Some(script), ..Self::new(seed, entities) }
    }

    /// Those of a script's choices that the run never came to: it has drifted.
    #[must_use]
    pub fn unused(&self) -> Vec<Choice> {
        let made = |choice: &Choice| self.made.iter().any(|made| made.key() == choice.key());
        let all = self.script.iter().flat_map(Script::choices);
        all.filter(|choice| !made(choice)).collect()
    }

    /// From now on every choice is quiet: faults stop.
    pub const fn hush(&mut self) {
        self.quiet = true;
    }

    /// A choice below `bound`; not 0 with a probability of `weight` in 65,536.
    pub fn choose(&mut self, now: Timestamp, kind: Kind, entity: Entity, bound: u64, weight: u32) -> u64 {
        let (hash, n) = self.hash(kind, entity);
        if self.quiet || bound < 2 {
            return 0;
        }
        let pick = match &self.script {
            Some(script) => script.pick(kind, entity, n).min(bound - 1),
            None if (hash & 0xffff) >= u64::from(weight) => 0,
            None => (hash >> 16) % (bound - 1) + 1,
        };
        if pick == 0 {
            return 0;
        }
        self.made.push(Choice { at: now, kind, entity, n, pick });
        pick
    }

    /// Whether a fault of this weight happens.
    pub fn happens(&mut self, now: Timestamp, kind: Kind, entity: Entity, weight: u32) -> bool {
        self.choose(now, kind, entity, 2, weight) != 0
    }

    /// A number below `bound` that belongs to the workload, not to the faults: not recorded, and drawn at quiet too.
    pub fn draw(&mut self, kind: Kind, entity: Entity, bound: u64) -> u64 {
        let (hash, _) = self.hash(kind, entity);
        if bound == 0 { 0 } else { (hash >> 16) % bound }
    }

    fn hash(&mut self, kind: Kind, entity: Entity) -> (u64, u32) {
        let entity = self.entities.index(entity);
        let count = &mut self.counts[kind as usize * self.entities.count() + entity];
        let n = *count;
        *count += 1;
        (keyed(self.seed, kind as u16, entity_number(entity), n), n)
    }
}

const fn entity_number(index: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a world has far fewer than 2^32 entities")]
    let number = index as u32;
    number
}

/// The hash behind a choice.
#[must_use]
pub const fn keyed(seed: u64, kind: u16, entity: u32, n: u32) -> u64 {
    let key = (entity as u64) << 32 | n as u64;
    mix(mix(seed ^ mix(kind as u64 + 1)).wrapping_add(key))
}

/// Spreads the bits of a number: the simulator's own mixer, so that seeds keep their meaning whatever `core` does.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}
