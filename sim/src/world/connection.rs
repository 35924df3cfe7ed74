//! What the network holds: connections, and the frames on their way.

use super::connections::Connections;
use crate::oracle::Sent;
use dormouse_core::client::SocketId;
use dormouse_core::fault::Malformed;
use dormouse_core::hub::SpoolId;
use dormouse_core::position::Waypoint;
use dormouse_core::session::{Attachment, BackfillId, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ChunkBody, ClientMessage, Decoder, Format, Payload, ServerMessage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What travels to the server.
#[derive(Debug, Clone)]
pub(super) enum ToServer {
    Message(Box<Result<ClientMessage, Malformed>>),
    Bytes(Payload<'static>),
    /// Bytes that are no message.
    Garbage(String),
    Ping,
    Closed,
}

/// What travels to the client.
#[derive(Debug, Clone)]
pub(super) enum ToClient {
    Message(Arc<ServerMessage>),
    /// With what they are.
    Bytes(Payload<'static>, Arc<ServerMessage>),
    Pong,
    Closed(&'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Link<T> {
    pub(super) frames: VecDeque<T>,
    pub(super) last: Timestamp,
    pub(super) dark: bool,
    /// How many frames were sent, lost ones included. Counted only for the log.
    pub(super) sent: u64,
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self { frames: VecDeque::new(), last: Timestamp::ZERO, dark: false, sent: 0 }
    }
}

impl<T> Link<T> {
    /// Which of all that were sent is the next to arrive: those that a cut has taken away count.
    pub(super) fn arriving(&self) -> u64 {
        self.sent.saturating_sub(self.frames.len() as u64)
    }
}

/// One connection between a client and a hub.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) client: u8,
    pub(super) client_life: u64,
    pub(super) socket: SocketId,
    pub(super) hub: u8,
    pub(super) session: SessionId,
    pub(super) to_server: Link<ToServer>,
    pub(super) to_client: Link<ToClient>,
    pub(super) server_open: bool,
    /// Whether its client was told that it is live.
    pub(super) told_live: bool,
    /// The life of the hub that has closed it.
    pub(super) closed_by: Option<u64>,
    pub(super) client_open: bool,
    /// Since when it is; unknown where that would only keep equal states apart.
    pub(super) opened: Option<Timestamp>,
    pub(super) heard: Timestamp,
    /// When its credential runs out.
    pub(super) credential_until: Option<Timestamp>,
    /// The same by the clock of the hub's node, as the hub was told.
    pub(super) expires: Option<Timestamp>,
    /// What the present message was answered with: for how long a new credential is good.
    pub(super) renewed: Option<Option<u64>>,
    pub(super) attachment: Option<Arc<Attachment>>,
    /// What the client reads with.
    pub(super) decoder: Decoder,
    /// About how many bytes of pages and chunks the present life of the hub has on their way to the client.
    pub(super) in_flight: u64,
    pub(super) in_flight_of: u64,
    /// Where the pages that the present life of the hub has sent end.
    pub(super) sent: Option<Waypoint>,
    /// What the present life of the hub has sent.
    pub(super) ledger: Sent,
    /// What the present life of the hub heard to be stored, since the session has a place.
    pub(super) acked: Option<Waypoint>,
    /// The backfill of which a chunk was sent last, and the copy of which that is.
    pub(super) copied: Option<(BackfillId, SpoolId)>,
    /// Of each frame on its way to the client: which life of the hub sent it, and its part of `in_flight`.
    pub(super) weights: VecDeque<(u64, u64)>,
}

impl Connection {
    /// Whether an acknowledgement is on its way to the server.
    pub(super) fn acks(&self) -> bool {
        let is_ack = |frame: &ToServer| matches!(frame, ToServer::Message(message) if matches!(**message, Ok(ClientMessage::Ack { .. })));
        self.to_server.frames.iter().any(is_ack)
    }

    /// How many pages or chunks are on their way to the client.
    pub(super) fn pages(&self) -> usize {
        self.weights.iter().filter(|(_, weight)| *weight > 0).count()
    }

    /// Whether both sides hold it and hear each other.
    pub(super) const fn is_sound(&self) -> bool {
        self.client_open && self.server_open && !self.to_client.dark && !self.to_server.dark
    }

    /// Whether neither side holds it any more, and nothing of it stands in the queue of the hub that closed it.
    pub(super) fn gone(&self) -> bool {
        let queued = self.closed_by.is_some() && !self.to_server.frames.is_empty();
        !self.server_open && !self.client_open && !queued
    }
}

/// All connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Network {
    pub(super) opened: u64,
    pub(super) connections: Connections,
}

/// The last message that was encoded: a server does so once, however many receive it.
#[derive(Debug, Clone, Default)]
pub(super) struct Encoded {
    message: Option<Arc<ServerMessage>>,
    payloads: BTreeMap<Format, Payload<'static>>,
}

impl Encoded {
    pub(super) fn of(&mut self, message: &Arc<ServerMessage>, format: Format) -> Payload<'static> {
        if self.message.as_ref().is_none_or(|last| !Arc::ptr_eq(last, message)) {
            *self = Self { message: Some(Arc::clone(message)), payloads: BTreeMap::new() };
        }
        self.payloads.entry(format).or_insert_with(|| as_a_server_does(message, format)).clone()
    }
}

/// A server encodes what a chunk's messages have in common once for all sessions, and puts what begins each before it.
fn as_a_server_does(message: &ServerMessage, format: Format) -> Payload<'static> {
    let ServerMessage::Chunk { backfill, n, of, chunk } = message else { return message.encode(format) };
    let body = ChunkBody::new(chunk, format);
    match body.head(*backfill, *n, *of) {
        Payload::Text(head) => Payload::Text((head.into_owned() + &String::from_utf8_lossy(body.bytes())).into()),
        Payload::Binary(head) => Payload::Binary([&*head, &**body.bytes()].concat().into()),
    }
}

impl Network {
    /// The connection that a client knows by this name.
    pub(super) fn of_client(&self, client: u8, life: u64, socket: SocketId) -> Option<u64> {
        let ours = |c: &Connection| c.client_life == life && c.socket == socket && c.client_open;
        self.connections.of(client).find(|(_, connection)| ours(connection)).map(|(id, _)| id)
    }

    /// The connection that a hub knows as this session.
    pub(super) fn of_session(&self, hub: u8, session: SessionId) -> Option<u64> {
        let id = session.serial;
        self.connections.get(id).filter(|c| c.hub == hub && c.session == session && c.server_open).map(|_| id)
    }

    /// The connections that a hub's host holds.
    pub(super) fn at_hub(&self, hub: u8) -> impl Iterator<Item = (u64, &Connection)> {
        self.connections.iter().filter(move |(_, c)| c.hub == hub && c.server_open)
    }
}

/// About how many bytes of a client's data a message carries.
pub(super) fn weight(message: &ServerMessage) -> u64 {
    let weight = match message {
        ServerMessage::Page(page) => page.weight(),
        ServerMessage::Seam { page, .. } => page.as_ref().map_or(0, |page| page.weight()),
        ServerMessage::Chunk { chunk, .. } => chunk.rows.iter().map(|row| row.bytes().len()).sum(),
        _ => 0,
    };
    weight as u64
}
