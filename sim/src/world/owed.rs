//! What a client has stored it acknowledges, and nothing less.

use super::World;
use crate::entity::Entity;
use crate::oracle::Promise;
use dormouse_core::position::Waypoint;
use dormouse_core::store::{Held, StoreRequest};

/// What a client owes to the server on its present connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Owed {
    /// Where the page ends that its store is carrying out.
    storing: Option<Waypoint>,
    /// Where it stands since, until it acknowledges that.
    stored: Option<Waypoint>,
}

impl World {
    /// A client dials: what it stored before, its greeting will say.
    pub(super) fn owes_nothing(&mut self, client: u8) {
        self.clients[client as usize].owed = Owed::default();
    }

    /// A client asks its store for something. A backfill replaces whatever pages were stored before it.
    pub(super) fn note_storing(&mut self, client: u8, request: &StoreRequest) {
        if self.chooser.is_exhaustive() {
            return; // What is remembered here would only keep equal states apart.
        }
        let owed = &mut self.clients[client as usize].owed;
        match request {
            StoreRequest::ApplyPage { page } => owed.storing = Some(page.through),
            StoreRequest::StageChunk { .. } | StoreRequest::StageSeam { .. } => *owed = Owed::default(),
            StoreRequest::ReadHeld => owed.storing = None,
        }
    }

    /// A client hears that its store has done that.
    pub(super) fn note_stored(&mut self, client: u8, held: Option<&Held>) {
        let owed = &mut self.clients[client as usize].owed;
        if let Some(through) =
            owed.storing.take().filter(|through| held.is_some_and(|held| held.staged == Some(*through)))
        {
            owed.stored = Some(through);
        }
    }

    /// A thin client was told that another took its place: it ends, or the two would take it from each other for ever.
    pub(super) fn judge_replaced(&mut self, client: u8) {
        if self.clients[client as usize].machine.is_some() {
            let event = "another client of its id has taken its place, and it does not end".into();
            self.violate(Promise::Converges, "replaced", Entity::Client(client), event);
        }
    }

    /// A client acknowledges a place: no earlier one than it has stored and not acknowledged yet.
    pub(super) fn judge_owed(&mut self, client: u8, through: &Waypoint) {
        let Some(stored) = self.clients[client as usize].owed.stored.take() else { return };
        if stored.era == through.era && through.position < stored.position {
            let event = format!("acknowledges {}, and has stored all through {}", through.position, stored.position);
            self.violate(Promise::Converges, "owed", Entity::Client(client), event);
        }
    }
}
