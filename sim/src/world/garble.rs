//! A server that says what does not follow from what it said before, as one of another version might: a client must not believe it.
//!
//! Nothing is lost on the way: what a client refuses is followed by its leaving, and a greeting that tells what it holds.

use super::World;
use super::connection::ToClient;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::oracle::{Promise, follows};
use crate::plan::{Family, QUEUE_MESSAGES};
use crate::probe::Probe;
use dormouse_core::change::Page;
use dormouse_core::client;
use dormouse_core::fault::{FaultCode, Malformed, PeerFault};
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::session::BackfillId;
use dormouse_core::store::StoreRequest;
use dormouse_core::wire::ServerMessage;
use std::sync::Arc;

const WAYS: u64 = 11;
/// So much further on than the client's place is another: past some transactions.
const FURTHER: u64 = 1_500;

impl World {
    /// What a server says arrives, perhaps garbled.
    pub(super) fn said_to_client(&mut self, id: u64, message: Result<ServerMessage, Malformed>) {
        let Some(connection) = self.network.connections.get(id) else { return };
        let (client, life, socket) = (connection.client, connection.client_life, connection.socket);
        if let Err(Malformed { why }) = &message {
            let event = format!("what the server sends is no message to client/{client}: {why}");
            return self.violate(Promise::Complete, "decodable", Entity::Hub(connection.hub), event);
        }
        let hears = |message| client::Input::Received { socket, message };
        let piece = matches!(&message, Ok(ServerMessage::Page(page)) if page.is_piece());
        let weight = if piece { per_mille(240) } else { per_mille(40) };
        let weight = if self.plan.has(Family::Garbled) { weight } else { 0 };
        let said = match self.choose(Kind::Garble, Entity::Client(client), WAYS, weight) {
            0 => message.map(|message| self.said_in_vain(client, message)),
            1 => {
                self.hit(Probe::Garbled);
                Err(Malformed { why: "garbled".into() })
            }
            2 => {
                self.hit(Probe::Garbled);
                self.client_hears(client, life, hears(message.clone()));
                message
            }
            way => message.map(|message| self.garbled(way, message)),
        };
        self.client_hears(client, life, hears(said));
        self.flood(id);
    }

    /// A server that knows no window sends more than its client has room for, of what does no harm.
    fn flood(&mut self, id: u64) {
        let weight = if self.plan.has(Family::Garbled) { per_mille(10) } else { 0 };
        let Some(connection) = self.network.connections.get(id) else { return };
        let (client, life, socket) = (connection.client, connection.client_life, connection.socket);
        if !self.happens(Kind::Flood, Entity::Client(client), weight) {
            return;
        }
        self.hit(Probe::Flooded);
        for relation in std::iter::repeat_n(self.postgres.relation(0).cloned(), QUEUE_MESSAGES + 2).flatten() {
            self.client_hears(
                client,
                life,
                client::Input::Received { socket, message: Ok(ServerMessage::Schema(relation)) },
            );
        }
    }

    /// What its host had read before the client closed the socket reaches the client afterwards, perhaps.
    pub(super) fn frame_at_closed(&mut self, id: u64, frame: ToClient) {
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        let (client, life, socket) = (connection.client, connection.client_life, connection.socket);
        let message = match frame {
            ToClient::Message(message) => Ok((*message).clone()),
            ToClient::Bytes(payload, _) => connection.decoder.decode(payload),
            ToClient::Pong | ToClient::Closed(_) => return,
        };
        let weight = if self.plan.has(Family::Latency) { per_mille(400) } else { 0 };
        if self.clients[client as usize].life == life && self.happens(Kind::LateFrame, Entity::Client(client), weight) {
            self.hit(Probe::FrameOnClosedSocket);
            self.client_hears(client, life, client::Input::Received { socket, message });
        }
    }

