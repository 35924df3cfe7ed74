//! What will happen, in the order of time, class and a stable key: never in the order of insertion.

use dormouse_core::time::Timestamp;
use std::collections::BTreeMap;

/// An event that knows its place among those of one instant.
pub trait Placed {
    /// Its class, and whom it concerns.
    fn place(&self) -> (u8, u16);

    /// What kind of waiting it is.
    fn waits(&self) -> Waits;
}

/// Why an event has not happened yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It is under way from one to another.
    UnderWay,
    /// Somebody's timer rings then.
    Timer,
    /// Neither.
    Else,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Timestamp,
    class: u8,
    entity: u16,
    n: u32,
}

/// What will happen.
#[derive(Debug, Clone)]
pub struct Queue<T> {
    events: BTreeMap<Key, T>,
    counts: BTreeMap<(u8, u16), u32>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), counts: BTreeMap::new() }
    }
}

impl<T: Placed> Queue<T> {
    /// Plans an event.
    pub fn push(&mut self, at: Timestamp, event: T) {
        let (class, entity) = event.place();
        let n = self.counts.entry((class, entity)).or_default();
        *n += 1;
        self.events.insert(Key { at, class, entity, n: *n }, event);
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Timestamp, T)> {
        let (key, event) = self.events.pop_first()?;
        Some((key.at, event))
    }

    /// Takes out the events that a predicate names.
    pub fn remove_where(&mut self, mut is: impl FnMut(&T) -> bool) {
        self.events.retain(|_, event| !is(event));
    }

    /// Takes out the events that a predicate names, with their times.
    pub fn take_where(&mut self, mut is: impl FnMut(&T) -> bool) -> Vec<(Timestamp, T)> {
        self.events.extract_if(.., |_, event| is(event)).map(|(key, event)| (key.at, event)).collect()
    }

    /// All events in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &T)> {
        self.events.iter().map(|(key, event)| (key.at, event))
    }

    /// When everything that is under way now will have arrived.
    #[must_use]
    pub fn all_arrived(&self) -> Option<Timestamp> {
        self.iter().filter(|(_, event)| event.waits() == Waits::UnderWay).map(|(at, _)| at).last()
    }

    /// When the next timer rings.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.iter().find(|(_, event)| event.waits() == Waits::Timer).map(|(at, _)| at)
    }
}
