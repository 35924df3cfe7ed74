//! What can happen next, and in which order.

use crate::engine::queue::{Placed, Waits};
use crate::engine::subject::Entity as _;
use crate::entity::Entity;
use crate::postgres::{SnapshotBegun, TxId};
use dormouse_core::ask::{Answer, Ask};
use dormouse_core::history::Announcement;
use dormouse_core::hub::TakeSnapshot;
use dormouse_core::position::Lsn;
use dormouse_core::store::Store;
use dormouse_core::{client, hub, replication};
use std::sync::Arc;

/// The classes of events that are counted, or taken out again.
pub(super) const NUDGED: u8 = 1;
pub(super) const CONFIRMED: u8 = 2;
pub(super) const REPLICATION_ASKS: u8 = 3;
pub(super) const HUB_ASKS: u8 = 4;
pub(super) const SNAPSHOT_COPIED: u8 = 5;
pub(super) const REPLICATION_HEARS: u8 = 7;
pub(super) const HUB_HEARS: u8 = 8;
pub(super) const ANNOUNCED: u8 = 9;
pub(super) const STORE_ANSWERS: u8 = 14;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// The time that a machine asked for has come.
    Timeout {
        /// Whose.
        whose: Entity,
        /// Void when the machine has asked for another time since.
        generation: u64,
    },
    /// A question of a replicator reaches the database.
    ReplicationAsks {
        /// Whose.
        node: u8,
        /// In which life.
        life: u64,
        /// What.
        question: Box<replication::Output>,
        /// Whether the answer will reach it.
        answered: bool,
    },
    /// An answer reaches a replicator, whoever asked.
    ReplicationHears {
        /// Whose.
        node: u8,
        /// The life that asked; 0 for what is no answer.
        life: u64,
        /// What.
        input: Box<replication::Input>,
    },
    /// The stream may have something for a read.
    StreamGrew {
        /// Whose.
        node: u8,
    },
    /// A confirmation reaches the database.
    Confirmed {
        /// By whom.
        node: u8,
        /// On which stream.
        stream: crate::postgres::StreamId,
        /// How far.
        lsn: Lsn,
    },
    /// The small logical message of an idle source.
    Nudged,
    /// A question of a hub reaches the database.
    HubAsks {
        /// Whose.
        hub: u8,
        /// In which life.
        life: u64,
        /// What.
        question: Box<hub::Output>,
        /// Whether the answer will reach it.
        answered: bool,
    },
    /// A snapshot has been copied; its fence is read now.
    SnapshotCopied {
        /// For which hub.
        hub: u8,
        /// In which life.
        life: u64,
        /// The question.
        ask: Box<Ask<TakeSnapshot>>,
        /// What was copied.
        begun: Box<SnapshotBegun>,
        /// Whether the answer will reach it.
        answered: bool,
    },
    /// An answer reaches a hub, whoever asked.
    HubHears {
        /// Whose.
        hub: u8,
        /// The life that asked.
        life: u64,
        /// What.
        input: Box<hub::Input>,
    },
    /// An announcement reaches a hub.
    Announced {
        /// Which.
        hub: u8,
        /// What.
        announcement: Arc<Announcement>,
        /// How often the database of whoever announces it had been restored: another process has nothing to announce.
        restores: u64,
    },
    /// A dial reaches the server.
    Dialled {
        /// By whom.
        client: u8,
        /// In which life.
        life: u64,
        /// Which.
        socket: client::SocketId,
    },
    /// The next frame of a connection arrives.
    Frame {
        /// Which connection.
        connection: u64,
        /// In which direction.
        to_server: bool,
    },
    /// Something reaches a client from its own host.
    ClientHears {
        /// Who.
        client: u8,
        /// In which life.
        life: u64,
        /// What.
        input: Box<client::Input>,
    },
    /// The server looks whether a connection has been silent for too long.
    Silence {
        /// Which connection.
        connection: u64,
    },
    /// A store carries out a request.
    StoreRuns {
        /// Whose.
        client: u8,
        /// In which life.
        life: u64,
        /// What.
        ask: Box<Ask<Store>>,
        /// 0: well. 1: it fails before its effect. 2: after.
        fate: u64,
    },
    /// A store has answered.
    StoreAnswers {
        /// Whose.
        client: u8,
        /// In which life.
        life: u64,
        /// What.
        answer: Box<Answer<Store>>,
    },
    /// A client starts.
    ClientStarts {
        /// Who.
        client: u8,
    },
    /// A node starts.
    NodeStarts {
        /// Which.
        node: u8,
    },
    /// A hub whose sockets are open wakes by itself.
    HubWakes {
        /// Which.
        hub: u8,
    },
    /// A hub's alarm.
    Alarm {
        /// Which.
        hub: u8,
        /// Void when it hibernated again since.
        generation: u64,
    },
    /// A writer goes on.
    Writes {
        /// Which.
        writer: u8,
    },
    /// The standby has answered: a commit becomes visible.
    Visible {
        /// Which transaction.
        tx: TxId,
    },
    /// An attacker goes on.
    Attacks,
    /// Faults are drawn.
    Faults,
    /// Faults rest in the midst of a run, or go on.
    Window,
    /// Faults stop.
    Quiet,
    /// Has the world converged?
    Converged,
    /// Is it prompt?
    Prompt,
    /// A process that met its database as it was earlier ends.
    Parts {
        /// Which.
        node: u8,
        /// In which life.
        life: u64,
        /// Whether it had its time to say farewell.
        at_once: bool,
    },
}

