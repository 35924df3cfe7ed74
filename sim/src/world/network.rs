//! Connections: two links that keep their order, may be slow, may go dark, and end at both sides at different times.

use super::connection::{Connection, Link, ToClient, ToServer, weight};
use super::event::frame_place;
use super::{Event, World, names};
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::log::{Draft, Link as Way, What};
use crate::oracle::{Promise, Sent, as_sent};
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::client::SocketId;
use dormouse_core::hub::ClosedReason;
use dormouse_core::session::SessionId;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::json::decode_client;
use dormouse_core::wire::{ClientMessage, Decoder, Format, ServerMessage};
use dormouse_core::{client, hub};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(super) const FRAME_US: &[u64] = &[150, 2_000, 20_000, 150_000, 600_000];
pub(super) const DIAL_US: &[u64] = &[400, 5_000, 50_000, 300_000, 1_200_000];
pub(super) const CLOSE_US: u64 = 300;
/// How long the server's host hears nothing before it gives a socket up.
const SERVER_SILENCE: Duration = Duration::from_secs(6);

impl World {
    pub(super) fn dials(&mut self, client: u8, life: u64, socket: SocketId) {
        let entity = Entity::Client(client);
        let weight = if self.plan.has(Family::Latency) { per_mille(150) } else { per_mille(10) };
        let after = self.delay(Kind::DialLatency, entity, DIAL_US, weight);
        let fails = if self.plan.has(Family::Cuts) { per_mille(60) } else { 0 };
        self.log.sends(entity, || Way::Dial { client, life, socket: socket.0 });
        if self.happens(Kind::DialFails, entity, fails) {
            let input = Box::new(client::Input::Closed { socket, why: "the dial failed".into() });
            return self.plan_in(after, Event::ClientHears { client, life, input });
        }
        self.plan_in(after, Event::Dialled { client, life, socket });
    }

    /// A dial reaches the server.
    pub(super) fn dialled(&mut self, client: u8, life: u64, socket: SocketId) {
        self.digest.word(8);
        if self.clients[client as usize].life != life {
            return; // The dialler is gone.
        }
        self.log.arrives(|| Way::Dial { client, life, socket: socket.0 });
        self.chooser.passes(Kind::Dialled, Entity::Client(client));
        let lane = Entity::Hub(self.plan.hub_of(client));
        if self.replications[0].machine.is_none() {
            self.log.add(|_| {
                Draft::new(lane, What::Note, format!("is down: nobody listens to the dial of client/{client}"))
            });
            self.log.sends(lane, || Way::Dialled { client, life, socket: socket.0 });
            let input = Box::new(client::Input::Closed { socket, why: "nobody listens".into() });
            return self.plan_in(Duration::from_micros(CLOSE_US), Event::ClientHears { client, life, input });
        }
        let hub = self.plan.hub_of(client);
        let (session, credential_until) = self.accept(client, life, socket, hub);
        let input = Box::new(client::Input::Connected { socket });
        self.plan_in(Duration::from_micros(CLOSE_US), Event::ClientHears { client, life, input });
        self.feed_hub(hub, hub::Input::Opened { session, credential_until }, Probe::HubWokeByMessage);
        self.log.sends(lane, || Way::Dialled { client, life, socket: socket.0 });
        self.saw_dial();
    }

