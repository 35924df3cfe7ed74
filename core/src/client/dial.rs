//! Coming and going: dial, greet, wait, dial again.

use super::session::{Session, Stage};
use super::{Client, Mode, Notice, Output, Phase, SocketId, Timer};
use crate::ask::{Asker, Incarnation};
use crate::fault::{FaultCode, PeerFault};
use crate::position::Waypoint;
use crate::session::ClientId;
use crate::store::Held;
use crate::time::Timestamp;
use crate::wire::{ClientMessage, Hello, Resume};
use std::time::Duration;

impl Client {
    /// A new life: what an earlier one asked is forgotten.
    pub(super) fn on_started(&mut self, now: Timestamp, incarnation: Incarnation, instance: u64, held: Held) {
        self.close();
        self.asker = Asker::new(incarnation);
        self.stores.forget_where(|_| true);
        (self.instance, self.attempt) = (instance, 0);
        (self.held, self.held_is_sure) = (held, true);
        self.backoff.succeeded();
        self.settle(now);
    }

    pub(super) fn on_stopping(&mut self, forget: bool) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        self.acknowledge();
        if let Phase::Open(session) = &self.phase
            && forget
        {
            let socket = session.socket;
            self.push(Output::Send { socket, message: ClientMessage::Bye });
        }
        self.end(None);
    }

    /// Dials, once it is certain what is held: a greeting must not claim less than a transaction under way will store.
    pub(super) fn settle(&mut self, now: Timestamp) {
        self.phase = Phase::Settling;
        if !self.stores.is_empty() {
            return;
        }
        if !self.held_is_sure {
            self.ask_what_is_held();
            return;
        }
        self.last_socket.0 += 1;
        self.counts.dialled += 1;
        self.credentials_used = self.credentials;
        let socket = self.last_socket;
        self.phase = Phase::Dialling { socket };
        self.timers.set(Timer::Patience, now + self.config.dial_timeout);
        self.push(Output::Dial { socket });
    }

    pub(super) fn on_connected(&mut self, now: Timestamp, socket: SocketId) {
        match self.phase {
            Phase::Dialling { socket: ours } if ours == socket => {}
            _ => return, // It was given up while it opened; its close is on the way.
        }
        self.phase = Phase::Greeting { socket };
        self.heard_at = now;
        self.timers.set(Timer::Patience, now + self.config.greet_timeout);
        self.timers.set(Timer::Liveness, now + self.config.ping_every);
        let hello = self.greeting();
        self.push(Output::Send { socket, message: ClientMessage::Hello(hello) });
    }

    fn greeting(&mut self) -> Hello {
        let (instance, resume) = match self.config.mode {
            Mode::Replica => (Some(self.instance), self.held.staged.map_or(Resume::Nothing, Resume::At)),
            Mode::Thin => (None, Resume::Stored),
        };
        self.attempt += 1;
        Hello {
            client: self.config.client.clone(),
            instance,
            attempt: self.attempt,
            token: self.config.token.clone(),
            scope: self.config.scope.clone(),
            resume,
        }
    }

    pub(super) fn on_welcome(
        &mut self,
        client: ClientId,
        from: Option<Waypoint>,
        credential_expires_in_ms: Option<u64>,
    ) {
        let Phase::Greeting { socket } = self.phase else { return };
        self.counts.welcomed += 1;
        self.config.client = client;
        self.timers.stop(Timer::Patience);
        let stage = match from {
            Some(_) => Stage::Pages,
            None => Stage::Backfill { expect: None },
        };
        let position = match self.config.mode {
            Mode::Replica => self.held.staged,
            Mode::Thin => from,
        };
        self.phase = Phase::Open(Box::new(Session::new(socket, stage, position)));
        if credential_expires_in_ms.is_some() {
            self.notify(Notice::CredentialGood { expires_in_ms: credential_expires_in_ms });
        }
    }

    pub(super) fn on_heard(&mut self, now: Timestamp, socket: SocketId) {
        if self.socket() == Some(socket) {
            self.heard_at = now;
        }
    }

    pub(super) fn on_closed(&mut self, now: Timestamp, socket: SocketId) {
        if self.socket() == Some(socket) {
            self.phase = Phase::Waiting; // There is nothing left to close.
            self.come_back(now);
        }
    }

    pub(super) fn on_patience_ended(&mut self, now: Timestamp) {
        if matches!(self.phase, Phase::Dialling { .. } | Phase::Greeting { .. }) {
            self.come_back(now);
        }
    }

    pub(super) fn on_liveness_due(&mut self, now: Timestamp) {
        let Some(socket) = self.socket() else { return };
        let quiet = now.since(self.heard_at);
        if quiet >= self.config.silence_timeout {
            self.counts.silences += 1;
            self.come_back(now);
            return;
        }
        let mut next = self.heard_at + self.config.ping_every;
        if quiet >= self.config.ping_every {
            self.push(Output::Ping { socket });
            next = (now + self.config.ping_every).min(self.heard_at + self.config.silence_timeout);
        }
        self.timers.set(Timer::Liveness, next.max(now + Duration::from_micros(1)));
    }

    /// The server closes this session. What a person must mend ends the client, if it is told so on its current socket. `Replaced` ends
    /// a thin one only: an instance that comes back after it is given an id of its own.
    pub(super) fn on_fault(&mut self, now: Timestamp, fault: PeerFault) {
        let code = fault.code;
        self.notify(Notice::Fault(fault.clone()));
        match code {
            FaultCode::Expired => self.on_expired(now, fault),
            FaultCode::GoingAway => self.come_back_elsewhere(now),
            FaultCode::Replaced if self.config.mode == Mode::Replica => self.come_back(now),
            code if code.worth_retrying() => self.come_back(now),
            _ => self.end(Some(fault)),
        }
    }

    /// Something is missing before what was received: greet again from what is held.
    pub(super) fn on_hole(&mut self, now: Timestamp) {
        self.counts.holes += 1;
        self.come_back(now);
    }

    /// Leaves the connection and dials again after a wait that grows until something is stored again.
    pub(super) fn come_back(&mut self, now: Timestamp) {
        self.close();
        self.phase = Phase::Waiting;
        let wait = self.backoff.next_wait();
        self.timers.set(Timer::Dial, now + wait);
    }

    /// The same after a short wait: the server is healthy, and its clients must not all come at once.
    fn come_back_elsewhere(&mut self, now: Timestamp) {
        self.close();
        self.phase = Phase::Waiting;
        let first = u64::try_from(self.config.backoff_first.as_micros()).unwrap_or(u64::MAX / 8);
        let wait = Duration::from_micros(first / 2 + self.rng.below(first * 4));
        self.timers.set(Timer::Dial, now + wait);
    }

    pub(super) fn end(&mut self, fault: Option<PeerFault>) {
        self.close();
        self.phase = Phase::Ended;
        self.notify(Notice::Stopped { fault });
    }

    /// Closes the connection, if there is one, with all that belongs to it.
    pub(super) fn close(&mut self) {
        if let Some(socket) = self.socket() {
            self.push(Output::Close { socket });
        }
        self.phase = Phase::Ended;
        self.timers.clear();
    }
}
