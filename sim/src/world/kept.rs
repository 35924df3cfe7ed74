//! What a hub hears to be stored outlives it: with the socket, and in the registry.

use super::World;
use super::connection::Network;
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::Family;
use crate::sorted::Sorted;
use dormouse_core::hub::Output;
use dormouse_core::position::{Era, Position, SchemaVersion, Waypoint};
use dormouse_core::session::{Attachment, ClientId, Epoch};
use dormouse_core::wire::{ClientMessage, ServerMessage};
use std::sync::Arc;

/// How far the sessions of each epoch came, by era and schema.
pub(super) type Placed = Sorted<(Epoch, Era, SchemaVersion), Position>;

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
        let Some(connection) = self.network.connections.get(id) else { return };
        if let Some(epoch) = connection.attachment.as_ref().map(|attachment| attachment.epoch) {
            self.note_place(connection.hub, epoch, through);
        }
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
        let (hub, expires) = (connection.hub, connection.expires);
        let attachment = connection.attachment.clone().filter(|_| has_place);
        // A hub that does not know the head yet cannot say whether that was ever sent, and drops it with the session. Whose credential has
        // run out is sent away, whatever it says.
        let good = expires.is_none_or(|until| until > self.hub_now(hub));
        let host = &mut self.hubs[hub as usize];
        let knows = host.machine.as_ref().is_some_and(|machine| machine.head().is_some());
        if let Some(attachment) = attachment.filter(|_| knows && good) {
            host.acked.insert(attachment.client.clone(), (attachment.epoch, *through));
        }
    }

    fn note_place(&mut self, hub: u8, epoch: Epoch, place: &Waypoint) {
        if self.chooser.is_exhaustive() {
            return;
        }
        let placed = &mut self.hubs[hub as usize].placed;
        let key = (epoch, place.era, place.schema);
        if placed.get(&key).is_none_or(|most| *most < place.position) {
            placed.insert(key, place.position);
        }
    }

    /// A hub asks for places to be stored: each is of the session under whose epoch it is stored.
    pub(super) fn judge_places(&mut self, hub: u8, question: &Output) {
        let Output::SavePositions(ask) = question else { return };
        if self.chooser.is_exhaustive() {
            return;
        }
        let placed = &self.hubs[hub as usize].placed;
        let theirs = |epoch: Epoch, place: &Waypoint| {
            placed.get(&(epoch, place.era, place.schema)).is_some_and(|most| place.position <= *most)
        };
        let strange = |(_, epoch, place): &&(ClientId, Epoch, Option<Waypoint>)| {
            place.as_ref().is_some_and(|place| !theirs(*epoch, place))
        };
        if let Some((client, epoch, Some(place))) = ask.question.entries.iter().find(strange) {
            let event =
                format!("stores {} for {client}, whose session of epoch {} never had it", place.position, epoch.0);
            self.violate(Promise::Durable, "own place", Entity::Hub(hub), event);
        }
    }

    /// Something is kept with a socket. That everything comes again makes void what was heard before.
    pub(super) fn forget_place(&mut self, hub: u8, attachment: &Attachment) {
        if let Some(place) = &attachment.position {
            self.note_place(hub, attachment.epoch, place);
        }
        if attachment.position.is_none() {
            self.hubs[hub as usize].acked.remove(&attachment.client);
        }
    }

    /// An announcement has reached a hub.
    pub(super) fn note_told(&mut self, hub: u8, told: Waypoint) {
        let host = &mut self.hubs[hub as usize];
        if host.machine.is_none() || self.chooser.is_exhaustive() {
            return;
        }
        let later = |before: Waypoint| before.era != told.era || before.position < told.position;
        if host.told.is_none_or(later) {
            host.told = Some(told);
        }
    }

    /// A hub hibernates: all that was announced to it its sessions have.
    pub(super) fn judge_told(&mut self, hub: u8) {
        let Some(told) = self.hubs[hub as usize].told.filter(|_| self.oracle.is_all_kept()) else { return };
        let behind = |attachment: &Arc<Attachment>| {
            let stands = (attachment.era, attachment.schema) == (told.era, told.schema);
            stands && attachment.position.is_some_and(|kept| kept.position < told.position)
        };
        let behind =
            self.network.at_hub(hub).find(|(_, connection)| connection.attachment.as_ref().is_some_and(behind));
        if let Some(client) = behind.map(|(_, connection)| connection.client) {
            let event = format!("sleeps, and {} was announced to it, which client/{client} has not", told.position);
            self.violate(Promise::Converges, "told", Entity::Hub(hub), event);
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
            return self.violate(Promise::Durable, "acked kept", Entity::Hub(hub), event);
        }
        // Whoever has left meanwhile and not come back goes on from what is stored, if it is thin.
        let rows = self.postgres.registrations();
        let left = self.hubs[hub as usize].acked.iter().filter(|_| is_registry_sure);
        let lost = left.into_iter().find(|(client, (epoch, acked))| {
            let row = rows.get(*client).filter(|row| row.epoch == *epoch);
            let behind =
                |kept: Waypoint| kept.era == acked.era && kept.schema == acked.schema && kept.position < acked.position;
            row.is_some_and(|row| row.position.is_none_or(behind))
        });
        if let Some((client, (_, acked))) = lost {
            let event =
                format!("sleeps, and the registry does not hold {} of {client}, which has left", acked.position);
            self.violate(Promise::Durable, "acked kept", Entity::Hub(hub), event);
        }
    }
}