    fn accept(&mut self, client: u8, client_life: u64, socket: SocketId, hub: u8) -> (SessionId, Option<Timestamp>) {
        let credential_until = self.credential_until(client);
        self.network.opened += 1;
        let id = self.network.opened;
        let mut taken: Vec<_> = self.network.at_hub(hub).map(|(_, c)| c.session.slot).collect();
        taken.sort_unstable();
        let slot = (0..).zip(&taken).find(|(slot, taken)| slot != *taken).map_or(taken.len() as u32, |(slot, _)| slot);
        let (session, expires) = (SessionId { slot, serial: id }, self.expires_at(hub, credential_until));
        let connection = Connection {
            client,
            client_life,
            socket,
            hub,
            session,
            to_server: Link::default(),
            to_client: Link::default(),
            server_open: true,
            client_open: true,
            opened: (!self.chooser.is_exhaustive()).then_some(self.now),
            heard: self.now,
            credential_until,
            expires,
            renewed: None,
            attachment: None,
            copied: None,
            decoder: Decoder::new(agreed(self.plan.format(client))),
            in_flight: 0,
            in_flight_of: 0,
            sent: None,
            ledger: Sent::default(),
            acked: None,
            told_live: false,
            closed_by: None,
            weights: VecDeque::new(),
        };
        self.network.connections.insert(id, connection);
        self.log.names(id, Entity::Client(client));
        self.plan_in(SERVER_SILENCE, Event::Silence { connection: id });
        (session, expires)
    }

    fn frame_latency(&mut self, client: u8) -> Duration {
        let weight = if self.plan.has(Family::Latency) { per_mille(120) } else { per_mille(8) };
        self.delay(Kind::FrameLatency, Entity::Client(client), FRAME_US, weight)
    }

    fn format_of(&self, id: u64) -> Format {
        self.network.connections.get(id).map_or_else(Format::default, |connection| self.plan.format(connection.client))
    }

    /// A client sends a message.
    pub(super) fn send_to_server(&mut self, id: u64, message: ClientMessage) {
        let frame = if self.plan.has(Family::Bytes) {
            ToServer::Bytes(message.encode(self.format_of(id)))
        } else {
            ToServer::Message(Box::new(Ok(message)))
        };
        self.push_to_server(id, frame);
    }

    pub(super) fn push_to_server(&mut self, id: u64, frame: ToServer) {
        self.doing = match &frame {
            ToServer::Message(message) => message.as_ref().as_ref().map_or("Garbage", names::of_saying),
            ToServer::Bytes(_) => "Bytes",
            ToServer::Garbage(_) => "Garbage",
            ToServer::Ping => "Ping",
            ToServer::Closed => "Closed",
        };
        let Some(client) = self.network.connections.get(id).map(|c| c.client) else { return };
        let at = self.now + self.frame_latency(client) + self.queued_late(id);
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        let n = connection.to_server.sent;
        connection.to_server.sent += u64::from(self.log.wanted());
        self.log.sends(Entity::Client(client), || Way::Frame { connection: id, to_server: true, n });
        if connection.to_server.dark {
            return self.log.remark(Entity::Client(client), "lost: the connection is dark");
        }
        connection.to_server.last = connection.to_server.last.max(at);
        connection.to_server.frames.push_back(frame);
        let at = connection.to_server.last;
        self.queue.push(at, Event::Frame { connection: id, to_server: true });
    }

    /// A hub sends a message.
    pub(super) fn send_to_client(&mut self, id: u64, message: &Arc<ServerMessage>) {
        let frame = if self.plan.has(Family::Bytes) {
            self.hit(Probe::BytesOnTheWire);
            let format = self.format_of(id);
            ToClient::Bytes(self.encoded.of(message, format), Arc::clone(message))
        } else {
            ToClient::Message(Arc::clone(message))
        };
        self.judge_sent(id, message);
        self.judge_phase(id, message);
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        let (hub, weight) = (connection.hub, weight(message));
        let life = self.hubs[hub as usize].life;
        if connection.in_flight_of != life {
            (connection.in_flight_of, connection.in_flight) = (life, 0); // A woken hub knows nothing of what was sent.
            connection.sent = None;
            connection.ledger = Sent::default();
        }
        connection.told_live |= matches!(**message, ServerMessage::Live);
        if let ServerMessage::Credential { expires_in_ms } = **message {
            connection.renewed = Some(expires_in_ms);
        }
        let stands = connection.attachment.as_ref().map(|attachment| (attachment.era, attachment.schema));
        let present = crate::oracle::of_session(stands, message);
        let bounded = connection.ledger.sends(message, (self.plan.window_pages(), self.plan.limits().window_bytes));
        let allowed = self.oracle.allowed(self.now, connection.credential_until, message);
        let scoped = self.oracle.scoped(connection.client, message);
        let chained = self.oracle.sent(&mut connection.sent, message);
        connection.in_flight += weight;
        let verdict = self.oracle.in_flight(connection.in_flight);
        self.verdict(Entity::Hub(hub), verdict);
        self.verdict(Entity::Hub(hub), present);
        self.verdict(Entity::Hub(hub), chained);
        self.verdict(Entity::Hub(hub), bounded);
        self.verdict(Entity::Hub(hub), allowed);
        self.verdict(Entity::Hub(hub), scoped);
        self.push_weighed(id, frame, (life, weight));
    }

