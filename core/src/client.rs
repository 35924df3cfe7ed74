//! The machine that holds a replica: dial, greet, stage or apply, store, acknowledge.
//!
//! One connection at a time, one local transaction at a time. Messages wait in a queue, which the server's window bounds,
//! until the store has answered for those before them; what is stored is acknowledged, and nothing else is.

mod chain;
mod check;
mod config;
mod credential;
mod dial;
mod io;
mod receive;
mod session;
mod storing;

#[cfg(test)]
mod tests;

pub use config::{Config, Mode};
pub use io::*;

use crate::ask::{Asker, Open};
use crate::machine::{BrokenInvariant, Machine};
use crate::position::Waypoint;
use crate::rng::{Backoff, Rng};
use crate::session::ClientId;
use crate::store::{Held, Store};
use crate::time::Timestamp;
use crate::timers::Timers;
use serde::{Deserialize, Serialize};
use session::Session;
use std::collections::VecDeque;
use storing::Storing;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    config: Config,
    /// Drawn for this opening of the store.
    instance: u64,
    /// Grows with each greeting.
    attempt: u64,
    /// How many credentials the application has provided.
    credentials: u64,
    /// How many of them had come when the present connection was dialled, or when the server last found one good.
    credentials_used: u64,
    /// The last socket that was dialled.
    last_socket: SocketId,
    phase: Phase,
    /// What the application was told last.
    told: ClientPhase,
    held: Held,
    /// Whether `held` is what the store holds: not after a failure, which may hide an effect.
    held_is_sure: bool,
    asker: Asker,
    stores: Open<Store, Storing>,
    timers: Timers<Timer>,
    /// When the server was last heard on the current socket.
    heard_at: Timestamp,
    backoff: Backoff,
    rng: Rng,
    counts: Counts,
    /// The store moved back from the first place to the second by applying a page: never, while pages chain.
    moved_back: Option<(Waypoint, Waypoint)>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Not started, or ended.
    Ended,
    /// Until the timer to dial.
    Waiting,
    /// Until the application provides a credential.
    Expired,
    /// Wants to dial; the store has yet to say what is held.
    Settling,
    Dialling {
        socket: SocketId,
    },
    Greeting {
        socket: SocketId,
    },
    Open(Box<Session>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Timer {
    /// To dial again.
    Dial,
    /// To give up dialling or waiting for a welcome.
    Patience,
    /// To ping, or to give up a silent connection.
    Liveness,
    /// To acknowledge what is stored.
    Ack,
}

/// What happened so far, for metrics and the curious.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections dialled.
    pub dialled: u64,
    /// Greetings that were welcome.
    pub welcomed: u64,
    /// Pages and pieces that were stored.
    pub pages_stored: u64,
    /// Pages dropped because all of them was held.
    pub pages_held: u64,
    /// Messages of backfills that were stored.
    pub staged: u64,
    /// Backfills that became visible.
    pub backfills: u64,
    /// Greetings repeated because something was missing before a message.
    pub holes: u64,
    /// Connections given up because nothing was heard.
    pub silences: u64,
    /// Failures of the store.
    pub store_failures: u64,
}

impl Client {
    /// A client that has not started.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let backoff = Backoff::new(config.backoff_first, config.backoff_most, config.seed);
        let rng = Rng::new(config.seed ^ SPREAD);
        Self {
            config,
            instance: 0,
            attempt: 0,
            credentials: 0,
            credentials_used: 0,
            last_socket: SocketId::default(),
            phase: Phase::Ended,
            told: ClientPhase::Offline,
            held: Held::default(),
            held_is_sure: true,
            asker: Asker::default(),
            stores: Open::default(),
            timers: Timers::default(),
            heard_at: Timestamp::ZERO,
            backoff,
            rng,
            counts: Counts::default(),
            moved_back: None,
            outputs: VecDeque::new(),
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> ClientPhase {
        match &self.phase {
            Phase::Ended | Phase::Waiting | Phase::Expired | Phase::Settling => ClientPhase::Offline,
            Phase::Dialling { .. } => ClientPhase::Connecting,
            Phase::Greeting { .. } => ClientPhase::Greeting,
            Phase::Open(session) => session.phase(),
        }
    }

    /// What the store held when it last answered.
    #[must_use]
    pub const fn held(&self) -> Held {
        self.held
    }

    /// Up to where it has acknowledged in this session.
    #[must_use]
    pub fn acked(&self) -> Option<Waypoint> {
        self.session().and_then(|session| session.acked)
    }

    /// Who it is: as configured, or as the last welcome said.
    #[must_use]
    pub const fn client(&self) -> &ClientId {
        &self.config.client
    }

    /// What happened so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether it has not started or has ended.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Open(session) => Some(session),
            _ => None,
        }
    }

    /// The connection that is dialled or open.
    fn socket(&self) -> Option<SocketId> {
        match &self.phase {
            Phase::Ended | Phase::Waiting | Phase::Expired | Phase::Settling => None,
            Phase::Dialling { socket } | Phase::Greeting { socket } => Some(*socket),
            Phase::Open(session) => Some(session.socket),
        }
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn notify(&mut self, notice: Notice) {
        self.push(Output::Notify(notice));
    }

    /// Tells the application when the phase has changed.
    fn tell_phase(&mut self) {
        let phase = self.phase();
        if phase != self.told {
            self.told = phase;
            self.notify(Notice::Phase(phase));
        }
    }
}

/// Keeps the jitter of those who are sent away apart from that of failures.
const SPREAD: u64 = 0x9d5c_21f0_7be3_a466;

impl Machine for Client {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Started { incarnation, instance, held } => self.on_started(now, incarnation, instance, held),
            Input::Stopping { forget } => self.on_stopping(forget),
            Input::Connected { socket } => self.on_connected(now, socket),
            Input::Received { socket, message } => self.on_received(now, socket, message),
            Input::Heard { socket } => self.on_heard(now, socket),
            Input::Closed { socket, .. } => self.on_closed(now, socket),
            Input::Stored(answer) => self.on_stored(now, answer),
            Input::CredentialProvided { token } => self.on_credential_provided(now, token),
        }
        self.tell_phase();
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Dial => self.settle(now),
                Timer::Patience => self.on_patience_ended(now),
                Timer::Liveness => self.on_liveness_due(now),
                Timer::Ack => self.acknowledge(),
            }
        }
        self.tell_phase();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    fn check(&self) -> Result<(), BrokenInvariant> {
        self.check_now()
    }

    fn check_all(&self) -> Result<(), BrokenInvariant> {
        self.check_now()
    }
}
