//! One local transaction at a time, and the acknowledgement that its completion makes true.

use super::receive::open;
use super::session::{Acknowledgement, Stage};
use super::{Client, Mode, Notice, Output, Phase, SocketId, Timer};
use crate::ask::Answer;
use crate::change::Page;
use crate::fault::Failure;
use crate::position::Waypoint;
use crate::session::BackfillId;
use crate::store::{Held, Store, StoreRequest};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is remembered of an open question to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Storing {
    /// A page or piece.
    Page { socket: SocketId, through: Waypoint, bytes: usize },
    /// A message of a backfill.
    Staging { socket: SocketId, backfill: BackfillId, n: u32, bytes: usize, complete: Option<Waypoint> },
    /// What is held, after a failure.
    Reading,
}

impl Storing {
    /// Where the replica stands once this is stored, if that moves it.
    const fn moves_to(&self) -> Option<Waypoint> {
        match self {
            Self::Page { through, .. } => Some(*through),
            Self::Staging { complete, .. } => *complete,
            Self::Reading => None,
        }
    }
}

impl Client {
    pub(super) fn store_page(&mut self, page: Arc<Page>) {
        let Some(socket) = self.socket() else { return };
        let memo = Storing::Page { socket, through: page.through, bytes: page.weight() };
        self.ask_store(StoreRequest::ApplyPage { page }, memo);
    }

    pub(super) fn store_staging(
        &mut self,
        backfill: BackfillId,
        n: u32,
        bytes: usize,
        complete: Option<Waypoint>,
        request: StoreRequest,
    ) {
        let Some(socket) = self.socket() else { return };
        self.ask_store(request, Storing::Staging { socket, backfill, n, bytes, complete });
    }

    pub(super) fn ask_what_is_held(&mut self) {
        self.ask_store(StoreRequest::ReadHeld, Storing::Reading);
    }

    fn ask_store(&mut self, request: StoreRequest, memo: Storing) {
        let ask = self.stores.ask(&mut self.asker, Store { request }, memo);
        self.push(Output::Store(ask));
    }

    pub(super) fn on_stored(&mut self, now: Timestamp, answer: Answer<Store>) {
        let Some((memo, reply)) = self.stores.take(&mut self.asker, self.config.safeguards, answer) else {
            return; // An earlier life asked.
        };
        match reply {
            Ok(held) if self.is_plausible(&memo, &held) => self.on_durable(now, memo, held),
            Ok(_) => {
                let why = "the store says that it holds something else than what it was given";
                self.on_store_failed(now, Failure::Unavailable(why.into()));
            }
            Err(failure) => self.on_store_failed(now, failure),
        }
    }

    fn is_plausible(&self, memo: &Storing, held: &Held) -> bool {
        self.config.mode == Mode::Thin || memo.moves_to().is_none_or(|to| held.staged == Some(to))
    }

    fn on_durable(&mut self, now: Timestamp, memo: Storing, held: Held) {
        let before = std::mem::replace(&mut self.held, held);
        if let (Storing::Page { .. }, Some(from), Some(to)) = (&memo, before.staged, held.staged)
            && self.config.mode == Mode::Replica
            && from.era == to.era
            && from.position > to.position
        {
            self.moved_back = Some((from, to));
        }
        if let Some(shown) = held.shown
            && held.shown != before.shown
        {
            self.notify(Notice::Applied { shown });
        }
        match memo {
            Storing::Reading => self.held_is_sure = true,
            Storing::Page { socket, through, bytes } => self.on_page_stored(now, socket, through, bytes),
            Storing::Staging { socket, backfill, n, bytes, complete: None } => {
                self.counts.staged += 1;
                if self.is_open(socket) {
                    self.owe(now, Acknowledgement::Staged { backfill, n }, bytes);
                }
            }
            Storing::Staging { socket, complete: Some(at), .. } => self.on_backfill_complete(now, socket, at),
        }
        match self.phase {
            Phase::Settling => self.settle(now),
            _ => self.go_on(now),
        }
    }

    fn on_page_stored(&mut self, now: Timestamp, socket: SocketId, through: Waypoint, bytes: usize) {
        self.counts.pages_stored += 1;
        self.backoff.succeeded();
        if let Some(session) = open(&mut self.phase).filter(|session| session.socket == socket) {
            session.position = Some(through);
            self.owe(now, Acknowledgement::Through(through), bytes);
        }
    }

    fn on_backfill_complete(&mut self, now: Timestamp, socket: SocketId, at: Waypoint) {
        self.counts.staged += 1;
        self.counts.backfills += 1;
        self.backoff.succeeded();
        if let Some(session) = open(&mut self.phase).filter(|session| session.socket == socket) {
            session.stage = Stage::Pages;
            session.position = Some(at);
            session.acked = None;
            self.owe(now, Acknowledgement::Through(at), 0);
            self.acknowledge();
            self.tell_live();
        }
    }

    /// Whether anything of it took effect is not known: leave, wait, ask what is held, and only then greet again.
    fn on_store_failed(&mut self, now: Timestamp, failure: Failure) {
        self.counts.store_failures += 1;
        self.held_is_sure = false;
        self.notify(Notice::StoreFailed(failure));
        match self.phase {
            Phase::Ended | Phase::Waiting => {}
            _ => self.come_back(now),
        }
    }

    /// Owes an acknowledgement: sent at half a window, or after a while.
    pub(super) fn owe(&mut self, now: Timestamp, what: Acknowledgement, bytes: usize) {
        let Some(session) = open(&mut self.phase) else { return };
        let owed = session.owe(what, bytes);
        let window = match what {
            Acknowledgement::Through(_) => self.config.window_pages,
            Acknowledgement::Staged { .. } => self.config.window_chunks as usize,
        };
        if owed.messages * 2 >= window || owed.bytes * 2 >= self.config.window_bytes {
            self.acknowledge();
        } else {
            self.timers.set_at_latest(Timer::Ack, now + self.config.ack_every);
        }
    }

    /// Sends what is owed.
    pub(super) fn acknowledge(&mut self) {
        self.timers.stop(Timer::Ack);
        let Some(session) = open(&mut self.phase) else { return };
        let Some(owed) = session.owed.take() else { return };
        if let Acknowledgement::Through(through) = owed.what {
            session.acked = Some(match session.acked {
                Some(acked) if acked.era == through.era && acked.position > through.position => acked,
                _ => through,
            });
        }
        let socket = session.socket;
        self.push(Output::Send { socket, message: owed.what.message() });
    }

    fn is_open(&self, socket: SocketId) -> bool {
        self.session().is_some_and(|session| session.socket == socket)
    }
}