    fn push_to_client(&mut self, id: u64, frame: ToClient) {
        self.push_weighed(id, frame, (0, 0));
    }

    fn push_weighed(&mut self, id: u64, frame: ToClient, weight: (u64, u64)) {
        self.doing = match &frame {
            ToClient::Message(message) => names::of_message(message),
            ToClient::Bytes(..) => "Bytes",
            ToClient::Pong => "Pong",
            ToClient::Closed(_) => "Closed",
        };
        let Some(client) = self.network.connections.get(id).map(|c| c.client) else { return };
        let mut at = self.now + self.frame_latency(client);
        if let Some(until) = self.clients[client as usize].reads_again {
            at = at.max(until);
        }
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        let (n, lane) = (connection.to_client.sent, Entity::Hub(connection.hub));
        connection.to_client.sent += u64::from(self.log.wanted());
        self.log.sends(lane, || Way::Frame { connection: id, to_server: false, n });
        if connection.to_client.dark {
            return self.log.remark(lane, "lost: the connection is dark");
        }
        connection.to_client.last = connection.to_client.last.max(at);
        connection.to_client.frames.push_back(frame);
        connection.weights.push_back(weight);
        let at = connection.to_client.last;
        if connection.pages() >= self.plan.window_pages() as usize {
            self.probes.hit(Probe::WindowFull);
        } else if connection.in_flight >= self.plan.limits().window_bytes {
            self.probes.hit(Probe::WindowFullOfBytes);
        }
        self.queue.push(at, Event::Frame { connection: id, to_server: false });
    }

    /// The next frame of a link arrives.
    pub(super) fn frame(&mut self, id: u64, to_server: bool) {
        self.digest.word(id << 1 | u64::from(to_server));
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        if to_server {
            let n = connection.to_server.arriving();
            let Some(frame) = connection.to_server.frames.pop_front() else { return };
            self.log.arrives(|| Way::Frame { connection: id, to_server, n });
            match (connection.to_server.dark, connection.server_open) {
                (true, _) => {}
                (false, true) => self.frame_at_server(id, frame),
                (false, false) => self.frame_after_close(id, frame),
            }
        } else {
            let n = connection.to_client.arriving();
            let Some(frame) = connection.to_client.frames.pop_front() else { return };
            self.log.arrives(|| Way::Frame { connection: id, to_server, n });
            let (life, weight) = connection.weights.pop_front().unwrap_or_default();
            if life == connection.in_flight_of {
                connection.in_flight -= weight;
            }
            match (connection.to_client.dark, connection.client_open) {
                (true, _) => {}
                (false, true) => self.frame_at_client(id, frame),
                (false, false) => self.frame_at_closed(id, frame),
            }
        }
        self.forget_if_gone(id);
    }

