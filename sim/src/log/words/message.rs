//! What travels between clients and hubs.

use super::{at, chunk, page};
use dormouse_core::fault::ResyncReason;
use dormouse_core::wire::{ClientMessage, Resume, ServerMessage};

/// A message of a client, as what is sent.
#[must_use]
pub fn client_message(message: &ClientMessage) -> String {
    match message {
        ClientMessage::Hello(hello) => {
            let resume = match &hello.resume {
                Resume::Nothing => "with nothing".into(),
                Resume::Stored => "to go on from what it acknowledged".into(),
                Resume::At(waypoint) => format!("with {} of era {}", waypoint.position, waypoint.era.counter),
            };
            format!("Hello {resume} (attempt {})", hello.attempt)
        }
        ClientMessage::Ack { through } => format!("Ack through {}", through.position),
        ClientMessage::Staged { backfill, n } => format!("Staged {n} of backfill {}", backfill.0),
        ClientMessage::Bye => "Bye".into(),
        ClientMessage::Credential(_) => "Credential".into(),
    }
}

/// A message of a hub, as what is sent.
#[must_use]
pub fn server_message(message: &ServerMessage) -> String {
    match message {
        ServerMessage::Welcome { from: Some(from), head, .. } => {
            format!("Welcome: pages follow from {}, the head is {head}", from.position)
        }
        ServerMessage::Welcome { from: None, head, .. } => format!("Welcome: a backfill follows, the head is {head}"),
        ServerMessage::Credential { .. } => "Credential: it is good".into(),
        ServerMessage::Schema(relation) => format!("Schema of {}", relation.full_name()),
        ServerMessage::Chunk { n, chunk: rows, .. } => format!("Chunk {n}: {}", chunk(rows)),
        ServerMessage::Seam { n, page: part, complete, .. } => {
            let part = part.as_ref().map_or_else(|| "no changes".into(), |part| page(part));
            let end =
                complete.as_ref().map_or_else(String::new, |_| format!(", complete at {}", at(complete.as_ref())));
            format!("Seam {n}: {part}{end}")
        }
        ServerMessage::Page(changes) => page(changes).replacen("page", "Page", 1),
        ServerMessage::Live => "Live".into(),
        ServerMessage::Resync { reason } => format!("Resync: {}", resync(*reason)),
        ServerMessage::Fault(fault) => format!("Fault {}: {}", fault.code.as_str(), fault.message),
    }
}

pub(super) const fn resync(reason: ResyncReason) -> &'static str {
    match reason {
        ResyncReason::NoPosition => "it has no position",
        ResyncReason::OtherEra => "its position is of another era",
        ResyncReason::SchemaChanged => "the schema has changed",
        ResyncReason::Pruned => "its position is older than history",
        ResyncReason::UnknownPosition => "history has no such position",
        ResyncReason::ScopeChanged => "its scope has changed",
    }
}
