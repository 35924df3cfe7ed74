//! The machine that serves the sessions of one shard, from greeting to live.
//!
//! | phase | does | leaves when |
//! |---|---|---|
//! | Greeted | takes the epoch, which fences older sessions of the client; has its position judged | that is done |
//! | Backfill | sends a spooled snapshot and its seam, which the client stages | the client shows it |
//! | CatchUp | sends recent pages, or what it reads from history | the last was sent |
//! | Live | sends what is announced | the window is full |

mod ack;
mod backfill;
mod catch_up;
mod config;
mod credential;
mod desk;
mod greet;
mod head;
mod hibernate;
mod invariants;
mod io;
mod live;
mod pairs;
mod pool;
mod reads;
mod registry;
mod retry;
mod ring;
mod seam;
mod session;
mod shapes;
mod spools;
#[cfg(test)]
mod tests;
mod timeouts;
mod waits;
mod window;

pub use config::Config;
pub use io::*;

use crate::ask::Incarnation;
use crate::fault::{FaultCode, PeerFault};
use crate::history::Head;
use crate::machine::{BrokenInvariant, Machine};
use crate::position::Waypoint;
use crate::session::{ClientId, SessionId};
use crate::time::Timestamp;
use desk::Desk;
use serde::{Deserialize, Serialize};
use session::{Phase, SLOTS_MAX, Serve, Served, Session, Slab};
use std::collections::BTreeMap;

/// Serves the sessions of one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    slab: Slab,
    /// The newest session of each client.
    clients: BTreeMap<ClientId, SessionId>,
    /// What woken sessions acknowledged before the head was known.
    #[serde(with = "pairs")]
    early_acks: BTreeMap<SessionId, Waypoint>,
    desk: Desk,
    touched: Option<SessionId>,
}

impl Hub {
    /// A hub before its first life; [`Input::Woke`] starts it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::of_life(config, Incarnation::default())
    }

    fn of_life(config: Config, incarnation: Incarnation) -> Self {
        Self {
            slab: Slab::default(),
            clients: BTreeMap::new(),
            early_acks: BTreeMap::new(),
            desk: Desk::new(config, incarnation),
            touched: None,
        }
    }

    /// What it is set to.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.desk.config
    }

    /// The end of history, as far as it has heard.
    #[must_use]
    pub const fn head(&self) -> Option<Head> {
        self.desk.head
    }

    /// How many sessions are in which phase.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        let mut sessions = Sessions::default();
        for session in self.slab.iter() {
            match &session.phase {
                Phase::Opened { .. } | Phase::Greeted(_) => sessions.greeted += 1,
                Phase::Served(served) => match served.serve {
                    Serve::Backfill(_) => sessions.backfill += 1,
                    Serve::CatchUp { .. } => sessions.catch_up += 1,
                    Serve::Live(_) => sessions.live += 1,
                },
            }
        }
        sessions
    }

    /// In which phase a client's session is, if it has one here.
    #[must_use]
    pub fn phase_of(&self, client: &ClientId) -> Option<PhaseName> {
        let session = self.slab.get(*self.clients.get(client)?)?;
        Some(match &session.phase {
            Phase::Opened { .. } | Phase::Greeted(_) => PhaseName::Greeted,
            Phase::Served(served) => match served.serve {
                Serve::Backfill(_) => PhaseName::Backfill,
                Serve::CatchUp { .. } => PhaseName::CatchUp,
                Serve::Live(_) => PhaseName::Live,
            },
        })
    }

    /// Whose newest session is which, of all clients that have one here.
    pub fn clients(&self) -> impl Iterator<Item = (&ClientId, SessionId)> {
        self.clients.iter().map(|(client, session)| (client, *session))
    }

    /// How many bytes of pages are on their way to a session.
    #[must_use]
    pub fn bytes_in_flight(&self, session: SessionId) -> u64 {
        let flow = self.slab.get(session).and_then(|session| session.served()?.flow());
        flow.map_or(0, |flow| flow.window.bytes())
    }

    /// How many bytes of recent pages are kept.
    #[must_use]
    pub const fn ring_bytes(&self) -> u64 {
        self.desk.ring.bytes()
    }

    /// How many answers came for an earlier life, or for nobody.
    #[must_use]
    pub const fn stale_answers(&self) -> u64 {
        self.desk.asker.stale()
    }

    /// Whether nothing is outstanding, so that this machine could be dropped.
    #[must_use]
    pub fn could_hibernate(&self) -> bool {
        self.nothing_is_outstanding()
    }
}