    /// A welcome at another place than the client's, which holds what it holds; or a farewell because of a session that there is not.
    fn said_in_vain(&mut self, client: u8, message: ServerMessage) -> ServerMessage {
        if !self.plan.has(Family::Garbled) || self.plan.is_attacker(client) {
            return message;
        }
        let entity = Entity::Client(client);
        match message {
            // A thin client believes its server, which alone remembers its place.
            ServerMessage::Welcome { client: id, era, schema, head, from: Some(from), credential_expires_in_ms }
                if !self.plan.is_thin(client) && self.happens(Kind::GarbleWelcome, entity, per_mille(150)) =>
            {
                self.hit(Probe::WelcomeGarbled);
                let position = Position { commit_lsn: Lsn(from.position.commit_lsn.0 + FURTHER), ..from.position };
                let from = Some(Waypoint { position, ..from });
                ServerMessage::Welcome { client: id, era, schema, head, from, credential_expires_in_ms }
            }
            ServerMessage::Fault(_) | ServerMessage::Welcome { .. } => message,
            // What it would have said is lost with the connection.
            _ if self.happens(Kind::GarbleReplaced, entity, per_mille(6)) => {
                self.hit(Probe::ReplacedGarbled);
                ServerMessage::Fault(PeerFault::new(FaultCode::Replaced, "a newer session has taken over"))
            }
            message => message,
        }
    }

    fn garbled(&mut self, way: u64, message: ServerMessage) -> ServerMessage {
        let garbled = match message.clone() {
            ServerMessage::Page(page) => garbled_page(way, &page).map(|page| ServerMessage::Page(Arc::new(page))),
            ServerMessage::Chunk { backfill, n, of, chunk } => {
                garbled_number(way, backfill, n).map(|(backfill, n)| ServerMessage::Chunk { backfill, n, of, chunk })
            }
            ServerMessage::Seam { backfill, n, page, complete } => garbled_number(way, backfill, n)
                .map(|(backfill, n)| ServerMessage::Seam { backfill, n, page, complete }),
            _ => None,
        };
        let Some(garbled) = garbled else { return message };
        self.hit(Probe::Garbled);
        if matches!(&garbled, ServerMessage::Page(page) if page.is_piece()) {
            self.hit(Probe::GarbledPiece);
        }
        garbled
    }

    /// A client asks its store for something, which must follow what the store holds, whatever the server said. What a thin client
    /// was handed may come again.
    pub(super) fn look_at_request(&mut self, client: u8, request: &StoreRequest) {
        if !self.plan.has(Family::Garbled) || self.plan.is_thin(client) {
            return;
        }
        let held = self.clients[client as usize].store.held();
        let verdict = follows(request, held.staged.as_ref());
        self.verdict(Entity::Client(client), verdict);
    }
}

/// A page that does not follow. None when this way does not fit the page.
fn garbled_page(way: u64, page: &Page) -> Option<Page> {
    let mut page = page.clone();
    let whole = !page.is_piece();
    match way {
        3 => page.through.era.id ^= 1,
        4 => page.through.schema.0 += 1_000,
        5 => page.after = Position { commit_lsn: Lsn(page.through.position.commit_lsn.0 - 1), ..page.after },
        6 if whole && page.after.is_boundary() => page.after.index = 0,
        7 if !whole => page.transactions.push(page.transactions.first()?.clone()),
        8 if !whole => page.transactions.first_mut()?.first += 1,
        9 if !whole && !page.after.is_boundary() => page.after.commit_lsn.0 -= 1,
        10 if !whole && page.after.is_boundary() => page.after.index = 0,
        _ => return None,
    }
    Some(page)
}

/// The number of a message of a backfill that does not follow.
fn garbled_number(way: u64, backfill: BackfillId, n: u32) -> Option<(BackfillId, u32)> {
    match way {
        3..=6 => Some((backfill, n + 1)),
        7..=10 if n > 0 => Some((BackfillId(backfill.0 ^ 1), n)),
        _ => None,
    }
}
