//! A store that prints each of its transactions on stdout before it acknowledges it.

use super::lines::Lines;
use crate::client::sqlite::SqliteStore;
use crate::client::{Status, Store};
use dormouse_core::change::{Page, Scope};
use dormouse_core::client::{ClientPhase, Notice};
use dormouse_core::fault::Failure;
use dormouse_core::position::Waypoint;
use dormouse_core::session::ClientId;
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
    Memory { store: MemoryStore, pieces: Vec<Arc<Page>> },
    /// The same in a file, which the next run goes on from.
    File(Box<SqliteStore>),
    /// The place alone. Pieces are printed as they come.
    Thin { held: Held },
}

impl Printer {
    pub(super) fn in_memory(json: bool) -> Self {
        let (store, pieces) = (MemoryStore::default(), Vec::new());
        Self { lines: Lines { json }, keeping: Keeping::Memory { store, pieces } }
    }

    pub(super) fn in_file(json: bool, store: SqliteStore) -> Self {
        Self { lines: Lines { json }, keeping: Keeping::File(Box::new(store)) }
    }

    pub(super) fn thin(json: bool) -> Self {
        Self { lines: Lines { json }, keeping: Keeping::Thin { held: Held::default() } }
    }
}

/// How a failure begins that is not the store's.
pub(super) const STDOUT: &str = "stdout: ";

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Failure::Refused(format!("{STDOUT}{error}")))
}

impl Store for Printer {
    fn begin(&mut self, client: &ClientId, scope: &Scope) -> Result<(), Failure> {
        match &mut self.keeping {
            Keeping::File(store) => store.begin(client, scope),
            Keeping::Memory { .. } | Keeping::Thin { .. } => Ok(()),
        }
    }

    fn held(&self) -> Held {
        match &self.keeping {
            Keeping::Memory { store, .. } => store.held(),
            Keeping::File(store) => store.held(),
            Keeping::Thin { held } => *held,
        }
    }

    fn apply(&mut self, request: &StoreRequest) -> Result<Held, Failure> {
        let Self { lines, keeping } = self;
        match keeping {
            Keeping::Memory { store, pieces } => in_memory(lines, store, pieces, request)?,
            Keeping::File(store) => in_file(lines, store, request)?,
            Keeping::Thin { held } => thin(lines, held, request)?,
        }
        Ok(self.held())
    }

    fn blocks(&self) -> bool {
        matches!(self.keeping, Keeping::File(_))
    }

    fn told(&mut self, notice: &Notice, status: &Status) {
        let mut text = String::new();
        match notice {
            Notice::Phase(ClientPhase::Live) => {}
            Notice::Phase(phase) => self.lines.phase(*phase, status, &mut text),
            Notice::Live { .. } => self.lines.phase(ClientPhase::Live, status, &mut text),
            Notice::Fault(fault) => eprintln!("dormouse: {} ({})", fault.message, fault.code.as_str()),
            Notice::Resync { reason } => eprintln!("dormouse: everything comes again: {reason:?}"),
            Notice::CredentialGood { .. } | Notice::CredentialWanted => {}
            Notice::Applied { .. } | Notice::StoreFailed(_) | Notice::Stopped { .. } => {}
        }
        let _ = print(&text); // The next transaction finds out that nobody reads.
    }
}

fn in_memory(
    lines: &Lines,
    store: &mut MemoryStore,
    pieces: &mut Vec<Arc<Page>>,
    request: &StoreRequest,
) -> Result<(), Failure> {
    match request {
        StoreRequest::ApplyPage { page } => {
            if begins(page) {
                pieces.clear();
            }
            if completes(page) {
                print_page(lines, pieces, page)?;
                pieces.clear();
            } else {
                pieces.push(Arc::clone(page));
            }
            store.apply(request);
        }
        StoreRequest::StageSeam { complete, .. } => {
            store.apply(request);
            if let Some(at) = complete {
                pieces.clear();
                let mut runs = lines.runs(*at);
                for stored in store.tables().iter().flat_map(|(_, table)| table.rows().map(|(_, stored)| stored)) {
                    print_run(runs.push(&stored.relation, &stored.row))?;
                }
                print_run(runs.finish())?;
            }
        }
        StoreRequest::StageChunk { .. } | StoreRequest::ReadHeld => drop(store.apply(request)),
    }
    Ok(())
}

/// A transaction is printed, then stored: if the process ends in between it is printed again, but never left out.
fn in_file(lines: &Lines, store: &mut SqliteStore, request: &StoreRequest) -> Result<(), Failure> {
    if let StoreRequest::ApplyPage { page } = request
        && completes(page)
    {
        let pieces = if begins(page) { Vec::new() } else { store.pieces()? };
        print_page(lines, &pieces, page)?;
    }
    store.apply(request)?;
    if let StoreRequest::StageSeam { complete: Some(at), .. } = request {
        print_rows(lines, store, *at)?;
    }
    Ok(())
}

fn print_rows(lines: &Lines, store: &SqliteStore, at: Waypoint) -> Result<(), Failure> {
    let mut runs = lines.runs(at);
    store.each_row(|relation, row| print_run(runs.push(relation, row)))?;
    print_run(runs.finish())
}

fn thin(lines: &Lines, held: &mut Held, request: &StoreRequest) -> Result<(), Failure> {
    let mut text = String::new();
    match request {
        StoreRequest::ApplyPage { page } => {
            lines.page(page, &mut text);
            held.staged = Some(page.through);
            if page.through.position.is_boundary() {
                held.shown = held.staged;
            }
        }
        StoreRequest::StageSeam { page, complete, .. } => {
            if let Some(page) = page {
                lines.page(page, &mut text);
            }
            if complete.is_some() {
                (held.shown, held.staged) = (*complete, *complete);
            }
        }
        StoreRequest::StageChunk { chunk, .. } => lines.rows(&chunk.relation, &chunk.rows, None, &mut text),
        StoreRequest::ReadHeld => {}
    }
    print(&text)
}

/// Whether a page drops the pieces that came before it.
fn begins(page: &Page) -> bool {
    page.transactions.first().is_none_or(|transaction| transaction.first == 0)
}

fn completes(page: &Page) -> bool {
    page.transactions.last().is_none_or(|transaction| transaction.complete)
}

fn print_page(lines: &Lines, pieces: &[Arc<Page>], last: &Arc<Page>) -> Result<(), Failure> {
    let mut text = String::new();
    if pieces.is_empty() {
        lines.page(last, &mut text);
    } else {
        let all: Vec<_> = pieces.iter().chain([last]).cloned().collect();
        lines.pieces(&all, &mut text);
    }
    print(&text)
}

fn print_run(run: Option<String>) -> Result<(), Failure> {
    run.map_or(Ok(()), |run| print(&run))
}
