//! The chooser of traces: a few choices by key, everything else quiet.

use super::{Answer, Choice, Entity, Kind, Moment};
use dormouse_core::time::Timestamp;
use std::collections::BTreeMap;

/// The non-quiet choices of a run. A choice that the run never comes to is passed over, so that a replay never loses its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script<K, E>(BTreeMap<(K, E, u32), Answer<K, E>>);

impl<K: Kind, E: Entity> Script<K, E> {
    /// What to pick for a choice: 0, the quiet one, unless the script says otherwise.
    #[must_use]
    pub fn pick(&self, kind: K, entity: E, n: u32) -> u64 {
        match self.0.get(&(kind, entity, n)) {
            Some(Answer::Pick(pick)) => *pick,
            Some(Answer::HoldUntil(_)) | None => 0,
        }
    }

    /// Until when to hold what a choice delays, if the script says so.
    #[must_use]
    pub fn until(&self, kind: K, entity: E, n: u32) -> Option<Moment<K, E>> {
        match self.0.get(&(kind, entity, n)) {
            Some(Answer::HoldUntil(until)) => Some(*until),
            Some(Answer::Pick(_)) | None => None,
        }
    }

    /// The choices by their keys; the script knows no times.
    pub fn choices(&self) -> impl Iterator<Item = Choice<K, E>> {
        let choice = |(&(kind, entity, n), &answer): (&(K, E, u32), &Answer<K, E>)| {
            let (pick, until) = match answer {
                Answer::Pick(pick) => (pick, None),
                Answer::HoldUntil(until) => (0, Some(until)),
            };
            Choice { at: Timestamp::ZERO, kind, entity, n, pick, until }
        };
        self.0.iter().map(choice)
    }
}

impl<K: Kind, E: Entity> FromIterator<Choice<K, E>> for Script<K, E> {
    fn from_iter<I: IntoIterator<Item = Choice<K, E>>>(choices: I) -> Self {
        let answer = |choice: &Choice<K, E>| choice.until.map_or(Answer::Pick(choice.pick), Answer::HoldUntil);
        Self(choices.into_iter().map(|choice| (choice.key(), answer(&choice))).collect())
    }
}
