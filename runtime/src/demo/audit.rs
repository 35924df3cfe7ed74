//! A store that counts what must never happen to a replica, and can be made to fail.

use crate::client::Store;
use dormouse_core::change::{Page, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};
use rand::Rng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;

/// A memory store with its counts.
#[derive(Debug)]
pub struct Audited {
    store: MemoryStore,
    counts: Counts,
    /// Of each transaction applied since the last backfill, how many of its changes.
    applied: BTreeMap<Lsn, u32>,
    /// Where the last backfill stood.
    base: Lsn,
    seam: BTreeMap<Lsn, u32>,
    failures: Option<SmallRng>,
    steps: u64,
}

/// What was counted over all lives of one client's stores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Changes applied from the stream.
    pub delivered: u64,
    /// Changes applied twice.
    pub duplicated: u64,
    /// Transactions applied at or below the position that was held.
    pub out_of_order: u64,
    /// Changes that did not fit the rows.
    pub anomalies: u64,
    /// Completed backfills.
    pub backfills: u64,
    /// Stores that were opened empty.
    pub lives: u64,
}

impl Counts {
    /// The sum of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            duplicated: self.duplicated + other.duplicated,
            out_of_order: self.out_of_order + other.out_of_order,
            anomalies: self.anomalies + other.anomalies,
            backfills: self.backfills + other.backfills,
            lives: self.lives + other.lives,
        }
    }
}

impl Default for Audited {
    fn default() -> Self {
        Self {
            store: MemoryStore::default(),
            counts: Counts { lives: 1, ..Counts::default() },
            applied: BTreeMap::new(),
            base: Lsn::ZERO,
            seam: BTreeMap::new(),
            failures: None,
            steps: 0,
        }
    }
}

impl Audited {
    /// Now and then a request fails: half of these had their effect all the same. `None` ends that.
    pub fn fail_at_random(&mut self, failures: Option<SmallRng>) {
        self.failures = failures;
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { anomalies: self.counts.anomalies + self.store.held().anomalies, ..self.counts }
    }

    /// How many requests it was given: whether something moves.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The rows.
    #[must_use]
    pub const fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// Everything is lost, as with a new device. The counts go on.
    pub fn wipe(&mut self) {
        let counts = self.counts().and(Counts { lives: 1, ..Counts::default() });
        *self = Self { counts, failures: self.failures.take(), ..Self::default() };
    }

    fn note(&mut self, request: &StoreRequest) {
        match request {
            StoreRequest::ApplyPage { page } => {
                if page.transactions.first().is_none_or(|transaction| transaction.first == 0) {
                    // Pieces that were staged and never shown come again from the start of their transaction.
                    let shown = self.store.held().shown.map_or(Lsn::ZERO, |shown| shown.position.commit_lsn);
                    self.applied.retain(|lsn, _| *lsn <= shown);
                }
                note_page(&mut self.counts, &mut self.applied, self.base, page);
            }
            StoreRequest::StageSeam { n, page, complete, .. } => {
                if *n == 0 {
                    self.seam.clear();
                }
                if let Some(page) = page {
                    note_page(&mut self.counts, &mut self.seam, Lsn::ZERO, page);
                }
                if let Some(waypoint) = complete {
                    // All rows are new: what was applied to the old ones counts no more.
                    self.applied = std::mem::take(&mut self.seam);
                    self.base = waypoint.position.commit_lsn;
                    self.counts.backfills += 1;
                }
            }
            StoreRequest::StageChunk { n, .. } => {
                if *n == 0 {
                    self.seam.clear();
                }
            }
            StoreRequest::ReadHeld => {}
        }
    }
}

fn note_page(counts: &mut Counts, applied: &mut BTreeMap<Lsn, u32>, base: Lsn, page: &Page) {
    for Transaction { commit_lsn, first, changes, .. } in &page.transactions {
        let size = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let newest = applied.last_key_value().map_or(base, |(lsn, _)| base.max(*lsn));
        let in_order = match applied.get(commit_lsn) {
            None => *commit_lsn > newest,
            Some(held) if first < held => {
                counts.duplicated += u64::from((held - first).min(size));
                true
            }
            Some(_) => *commit_lsn == newest,
        };
        counts.out_of_order += u64::from(!in_order);
        counts.delivered += u64::from(size);
        let held = applied.entry(*commit_lsn).or_default();
        *held = (*held).max(first.saturating_add(size));
    }
}

impl Store for Audited {
    fn held(&self) -> Held {
        self.store.held()
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        self.steps += 1;
        let (fails, takes_effect) = self
            .failures
            .as_mut()
            .map_or((false, true), |random| (random.random_ratio(1, 400), random.random_ratio(1, 2)));
        if !fails || takes_effect {
            self.note(request);
            self.store.apply(request);
        }
        if fails { Err(Failure::Unavailable("the disk was made to fail".into())) } else { Ok(self.store.held()) }
    }
}
