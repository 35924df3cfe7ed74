//! Which clients have a lane of their own, and whose sessions are whose: each hub counts its sessions for itself.

use crate::entity::Entity;
use crate::log::Names;
use dormouse_core::session::{ClientId, SessionId};
use std::collections::BTreeMap;

/// The most clients that are drawn: more lanes than that nobody can read.
const CLIENTS_MAX: usize = 24;

/// Who takes part.
#[derive(Debug, Default)]
pub(super) struct Cast {
    /// Whose a session is, by hub and serial.
    sessions: BTreeMap<(u8, u64), ClientId>,
    /// Those who are drawn, by their lanes.
    clients: Vec<ClientId>,
    /// How many took part and are not drawn.
    left_out: usize,
}

impl Cast {
    /// A session belongs to a client.
    pub(super) fn knows(&mut self, hub: u8, session: SessionId, client: &ClientId) {
        self.sessions.entry((hub, session.serial)).or_insert_with(|| client.clone());
    }

    /// Gives lanes to the first that take part: the sessions are those of the steps that are told, in order.
    pub(super) fn draw(&mut self, taking_part: impl Iterator<Item = (u8, SessionId)>) {
        let mut others = std::collections::BTreeSet::new();
        for (hub, session) in taking_part {
            let Some(client) = self.sessions.get(&(hub, session.serial)) else { continue };
            if self.clients.contains(client) {
                continue;
            }
            if self.clients.len() < CLIENTS_MAX {
                self.clients.push(client.clone());
            } else {
                others.insert(client.clone());
            }
        }
        self.left_out = others.len();
    }

    /// The lane of a session's client.
    pub(super) fn lane(&self, hub: u8, session: SessionId) -> Option<Entity> {
        let client = self.sessions.get(&(hub, session.serial))?;
        let at = self.clients.iter().position(|known| known == client)?;
        u8::try_from(at).ok().map(Entity::Client)
    }

    /// The clients behind a hub's sessions.
    pub(super) fn names(&self, hub: u8) -> Names {
        let mut names = Names::default();
        for ((_, serial), _) in self.sessions.range((hub, 0)..=(hub, u64::MAX)) {
            if let Some(lane) = self.lane(hub, SessionId { slot: 0, serial: *serial }) {
                names.session(*serial, lane);
            }
        }
        names
    }

    /// The lanes of clients with whom they belong to, for people.
    pub(super) fn facts(&self) -> Vec<(String, String)> {
        let lanes = self.clients.iter().enumerate();
        let lanes: Vec<_> = lanes.map(|(n, client)| format!("{} is {client}", Entity::Client(n as u8))).collect();
        let mut facts = Vec::new();
        if !lanes.is_empty() {
            facts.push(("clients".to_owned(), lanes.join(", ")));
        }
        if self.left_out > 0 {
            facts.push(("without a lane".to_owned(), format!("{} more clients took part", self.left_out)));
        }
        facts
    }
}
