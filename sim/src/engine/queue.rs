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

/// What will happen: keys in order, and the events in slots that stay where they are.
#[derive(Debug, Clone)]
pub struct Queue<T> {
    order: BTreeMap<Key, u32>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    /// How many events of each class and entity were planned so far.
    counts: Vec<Vec<u32>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: BTreeMap::new(), slots: Vec::new(), free: Vec::new(), counts: Vec::new() }
    }
}

impl<T: Placed> Queue<T> {
    /// Plans an event.
    pub fn push(&mut self, at: Timestamp, event: T) {
        let (class, entity) = event.place();
        let n = self.count(class, entity);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[slot as usize] = Some(event);
        self.order.insert(Key { at, class, entity, n }, slot);
    }

    fn count(&mut self, class: u8, entity: u16) -> u32 {
        let (class, entity) = (class as usize, entity as usize);
        if self.counts.len() <= class {
            self.counts.resize(class + 1, Vec::new());
        }
        let counts = &mut self.counts[class];
        if counts.len() <= entity {
            counts.resize(entity + 1, 0);
        }
        counts[entity] += 1;
        counts[entity]
    }

    fn take(&mut self, slot: u32) -> Option<T> {
        self.free.push(slot);
        self.slots[slot as usize].take()
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Timestamp, T)> {
        let (key, slot) = self.order.pop_first()?;
        Some((key.at, self.take(slot)?))
    }

    /// Takes out the events that a predicate names.
    pub fn remove_where(&mut self, is: impl FnMut(&T) -> bool) {
        self.take_where(is);
    }

    /// Takes out the events that a predicate names, with their times.
    pub fn take_where(&mut self, mut is: impl FnMut(&T) -> bool) -> Vec<(Timestamp, T)> {
        let slots = &self.slots;
        let named = |slot: u32| slots[slot as usize].as_ref().is_some_and(&mut is);
        let mut named = named;
        let taken: Vec<_> = self.order.extract_if(.., |_, slot| named(*slot)).collect();
        taken.into_iter().filter_map(|(key, slot)| Some((key.at, self.take(slot)?))).collect()
    }

    /// Whether there is an event that a predicate names.
    pub fn any(&self, mut is: impl FnMut(&T) -> bool) -> bool {
        self.iter().any(|(_, event)| is(event))
    }

    /// All events in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &T)> {
        self.order.iter().filter_map(|(key, slot)| Some((key.at, self.slots[*slot as usize].as_ref()?)))
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
