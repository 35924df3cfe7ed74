//! Delays that end when something else happens, whenever that is: `HoldUntil` beside `Pick`.
//!
//! A moment is named as a choice is: the third time that `client/1` comes to a `Dialled`. Kinds that a world only passes, without a
//! choice, name what happens in it. A length that is just long enough for a race stops being so when anything is timed
//! otherwise; a moment does not.

use super::{Choice, Chooser, Entity, Kind, Source, Timestamp, mix};
use std::fmt;

/// How many occasions ahead a moment lies at most.
const AHEAD_MAX: u64 = 3;
/// Keeps whether something is held apart from what else follows from the same hash.
const SALT: u64 = 0x484f_4c44;

/// When an entity comes to a kind for the time of this number, counted from 0 since the run began, across its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment<K, E> {
    /// What happens then.
    pub kind: K,
    /// To whom.
    pub entity: E,
    /// For which time.
    pub n: u32,
}

impl<K: Kind, E: Entity> fmt::Display for Moment<K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.kind.name(), self.entity, self.n)
    }
}

/// What a delay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<K, E> {
    /// Of this length or order.
    Pick(u64),
    /// Over when this has happened.
    HoldUntil(Moment<K, E>),
}

/// Until what something may be held, and how often in 65,536 it is.
#[derive(Debug, Clone, Copy)]
pub struct Moments<'a, K, E> {
    /// What may be waited for: its next time, or one of the two after that.
    pub of: &'a [(K, E)],
    /// How often.
    pub weight: u32,
}

/// What somebody else than chance wants of a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<K, E> {
    /// This length or order.
    Pick(u64),
    /// That it lasts until something happens so many times more.
    Hold {
        /// What, and to whom.
        until: (K, E),
        /// At least 1, which is the next time.
        times: u32,
    },
}

impl<K, E> Moments<'_, K, E> {
    /// Nothing is held until a moment.
    #[must_use]
    pub const fn none() -> Self {
        Self { of: &[], weight: 0 }
    }
}

impl<K: Kind, E: Entity> Chooser<K, E> {
    /// An entity comes to a kind: to a choice, or to a moment that is none.
    pub fn passes(&mut self, kind: K, entity: E) {
        self.count(kind, entity);
    }

    /// Whether a moment is past.
    #[must_use]
    pub fn is_past(&self, moment: Moment<K, E>) -> bool {
        self.counts[self.place(moment.kind, moment.entity)] > moment.n
    }

    /// A choice that is a delay: one of `bound` lengths, or until one of the moments that `moments` offers.
    pub fn delay(
        &mut self,
        now: Timestamp,
        kind: K,
        entity: E,
        (bound, weight): (u64, u32),
        moments: Moments<'_, K, E>,
    ) -> Answer<K, E> {
        let until = if self.quiet { None } else { self.held(kind, entity, (bound, weight), moments) };
        match until {
            Some(until) => self.holds(now, kind, entity, until),
            None => Answer::Pick(self.choose(now, kind, entity, bound, weight)),
        }
    }

    /// Notes a delay that somebody else chose: one of `bound` lengths, or until something happens so many times more.
    pub fn told_to_delay(
        &mut self,
        now: Timestamp,
        (kind, entity): (K, E),
        bound: u64,
        told: Told<K, E>,
    ) -> Answer<K, E> {
        match told {
            Told::Hold { until, times } if !self.quiet => {
                let until = self.ahead(until, times);
                self.holds(now, kind, entity, until)
            }
            Told::Hold { .. } => Answer::Pick(self.told(now, kind, entity, bound, 0)),
            Told::Pick(pick) => Answer::Pick(self.told(now, kind, entity, bound, pick)),
        }
    }

    fn holds(&mut self, at: Timestamp, kind: K, entity: E, until: Moment<K, E>) -> Answer<K, E> {
        let n = self.count(kind, entity);
        self.made.push(Choice { at, kind, entity, n, pick: 0, until: Some(until) });
        Answer::HoldUntil(until)
    }

    /// The moment when something happens for the time that lies so far ahead: 1 is the next.
    fn ahead(&self, (kind, entity): (K, E), ahead: u32) -> Moment<K, E> {
        Moment { kind, entity, n: self.counts[self.place(kind, entity)] + ahead - 1 }
    }

    /// Until when this choice of a delay, which has `bound` other ways, is held.
    fn held(
        &mut self,
        kind: K,
        entity: E,
        (bound, weight): (u64, u32),
        moments: Moments<'_, K, E>,
    ) -> Option<Moment<K, E>> {
        if moments.of.is_empty() && !matches!(self.source, Source::Script(_)) {
            return None;
        }
        let (hash, n) = self.peek(kind, entity);
        let ways = moments.of.len() as u64 * AHEAD_MAX;
        let by_weight = |hash: u64| {
            let hash = mix(hash ^ SALT);
            (hash & 0xffff < u64::from(moments.weight)).then_some(hash >> 16)
        };
        let way = match &mut self.source {
            Source::Script(script) => return script.until(kind, entity, n),
            Source::Random => by_weight(hash)?,
            Source::Salted(salt) => by_weight(mix(hash ^ *salt))?,
            Source::Pct(pct) => pct.holds(hash, weight)?,
            Source::Bytes(bytes) => bytes.beyond(bound, ways, weight)?,
            // Whoever tries all ways counts through lengths and orders.
            Source::Path(_) => return None,
        };
        let of = moments.of[usize::try_from(way % moments.of.len() as u64).unwrap_or(0)];
        let ahead = 1 + way / moments.of.len() as u64 % AHEAD_MAX;
        Some(self.ahead(of, u32::try_from(ahead).unwrap_or(1)))
    }
}
