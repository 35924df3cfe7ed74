//! A replica that remembers what it received, and can be stopped at a point.

use crate::client::Store;
use dormouse_core::change::{Page, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::store::{Held, MemoryStore, StoreRequest};
use std::sync::Arc;

/// A memory store with the log of every transaction received. Once it is *gated*, pages are kept and not applied.
#[derive(Debug, Default)]
pub struct Recorder {
    store: MemoryStore,
    log: Vec<Arc<Page>>,
    gate: Option<Gate>,
    backfills: u64,
}

#[derive(Debug)]
struct Gate {
    later: Vec<Arc<Page>>,
    held: Held,
}

impl Recorder {
    /// From now on pages are kept and not applied.
    pub fn close_gate(&mut self) {
        let held = self.store.held();
        self.gate.get_or_insert(Gate { later: Vec::new(), held });
    }

    /// How many backfills were completed.
    #[must_use]
    pub const fn backfills(&self) -> u64 {
        self.backfills
    }

    /// Applies what was kept and lies below `watermark`, and gives the replica as it then is, with everything received.
    #[must_use]
    pub fn finish(self, watermark: Lsn) -> (MemoryStore, Vec<Arc<Page>>) {
        let Self { mut store, mut log, gate, .. } = self;
        for page in gate.into_iter().flat_map(|gate| gate.later) {
            if let Some(page) = below(&page, watermark) {
                store.apply(&StoreRequest::ApplyPage { page: Arc::clone(&page) });
                log.push(page);
            }
        }
        (store, log)
    }
}

/// The part of a page that lies below `watermark`, if any.
fn below(page: &Arc<Page>, watermark: Lsn) -> Option<Arc<Page>> {
    let is_below = |transaction: &&Transaction| transaction.commit_lsn < watermark;
    let transactions: Vec<_> = page.transactions.iter().filter(is_below).cloned().collect();
    if page.through.position.commit_lsn < watermark {
        return Some(Arc::clone(page));
    }
    let last = transactions.last()?;
    let through = Waypoint {
        position: Position::after(last.commit_lsn),
        xid: last.xid,
        committed_at: last.committed_at,
        ..page.through
    };
    Some(Arc::new(Page { through, transactions, ..Page::clone(page) }))
}

impl Store for Recorder {
    fn held(&self) -> Held {
        self.gate.as_ref().map_or_else(|| self.store.held(), |gate| gate.held)
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        match (request, &mut self.gate) {
            (StoreRequest::ApplyPage { page }, Some(gate)) => {
                gate.held.staged = Some(page.through);
                if page.through.position.is_boundary() {
                    gate.held.shown = Some(page.through);
                }
                gate.later.push(Arc::clone(page));
            }
            (StoreRequest::ApplyPage { page }, None) => {
                self.log.push(Arc::clone(page));
                self.store.apply(request);
            }
            (StoreRequest::StageChunk { .. }, _) => drop(self.store.apply(request)),
            (StoreRequest::StageSeam { page, complete, .. }, gate) => {
                self.log.extend(page.clone());
                self.store.apply(request);
                if complete.is_some() {
                    self.backfills += 1;
                    // Whoever gated this sees by the count that everything came again.
                    *gate = None;
                }
            }
            (StoreRequest::ReadHeld, _) => {}
        }
        Ok(self.held())
    }
}
