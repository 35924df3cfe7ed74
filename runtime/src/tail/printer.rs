//! A store that prints each of its transactions on stdout before it acknowledges it.

use super::lines::Lines;
use crate::client::{Status, Store};
use dormouse_core::change::Page;
use dormouse_core::client::{ClientPhase, Notice};
use dormouse_core::fault::Failure;
use dormouse_core::store::{Held, MemoryStore, StoreRequest};
use std::io::Write;
use std::sync::Arc;

/// Keeps the rows of a replica, so that a first sync is printed whole; a thin client keeps none.
pub(super) struct Printer {
    lines: Lines,
    keeping: Keeping,
}

enum Keeping {
    /// Everything that is shown, and the pieces that came of a large transaction.
    Replica { store: MemoryStore, pieces: Vec<Arc<Page>> },
    /// The place alone. Pieces are printed as they come.
    Thin { held: Held },
}

impl Printer {
    pub(super) fn new(json: bool, thin: bool) -> Self {
        let keeping = if thin {
            Keeping::Thin { held: Held::default() }
        } else {
            Keeping::Replica { store: MemoryStore::default(), pieces: Vec::new() }
        };
        Self { lines: Lines { json }, keeping }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::Refused(format!("stdout: {error}")))
}

impl Store for Printer {
    fn held(&self) -> Held {
        match &self.keeping {
            Keeping::Replica { store, .. } => store.held(),
            Keeping::Thin { held } => *held,
        }
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        let mut text = String::new();
        match (&mut self.keeping, request) {
            (Keeping::Replica { store, pieces }, StoreRequest::ApplyPage { page }) => {
                let last = page.transactions.last();
                if page.transactions.first().is_none_or(|transaction| transaction.first == 0) {
                    pieces.clear();
                }
                if last.is_some_and(|transaction| !transaction.complete) {
                    pieces.push(Arc::clone(page));
                } else if pieces.is_empty() {
                    self.lines.page(page, &mut text);
                } else {
                    pieces.push(Arc::clone(page));
                    self.lines.pieces(pieces, &mut text);
                    pieces.clear();
                }
                store.apply(request);
            }
            (Keeping::Replica { store, pieces }, StoreRequest::StageSeam { complete, .. }) => {
                store.apply(request);
                if let Some(waypoint) = complete {
                    pieces.clear();
                    self.lines.backfill(store.tables(), *waypoint, print)?;
                }
            }
            (Keeping::Replica { store, .. }, _) => drop(store.apply(request)),
            (Keeping::Thin { held }, StoreRequest::ApplyPage { page }) => {
                self.lines.page(page, &mut text);
                held.staged = Some(page.through);
                if page.through.position.is_boundary() {
                    held.shown = held.staged;
                }
            }
            (Keeping::Thin { held }, StoreRequest::StageSeam { page, complete, .. }) => {
                if let Some(page) = page {
                    self.lines.page(page, &mut text);
                }
                if complete.is_some() {
                    (held.shown, held.staged) = (*complete, *complete);
                }
            }
            (Keeping::Thin { .. }, StoreRequest::StageChunk { chunk, .. }) => {
                self.lines.rows(&chunk.relation, &chunk.rows, None, &mut text);
            }
            (Keeping::Thin { .. }, StoreRequest::ReadHeld) => {}
        }
        print(&text)?;
        Ok(self.held())
    }

    fn told(&mut self, notice: &Notice, status: &Status) {
        let mut text = String::new();
        match notice {
            Notice::Phase(ClientPhase::Live) => {}
            Notice::Phase(phase) => self.lines.phase(*phase, status, &mut text),
            Notice::Live { .. } => self.lines.phase(ClientPhase::Live, status, &mut text),
            Notice::Fault(fault) => eprintln!("dormouse: {} ({})", fault.message, fault.code.as_str()),
            Notice::Resync { reason } => eprintln!("dormouse: everything comes again: {reason:?}"),
            Notice::Applied { .. } | Notice::StoreFailed(_) | Notice::Stopped { .. } => {}
        }
        let _ = print(&text); // The next transaction finds out that nobody reads.
    }
}