impl Machine for Hub {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Timestamp, input: Input) {
        self.touched = None;
        self.close_expired(now);
        match input {
            Input::Woke { incarnation, sessions } => self.on_woke(incarnation, sessions, now),
            Input::Opened { session, credential_until } => self.on_opened(session, credential_until, now),
            Input::CredentialRenewed { session, until } => self.on_credential_renewed(session, until, now),
            Input::Received { session, message } => self.on_received(session, message, now),
            Input::Closed { session, .. } => {
                self.remove(session, now); // Its client may be back, whatever the reason.
            }
            Input::Announced(announcement) => self.on_announced(&announcement, now),
            Input::Draining => self.on_draining(now),
            Input::EpochTaken(answer) => return self.answered(now, |hub| hub.on_epoch_taken(answer, now)),
            Input::PositionJudged(answer) => return self.answered(now, |hub| hub.on_position_judged(answer, now)),
            Input::SnapshotTaken(answer) => return self.answered(now, |hub| hub.on_snapshot_taken(answer, now)),
            Input::ChunkRead(answer) => return self.answered(now, |hub| hub.on_chunk_read(answer, now)),
            Input::HistoryRead(answer) => return self.answered(now, |hub| hub.on_history_read(answer, now)),
            Input::HeadRead(answer) => return self.answered(now, |hub| hub.on_head_read(answer, now)),
            Input::PositionsSaved(answer) => return self.answered(now, |hub| hub.on_positions_saved(answer, now)),
            Input::RegistrationsRenewed(answer) => {
                return self.answered(now, |hub| hub.on_registrations_renewed(answer, now));
            }
            Input::Unregistered(answer) => return self.answered(now, |hub| hub.on_unregistered(answer, now)),
        }
        self.touch(now);
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        self.touched = None;
        self.close_expired(now);
        while let Some(timer) = self.desk.timers.take_due(now) {
            self.on_timer(timer, now);
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.desk.timers.next()
    }

    fn check(&self) -> Result<(), BrokenInvariant> {
        match self.touched.and_then(|id| self.slab.get(id)) {
            Some(session) => self.check_session(session),
            None => Ok(()),
        }
    }

    fn check_all(&self) -> Result<(), BrokenInvariant> {
        self.check_everything()
    }
}

impl Hub {
    /// An answer is no sign of life from outside: it does not keep the hub awake.
    fn answered(&mut self, now: Timestamp, handle: impl FnOnce(&mut Self)) {
        handle(self);
        self.settle(now);
    }

    /// What every input may have set off.
    fn settle(&mut self, now: Timestamp) {
        self.settle_covered(now);
        self.read_marks();
        self.desk.pump(now);
    }

    /// A socket was opened.
    fn on_opened(&mut self, id: SessionId, credential_until: Option<Timestamp>, now: Timestamp) {
        if let Some(before) = self.slab.at(id.slot) {
            self.remove(before, now); // The host uses a slot again: its socket is gone.
        }
        if self.desk.draining || id.slot >= SLOTS_MAX {
            self.desk.outputs.push_back(Output::Close { session: id, fault: Some(going_away()) });
            return;
        }
        let greet_by = now + self.desk.config.greet_timeout;
        self.slab.put(Session { id, credential_until, phase: Phase::Opened { greet_by } });
        self.desk.expect_expiry(id, credential_until);
        self.desk.arm_scan(now);
        self.close_expired(now);
    }

    /// The host is shutting down.
    fn on_draining(&mut self, now: Timestamp) {
        self.desk.draining = true;
        for id in self.slab.ids_where(|_| true) {
            self.close(id, Some(going_away()), now);
        }
        self.save_positions();
    }

    /// Closes a session, if it is still there.
    fn close(&mut self, id: SessionId, fault: Option<PeerFault>, now: Timestamp) {
        if self.remove(id, now).is_some() {
            self.desk.outputs.push_back(Output::Close { session: id, fault });
        }
    }

    /// Takes a session out, with all that it uses.
    fn remove(&mut self, id: SessionId, now: Timestamp) -> Option<Session> {
        let mut session = self.slab.take(id)?;
        if let Some(served) = session.served_mut() {
            served.settle_acked(&mut self.desk);
        }
        self.early_acks.remove(&id);
        self.desk.forget_expiry(id, session.credential_until);
        if let Some(client) = session.client()
            && self.clients.get(client) == Some(&id)
        {
            self.clients.remove(client);
        }
        if let Phase::Served(served) = &session.phase {
            self.desk.scopes.release(served.peer.scope);
            if let Serve::Backfill(backfill) = &served.serve
                && let Some(no) = backfill.spool()
            {
                self.desk.leave_spool(no, now);
            }
        }
        Some(session)
    }

    /// Does something for a session that is being served, if it still is.
    fn serve(&mut self, id: SessionId, now: Timestamp, act: impl FnOnce(&mut Served, &mut Desk)) {
        self.try_serve(id, now, |served, desk| {
            act(served, desk);
            Ok(())
        });
    }

    /// The same; a fault closes that session and no other.
    fn try_serve(
        &mut self,
        id: SessionId,
        now: Timestamp,
        act: impl FnOnce(&mut Served, &mut Desk) -> Result<(), PeerFault>,
    ) {
        let Some(served) = self.slab.get_mut(id).and_then(Session::served_mut) else { return };
        self.touched = Some(id);
        if let Err(fault) = act(served, &mut self.desk) {
            self.close(id, Some(fault), now);
        }
    }
}

/// What a session is told when the host shuts down.
fn going_away() -> PeerFault {
    PeerFault::new(FaultCode::GoingAway, "this server is going away; connect again, and another will serve you")
}
