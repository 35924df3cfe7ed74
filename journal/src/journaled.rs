//! The machines that can be recorded.

use dormouse_core::change::{Chunk, Page};
use dormouse_core::history::HistoryRead;
use dormouse_core::hub::{self, Hub};
use dormouse_core::machine::Machine;
use dormouse_core::replication::{self, Replication};
use dormouse_core::source::SourceItem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// About what a step without rows takes in memory, in bytes.
const STEP_BYTES: usize = 512;

/// What is written of a machine: itself, and all that it is told.
pub trait Journaled:
    Machine<
        Input: Serialize + DeserializeOwned + Clone + Debug + Send,
        Output: Serialize + Clone + PartialEq + Debug + Send,
    > + Serialize
    + DeserializeOwned
    + Clone
    + PartialEq
    + Debug
    + Send
    + 'static
{
    /// Names the kind of machine in a segment's header.
    const KIND: Kind;

    /// About how many bytes an input keeps in memory while it waits to be written.
    fn weight(input: &Self::Input) -> usize;
}

/// The kinds of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Replication`].
    Replication,
    /// [`Hub`].
    Hub,
}

impl Journaled for Replication {
    const KIND: Kind = Kind::Replication;

    fn weight(input: &replication::Input) -> usize {
        use replication::Input;
        STEP_BYTES
            + match input {
                Input::SourceRead(answer) => answer.reply.as_ref().map_or(0, |items| items.iter().map(item).sum()),
                Input::Started { .. }
                | Input::Stopping
                | Input::CoveredWanted { .. }
                | Input::LeaseTaken(_)
                | Input::LeaseRenewed(_)
                | Input::LeaseReleased(_)
                | Input::SourceInspected(_)
                | Input::ProgressLoaded(_)
                | Input::SlotCreated(_)
                | Input::SlotSettled(_)
                | Input::EraBegun(_)
                | Input::StreamStarted(_)
                | Input::AttemptNoted(_)
                | Input::PageRecorded(_)
                | Input::CoveredSaved(_)
                | Input::TablesInspected(_)
                | Input::SchemaRaised(_)
                | Input::Pruned(_)
                | Input::HeadRead(_) => 0,
            }
    }
}

impl Journaled for Hub {
    const KIND: Kind = Kind::Hub;

    fn weight(input: &hub::Input) -> usize {
        use hub::Input;
        STEP_BYTES
            + match input {
                Input::Announced(announcement) => announcement.page.as_deref().map_or(0, Page::weight),
                Input::HistoryRead(answer) => match &answer.reply {
                    Ok(HistoryRead::Page { page, .. }) => page.weight(),
                    Ok(HistoryRead::End { .. } | HistoryRead::Pruned { .. } | HistoryRead::OtherEra { .. })
                    | Err(_) => 0,
                },
                Input::ChunkRead(answer) => match &answer.reply {
                    Ok(Some(read)) => chunk(read),
                    Ok(None) | Err(_) => 0,
                },
                Input::Woke { sessions, .. } => sessions.len() * STEP_BYTES,
                Input::Opened { .. }
                | Input::CredentialRenewed { .. }
                | Input::Received { .. }
                | Input::Closed { .. }
                | Input::Draining
                | Input::EpochTaken(_)
                | Input::PositionJudged(_)
                | Input::SnapshotTaken(_)
                | Input::HeadRead(_)
                | Input::PositionsSaved(_)
                | Input::RegistrationsRenewed(_)
                | Input::Unregistered(_) => 0,
            }
    }
}

fn item(item: &SourceItem) -> usize {
    match item {
        SourceItem::Change(change) => change.weight(),
        SourceItem::Begin { .. }
        | SourceItem::Relation(_)
        | SourceItem::Commit { .. }
        | SourceItem::Keepalive { .. } => 64,
    }
}

fn chunk(chunk: &Chunk) -> usize {
    chunk.rows.iter().map(|row| row.bytes().len() + 32).sum()
}
