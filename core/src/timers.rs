//! Named timers: each is a reason to be called again.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A few named deadlines. For timers that exist once per machine; per-session deadlines live in the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers<Name: Ord> {
    deadlines: BTreeMap<Name, Timestamp>,
}

impl<Name: Ord> Default for Timers<Name> {
    fn default() -> Self {
        Self { deadlines: BTreeMap::new() }
    }
}

impl<Name: Ord + Copy> Timers<Name> {
    /// Sets a deadline, replacing an earlier one of this name.
    pub fn set(&mut self, name: Name, at: Timestamp) {
        self.deadlines.insert(name, at);
    }

    /// Sets a deadline unless an earlier one of this name stands.
    pub fn set_at_latest(&mut self, name: Name, at: Timestamp) {
        let due = self.deadlines.entry(name).or_insert(at);
        *due = at.min(*due);
    }

    /// Forgets a deadline.
    pub fn stop(&mut self, name: Name) {
        self.deadlines.remove(&name);
    }

    /// Forgets all deadlines.
    pub fn clear(&mut self) {
        self.deadlines.clear();
    }

    /// Whether a deadline of this name stands.
    #[must_use]
    pub fn is_set(&self, name: Name) -> bool {
        self.deadlines.contains_key(&name)
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.deadlines.values().min().copied()
    }

    /// Takes out one timer that is due, earliest name first. A timer taken out does not fire again unless it is set again.
    pub fn take_due(&mut self, now: Timestamp) -> Option<Name> {
        let name = *self.deadlines.iter().find(|(_, at)| **at <= now)?.0;
        self.deadlines.remove(&name);
        Some(name)
    }
}
