//! What a hub's host had queued when the hub closed a session: the machine hears it afterwards, and perhaps when another stands in the slot.

use super::World;
use super::connection::ToServer;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::hub::{ClosedReason, Input};
use dormouse_core::wire::ClientMessage;
use std::time::Duration;

const QUEUED_US: &[u64] = &[150, 20_000, 120_000, 600_000];

impl World {
    /// A hub closes a session: this life of it may hear more of that.
    pub(super) fn closed_by_hub(&mut self, hub: u8, id: u64) {
        if !self.plan.has(Family::Crossed) || self.chooser.is_exhaustive() {
            return; // What is remembered here would only keep equal states apart.
        }
        let life = self.hubs[hub as usize].life;
        if let Some(connection) = self.network.connections.get_mut(id) {
            connection.closed_by = Some(life);
        }
    }

    /// How long a frame stands in the host's queue, on a connection that its hub has closed.
    pub(super) fn queued_late(&mut self, id: u64) -> Duration {
        match self.network.connections.get(id).filter(|connection| connection.closed_by.is_some()) {
            Some(connection) => {
                let client = connection.client;
                self.delay(Kind::LateWordLatency, Entity::Client(client), QUEUED_US, per_mille(500))
            }
            None => Duration::ZERO,
        }
    }

    /// A frame arrives on a connection that the server has closed. Nobody hears it, but where the host had it in its queue by then.
    pub(super) fn frame_after_close(&mut self, id: u64, frame: ToServer) {
        let Some(connection) = self.network.connections.get(id) else { return };
        let (client, hub, session) = (connection.client, connection.hub, connection.session);
        let host = &self.hubs[hub as usize];
        if host.machine.is_none() || connection.closed_by != Some(host.life) {
            return;
        }
        let input = match frame {
            ToServer::Message(message) => Input::Received { session, message: *message },
            ToServer::Bytes(payload) => {
                Input::Received { session, message: ClientMessage::decode(payload, self.plan.format(client)) }
            }
            ToServer::Closed => Input::Closed { session, reason: ClosedReason::Peer },
            ToServer::Garbage(_) | ToServer::Ping => return,
        };
        // A greeting comes with its socket, and a credential goes to the host.
        let greets =
            |message: &ClientMessage| matches!(message, ClientMessage::Hello(_) | ClientMessage::Credential(_));
        if matches!(&input, Input::Received { message: Ok(message), .. } if greets(message)) {
            return;
        }
        if self.happens(Kind::LateWord, Entity::Client(client), per_mille(500)) {
            self.hit(Probe::WordAfterClose);
            self.feed_hub(hub, input, Probe::HubWokeByMessage);
        }
    }
}
