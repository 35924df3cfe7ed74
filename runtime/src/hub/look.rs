//! Which clients have a session at a hub, and in which phase: asked for lists that people read.

use super::sockets::Sockets;
use dormouse_core::hub::{Hub, PhaseName};
use dormouse_core::session::ClientId;
use serde::Serialize;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// The phase of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SessionPhase {
    /// Its hub is awake.
    Awake(PhaseName),
    /// Its hub sleeps.
    Asleep(Hibernated),
}

/// The one phase of sessions whose hub sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hibernated {
    /// Its client has all there is, or it would be awake.
    Hibernated,
}

/// A question about some clients of one hub.
#[derive(Debug)]
pub struct Look {
    clients: Vec<ClientId>,
    reply: oneshot::Sender<Vec<(ClientId, SessionPhase)>>,
}

impl Look {
    pub(super) fn at(clients: Vec<ClientId>) -> (Self, oneshot::Receiver<Vec<(ClientId, SessionPhase)>>) {
        let (reply, answer) = oneshot::channel();
        (Self { clients, reply }, answer)
    }

    pub(super) fn answer(self, machine: Option<&Hub>, sockets: &Sockets) {
        let found = match machine {
            Some(machine) => {
                let phase =
                    |client: ClientId| machine.phase_of(&client).map(|name| (client, SessionPhase::Awake(name)));
                self.clients.into_iter().filter_map(phase).collect()
            }
            None => {
                let asked: BTreeSet<_> = self.clients.iter().collect();
                let here = sockets.clients().filter(|client| asked.contains(client));
                here.map(|client| (client.clone(), SessionPhase::Asleep(Hibernated::Hibernated))).collect()
            }
        };
        let _ = self.reply.send(found); // Whoever asked may have gone.
    }
}
