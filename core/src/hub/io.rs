//! What a hub is told, what it commands, and what it asks.

use crate::ask::{Answer, Ask, Incarnation, Question};
use crate::change::{Chunk, Relation, Scope};
use crate::fault::{Malformed, PeerFault};
use crate::history::{Announcement, Head, ReadHead, ReadHistory};
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::session::{Attachment, ClientId, Epoch, SessionId};
use crate::time::Timestamp;
use crate::wire::{ClientMessage, ServerMessage};
use crate::xid::{Snapshot, Xid};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The host built this life, from what was kept with the open sockets (nothing, at the first start).
    ///
    /// A socket whose session had no attachment yet comes without one, and is told to come again.
    Woke {
        /// Never the same twice.
        incarnation: Incarnation,
        /// The open sockets.
        sessions: Vec<(SessionId, Option<Attachment>)>,
    },
    /// A socket was opened and its credential was found good.
    Opened {
        /// The host allotted it.
        session: SessionId,
        /// When the credential runs out; `None`: never.
        credential_until: Option<Timestamp>,
    },
    /// A session's credential is good until another time: it showed a new one, or the host's rules changed.
    CredentialRenewed {
        /// Whose.
        session: SessionId,
        /// When it runs out now; `None`: never.
        until: Option<Timestamp>,
    },
    /// A frame came.
    Received {
        /// From whom.
        session: SessionId,
        /// What the codec made of it. In a `Hello` the host has already checked the credential against the client id.
        message: Result<ClientMessage, Malformed>,
    },
    /// A socket is gone.
    Closed {
        /// Whose.
        session: SessionId,
        /// Why.
        reason: ClosedReason,
    },
    /// History grew, or covered did.
    Announced(Arc<Announcement>),
    /// The host is shutting down: say so to every client.
    Draining,
    /// Answers [`Output::TakeEpoch`].
    EpochTaken(Answer<TakeEpoch>),
    /// Answers [`Output::JudgePosition`].
    PositionJudged(Answer<JudgePosition>),
    /// Answers [`Output::TakeSnapshot`].
    SnapshotTaken(Answer<TakeSnapshot>),
    /// Answers [`Output::ReadChunk`].
    ChunkRead(Answer<ReadChunk>),
    /// Answers [`Output::ReadHistory`].
    HistoryRead(Answer<ReadHistory>),
    /// Answers [`Output::ReadHead`].
    HeadRead(Answer<ReadHead>),
    /// Answers [`Output::SavePositions`].
    PositionsSaved(Answer<SavePositions>),
    /// Answers [`Output::RenewRegistrations`].
    RegistrationsRenewed(Answer<RenewRegistrations>),
    /// Answers [`Output::Unregister`].
    Unregistered(Answer<Unregister>),
}

/// Why a socket is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosedReason {
    /// The peer closed it, and will be back: the registration stays for its time-to-live.
    Peer,
    /// The connection broke.
    Broken,
    /// Nothing was heard for too long.
    Silent,
}

/// Commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Put a message on the wire of some sessions. The driver encodes it once.
    Send {
        /// To whom.
        to: Recipients,
        /// What.
        message: Arc<ServerMessage>,
    },
    /// Close a socket, with the fault as the last message and the close reason. `None`: it needs no message.
    Close {
        /// Whose.
        session: SessionId,
        /// Why.
        fault: Option<PeerFault>,
    },
    /// Keep this with the socket.
    Attach {
        /// Whose.
        session: SessionId,
        /// Replaces what was kept.
        attachment: Arc<Attachment>,
    },
    /// Nothing is outstanding: this machine may be dropped until something happens, or the alarm. Void if an input has arrived.
    Hibernate {
        /// The one durable wake-up.
        alarm: Option<Timestamp>,
    },
    /// Carry this to Replication: somebody waits until covered has reached it.
    WantCovered {
        /// What is waited for.
        lsn: Lsn,
    },
    /// Take an epoch for a greeting.
    TakeEpoch(Ask<TakeEpoch>),
    /// Judge a position, and read head and mark.
    JudgePosition(Ask<JudgePosition>),
    /// Spool a snapshot.
    TakeSnapshot(Ask<TakeSnapshot>),
    /// Read a spool.
    ReadChunk(Ask<ReadChunk>),
    /// Read history.
    ReadHistory(Ask<ReadHistory>),
    /// Read the head.
    ReadHead(Ask<ReadHead>),
    /// Store acknowledged positions.
    SavePositions(Ask<SavePositions>),
    /// Renew registrations.
    RenewRegistrations(Ask<RenewRegistrations>),
    /// Remove a registration.
    Unregister(Ask<Unregister>),
    /// No session needs this spool of ours any more.
    DropSpool {
        /// Which.
        spool: SpoolId,
    },
}

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipients {
    /// One session.
    One(SessionId),
    /// Several; the list is shared and never copied per recipient.
    Many(Arc<[SessionId]>),
}

/// One upsert: register the client and take an epoch, higher than any before, which fences its older sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeEpoch {
    /// Who greets.
    pub client: ClientId,
    /// Which of its stores; `None` for thin clients.
    pub instance: Option<u64>,
    /// Grows within an instance: an epoch is taken only for another instance or a higher attempt.
    pub attempt: u64,
    /// What becomes of the stored position.
    pub position: StoredPosition,
    /// How long the registration lasts, from now.
    pub ttl: Duration,
    /// Whether an instance that another replaced takes no epoch any more, and is told so.
    pub apart: bool,
}
impl Question for TakeEpoch {
    type Reply = EpochTaken;
}
/// How many instances that were replaced a registration remembers.
pub const REPLACED_MAX: usize = 8;