impl Placed for Event {
    fn place(&self) -> (u8, u16) {
        match self {
            Self::Visible { .. } => (0, 0),
            Self::Nudged => (NUDGED, 0),
            Self::Confirmed { node, .. } => (CONFIRMED, u16::from(*node)),
            Self::ReplicationAsks { node, .. } => (REPLICATION_ASKS, u16::from(*node)),
            Self::HubAsks { hub, .. } => (HUB_ASKS, u16::from(*hub)),
            Self::SnapshotCopied { hub, .. } => (SNAPSHOT_COPIED, u16::from(*hub)),
            Self::StreamGrew { node } => (6, u16::from(*node)),
            Self::ReplicationHears { node, .. } => (REPLICATION_HEARS, u16::from(*node)),
            Self::HubHears { hub, .. } => (HUB_HEARS, u16::from(*hub)),
            Self::Announced { hub, .. } => (ANNOUNCED, u16::from(*hub)),
            Self::Frame { connection, to_server } => frame_place(*connection, *to_server),
            Self::Dialled { client, .. } => (11, u16::from(*client)),
            Self::ClientHears { client, .. } => (12, u16::from(*client)),
            Self::StoreRuns { client, .. } => (13, u16::from(*client)),
            Self::StoreAnswers { client, .. } => (STORE_ANSWERS, u16::from(*client)),
            #[expect(clippy::cast_possible_truncation, reason = "a tie between connections 2^16 apart may fall anyhow")]
            Self::Silence { connection } => (15, *connection as u16),
            Self::Timeout { whose, .. } => (16, u16::try_from(whose.index()).unwrap_or(u16::MAX)),
            Self::Alarm { hub, .. } => (17, u16::from(*hub)),
            Self::HubWakes { hub } => (18, u16::from(*hub)),
            Self::ClientStarts { client } => (19, u16::from(*client)),
            Self::NodeStarts { node } => (20, u16::from(*node)),
            Self::Writes { writer } => (21, u16::from(*writer)),
            Self::Attacks => (22, 0),
            Self::Faults => (23, 0),
            Self::Quiet => (24, 0),
            Self::Converged => (25, 0),
            Self::Window => (26, 0),
            Self::Parts { node, .. } => (27, u16::from(*node)),
            Self::Prompt => (28, 0),
        }
    }

    fn waits(&self) -> Waits {
        match self {
            Self::ReplicationAsks { .. }
            | Self::ReplicationHears { .. }
            | Self::Confirmed { .. }
            | Self::HubAsks { .. }
            | Self::HubHears { .. }
            | Self::SnapshotCopied { .. }
            | Self::Announced { .. }
            | Self::Dialled { .. }
            | Self::Frame { .. }
            | Self::ClientHears { .. }
            | Self::StoreRuns { .. }
            | Self::StoreAnswers { .. } => Waits::UnderWay,
            Self::Timeout { .. } | Self::Alarm { .. } => Waits::Timer,
            Self::Nudged
            | Self::StreamGrew { .. }
            | Self::Silence { .. }
            | Self::HubWakes { .. }
            | Self::ClientStarts { .. }
            | Self::NodeStarts { .. }
            | Self::Writes { .. }
            | Self::Visible { .. }
            | Self::Attacks
            | Self::Faults
            | Self::Quiet
            | Self::Window
            | Self::Parts { .. }
            | Self::Prompt
            | Self::Converged => Waits::Else,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a tie between connections 2^15 apart may fall anyhow")]
pub(super) const fn frame_place(connection: u64, to_server: bool) -> (u8, u16) {
    (10, (connection as u16) << 1 | to_server as u16)
}
