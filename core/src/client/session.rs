//! One connection that is welcome.

use super::{ClientPhase, SocketId};
use crate::position::Waypoint;
use crate::session::BackfillId;
use crate::wire::{ClientMessage, ServerMessage};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What a client knows of its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) socket: SocketId,
    pub(super) stage: Stage,
    /// What the next page must follow: what the store holds, or for a thin client what it was handed.
    pub(super) position: Option<Waypoint>,
    pub(super) told_live: bool,
    /// Stored, and not acknowledged.
    pub(super) owed: Option<Owed>,
    pub(super) acked: Option<Waypoint>,
    /// Messages that wait for the store.
    pub(super) queue: VecDeque<ServerMessage>,
}

/// What the server is sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Pages that follow the position.
    Pages,
    /// A snapshot and its seam.
    Backfill {
        /// The backfill and the number of its next message; `None` before its first.
        expect: Option<(BackfillId, u32)>,
    },
}

/// An acknowledgement that grows until it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owed {
    pub(super) what: Acknowledgement,
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// All through this is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Acknowledgement {
    Through(Waypoint),
    Staged { backfill: BackfillId, n: u32 },
}

impl Acknowledgement {
    pub(super) const fn message(self) -> ClientMessage {
        match self {
            Self::Through(through) => ClientMessage::Ack { through },
            Self::Staged { backfill, n } => ClientMessage::Staged { backfill, n },
        }
    }

    /// The one that says both, if there is one. A hub that woke may send again what is held, and so name an earlier place.
    fn joined(self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Through(one), Self::Through(other)) if one.era == other.era => {
                Some(if one.position > other.position { self } else { next })
            }
            (Self::Staged { backfill: one, .. }, Self::Staged { backfill: other, .. }) if one == other => Some(next),
            _ => None,
        }
    }
}

impl Session {
    pub(super) fn new(socket: SocketId, stage: Stage, position: Option<Waypoint>) -> Self {
        Self { socket, stage, position, told_live: false, owed: None, acked: None, queue: VecDeque::new() }
    }

    pub(super) const fn phase(&self) -> ClientPhase {
        match self.stage {
            Stage::Backfill { .. } => ClientPhase::Backfill,
            Stage::Pages if self.told_live => ClientPhase::Live,
            Stage::Pages => ClientPhase::CatchUp,
        }
    }

    /// Adds to what is owed. Acknowledgements are cumulative, so one of the same kind is taken in; another kind is void.
    pub(super) fn owe(&mut self, what: Acknowledgement, bytes: usize) -> &Owed {
        let joined = self.owed.take().and_then(|owed| Some((owed.what.joined(what)?, owed)));
        let owed = match joined {
            Some((what, owed)) => Owed { what, messages: owed.messages + 1, bytes: owed.bytes + bytes },
            None => Owed { what, messages: 1, bytes },
        };
        self.owed.insert(owed)
    }
}
