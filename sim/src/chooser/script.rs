//! The chooser of traces: a few choices by key, everything else quiet.

use super::{Choice, Kind};
use crate::entity::Entity;
use dormouse_core::time::Timestamp;
use std::collections::BTreeMap;

/// The non-quiet choices of a run. A choice that the run never comes to is passed over, so that a replay never loses its place.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Script(BTreeMap<(Kind, Entity, u32), u64>);

impl Script {
    /// What to pick for a choice: 0, the quiet one, unless the script says otherwise.
    #[must_use]
    pub fn pick(&self, kind: Kind, entity: Entity, n: u32) -> u64 {
        self.0.get(&(kind, entity, n)).copied().unwrap_or(0)
    }

    /// The choices by their keys; the script knows no times.
    pub fn choices(&self) -> impl Iterator<Item = Choice> {
        let choice = |(&(kind, entity, n), &pick): (&(Kind, Entity, u32), &u64)| Choice {
            at: Timestamp::ZERO,
            kind,
            entity,
            n,
            pick,
        };
        self.0.iter().map(choice)
    }
}

impl FromIterator<Choice> for Script {
    fn from_iter<I: IntoIterator<Item = Choice>>(choices: I) -> Self {
        Self(choices.into_iter().map(|choice| (choice.key(), choice.pick)).collect())
    }
}
