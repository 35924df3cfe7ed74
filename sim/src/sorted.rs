//! A map in one sorted vector: for few keys, and for keys that come in their order, faster than a tree.

use std::fmt::{self, Debug};

/// An ordered map. The greatest key is added at the end; any other moves what stands behind it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sorted<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// Where a key stands, or would.
    fn place(&self, key: &K) -> Result<usize, usize> {
        match self.entries.last() {
            Some((last, _)) if last >= key => self.entries.binary_search_by(|(other, _)| other.cmp(key)),
            _ => Err(self.entries.len()),
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|place| &self.entries[place].1)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).ok().map(|place| &mut self.entries[place].1)
    }

    /// Whether there is a key.
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }

    /// Gives a key a value; returns the one that it had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.entries[place].1, value)),
            Err(place) => {
                self.entries.insert(place, (key, value));
                None
            }
        }
    }

    /// The value of a key, which is made when there is none.
    pub(crate) fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = self.place(&key).unwrap_or_else(|place| {
            self.entries.insert(place, (key, make()));
            place
        });
        &mut self.entries[place].1
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.place(key).ok().map(|place| self.entries.remove(place).1)
    }

    /// The entries whose keys are greater.
    pub(crate) fn after(&self, key: &K) -> impl DoubleEndedIterator<Item = (&K, &V)> + use<'_, K, V> {
        let from = self.place(key).map_or_else(|place| place, |place| place + 1);
        self.entries[from..].iter().map(|(key, value)| (key, value))
    }
}

impl<K, V> Sorted<K, V> {
    /// How many keys there are.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Takes out what a predicate does not hold for.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }

    /// Takes out the least keys, as long as a predicate holds for them; returns the last that was taken.
    pub(crate) fn remove_first_while(&mut self, mut is: impl FnMut(&K, &V) -> bool) -> Option<(K, V)> {
        let end = self.entries.iter().position(|(key, value)| !is(key, value)).unwrap_or(self.entries.len());
        self.entries.drain(..end).next_back()
    }

    /// The entries in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The values in the order of their keys.
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }
}

impl<K, V> IntoIterator for Sorted<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: Debug, V: Debug> Debug for Sorted<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_what_a_tree_is(steps in prop::collection::vec((0_u8..12, 0_u8..4), 0..60)) {
            let (mut sorted, mut tree) = (Sorted::default(), BTreeMap::new());
            for (key, step) in steps {
                match step {
                    0 => prop_assert_eq!(sorted.insert(key, key), tree.insert(key, key)),
                    1 => prop_assert_eq!(sorted.remove(&key), tree.remove(&key)),
                    2 => prop_assert_eq!(sorted.or_insert_with(key, || 77), tree.entry(key).or_insert(77)),
                    _ => prop_assert_eq!(sorted.get(&key), tree.get(&key)),
                }
                prop_assert!(sorted.iter().eq(tree.iter()));
                prop_assert!(sorted.after(&key).eq(tree.range(key + 1..)));
                prop_assert_eq!(format!("{sorted:?}"), format!("{tree:?}"));
            }
        }
    }

    #[test]
    fn the_least_go_first() {
        let mut sorted = Sorted::default();
        for (key, value) in [(3, 'c'), (1, 'a'), (2, 'b')] {
            sorted.insert(key, value);
        }
        assert_eq!(sorted.remove_first_while(|key, _| *key < 3), Some((2, 'b')));
        assert_eq!(sorted.remove_first_while(|key, _| *key < 3), None);
        assert!(sorted.iter().eq([(&3, &'c')]));
    }
}
