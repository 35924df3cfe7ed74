//! What was applied, told to whoever listens: every transaction, or in plain words that some could not be told.

use super::Status;
use dormouse_core::change::{Change, Page, Relation, Transaction};
use dormouse_core::position::Waypoint;
use dormouse_core::store::StoreRequest;
use futures::Stream;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, watch};

/// How many pages wait for a slow listener: 32 MiB at most, for a page has half a MiB.
const PAGES_KEPT: usize = 64;
/// The most pieces of one transaction that are told one by one; a larger one is told as [`Changed::Everything`].
const PIECES_MAX: usize = 64;

/// What changed in the replica. It is durable, and the store shows it.
#[derive(Debug, Clone)]
pub enum Changed {
    /// These transactions were applied, after all that was told before.
    Transactions(Applied),
    /// More than can be listed: the rows were replaced (a first sync or a resync), a transaction was very large or had begun
    /// before anybody listened, or this listener fell behind. Read the store anew. What is told next was applied after this was
    /// given; it may be in what was read already, which its position tells.
    Everything {
        /// Where the replica stands, or stood a moment ago.
        shown: Option<Waypoint>,
    },
}

/// Whole transactions, in commit order.
#[derive(Debug, Clone)]
pub struct Applied {
    pages: Arc<[Arc<Page>]>,
}

impl Applied {
    /// Where the replica stands with them.
    #[must_use]
    pub fn shown(&self) -> Waypoint {
        self.pages.last().map(|page| page.through).unwrap_or_default()
    }

    /// Each change in order, with the shape of its table and its transaction. A large transaction comes as several parts with the
    /// same id.
    pub fn changes(&self) -> impl Iterator<Item = (&Transaction, &Relation, &Change)> {
        self.pages.iter().flat_map(|page| {
            page.transactions.iter().flat_map(move |transaction| {
                let changes = transaction.changes.iter();
                changes.filter_map(move |change| Some((transaction, &**page.relation(change.relation())?, change)))
            })
        })
    }
}

/// Listens to one client. Dropped, it costs nothing more.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Changed>,
    status: watch::Receiver<Status>,
}

impl Changes {
    /// Waits for the next change. `None` once the client has ended. May be cancelled: nothing is lost by it.
    pub async fn next(&mut self) -> Option<Changed> {
        match self.receiver.recv().await {
            Ok(changed) => Some(changed),
            Err(broadcast::error::RecvError::Closed) => None,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // What is still waiting is in the store as well.
                self.receiver = self.receiver.resubscribe();
                Some(Changed::Everything { shown: self.status.borrow().shown })
            }
        }
    }

    /// The same as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Changed> {
        futures::stream::unfold(self, async |mut changes| changes.next().await.map(|changed| (changed, changes)))
    }
}

/// Tells what was stored. One for each client, shared with the threads that store.
#[derive(Debug, Clone, Default)]
pub(super) struct Publisher {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    sender: Option<broadcast::Sender<Changed>>,
    /// The pieces so far of a transaction that is not complete, if all of them are here.
    pieces: Option<Vec<Arc<Page>>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { sender: Some(broadcast::channel(PAGES_KEPT).0), pieces: None }
    }
}

impl Publisher {
    pub(super) fn subscribe(&self, status: watch::Receiver<Status>) -> Changes {
        let receiver = match &self.lock().sender {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1, // The client has ended: so does this.
        };
        Changes { receiver, status }
    }

    /// The client has ended: nothing more will come.
    pub(super) fn end(&self) {
        self.lock().sender = None;
    }

    /// Tells of a request that was carried out. Called with the store in hand, so that the order is that of the store.
    pub(super) fn stored(&self, request: &StoreRequest) {
        let mut inner = self.lock();
        let Some(changed) = inner.note(request) else { return };
        if let Some(sender) = &inner.sender {
            let _ = sender.send(changed); // Nobody has to listen.
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, request: &StoreRequest) -> Option<Changed> {
        if self.sender.as_ref().is_none_or(|sender| sender.receiver_count() == 0) {
            self.pieces = None;
            return None;
        }
        match request {
            StoreRequest::ApplyPage { page } => self.note_page(page),
            StoreRequest::StageSeam { complete: Some(at), .. } => Some(Changed::Everything { shown: Some(*at) }),
            StoreRequest::StageSeam { complete: None, .. }
            | StoreRequest::StageChunk { .. }
            | StoreRequest::ReadHeld => None,
        }
    }

    fn note_page(&mut self, page: &Arc<Page>) -> Option<Changed> {
        let first = page.transactions.first()?; // Nothing of it was in scope.
        let mut pieces = match first.first {
            0 => Some(Vec::new()),
            _ => self.pieces.take().filter(|pieces| pieces.len() < PIECES_MAX),
        };
        if let Some(pieces) = &mut pieces {
            pieces.push(Arc::clone(page));
        }
        if !first.complete {
            self.pieces = pieces;
            return None;
        }
        Some(match pieces {
            Some(pages) => Changed::Transactions(Applied { pages: pages.into() }),
            None => Changed::Everything { shown: Some(page.through) },
        })
    }
}
