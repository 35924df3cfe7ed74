//! What the server says, in its order.

use super::chain::{Fit, fit};
use super::session::{Acknowledgement, Session, Stage};
use super::{Client, Mode, Notice, Phase, SocketId};
use crate::change::{Page, Scope};
use crate::fault::{Malformed, ResyncReason};
use crate::position::Waypoint;
use crate::safeguard::Safeguard;
use crate::session::BackfillId;
use crate::store::StoreRequest;
use crate::time::Timestamp;
use crate::wire::ServerMessage;
use std::sync::Arc;

impl Client {
    pub(super) fn on_received(&mut self, now: Timestamp, socket: SocketId, message: Result<ServerMessage, Malformed>) {
        if self.socket() != Some(socket) {
            return; // It crossed our own close.
        }
        self.heard_at = now;
        match message {
            Err(_) => self.come_back(now), // Another version, or a broken way: nothing after it can be trusted.
            Ok(ServerMessage::Fault(fault)) => self.on_fault(now, fault),
            Ok(message) => match &mut self.phase {
                Phase::Open(session) => {
                    session.queue.push_back(message);
                    match session.queue.len() > self.config.queue_messages_max {
                        true => self.come_back(now),
                        false => self.go_on(now),
                    }
                }
                _ => match message {
                    ServerMessage::Welcome { client, from, credential_expires_in_ms, .. } => {
                        self.on_welcome(client, from, credential_expires_in_ms);
                    }
                    _ => self.come_back(now), // Nothing is promised before the welcome.
                },
            },
        }
    }

    /// Takes messages out of the queue until one needs the store.
    pub(super) fn go_on(&mut self, now: Timestamp) {
        while self.stores.is_empty()
            && let Phase::Open(session) = &mut self.phase
            && let Some(message) = session.queue.pop_front()
        {
            match message {
                ServerMessage::Page(page) => self.on_page(now, &page),
                ServerMessage::Chunk { backfill, n, chunk, .. } => {
                    let bytes = chunk.rows.iter().map(|row| row.bytes().len()).sum();
                    self.on_staging(now, (backfill, n), bytes, None, StoreRequest::StageChunk { backfill, n, chunk });
                }
                ServerMessage::Seam { backfill, n, page, complete } => {
                    let bytes = page.as_ref().map_or(0, |page| page.weight());
                    let request = StoreRequest::StageSeam { backfill, n, page, complete };
                    self.on_staging(now, (backfill, n), bytes, complete, request);
                }
                ServerMessage::Live => self.on_live(),
                ServerMessage::Resync { reason } => self.on_resync(reason),
                ServerMessage::Credential { expires_in_ms } => self.on_credential_good(expires_in_ms),
                ServerMessage::Schema(_) => {} // The codec has filled it in wherever it is used.
                ServerMessage::Welcome { .. } => self.on_hole(now), // Only a greeting is welcome, and once.
                ServerMessage::Fault(fault) => self.on_fault(now, fault),
            }
        }
    }

    fn on_page(&mut self, now: Timestamp, page: &Arc<Page>) {
        let Some(session) = open(&mut self.phase) else { return };
        let (Stage::Pages, Some(position)) = (&session.stage, &session.position) else {
            return self.on_hole(now); // It follows a backfill that is not complete.
        };
        let unscoped = self.config.scope == Scope::All;
        let fit = match fit(position, page, unscoped) {
            _ if !self.config.safeguards.holds(Safeguard::ChainedPages) => Fit::New(Arc::clone(page)),
            fit => fit,
        };
        match fit {
            Fit::New(page) => self.store_page(page),
            Fit::Held => {
                self.counts.pages_held += 1;
                self.owe(now, Acknowledgement::Through(page.through), page.weight());
            }
            Fit::Hole => self.on_hole(now),
        }
    }

    /// A message of a backfill. Its first drops what was staged before; each other must follow the one before it.
    fn on_staging(
        &mut self,
        now: Timestamp,
        (backfill, n): (BackfillId, u32),
        bytes: usize,
        complete: Option<Waypoint>,
        request: StoreRequest,
    ) {
        let Some(session) = open(&mut self.phase) else { return };
        let expected = match session.stage {
            Stage::Backfill { expect } => expect,
            Stage::Pages => None,
        };
        if n != 0 && expected != Some((backfill, n)) {
            return self.on_hole(now);
        }
        if n == 0 {
            session.owed = None; // It was for another backfill, or for pages that this one replaces.
        }
        session.stage = Stage::Backfill { expect: Some((backfill, n + 1)) };
        self.store_staging(backfill, n, bytes, complete, request);
    }

    fn on_live(&mut self) {
        let Some(session) = open(&mut self.phase) else { return };
        session.told_live = true;
        self.tell_live();
    }

    /// Tells the application, unless a backfill stands between it and what the server meant.
    pub(super) fn tell_live(&mut self) {
        let Some(session) = open(&mut self.phase) else { return };
        if session.told_live && session.stage == Stage::Pages {
            let shown = match self.config.mode {
                Mode::Replica => self.held.shown,
                Mode::Thin => session.position,
            };
            self.backoff.succeeded();
            self.notify(Notice::Live { shown });
        }
    }

    /// Everything comes again. What is owed is void: the server has forgotten the position it was for.
    fn on_resync(&mut self, reason: ResyncReason) {
        let Some(session) = open(&mut self.phase) else { return };
        session.stage = Stage::Backfill { expect: None };
        session.owed = None;
        self.notify(Notice::Resync { reason });
    }
}

/// The session, with the rest of the machine left free.
pub(super) fn open(phase: &mut Phase) -> Option<&mut Session> {
    match phase {
        Phase::Open(session) => Some(session),
        _ => None,
    }
}