    fn frame_at_server(&mut self, id: u64, frame: ToServer) {
        let now = self.now;
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        connection.heard = now;
        let (hub, session) = (connection.hub, connection.session);
        let message = match frame {
            ToServer::Message(message) => *message,
            ToServer::Bytes(payload) => ClientMessage::decode(payload, self.plan.format(connection.client)),
            ToServer::Garbage(text) => {
                let decoded = decode_client(&text);
                if decoded.is_ok() {
                    let event = format!("{text} is taken for a message");
                    self.violate(Promise::Bounded, "malformed", Entity::Hub(hub), event);
                }
                decoded
            }
            ToServer::Ping => {
                self.log.add(|names| {
                    Draft::new(Entity::Hub(hub), What::Received, format!("hears a ping from {}", names.of(session)))
                        .minor()
                });
                return self.push_to_client(id, ToClient::Pong);
            }
            ToServer::Closed => return self.server_hears_close(id, ClosedReason::Peer),
        };
        let never_sent = message.as_ref().is_ok_and(|message| self.is_never_sent(id, message));
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        if let (Ok(ClientMessage::Ack { through }), Some(sent)) = (&message, connection.sent)
            && (through.era, true) == (sent.era, through.position > sent.position)
        {
            // An earlier life had sent it. A woken hub must believe that of a forged one, too, which harms only who forged it.
            let honest = !self.plan.is_attacker(connection.client);
            connection.sent = honest.then_some(*through);
        }
        if let Ok(ClientMessage::Credential(shown)) = &message {
            return self.new_credential(id, shown);
        }
        let message = message.map(|message| self.shown_credential(id, message));
        if let Ok(message) = &message {
            if matches!(message, ClientMessage::Hello { .. }) {
                self.passes_of(id, Kind::Greeted);
            }
            self.saw_frame(id, message);
            if let (ClientMessage::Bye, Some(connection)) = (message, self.network.connections.get(id)) {
                let greeted = connection.attachment.as_ref().map(|attachment| attachment.client.clone());
                let client = greeted.unwrap_or_else(|| self.client_id(connection.client));
                self.oracle.wants_to_be_forgotten(client);
            }
            let noted = (!self.chooser.is_exhaustive()).then_some(now);
            if let Some(connection) = self.network.connections.get_mut(id) {
                connection.ledger.hears(message, noted);
            }
            self.note_acked(id, message);
        }
        let now = self.hub_now(hub);
        let leaves = connection_leaves(self.network.connections.get(id), message.as_ref().ok(), now);
        let before = self.hubs[hub as usize].unregistered;
        self.feed_hub(hub, hub::Input::Received { session, message }, Probe::HubWokeByMessage);
        if never_sent {
            self.judge_never_sent(id);
        }
        self.judge_freed(id);
        let host = &self.hubs[hub as usize];
        if leaves && host.machine.is_some() && host.unregistered == before {
            let event = "a client wants to be forgotten, and its registration is not removed".into();
            self.violate(Promise::Durable, "forgotten", Entity::Hub(hub), event);
        }
    }

    fn frame_at_client(&mut self, id: u64, frame: ToClient) {
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        let (client, life, socket) = (connection.client, connection.client_life, connection.socket);
        let input = match frame {
            ToClient::Message(message) => return self.said_to_client(id, Ok((*message).clone())),
            ToClient::Bytes(payload, sent) => {
                let (hub, message) = (connection.hub, connection.decoder.decode(payload));
                if message.as_ref().is_ok_and(|heard| !as_sent(heard, &sent)) {
                    let event = format!("what arrives at client/{client} is not what was sent");
                    self.violate(Promise::Complete, "as sent", Entity::Hub(hub), event);
                }
                return self.said_to_client(id, message);
            }
            ToClient::Pong => client::Input::Heard { socket },
            ToClient::Closed(why) => {
                connection.client_open = false;
                client::Input::Closed { socket, why: why.into() }
            }
        };
        self.client_hears(client, life, input);
    }

