//! A read of the stream may end anywhere, also between the last change of a transaction and its commit.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::plan::Family;
use crate::postgres::StreamId;
use crate::probe::Probe;
use dormouse_core::source::SourceItem;

impl World {
    /// Leaves the commit at the end of a read to the next one, perhaps.
    pub(super) fn part_commit(&mut self, node: u8, stream: StreamId, items: &mut Vec<SourceItem>) {
        if !matches!(items[..], [.., SourceItem::Change(_), SourceItem::Commit { .. }]) {
            return;
        }
        let weight = if self.plan.has(Family::Large) { per_mille(120) } else { per_mille(20) };
        if self.happens(Kind::CommitApart, Entity::Replication(node), weight) {
            self.hit(Probe::CommitApart);
            self.replications[node as usize].apart = items.pop().map(|commit| (stream, commit));
        }
    }

    /// What an earlier read of this stream has left.
    pub(super) fn take_apart(&mut self, node: u8, stream: StreamId) -> Option<SourceItem> {
        let (of, commit) = self.replications[node as usize].apart.take()?;
        (of == stream).then_some(commit)
    }

    /// Whether a read of this stream has something to return.
    pub(super) fn has_to_read(&self, node: u8, stream: StreamId) -> bool {
        let apart = self.replications[node as usize].apart.as_ref().is_some_and(|(of, _)| *of == stream);
        apart || self.postgres.stream_ready(stream)
    }
}
