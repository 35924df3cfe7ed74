//! A replica that remembers what it received, and can be stopped at a point.

use crate::client::{Replica, Store};
use dormouse_core::change::{Page, Scope, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::session::ClientId;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};
use std::sync::Arc;

/// A store with the log of every transaction received. Once it is *gated*, pages are kept and not applied.
#[derive(Debug, Default)]
pub struct Recorder<S> {
    store: S,
    log: Vec<Arc<Page>>,
    gate: Option<Gate>,
    backfills: u64,
}

#[derive(Debug)]
struct Gate {
    later: Vec<Arc<Page>>,
    held: Held,
}

impl<S: Replica> Recorder<S> {
    /// Records what this store receives.
    #[must_use]
    pub const fn new(store: S) -> Self {
        Self { store, log: Vec::new(), gate: None, backfills: 0 }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &S {
        &self.store
    }

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

    /// Opens the gate: applies what was kept and lies below `watermark`, and gives the replica as it then is, with everything
    /// received.
    ///
    /// # Errors
    /// As the store says.
    pub fn finish(&mut self, watermark: Lsn) -> Result<(MemoryStore, &[Arc<Page>]), Failure> {
        for page in self.gate.take().into_iter().flat_map(|gate| gate.later) {
            if let Some(page) = below(&page, watermark) {
                self.store.apply(&StoreRequest::ApplyPage { page: Arc::clone(&page) })?;
                self.log.push(page);
            }
        }
        Ok((self.store.contents()?, &self.log))
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

impl<S: Replica> Store for Recorder<S> {
    fn begin(&mut self, client: &ClientId, scope: &Scope) -> Result<(), Failure> {
        self.store.begin(client, scope)
    }

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
                self.store.apply(request)?;
                self.log.push(Arc::clone(page));
            }
            (StoreRequest::StageChunk { .. }, _) => drop(self.store.apply(request)?),
            (StoreRequest::StageSeam { page, complete, .. }, gate) => {
                self.store.apply(request)?;
                self.log.extend(page.clone());
                if complete.is_some() {
                    self.backfills += 1;
                    // Whoever gated this sees by the count that everything came again.
                    *gate = None;
                }
            }
            (StoreRequest::ReadHeld, None) => drop(self.store.apply(request)?),
            (StoreRequest::ReadHeld, Some(_)) => {}
        }
        Ok(self.held())
    }

    fn blocks(&self) -> bool {
        self.store.blocks()
    }
}
