//! What can go wrong, sorted by who must act.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a question has no reply. Whether it had an effect is unknown when it is `Unavailable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Passing trouble (connection lost, timed out, serialization): ask again with back-off.
    Unavailable(String),
    /// The other side will refuse this for ever (missing grant, wrong setting): the operator must act.
    Refused(String),
}

impl Failure {
    /// The reason in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Unavailable(why) | Self::Refused(why) => why,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "unavailable: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// Bytes from a peer that are no message of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malformed {
    /// What was wrong, without the bytes themselves.
    pub why: String,
}

/// Why a session is closed by the server: the code that travels in the `error` message and as the close reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// Not a message of the protocol, or one that is not allowed in this phase. The client must be mended.
    Malformed,
    /// A frame over the limit.
    TooLarge,
    /// The subprotocol is unknown.
    UnknownVersion,
    /// No or a wrong credential.
    Unauthorized,
    /// The credential has run out: come back with a new one.
    Expired,
    /// The credential does not allow this client id, or the Origin is foreign.
    Forbidden,
    /// A scope that names no published table.
    UnknownScope,
    /// The position is above the head and stayed so for the time that is allowed.
    FromTheFuture,
    /// This greeting is older than another of the same client.
    Stale,
    /// A newer session of this client took over.
    Replaced,
    /// The client did not greet, or did not acknowledge, in the time that is allowed.
    TooSlow,
    /// More messages, connections or wrong credentials than are allowed in this time: come back later.
    TooMany,
    /// The server is shutting down or moving: come back.
    GoingAway,
    /// The server cannot serve this now: come back later.
    Unavailable,
    /// A defect of the server closed this session: come back.
    Internal,
}

impl FaultCode {
    /// The code as the wire carries it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnknownVersion => "unknown_version",
            Self::Unauthorized => "unauthorized",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::UnknownScope => "unknown_scope",
            Self::FromTheFuture => "from_the_future",
            Self::Stale => "stale",
            Self::Replaced => "replaced",
            Self::TooSlow => "too_slow",
            Self::TooMany => "too_many",
            Self::GoingAway => "going_away",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Whether a client does right to come back by itself. The others need a person, or a newer session is alive.
    #[must_use]
    pub const fn worth_retrying(self) -> bool {
        match self {
            Self::Stale
            | Self::TooSlow
            | Self::TooMany
            | Self::GoingAway
            | Self::Unavailable
            | Self::Internal
            | Self::FromTheFuture => true,
            Self::Malformed
            | Self::TooLarge
            | Self::UnknownVersion
            | Self::Unauthorized
            | Self::Expired
            | Self::Forbidden
            | Self::UnknownScope
            | Self::Replaced => false,
        }
    }
}

/// One session's end: the code and a sentence for the one concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerFault {
    /// For programs.
    pub code: FaultCode,
    /// For people: what happened, why, and what to do next.
    pub message: String,
}

impl PeerFault {
    /// A fault with its sentence.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why a client gets everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResyncReason {
    /// It greeted without a position.
    NoPosition,
    /// Its position belongs to another era: the continuity of the source was lost.
    OtherEra,
    /// A change of the schema may have altered rows without telling.
    SchemaChanged,
    /// Its position is older than what history keeps.
    Pruned,
    /// History holds no such transaction at that position (a restored or another database).
    UnknownPosition,
    /// Its scope is not that of the position.
    ScopeChanged,
}

/// Why Replication stopped for good, until the operator acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// A short stable code (`poison_transaction`, `refused`).
    pub code: String,
    /// One sentence that says what happened and what to do.
    pub message: String,
}
