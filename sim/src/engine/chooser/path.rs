//! One of all the ways through a scope: what it may choose is counted, so that the others can be tried too.

use super::Kind;

/// What may happen in an exhaustive search, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope<K> {
    /// Kinds that share a budget.
    pub budgets: Vec<(Vec<K>, u32)>,
    /// Of the picks of one choice, at most so many: 2 is "not, or in the first way".
    pub picks_max: u64,
}

/// A way: the picks that were told, then quiet ones.
#[derive(Debug, Clone)]
pub struct Path<K> {
    scope: Scope<K>,
    spent: Vec<u32>,
    told: Vec<u64>,
    /// The bounds of the choices since the last [`Path::tell`].
    bounds: Vec<u64>,
}

impl<K: Kind> Path<K> {
    /// The quiet way through a scope.
    #[must_use]
    pub fn new(scope: Scope<K>) -> Self {
        let spent = vec![0; scope.budgets.len()];
        Self { scope, spent, told: Vec::new(), bounds: Vec::new() }
    }

    /// Tells the picks of the choices to come, and forgets those that were made.
    pub fn tell(&mut self, picks: &[u64]) {
        self.told.clear();
        self.told.extend_from_slice(picks);
        self.bounds.clear();
    }

    /// What was told.
    #[must_use]
    pub fn told(&self) -> &[u64] {
        &self.told
    }

    /// How many ways each choice had since the last [`Path::tell`].
    #[must_use]
    pub fn bounds(&self) -> &[u64] {
        &self.bounds
    }

    /// Whether nothing can be chosen any more.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent.iter().zip(&self.scope.budgets).all(|(spent, (_, budget))| spent >= budget)
    }

    /// How much of each budget was spent.
    #[must_use]
    pub fn spent(&self) -> &[u32] {
        &self.spent
    }

    pub(super) fn pick(&mut self, kind: K, bound: u64) -> u64 {
        let Some(group) = self.scope.budgets.iter().position(|(kinds, _)| kinds.contains(&kind)) else { return 0 };
        if self.spent[group] >= self.scope.budgets[group].1 {
            return 0;
        }
        let bound = bound.min(self.scope.picks_max);
        let pick = self.told.get(self.bounds.len()).copied().unwrap_or(0).min(bound - 1);
        self.bounds.push(bound);
        self.spent[group] += u32::from(pick != 0);
        pick
    }
}
