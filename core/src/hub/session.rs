//! One session, and the slab in which all sessions of a hub stand.

use super::backfill::Backfill;
use super::shapes::{ScopeId, Told};
use super::window::Window;
use crate::position::{Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::session::{ClientId, Epoch, SessionId};
use crate::time::Timestamp;
use crate::wire::Hello;
use serde::{Deserialize, Serialize};

/// A session in its slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub id: SessionId,
    /// When the credential runs out; `None`: never.
    pub credential_until: Option<Timestamp>,
    pub phase: Phase,
}

/// Where a session is on its way from greeting to live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all sessions are served, and a fan-out walks them in their slots"
)]
pub(super) enum Phase {
    /// The socket is open; the greeting must come before the time is up.
    Opened { greet_by: Timestamp },
    /// The greeting came; its position is not judged yet.
    Greeted(Box<Greeted>),
    /// The greeting was good.
    Served(Served),
}

/// A greeting under judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeted {
    pub hello: Hello,
    pub step: Step,
}

/// What a greeting waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// The epoch.
    TakingEpoch,
    /// The judgement of what the client claims to have.
    Judging { epoch: Epoch, expires_at: Timestamp, claim: Option<Waypoint>, ahead_since: Option<Timestamp> },
}

/// A session whose greeting was good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Served {
    pub peer: Peer,
    pub serve: Serve,
}

/// What is known of a session's client, whatever the phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    pub id: SessionId,
    pub client: ClientId,
    pub epoch: Epoch,
    /// As the session's, to be kept with the socket.
    pub credential_until: Option<Timestamp>,
    pub scope: ScopeId,
    pub era: Era,
    pub schema: SchemaVersion,
    pub expires_at: Timestamp,
    pub renew_at: Timestamp,
    pub fresh: Fresh,
    pub told: Told,
    /// An earlier life served this session too: it may acknowledge what that life sent.
    pub woken: bool,
    /// What it acknowledged last is to be stored.
    pub noted: bool,
}

/// How far a session is from being told that it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fresh {
    /// It was told.
    Told,
    /// W must be read.
    NoMark,
    /// Covered must reach W.
    Waiting(Lsn),
    /// Covered has; all that was in history then must be sent.
    Until(Position),
}

/// How a session is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Serve {
    /// It gets a snapshot and its seam.
    Backfill(Box<Backfill>),
    /// It gets what it lacks, from the ring or from history.
    CatchUp {
        flow: Flow,
        /// After which position history is being read for it.
        reading: Option<Position>,
    },
    /// It gets what is announced.
    Live(Flow),
}

/// How far pages went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flow {
    pub sent: Position,
    pub acked: Waypoint,
    pub window: Window,
}

impl Flow {
    pub fn at(waypoint: Waypoint) -> Self {
        Self { sent: waypoint.position, acked: waypoint, window: Window::default() }
    }
}

impl Session {
    pub const fn served(&self) -> Option<&Served> {
        if let Phase::Served(served) = &self.phase { Some(served) } else { None }
    }

    pub const fn served_mut(&mut self) -> Option<&mut Served> {
        if let Phase::Served(served) = &mut self.phase { Some(served) } else { None }
    }

    /// The epoch, once it is taken.
    pub fn epoch(&self) -> Option<Epoch> {
        match &self.phase {
            Phase::Opened { .. } => None,
            Phase::Greeted(greeted) => match greeted.step {
                Step::TakingEpoch => None,
                Step::Judging { epoch, .. } => Some(epoch),
            },
            Phase::Served(served) => Some(served.peer.epoch),
        }
    }

    /// The client, once it greeted.
    pub fn client(&self) -> Option<&ClientId> {
        match &self.phase {
            Phase::Opened { .. } => None,
            Phase::Greeted(greeted) => Some(&greeted.hello.client),
            Phase::Served(served) => Some(&served.peer.client),
        }
    }
}

impl Served {
    pub const fn flow(&self) -> Option<&Flow> {
        match &self.serve {
            Serve::Backfill(_) => None,
            Serve::CatchUp { flow, .. } | Serve::Live(flow) => Some(flow),
        }
    }

    pub const fn flow_mut(&mut self) -> Option<&mut Flow> {
        match &mut self.serve {
            Serve::Backfill(_) => None,
            Serve::CatchUp { flow, .. } | Serve::Live(flow) => Some(flow),
        }
    }

    /// Goes on from the flow as it is, into another phase.
    pub fn switch(&mut self, to: impl FnOnce(Flow) -> Serve) {
        if let Some(flow) = self.flow_mut() {
            let flow = std::mem::replace(flow, Flow::at(Waypoint::default()));
            self.serve = to(flow);
        }
    }
}

/// All sessions, by slot. A slot is used again, a serial never.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slab {
    slots: Vec<Option<Session>>,
    count: usize,
}

/// The most sessions of one hub: a slot beyond is refused.
pub(super) const SLOTS_MAX: u32 = 1 << 20;

impl Slab {
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.slots.get(id.slot as usize)?.as_ref().filter(|session| session.id == id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot as usize)?.as_mut().filter(|session| session.id == id)
    }

    /// Who stands in a slot.
    pub fn at(&self, slot: u32) -> Option<SessionId> {
        self.slots.get(slot as usize)?.as_ref().map(|session| session.id)
    }

    /// Puts a session into its slot, which must be empty and below [`SLOTS_MAX`].
    pub fn put(&mut self, session: Session) {
        let slot = session.id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "a slot is emptied before it is used again");
        self.slots[slot] = Some(session);
        self.count += 1;
    }

    pub fn take(&mut self, id: SessionId) -> Option<Session> {
        self.get(id)?;
        self.count -= 1;
        self.slots[id.slot as usize].take()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.iter_mut().flatten()
    }

    /// The ids of those that a condition picks.
    pub fn ids_where(&self, mut is: impl FnMut(&Session) -> bool) -> Vec<SessionId> {
        self.iter().filter(|session| is(session)).map(|session| session.id).collect()
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub const fn len(&self) -> usize {
        self.count
    }
}
