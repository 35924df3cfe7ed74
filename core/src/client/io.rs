//! What a client is told, what it commands, and what it asks.

use crate::ask::{Answer, Ask, Incarnation};
use crate::fault::{Failure, Malformed, PeerFault, ResyncReason};
use crate::position::Waypoint;
use crate::store::{Held, Store};
use crate::wire::{ClientMessage, Secret, ServerMessage};
use serde::{Deserialize, Serialize};

/// One dialled connection of a client; the machine counts them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SocketId(pub u64);

/// Facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The host opened the store and started this life.
    Started {
        /// Never the same twice for one store.
        incarnation: Incarnation,
        /// Drawn for this opening of the store.
        instance: u64,
        /// What the store holds.
        held: Held,
    },
    /// The host wants it to end.
    Stopping {
        /// Whether the server shall forget the client.
        forget: bool,
    },
    /// A dialled connection is open.
    Connected {
        /// Which.
        socket: SocketId,
    },
    /// A frame came.
    Received {
        /// On which connection.
        socket: SocketId,
        /// What the codec made of it.
        message: Result<ServerMessage, Malformed>,
    },
    /// The host's liveness check heard the server (`pong`).
    Heard {
        /// On which connection.
        socket: SocketId,
    },
    /// A connection is gone, or could not be opened.
    Closed {
        /// Which.
        socket: SocketId,
        /// Why, for people.
        why: String,
    },
    /// Answers [`Output::Store`].
    Stored(Answer<Store>),
    /// The application has a new credential; greetings and dials from now on use it.
    CredentialProvided {
        /// For greetings that carry it; hosts that set headers keep it to themselves.
        #[serde(skip)]
        token: Option<Secret>,
    },
}

/// Commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Open a connection.
    Dial {
        /// Its name from now on.
        socket: SocketId,
    },
    /// Put a message on a connection.
    Send {
        /// Which.
        socket: SocketId,
        /// What.
        message: ClientMessage,
    },
    /// Send the text `ping`; the server's host answers `pong`.
    Ping {
        /// On which connection.
        socket: SocketId,
    },
    /// Close a connection.
    Close {
        /// Which.
        socket: SocketId,
    },
    /// Send the newest credential on a connection, in a message `credential`. The host has it.
    SendCredential {
        /// Which.
        socket: SocketId,
    },
    /// Carry out one local transaction of the store. Asked one at a time.
    Store(Ask<Store>),
    /// Tell the application.
    Notify(Notice),
}

/// What an application is told. After each `Applied` it may look at the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// The state of the connection changed.
    Phase(ClientPhase),
    /// What is shown changed; durable.
    Applied {
        /// Where it stands.
        shown: Waypoint,
    },
    /// The server said that everything committed before this greeting has been sent, and all of it is applied.
    Live {
        /// Where the replica stands.
        shown: Option<Waypoint>,
    },
    /// Everything comes again.
    Resync {
        /// Why.
        reason: ResyncReason,
    },
    /// The server said how long the credential is good for.
    CredentialGood {
        /// From now; `None`: for good.
        expires_in_ms: Option<u64>,
    },
    /// The credential has run out, and the client waits for the application to provide another.
    CredentialWanted,
    /// The server closed the session with a fault.
    Fault(PeerFault),
    /// The store could not carry out a transaction. The client goes on from what is durably held, after a wait.
    StoreFailed(Failure),
    /// The client has ended, and why.
    Stopped {
        /// `None` when the host wished it.
        fault: Option<PeerFault>,
    },
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientPhase {
    /// Waiting before it dials again.
    Offline,
    /// Dialling.
    Connecting,
    /// Greeted, not yet welcome.
    Greeting,
    /// Staging a backfill.
    Backfill,
    /// Applying what it missed.
    CatchUp,
    /// Told that it is live.
    Live,
}
