//! A replica's store as a pure value: for the simulator, for tests, and for clients that need nothing on disk.

use super::{Held, StoreRequest, Table, Tables};
use crate::change::{Chunk, Page, Transaction};
use crate::position::Waypoint;
use crate::session::BackfillId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A store in memory. Each request is one local transaction: carried out as a whole by [`MemoryStore::apply`].
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStore {
    shown: Option<Waypoint>,
    tables: Tables,
    /// Pieces of one transaction, in order, that are not shown yet.
    pieces: Vec<Arc<Page>>,
    staging: Option<Staging>,
    anomalies: u64,
}

/// A snapshot on its way in, beside what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Staging {
    backfill: BackfillId,
    /// The number that must come next.
    next: u32,
    tables: Tables,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out one request and says what is held then.
    pub fn apply(&mut self, request: &StoreRequest) -> Held {
        match request {
            StoreRequest::ApplyPage { page } => self.apply_page(page),
            StoreRequest::StageChunk { backfill, n, chunk } => self.stage_chunk(*backfill, *n, chunk),
            StoreRequest::StageSeam { backfill, n, page, complete } => {
                self.stage_seam(*backfill, *n, page.as_deref(), *complete);
            }
            StoreRequest::ReadHeld => {}
        }
        self.held()
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> Held {
        let staged = self.pieces.last().map(|piece| piece.through).or(self.shown);
        Held { shown: self.shown, staged, sum: self.tables.sum(), anomalies: self.anomalies }
    }

    /// The tables shown.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// A shown table by its full name (`schema.table`); `None` when it has no rows.
    #[must_use]
    pub fn table(&self, full_name: &str) -> Option<&Table> {
        self.tables.get(full_name)
    }

    /// How many pieces and how many messages of a backfill are staged.
    #[must_use]
    pub fn staged(&self) -> (usize, u32) {
        (self.pieces.len(), self.staging.as_ref().map_or(0, |staging| staging.next))
    }

    fn apply_page(&mut self, page: &Arc<Page>) {
        let first = page.transactions.first();
        if first.is_none_or(|transaction| transaction.first == 0) {
            self.pieces.clear();
        }
        if first.is_some_and(|transaction| !transaction.complete) {
            self.pieces.push(Arc::clone(page));
            return;
        }
        for page in self.pieces.drain(..).chain([Arc::clone(page)]) {
            self.anomalies += play(&mut self.tables, &page);
        }
        self.shown = Some(page.through);
    }

    fn stage_chunk(&mut self, backfill: BackfillId, n: u32, chunk: &Chunk) {
        let Some(staging) = self.staging_at(backfill, n) else { return };
        let doubled: u64 = chunk.rows.iter().map(|row| staging.tables.insert(&chunk.relation, row)).sum();
        self.anomalies += doubled;
    }

    fn stage_seam(&mut self, backfill: BackfillId, n: u32, page: Option<&Page>, complete: Option<Waypoint>) {
        let Some(staging) = self.staging_at(backfill, n) else { return };
        let anomalies = page.map_or(0, |page| play(&mut staging.tables, page));
        self.anomalies += anomalies;
        if complete.is_some()
            && let Some(staging) = self.staging.take()
        {
            self.tables = staging.tables;
            self.pieces.clear();
            self.shown = complete;
        }
    }

    /// The staging that message `n` goes to. None, and an anomaly, when what came before it is not here.
    fn staging_at(&mut self, backfill: BackfillId, n: u32) -> Option<&mut Staging> {
        if n == 0 {
            self.staging = Some(Staging { backfill, next: 0, tables: Tables::default() });
        }
        let staging = self.staging.as_mut().filter(|staging| staging.backfill == backfill && staging.next == n);
        let Some(staging) = staging else {
            self.anomalies += 1;
            return None;
        };
        staging.next += 1;
        Some(staging)
    }
}

/// Carries out a page's changes and returns how many anomalies they showed.
fn play(tables: &mut Tables, page: &Page) -> u64 {
    let changes = page.transactions.iter().flat_map(|Transaction { changes, .. }| changes.iter());
    let anomalies = changes.map(|change| match page.relation(change.relation()) {
        Some(relation) => tables.change(relation, change),
        None => 1,
    });
    anomalies.sum()
}
