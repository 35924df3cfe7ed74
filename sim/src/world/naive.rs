//! When the second oracle looks.

use super::World;
use crate::entity::Entity;
use crate::plan::Size;
use dormouse_core::position::Waypoint;

/// In a world of size M it looks at a boundary when the number of the event is a multiple of this, in one of size L at rest only.
const M_EVERY: u64 = 8;

impl World {
    /// A replica shows another boundary.
    pub(super) fn look_again(&mut self, client: u8) {
        let wanted = match self.plan.size {
            Size::S => true,
            Size::M => self.events.is_multiple_of(M_EVERY),
            Size::L => false,
        };
        if self.naive.is_some() && (wanted || self.plan.oracles.is_thorough()) {
            self.look_at_store(client, None);
        }
    }

    /// A thin client got everything.
    pub(super) fn look_at_backfill(&mut self, client: u8, at: &Waypoint) {
        if let Some(naive) = &mut self.naive {
            naive.backfilled(client, at);
            self.look_at_store(client, Some(at));
        }
    }

    fn look_at_store(&mut self, client: u8, at: Option<&Waypoint>) {
        let Some(naive) = &self.naive else { return };
        let store = &self.clients[client as usize].store;
        let Some(at) = at.copied().or_else(|| store.held().shown) else { return };
        if self.oracle.is_lost(&at) {
            return;
        }
        let verdict = naive.shown(&self.postgres, &self.plan.scope(client), &at, store.tables());
        self.verdict(Entity::Client(client), verdict);
    }

    /// The world rests: the database itself, what replicas show, and what thin clients were handed.
    pub(super) fn look_at_all(&mut self) {
        let Some(naive) = &self.naive else { return };
        let verdict = naive.model(&self.postgres);
        self.verdict(Entity::Postgres, verdict);
        for client in 0..self.plan.size.clients() {
            if !self.plan.is_thin(client) {
                self.look_at_store(client, None);
                continue;
            }
            let (Some(naive), Some(at)) = (&self.naive, self.oracle.thin_mark(client)) else { continue };
            let verdict = naive.handed(&self.postgres, client, &self.plan.scope(client), &at);
            self.verdict(Entity::Client(client), verdict);
        }
    }
}
