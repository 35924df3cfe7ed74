//! What will happen, in the order of time, class and a stable key: never in the order of insertion.

use dormouse_core::time::Timestamp;

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

/// Where an event stands, and its slot.
#[derive(Debug, Clone, Copy)]
struct Key {
    /// Time, class, entity, and how many of these were planned before: from the left, so that numbers compare as they do.
    rank: u128,
    slot: u32,
}

impl Key {
    const fn at(self) -> Timestamp {
        Timestamp((self.rank >> 64) as u64)
    }

    /// The same at another time.
    fn moved(self, to: Timestamp) -> Self {
        Self { rank: u128::from(to.0) << 64 | self.rank & u128::from(u64::MAX), ..self }
    }

    const fn place(self) -> (usize, usize) {
        ((self.rank >> 48) as usize & 0xffff, (self.rank >> 32) as usize & 0xffff)
    }
}

/// How many events of one class and entity there were.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    planned: u32,
    waiting: u32,
}

/// What will happen: keys in order, and the events in slots that stay where they are.
#[derive(Debug, Clone)]
pub struct Queue<T> {
    /// The next one last: a few hundred at most, of which most that come stand close to the end.
    order: Vec<Key>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    counts: Vec<Vec<Count>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { order: Vec::new(), slots: Vec::new(), free: Vec::new(), counts: Vec::new() }
    }
}

impl<T: Placed> Queue<T> {
    /// Plans an event.
    pub fn push(&mut self, at: Timestamp, event: T) {
        let (class, entity) = event.place();
        let count = self.count(class as usize, entity as usize);
        (count.planned, count.waiting) = (count.planned + 1, count.waiting + 1);
        let rank = u128::from(at.0) << 64 | u128::from(class) << 48 | u128::from(entity) << 32;
        let rank = rank | u128::from(count.planned);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[slot as usize] = Some(event);
        self.insert(Key { rank, slot });
    }

    #[inline]
    fn count(&mut self, class: usize, entity: usize) -> &mut Count {
        if self.counts.get(class).is_none_or(|counts| counts.len() <= entity) {
            self.make_room(class, entity);
        }
        &mut self.counts[class][entity]
    }

    #[cold]
    fn make_room(&mut self, class: usize, entity: usize) {
        let classes = self.counts.len().max(class + 1);
        self.counts.resize(classes, Vec::new());
        self.counts[class].resize(entity + 1, Count::default());
    }

    fn take(&mut self, key: Key) -> Option<(Timestamp, T)> {
        let (class, entity) = key.place();
        self.counts[class][entity].waiting -= 1;
        self.free.push(key.slot);
        Some((key.at(), self.slots[key.slot as usize].take()?))
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(Timestamp, T)> {
        let key = self.order.pop()?;
        self.take(key)
    }

    /// How many events of a class and entity are to come.
    #[must_use]
    pub fn waiting(&self, (class, entity): (u8, u16)) -> u32 {
        let counts = self.counts.get(class as usize);
        counts.and_then(|counts| counts.get(entity as usize)).map_or(0, |count| count.waiting)
    }

    /// Takes out the events of a class and entity that a predicate names.
    pub fn remove_where(&mut self, place: (u8, u16), is: impl FnMut(&T) -> bool) {
        self.take_where(place, is);
    }

    /// Takes out the events of a class and entity that a predicate names, with their times.
    pub fn take_where(&mut self, place: (u8, u16), mut is: impl FnMut(&T) -> bool) -> Vec<(Timestamp, T)> {
        if self.waiting(place) == 0 {
            return Vec::new();
        }
        let place = (place.0.into(), place.1.into());
        let slots = &self.slots;
        let named = |key: &mut Key| key.place() == place && slots[key.slot as usize].as_ref().is_some_and(&mut is);
        self.order.reverse(); // The predicate sees them in their order.
        let taken: Vec<_> = self.order.extract_if(.., named).collect();
        self.order.reverse();
        taken.into_iter().filter_map(|key| self.take(key)).collect()
    }

    /// Lets what is under way and planned for exactly then come at another time instead, in the same order.
    pub fn hasten(&mut self, due: Timestamp, to: Timestamp) {
        let slots = &self.slots;
        let waits = |key: &Key| slots[key.slot as usize].as_ref().map(Placed::waits);
        let moves = |key: &mut Key| key.at() == due && waits(key) == Some(Waits::UnderWay);
        let moved: Vec<_> = self.order.extract_if(.., moves).collect();
        moved.into_iter().for_each(|key| self.insert(key.moved(to)));
    }

    fn insert(&mut self, key: Key) {
        let place = self.order.partition_point(|other| other.rank > key.rank);
        self.order.insert(place, key);
    }

    /// Whether there is an event that a predicate names.
    pub fn any(&self, mut is: impl FnMut(&T) -> bool) -> bool {
        self.iter().any(|(_, event)| is(event))
    }

    /// All events in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Timestamp, &T)> {
        self.order.iter().rev().filter_map(|key| Some((key.at(), self.slots[key.slot as usize].as_ref()?)))
    }

    /// When everything that is under way now will have arrived.
    #[must_use]
    pub fn all_arrived(&self) -> Option<Timestamp> {
        self.iter().rev().find(|(_, event)| event.waits() == Waits::UnderWay).map(|(at, _)| at)
    }

    /// When the next timer rings.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.iter().find(|(_, event)| event.waits() == Waits::Timer).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Event(u8, Waits);

    impl Placed for Event {
        fn place(&self) -> (u8, u16) {
            (self.0, 0)
        }

        fn waits(&self) -> Waits {
            self.1
        }
    }

    #[test]
    fn what_is_hastened_keeps_its_order_and_timers_stay() {
        let (mut queue, at) = (Queue::default(), Timestamp::from_millis);
        for (ms, class, waits) in [
            (9, 2, Waits::UnderWay),
            (9, 1, Waits::UnderWay),
            (9, 0, Waits::Timer),
            (8, 3, Waits::UnderWay),
            (10, 4, Waits::UnderWay),
        ] {
            queue.push(at(ms), Event(class, waits));
        }
        queue.hasten(at(9), at(1));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(at, event)| (at, event.0)).collect();
        assert_eq!(order, [(1, 1), (1, 2), (8, 3), (9, 0), (10, 4)].map(|(ms, class)| (at(ms), class)));
    }
}
