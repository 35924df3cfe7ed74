//! Named timers: each is a reason to be called again.

use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// A few named deadlines. For timers that exist once per machine; per-session deadlines live in the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers<Name> {
    /// In the order of the names. They are asked for after every step, and so few that no tree is faster.
    deadlines: Vec<(Name, Timestamp)>,
}

impl<Name> Default for Timers<Name> {
    fn default() -> Self {
        Self { deadlines: Vec::new() }
    }
}

impl<Name: Ord + Copy> Timers<Name> {
    /// Sets a deadline, replacing an earlier one of this name.
    pub fn set(&mut self, name: Name, at: Timestamp) {
        *self.entry(name, at) = at;
    }

    /// Sets a deadline unless an earlier one of this name stands.
    pub fn set_at_latest(&mut self, name: Name, at: Timestamp) {
        let due = self.entry(name, at);
        *due = at.min(*due);
    }

    /// The deadline of this name; this one when none stands.
    fn entry(&mut self, name: Name, at: Timestamp) -> &mut Timestamp {
        let place = self.deadlines.partition_point(|(other, _)| *other < name);
        if self.deadlines.get(place).is_none_or(|(other, _)| *other != name) {
            self.deadlines.insert(place, (name, at));
        }
        &mut self.deadlines[place].1
    }

    /// Forgets a deadline.
    pub fn stop(&mut self, name: Name) {
        self.deadlines.retain(|(other, _)| *other != name);
    }

    /// Forgets all deadlines.
    pub fn clear(&mut self) {
        self.deadlines.clear();
    }

    /// Whether a deadline of this name stands.
    #[must_use]
    pub fn is_set(&self, name: Name) -> bool {
        self.deadlines.iter().any(|(other, _)| *other == name)
    }

    /// Whether a deadline of this name stands that is no later than this.
    #[must_use]
    pub fn is_set_by(&self, name: Name, at: Timestamp) -> bool {
        self.deadlines.iter().any(|(other, due)| *other == name && *due <= at)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.deadlines.iter().map(|(_, at)| *at).min()
    }

    /// Takes out one timer that is due, earliest name first. A timer taken out does not fire again unless it is set again.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Name> {
        let due = self.deadlines.iter().position(|(_, at)| *at <= now)?;
        Some(self.deadlines.remove(due).0)
    }
}

impl<Name: Serialize> Serialize for Timers<Name> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.deadlines.iter().map(|(name, at)| (name, at)))
    }
}

impl<'de, Name: Ord + Deserialize<'de>> Deserialize<'de> for Timers<Name> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let deadlines = BTreeMap::deserialize(deserializer)?;
        Ok(Self { deadlines: deadlines.into_iter().collect() })
    }
}
