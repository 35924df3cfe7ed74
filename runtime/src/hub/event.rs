//! What happens to a hub.

use super::SessionCounts;
use super::look::Look;
use crate::socket::Outbox;
use dormouse_core::fault::Malformed;
use dormouse_core::history::Announcement;
use dormouse_core::hub::{ClosedReason, Input};
use dormouse_core::session::SessionId;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, Hello};
use std::sync::Arc;
use tokio::sync::oneshot;

/// One event, from a socket's task, from the work on a question, or from the server.
#[derive(Debug)]
pub enum Event {
    /// A client greeted on a new socket, and may come in.
    Opened {
        /// Where its frames go.
        outbox: Arc<Outbox>,
        /// Its greeting, without the credential.
        hello: Box<Hello>,
        /// When its credential runs out; `None`: never.
        credential_until: Option<Timestamp>,
        /// Gets the session's name.
        reply: oneshot::Sender<SessionId>,
    },
    /// A further message came.
    Received {
        /// From whom.
        session: SessionId,
        /// What the codec made of it.
        message: Result<ClientMessage, Malformed>,
    },
    /// A session's credential is good until another time.
    CredentialRenewed {
        /// Whose.
        session: SessionId,
        /// When it runs out now; `None`: never.
        until: Option<Timestamp>,
    },
    /// A socket is gone.
    Closed {
        /// Whose.
        session: SessionId,
        /// Why.
        reason: ClosedReason,
    },
    /// Replication announced something.
    Announced(Arc<Announcement>),
    /// A question is answered.
    Answered(Box<Input>),
    /// Drop the machine and build it again.
    Evict,
    /// Say good-bye to every client, store what is to be stored, and end.
    Drain,
    /// Count the sessions.
    Count(oneshot::Sender<SessionCounts>),
    /// Say which of these clients have a session here, and in which phase.
    Look(Look),
}
