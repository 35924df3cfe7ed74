//! Where everything undetermined comes from: keyed choices, of which 0 is always the quiet one.
//!
//! A choice follows from the seed, its kind, the entity it concerns, and how many choices of that kind that entity has had.
//! A new draw in one component therefore never disturbs another, and a run is fully described by its few non-quiet choices.

mod bytes;
mod moment;
mod path;
mod pct;
mod script;
#[cfg(test)]
mod tests;

pub use bytes::Bytes;
pub use moment::{Answer, Moment, Moments, Told};
pub use path::{Path, Scope};
pub use pct::Pct;
pub use script::Script;

use super::subject::{Entity, Kind};
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
pub struct Choice<K, E> {
    /// When it was made.
    pub at: Timestamp,
    /// What was chosen.
    pub kind: K,
    /// For whom.
    pub entity: E,
    /// How many choices of this kind this entity had before.
    pub n: u32,
    /// More than 0, or 0 when what is delayed is held until a moment.
    pub pick: u64,
    /// Until when it is held, if it is.
    pub until: Option<Moment<K, E>>,
}

impl<K: Kind, E: Entity> Choice<K, E> {
    /// What names the choice, whenever it is made and whatever is chosen.
    #[must_use]
    pub const fn key(&self) -> (K, E, u32) {
        (self.kind, self.entity, self.n)
    }
}

impl<K: Kind, E: Entity> fmt::Display for Choice<K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            None => write!(f, "{} · {} #{}", self.kind.words(self.pick), self.entity, self.n),
            Some(until) => write!(f, "held until {until}: {} · {} #{}", self.kind.name(), self.entity, self.n),
        }
    }
}

/// How faults and delays are chosen. The workload is drawn from the seed in any case.
#[derive(Debug, Clone)]
pub enum Source<K, E> {
    /// By the seed and by weight.
    Random,
    /// The same, but another future than the seed's own.
    Salted(u64),
    /// As a trace says.
    Script(Script<K, E>),
    /// Few faults, well placed.
    Pct(Pct),
    /// As a fuzzer's bytes say.
    Bytes(Bytes),
    /// One of all the ways within a scope.
    Path(Path<K>),
}

/// Chooses, and remembers what it chose.
#[derive(Debug, Clone)]
pub struct Chooser<K, E> {
    /// What the seed makes of each kind: the part of a hash that is the same for all its choices.
    kinds: Vec<u64>,
    entities: usize,
    counts: Vec<u32>,
    quiet: bool,
    /// What decides.
    pub source: Source<K, E>,
    /// The non-quiet choices so far.
    pub made: Vec<Choice<K, E>>,
}

