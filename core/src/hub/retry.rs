//! What must be tried again later, and how long each kind of question waits after a failure.

use super::Config;
use crate::rng::{Backoff, Rng};
use crate::session::SessionId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The kinds of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    Epoch,
    Judge,
    Snapshot,
    Chunk,
    History,
    Head,
    Save,
    Renew,
    Unregister,
}

/// What waits for another try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Retry {
    TakeEpoch(SessionId),
    Judge(SessionId),
    Marks(Vec<SessionId>),
    Unregister(super::Unregister),
    Drive(SessionId),
}

/// Tries to come, by time.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retries {
    #[serde(with = "super::pairs")]
    at: BTreeMap<(Timestamp, u64), Retry>,
    n: u64,
}

impl Retries {
    pub fn add(&mut self, at: Timestamp, retry: Retry) {
        self.n += 1;
        self.at.insert((at, self.n), retry);
    }

    pub fn next(&self) -> Option<Timestamp> {
        self.at.keys().next().map(|(at, _)| *at)
    }

    pub fn take_due(&mut self, now: Timestamp) -> Option<Retry> {
        let first = self.at.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    pub fn len(&self) -> usize {
        self.at.len()
    }

    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
}

/// How patient the hub is with each kind of question. Failures at the same time count once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Patience {
    kinds: BTreeMap<Kind, (Backoff, Timestamp)>,
    rng: Rng,
}

impl Patience {
    pub fn new(seed: u64) -> Self {
        Self { kinds: BTreeMap::new(), rng: Rng::new(seed) }
    }

    /// When to try again after one more failure.
    pub fn failed(&mut self, kind: Kind, now: Timestamp, config: &Config) -> Timestamp {
        let rng = &mut self.rng;
        let fresh = || (Backoff::new(config.backoff_first, config.backoff_most, rng.next_u64()), now);
        let (backoff, until) = self.kinds.entry(kind).or_insert_with(fresh);
        if *until <= now {
            *until = now + backoff.next_wait().max(Duration::from_millis(1));
        }
        let spread = until.since(now).as_micros() / 4;
        *until + Duration::from_micros(self.rng.below(u64::try_from(spread).unwrap_or(u64::MAX)))
    }

    pub fn succeeded(&mut self, kind: Kind) {
        if let Some((backoff, _)) = self.kinds.get_mut(&kind) {
            backoff.succeeded();
        }
    }
}
