//! The chooser of traces: a few choices by key, everything else quiet.

use super::{Choice, Entity, Kind};
use dormouse_core::time::Timestamp;
use std::collections::BTreeMap;

/// The non-quiet choices of a run. A choice that the run never comes to is passed over, so that a replay never loses its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script<K, E>(BTreeMap<(K, E, u32), u64>);

impl<K: Kind, E: Entity> Script<K, E> {
    /// What to pick for a choice: 0, the quiet one, unless the script says otherwise.
    #[must_use]
    pub fn pick(&self, kind: K, entity: E, n: u32) -> u64 {
        self.0.get(&(kind, entity, n)).copied().unwrap_or(0)
    }

    /// The choices by their keys; the script knows no times.
    pub fn choices(&self) -> impl Iterator<Item = Choice<K, E>> {
        let choice =
            |(&(kind, entity, n), &pick): (&(K, E, u32), &u64)| Choice { at: Timestamp::ZERO, kind, entity, n, pick };
        self.0.iter().map(choice)
    }
}

impl<K: Kind, E: Entity> FromIterator<Choice<K, E>> for Script<K, E> {
    fn from_iter<I: IntoIterator<Item = Choice<K, E>>>(choices: I) -> Self {
        Self(choices.into_iter().map(|choice| (choice.key(), choice.pick)).collect())
    }
}
