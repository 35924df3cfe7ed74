//! Which shapes and scopes there are, by small numbers, so that a session needs but a few bits for what it was told.

use crate::change::{RelationId, Scope};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers the relations that a hub has met since the schema last changed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shapes {
    numbers: BTreeMap<RelationId, u32>,
}

impl Shapes {
    /// The number of a relation.
    pub fn number(&mut self, id: RelationId) -> u32 {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(id).or_insert(next)
    }

    /// Starts over. What sessions know must be forgotten with it.
    pub fn clear(&mut self) {
        self.numbers.clear();
    }
}

/// The relations that a session was told of, by their numbers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    low: u64,
    high: BTreeSet<u32>,
}

impl Told {
    /// Notes one. True when it is new.
    pub fn insert(&mut self, number: u32) -> bool {
        if number >= 64 {
            return self.high.insert(number);
        }
        let new = self.low >> number & 1 == 0;
        self.low |= 1 << number;
        new
    }
}

/// Names a scope within a hub's life; never used again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ScopeId(u32);

/// The scopes that sessions have, each kept once.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scopes {
    scopes: BTreeMap<ScopeId, (Scope, u32)>,
    #[serde(with = "super::pairs")]
    ids: BTreeMap<Scope, ScopeId>,
    named: u32,
}

impl Scopes {
    /// The id of a scope that one more session has.
    pub fn take(&mut self, scope: &Scope) -> ScopeId {
        if let Some(id) = self.ids.get(scope) {
            if let Some((_, users)) = self.scopes.get_mut(id) {
                *users += 1;
            }
            return *id;
        }
        self.named += 1;
        let id = ScopeId(self.named);
        self.scopes.insert(id, (scope.clone(), 1));
        self.ids.insert(scope.clone(), id);
        id
    }

    /// One session less has it.
    pub fn release(&mut self, id: ScopeId) {
        let Some((_, users)) = self.scopes.get_mut(&id) else { return };
        *users -= 1;
        if *users == 0
            && let Some((scope, _)) = self.scopes.remove(&id)
        {
            self.ids.remove(&scope);
        }
    }

    /// The scope itself. Nothing, for an id that nobody has any more: it is asked for by those who have one only.
    pub fn get(&self, id: ScopeId) -> Scope {
        self.scopes.get(&id).map_or_else(|| Scope::tables([]), |(scope, _)| scope.clone())
    }

    /// How many sessions have one.
    pub fn users(&self) -> usize {
        self.scopes.values().map(|(_, users)| *users as usize).sum()
    }
}
