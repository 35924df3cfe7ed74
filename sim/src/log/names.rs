//! Who is behind a session.

use crate::entity::Entity;
use dormouse_core::session::{ClientId, SessionId};
use std::collections::BTreeMap;

/// What is known of the clients behind sessions.
#[derive(Debug, Clone, Default)]
pub struct Names {
    sessions: BTreeMap<u64, Entity>,
}

impl Names {
    /// Nobody is known.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { sessions: BTreeMap::new() }
    }

    /// A session belongs to a client.
    pub fn session(&mut self, serial: u64, client: Entity) {
        self.sessions.insert(serial, client);
    }

    /// The client behind a session, and which of its sessions it is.
    #[must_use]
    pub fn of(&self, session: SessionId) -> String {
        match self.sessions.get(&session.serial) {
            Some(client) => format!("{client} {session}"),
            None => format!("session {session}"),
        }
    }
}

/// A client's name as the lanes have it.
#[must_use]
pub fn client(id: &ClientId) -> String {
    let text = id.as_str();
    match text.strip_prefix("client-") {
        Some(n) if n.parse::<u8>().is_ok() => format!("client/{n}"),
        _ => text.to_owned(),
    }
}