    /// The server's side of a connection ends, and its hub hears it.
    pub(super) fn server_hears_close(&mut self, id: u64, reason: ClosedReason) {
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        if !std::mem::take(&mut connection.server_open) {
            return;
        }
        let (hub, session) = (connection.hub, connection.session);
        self.passes_of(id, Kind::Closed);
        self.saw_close(id);
        self.feed_hub(hub, hub::Input::Closed { session, reason }, Probe::HubWokeByMessage);
        self.forget_if_gone(id);
    }

    /// The server ends a connection: what was sent still arrives.
    pub(super) fn server_closes(&mut self, id: u64, why: &'static str) {
        if let Some(connection) = self.network.connections.get_mut(id) {
            connection.server_open = false;
        }
        self.push_to_client(id, ToClient::Closed(why));
        self.forget_if_gone(id);
    }

    /// The client ends a connection: what was sent still arrives.
    pub(super) fn client_closes(&mut self, id: u64) {
        self.push_to_server(id, ToServer::Closed);
        if let Some(connection) = self.network.connections.get_mut(id) {
            connection.client_open = false;
        }
        self.forget_if_gone(id);
    }

    /// Cuts a connection. With `at_once`, what was under way is lost; else it still arrives.
    pub(super) fn cut(&mut self, id: u64, at_once: bool) {
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        if at_once {
            connection.to_server.frames.clear();
            connection.to_client.frames.clear();
            connection.weights.clear();
            connection.in_flight = 0;
            let due = |event: &Event| matches!(event, Event::Frame { connection, .. } if *connection == id);
            for to_server in [false, true] {
                self.queue.remove_where(frame_place(id, to_server), due);
            }
        }
        if connection.server_open {
            self.push_to_server(id, ToServer::Closed);
        }
        if self.network.connections.get(id).is_some_and(|connection| connection.client_open) {
            self.push_to_client(id, ToClient::Closed("the connection was cut"));
        }
        self.forget_if_gone(id);
    }

    /// Makes directions of a connection go dark: what is sent is lost, and nobody is told.
    pub(super) fn darken(&mut self, id: u64, to_server: bool, to_client: bool) {
        let Some(connection) = self.network.connections.get_mut(id) else { return };
        connection.to_server.dark |= to_server;
        connection.to_client.dark |= to_client;
    }

    /// The server's host looks whether a socket has been silent for too long.
    pub(super) fn silence(&mut self, id: u64) {
        let Some(connection) = self.network.connections.get(id).filter(|connection| connection.server_open) else {
            return;
        };
        let until = connection.heard + SERVER_SILENCE;
        if until > self.now {
            return self.queue.push(until, Event::Silence { connection: id });
        }
        self.digest.word(9);
        let (lane, session) = (Entity::Hub(connection.hub), connection.session);
        self.hit(Probe::Silent);
        self.log.add(|names| {
            Draft::new(
                lane,
                What::Note,
                format!(
                    "has heard nothing from {} for {} s, and gives the socket up",
                    names.of(session),
                    SERVER_SILENCE.as_secs()
                ),
            )
        });
        self.push_to_client(id, ToClient::Closed("the server heard nothing for too long"));
        self.server_hears_close(id, ClosedReason::Silent);
    }

    pub(super) fn forget_if_gone(&mut self, id: u64) {
        if self.network.connections.get(id).is_some_and(Connection::gone) {
            self.network.connections.remove(id);
        }
    }
}

/// The format that a client named as its subprotocol.
fn agreed(format: Format) -> Format {
    Format::of_subprotocol(&format.to_string()).unwrap_or_default()
}

/// Whether a client that was served, and whose credential is good, wants to be forgotten.
fn connection_leaves(connection: Option<&Connection>, message: Option<&ClientMessage>, now: Timestamp) -> bool {
    let served = connection.is_some_and(|connection| {
        let good = connection.expires.is_none_or(|until| until > now);
        good && connection.server_open && connection.attachment.is_some()
    });
    served && matches!(message, Some(ClientMessage::Bye))
}
