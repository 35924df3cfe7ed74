//! When the second oracle looks.

use super::World;
use crate::entity::Entity;
use crate::oracle::{Checked, Naive, Replayed, replay};
use crate::plan::Size;
use dormouse_core::change::Scope;
use dormouse_core::position::{Lsn, Waypoint};

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
        let store = &self.clients[client as usize].store;
        let Some(at) = at.copied().or_else(|| store.held().shown) else { return };
        if self.oracle.is_lost(&at) {
            return;
        }
        let scope = self.plan.scope(client);
        let log = replay(&self.postgres, &scope, at.position.commit_lsn);
        let verdict = Naive::shown(&self.postgres, &log, &scope, &at, store.tables());
        self.verdict(Entity::Client(client), verdict);
    }

    /// The world rests: the database itself, what replicas show, and what thin clients were handed.
    pub(super) fn look_at_all(&mut self) {
        let Some(naive) = &self.naive else { return };
        let (model, clients) = (naive.model(&self.postgres), self.look_at_clients(naive));
        self.verdict(Entity::Postgres, model);
        for (client, verdict) in (0..).zip(clients) {
            self.verdict(Entity::Client(client), verdict);
        }
    }

    /// Replicas that have the same scope and stand at the same place are compared with one replay of the log.
    fn look_at_clients(&self, naive: &Naive) -> Vec<Checked> {
        let mut logs: Vec<(Scope, Lsn, Replayed<'_>)> = Vec::new();
        let mut look = |client| {
            let (thin, scope) = (self.plan.is_thin(client), self.plan.scope(client));
            if thin {
                let Some(at) = self.oracle.thin_mark(client) else { return Ok(()) };
                return naive.handed(&self.postgres, client, &scope, &at);
            }
            let store = &self.clients[client as usize].store;
            let Some(at) = store.held().shown.filter(|at| !self.oracle.is_lost(at)) else { return Ok(()) };
            let lsn = at.position.commit_lsn;
            let known = logs.iter().position(|(s, l, _)| (s, l) == (&scope, &lsn)).unwrap_or_else(|| {
                logs.push((scope.clone(), lsn, replay(&self.postgres, &scope, lsn)));
                logs.len() - 1
            });
            Naive::shown(&self.postgres, &logs[known].2, &scope, &at, store.tables())
        };
        (0..self.plan.size.clients()).map(&mut look).collect()
    }
}
