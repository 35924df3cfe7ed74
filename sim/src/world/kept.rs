//! What a hub hears to be stored outlives it: with the socket, and in the registry.

use super::World;
use super::connection::Network;
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::Family;
use dormouse_core::position::Waypoint;
use dormouse_core::wire::{ClientMessage, ServerMessage};

impl Network {
    /// A hub is dropped: what it heard and did not keep is left to the next acknowledgement.
    pub(super) fn forget_acked(&mut self, hub: u8) {
        for connection in self.connections.values_mut().filter(|connection| connection.hub == hub) {
            connection.acked = None;
        }
    }
}

impl World {
    /// A client's message reaches a hub: from now on the hub knows what that acknowledges.
    pub(super) fn note_acked(&mut self, id: u64, message: &ClientMessage) {
        let ClientMessage::Ack { through } = message else { return };
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        // What is remembered here would only keep equal states apart in an exhaustive search.
        if self.plan.is_attacker(connection.client) || self.chooser.is_exhaustive() {
            return;
        }
        // In a backfill, what came before it is acknowledged late.
        let has_place = connection.attachment.as_ref().is_some_and(|attachment| attachment.position.is_some());
        if has_place {
            connection.acked = Some(*through);
        }
    }

    /// A hub sends a message: no page that it heard to be stored already.
    pub(super) fn judge_sent(&mut self, id: u64, message: &ServerMessage) {
        let ServerMessage::Page(page) = message else { return };
        let Some(connection) = self.network.connections.get(id) else { return };
        let Some(acked) = connection.acked.filter(|acked| acked.era == page.through.era) else { return };
        if page.through.position <= acked.position {
            let (hub, client) = (connection.hub, connection.client);
            let event = format!(
                "a page through {} is sent to client/{client}, which has acknowledged {}",
                page.through.position, acked.position
            );
            self.violate(Promise::Bounded, "sent again", Entity::Hub(hub), event);
        }
    }

    /// A hub hibernates: what it heard to be stored must be kept, or the next life would know less than this one.
    pub(super) fn judge_kept(&mut self, hub: u8) {
        // As at rest: who was dropped between keeping a place with the socket and storing it leaves that to the next acknowledgement.
        // So does a copy, whose row another may have removed for good-bye: a renewal puts it back without a place.
        let is_registry_sure =
            !self.plan.has(Family::Cloned) && super::quiet::ENDED.iter().all(|probe| self.probes.count(*probe) == 0);
        let mut lost = None;
        for (_, connection) in self.network.at_hub(hub) {
            let (Some(acked), Some(attachment)) = (connection.acked, &connection.attachment) else { continue };
            if (acked.era, acked.schema) != (attachment.era, attachment.schema) {
                continue;
            }
            let behind = |kept: Option<Waypoint>| kept.is_none_or(|kept| kept.position < acked.position);
            let row = self.postgres.registrations().get(&attachment.client);
            let row = row.filter(|row| is_registry_sure && row.epoch == attachment.epoch);
            if behind(attachment.position) {
                lost = Some(("attachment", connection.client, acked));
            } else if row.is_some_and(|row| behind(row.position)) {
                lost = Some(("registry", connection.client, acked));
            }
        }
        if let Some((place, client, acked)) = lost {
            let event = format!("sleeps, and its {place} does not hold {} of client/{client}", acked.position);
            self.violate(Promise::Durable, "acked kept", Entity::Hub(hub), event);
        }
    }
}