impl<K: Kind, E: Entity> Chooser<K, E> {
    /// A chooser for a world of so many entities, whose workload follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, entities: usize, source: Source<K, E>) -> Self {
        let counts = vec![0; K::COUNT * entities];
        let kinds = (0..K::COUNT).map(|kind| of_kind(seed, kind as u64)).collect();
        Self { kinds, entities, counts, quiet: false, source, made: Vec::new() }
    }

    /// Those of a script's choices that the run never came to: it has drifted.
    #[must_use]
    pub fn unused(&self) -> Vec<Choice<K, E>> {
        let Source::Script(script) = &self.source else { return Vec::new() };
        let made = |choice: &Choice<K, E>| self.made.iter().any(|made| made.key() == choice.key());
        script.choices().filter(|choice| !made(choice)).collect()
    }

    /// From now on every choice is quiet: faults stop.
    pub const fn hush(&mut self) {
        self.quiet = true;
    }

    /// Faults and delays go on.
    pub const fn unhush(&mut self) {
        self.quiet = false;
    }

    /// Whether all ways are tried: then small differences between latencies would only keep equal states apart.
    #[must_use]
    pub const fn is_exhaustive(&self) -> bool {
        matches!(self.source, Source::Path(_))
    }

    /// How many draws of a kind each entity has had.
    #[must_use]
    pub fn drawn(&self, kind: K) -> &[u32] {
        let from = kind.number() as usize * self.entities;
        &self.counts[from..from + self.entities]
    }

    /// A choice below `bound`; not 0 with a probability of about `weight` in 65,536 where chance decides.
    #[inline(always)]
    pub fn choose(&mut self, now: Timestamp, kind: K, entity: E, bound: u64, weight: u32) -> u64 {
        let n = self.count(kind, entity);
        if self.quiet || bound < 2 || (weight == 0 && matches!(self.source, Source::Random)) {
            return 0;
        }
        self.decide(now, kind, entity, n, bound, weight)
    }

    fn decide(&mut self, now: Timestamp, kind: K, entity: E, n: u32, bound: u64, weight: u32) -> u64 {
        let hash = || within(self.kinds[kind.number() as usize], entity_number(entity.index()), n);
        let pick = match &mut self.source {
            Source::Random => by_weight(hash(), bound, weight),
            Source::Salted(salt) => by_weight(mix(hash() ^ *salt), bound, weight),
            Source::Script(script) => script.pick(kind, entity, n).min(bound - 1),
            Source::Pct(pct) => pct.pick(kind.is_delay(), entity.index(), hash(), bound, weight),
            Source::Bytes(bytes) => bytes.pick(bound, weight),
            Source::Path(path) => path.pick(kind, bound),
        };
        if pick != 0 {
            self.made.push(Choice { at: now, kind, entity, n, pick, until: None });
        }
        pick
    }

    /// Notes a choice below `bound` that somebody else made.
    pub fn told(&mut self, now: Timestamp, kind: K, entity: E, bound: u64, pick: u64) -> u64 {
        let n = self.count(kind, entity);
        if self.quiet || bound < 2 || pick == 0 {
            return 0;
        }
        let pick = pick.min(bound - 1);
        self.made.push(Choice { at: now, kind, entity, n, pick, until: None });
        pick
    }

    /// Whether a fault of this weight happens.
    pub fn happens(&mut self, now: Timestamp, kind: K, entity: E, weight: u32) -> bool {
        self.choose(now, kind, entity, 2, weight) != 0
    }

    /// A number below `bound` that belongs to the workload, not to the faults: not recorded, and drawn at quiet too.
    pub fn draw(&mut self, kind: K, entity: E, bound: u64) -> u64 {
        let n = self.count(kind, entity);
        let hash = within(self.kinds[kind.number() as usize], entity_number(entity.index()), n);
        if bound == 0 { 0 } else { (hash >> 16) % bound }
    }

    /// Counts a choice: how many of its kind its entity had before.
    #[inline(always)]
    fn count(&mut self, kind: K, entity: E) -> u32 {
        let place = self.place(kind, entity);
        self.counts[place] += 1;
        self.counts[place] - 1
    }

    /// The hash of the choice that comes next, and its count.
    fn peek(&self, kind: K, entity: E) -> (u64, u32) {
        let n = self.counts[self.place(kind, entity)];
        (within(self.kinds[kind.number() as usize], entity_number(entity.index()), n), n)
    }

    #[inline(always)]
    fn place(&self, kind: K, entity: E) -> usize {
        let entity = entity.index();
        assert!(entity < self.entities, "a chooser is made for as many entities as the world has");
        kind.number() as usize * self.entities + entity
    }
}

const fn by_weight(hash: u64, bound: u64, weight: u32) -> u64 {
    if (hash & 0xffff) >= weight as u64 { 0 } else { (hash >> 16) % (bound - 1) + 1 }
}

const fn entity_number(index: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a world has far fewer than 2^32 entities")]
    let number = index as u32;
    number
}

/// The hash behind a choice.
#[must_use]
pub const fn keyed(seed: u64, kind: u16, entity: u32, n: u32) -> u64 {
    within(of_kind(seed, kind as u64), entity, n)
}

const fn of_kind(seed: u64, kind: u64) -> u64 {
    mix(seed ^ mix(kind + 1))
}

const fn within(of_kind: u64, entity: u32, n: u32) -> u64 {
    mix(of_kind.wrapping_add((entity as u64) << 32 | n as u64))
}

/// Spreads the bits of a number: the simulator's own mixer, so that seeds keep their meaning whatever `core` does.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}
