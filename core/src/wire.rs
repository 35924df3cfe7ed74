//! The protocol between server and client, version 1: typed messages here, their forms on the wire below.

pub mod binary;
mod deflate;
mod format;
pub mod json;
mod payload;

pub use format::Format;
pub use payload::{ChunkBody, Decoder, Payload};

use crate::change::{Chunk, Page, Relation, Scope};
use crate::fault::{PeerFault, ResyncReason};
use crate::position::{Era, Position, SchemaVersion, Waypoint};
use crate::session::{BackfillId, ClientId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// From client to server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientMessage {
    /// The first message of each connection.
    Hello(Hello),
    /// All through this is stored. Cumulative.
    Ack {
        /// As the page, or the seam's end, named it.
        through: Waypoint,
    },
    /// All of this backfill through message `n` is staged. Cumulative.
    Staged {
        /// Which backfill.
        backfill: BackfillId,
        /// From 0, chunks and seam pages alike.
        n: u32,
    },
    /// Forget this client: its registration ends with this session.
    Bye,
    /// A new credential, in time before the old one runs out. The host judges it and tells the hub the outcome; the hub sees none.
    Credential(#[serde(skip)] Secret),
}

/// A text that is never printed and never written down.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, for whoever compares or sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// A greeting.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who.
    pub client: ClientId,
    /// Drawn when a store is opened; thin clients send none.
    pub instance: Option<u64>,
    /// Grows within an instance.
    pub attempt: u64,
    /// The credential, for clients that cannot set headers. The host checks and removes it; it reaches no machine, log or recording.
    #[serde(skip)]
    pub token: Option<String>,
    /// What the client wants to see.
    pub scope: Scope,
    /// What it has.
    pub resume: Resume,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("client", &self.client)
            .field("instance", &self.instance)
            .field("attempt", &self.attempt)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("scope", &self.scope)
            .field("resume", &self.resume)
            .finish()
    }
}

/// What a client has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resume {
    /// Nothing.
    Nothing,
    /// What it last acknowledged, as the server remembers it (thin clients; at least once).
    Stored,
    /// This.
    At(Waypoint),
}

/// From server to client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerMessage {
    /// The greeting was good.
    Welcome {
        /// Who the client is from now on.
        client: ClientId,
        /// The present era.
        era: Era,
        /// The present schema.
        schema: SchemaVersion,
        /// The end of history.
        head: Position,
        /// From where the pages of this session follow; `None`: a backfill comes first.
        from: Option<Waypoint>,
        /// How long the credential is good for from now; `None`: for good.
        credential_expires_in_ms: Option<u64>,
    },
    /// The new credential is good.
    Credential {
        /// For how long from now; `None`: for good.
        expires_in_ms: Option<u64>,
    },
    /// A shape, before its first use in this session.
    Schema(Arc<Relation>),
    /// A part of a snapshot; to be staged, not shown.
    Chunk {
        /// Which backfill.
        backfill: BackfillId,
        /// From 0 within it; 0 drops earlier staging.
        n: u32,
        /// How many rows all chunks of it have together, for showing progress.
        of: u64,
        /// The rows.
        chunk: Arc<Chunk>,
    },
    /// A part of the seam; to be staged after all chunks.
    Seam {
        /// Which backfill.
        backfill: BackfillId,
        /// Goes on from the chunks' numbers.
        n: u32,
        /// Changes to apply to the staged rows. Its `after` and `through` mean nothing.
        page: Option<Arc<Page>>,
        /// In the last message of a backfill: all that is staged becomes visible, at this place.
        complete: Option<Waypoint>,
    },
    /// History, or what was just recorded.
    Page(Arc<Page>),
    /// Once per greeting: what was committed before it has been sent.
    Live,
    /// Everything comes again, as a backfill. What is shown stays until that is complete.
    Resync {
        /// Why.
        reason: ResyncReason,
    },
    /// The server closes this session; codes tell whether to come back.
    Fault(PeerFault),
}
