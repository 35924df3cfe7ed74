//! What a store that blocks is asked and told, on threads of their own: whoever holds the store for long holds up these, and never
//! a thread that drives sockets and timers.

use super::changes::Publisher;
use super::driver::{Life, lock};
use super::{Status, Store};
use dormouse_core::ask::Ticket;
use dormouse_core::client::{Input, Notice};
use dormouse_core::fault::Failure;
use dormouse_core::store::{Held, Store as StoreQuestion, StoreRequest};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// One thing to do with the store.
#[derive(Debug)]
pub(super) enum Errand {
    Ask(StoreRequest, Ticket<StoreQuestion>),
    Tell(Notice, Status),
}

/// Errands in their order: each waits on its own thread for the store, and whoever has it does the eldest.
pub(super) struct Errands<S> {
    store: Arc<Mutex<S>>,
    waiting: Arc<Mutex<VecDeque<(Life, Errand)>>>,
    publisher: Publisher,
    inputs: mpsc::Sender<Input>,
}

impl<S: Store> Errands<S> {
    pub(super) fn new(store: Arc<Mutex<S>>, publisher: Publisher, inputs: mpsc::Sender<Input>) -> Self {
        Self { store, waiting: Arc::default(), publisher, inputs }
    }

    /// Has it done after all that were given before, unless the life ends first.
    pub(super) fn run(&self, tasks: &mut JoinSet<()>, life: &Life, errand: Errand) {
        lock(&self.waiting).push_back((life.clone(), errand));
        let Self { store, waiting, publisher, inputs } = self;
        let (store, waiting) = (Arc::clone(store), Arc::clone(waiting));
        let (publisher, inputs) = (publisher.clone(), inputs.clone());
        tasks.spawn_blocking(move || {
            let mut held = lock(&store);
            let Some((life, errand)) = lock(&waiting).pop_front() else { return };
            match errand {
                Errand::Tell(notice, status) if !life.is_over() => held.told(&notice, &status),
                Errand::Tell(..) => {}
                Errand::Ask(request, ticket) => {
                    let reply = apply(&mut *held, &life, &publisher, &request);
                    drop(held);
                    drop(store); // Whoever hears of the answer may want to have the store to itself.
                    let _ = inputs.blocking_send(Input::Stored(ticket.answer(reply)));
                }
            }
        });
    }
}

/// Carries out one request, unless the life is over.
pub(super) fn apply<S: Store>(
    store: &mut S,
    life: &Life,
    publisher: &Publisher,
    request: &StoreRequest,
) -> Result<Held, Failure> {
    if life.is_over() {
        return Err(Failure::Unavailable("the client was dropped".into()));
    }
    let held = store.apply(request)?;
    publisher.stored(request);
    Ok(held)
}