/// What a greeting does to the stored position of its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredPosition {
    /// It is the one to resume from.
    Keep,
    /// The client claims this one, and its claim is authoritative.
    Set(Waypoint),
    /// The client has nothing.
    Clear,
}
/// The reply to [`TakeEpoch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpochTaken {
    /// The epoch is this session's.
    Taken {
        /// Higher than any before, of any client.
        epoch: Epoch,
        /// The stored position, after the greeting's effect on it.
        stored: Option<Waypoint>,
    },
    /// A later greeting of the same instance came before this one.
    Stale,
    /// Another instance replaced this one, which lives nevertheless: it needs an id of its own.
    Apart,
}

/// Read on the primary, after the greeting: the head, the mark W, and what stands at the position that a client claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgePosition {
    /// The claim, if any.
    pub claim: Option<Waypoint>,
    /// The scope, whose tables are checked against the publication.
    pub scope: Scope,
}
impl Question for JudgePosition {
    type Reply = Judged;
}
/// The reply to [`JudgePosition`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The end of history.
    pub head: Head,
    /// W: the WAL insert position, read no earlier than the question came.
    pub mark: Lsn,
    /// The oldest position from which history can still be read: the era's start, or the last that was pruned.
    pub horizon: Position,
    /// What history, the era's start or the horizon's row holds at the claim's commit LSN, in the claim's era if that is the present one.
    pub named: Option<Named>,
    /// Tables of the scope that are not published.
    pub unknown_tables: Vec<String>,
}
/// What stands at a commit LSN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// 0 at an era's start.
    pub xid: Xid,
    /// 0 at an era's start.
    pub committed_at: CommitTime,
    /// How many changes it has.
    pub changes: u32,
}

/// Names a snapshot's copy on our disk.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpoolId(pub u64);

/// Spool a snapshot of the scope's tables: lock first, then S with H, schema and L in it, then the rows; F in a later statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeSnapshot {
    /// The era it is for.
    pub era: Era,
    /// Which tables.
    pub scope: Scope,
    /// Whether to refuse while something that ran when the era began still runs ([`crate::safeguard::Safeguard::EraStartWait`]).
    pub await_era_start: bool,
}
impl Question for TakeSnapshot {
    type Reply = SnapshotTaken;
}
/// The reply to [`TakeSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotTaken {
    /// The spool is on disk and complete.
    Spooled(Arc<Spool>),
    /// What ran when the era began still runs: ask again a little later.
    EraStarting,
    /// Another era has begun.
    OtherEra {
        /// The end of history at that moment.
        head: Head,
    },
}
/// A spool, with the seam that joins it to the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spool {
    /// Its name.
    pub id: SpoolId,
    /// S.
    pub snapshot: Snapshot,
    /// P0: just before the least transaction in history that S does not see, else the head. The seam begins after it.
    pub start: Waypoint,
    /// F: the seam ends before it.
    pub fence: Lsn,
    /// How many chunks it has.
    pub chunks: u32,
    /// How many rows they hold.
    pub rows: u64,
    /// The shapes of all its tables, the empty ones included.
    pub relations: Vec<Arc<Relation>>,
    /// Read in the snapshot's own statement. The spool dies with this number.
    pub schema: SchemaVersion,
}

/// Read one chunk of a spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadChunk {
    /// Which spool.
    pub spool: SpoolId,
    /// From 0.
    pub n: u32,
}
impl Question for ReadChunk {
    type Reply = Option<Arc<Chunk>>; // None: the spool is gone.
}

/// Store acknowledged positions, each fenced by its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavePositions {
    /// Whose, and where; `None` clears (a resync).
    pub entries: Vec<(ClientId, Epoch, Option<Waypoint>)>,
    /// Whether an entry of a lower epoch than the stored one is skipped ([`crate::safeguard::Safeguard::EpochFence`]).
    pub fenced: bool,
    /// Whether an entry earlier than the stored position of the same era and epoch is skipped ([`crate::safeguard::Safeguard::MonotonicPosition`]).
    pub monotonic: bool,
}
impl Question for SavePositions {
    type Reply = ();
}

/// Extend registrations, each fenced by its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRegistrations {
    /// Whose.
    pub entries: Vec<(ClientId, Epoch)>,
    /// From now.
    pub ttl: Duration,
}
impl Question for RenewRegistrations {
    type Reply = Vec<ClientId>; // Those that a newer epoch has fenced.
}

/// Remove a registration, unless a newer session has taken it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unregister {
    /// Whose.
    pub client: ClientId,
    /// Of the session that ends.
    pub epoch: Epoch,
    /// Whether the epoch is compared ([`crate::safeguard::Safeguard::EpochFence`]).
    pub fenced: bool,
}
impl Question for Unregister {
    type Reply = ();
}

/// How many sessions are in which phase.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    /// Opened or greeted; the position is not judged yet.
    pub greeted: u64,
    /// Getting a snapshot and its seam.
    pub backfill: u64,
    /// Reading history.
    pub catch_up: u64,
    /// Getting what is announced.
    pub live: u64,
}

/// The phase of one session, for people and monitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// The position is not judged yet.
    Greeted,
    /// Getting a snapshot and its seam.
    Backfill,
    /// Getting what it lacks.
    CatchUp,
    /// Getting what is announced.
    Live,
}
