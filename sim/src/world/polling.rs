//! A source that polls: it looks where WAL ends, peeks later, tells how far only at the end of all there is, and advances the
//! slot when it next wakes, if it lives so long.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::plan::Family;
use crate::postgres::StreamId;
use crate::probe::Probe;
use dormouse_core::ask::Ask;
use dormouse_core::position::Lsn;
use dormouse_core::replication::ReadSource;
use dormouse_core::source::SourceItem;
use std::time::Duration;

/// How long it sleeps, in ms.
const SLEEP_MS: &[u64] = &[2, 20, 100, 500];

impl World {
    /// Looks, if this source polls, and says how long it is then until it peeks.
    pub(super) fn look(&mut self, node: u8) -> Duration {
        if !self.plan.has(Family::Polled) {
            return Duration::ZERO;
        }
        self.replications[node as usize].looked_at = self.postgres.flushed_lsn().0;
        let pick = self.chooser.draw(Kind::Jitter, Entity::Replication(node), SLEEP_MS.len() as u64);
        Duration::from_millis(SLEEP_MS[usize::try_from(pick).unwrap_or(0)])
    }

    /// Advances the slot, and answers a read with a part of what there is.
    pub(super) fn peek(&mut self, node: u8, mut ask: Ask<ReadSource>, stream: StreamId) {
        let unadvanced = std::mem::take(&mut self.replications[node as usize].unadvanced);
        if unadvanced > Lsn::ZERO {
            self.advance_slot(node, stream, unadvanced);
        }
        self.postgres.peek_anew(stream);
        let cut = self.choose(Kind::ReadCut, Entity::Replication(node), 4, per_mille(200));
        if cut != 0 {
            ask.question.changes_max = ask.question.changes_max.min(u32::try_from(cut).unwrap_or(1));
        }
        let items = self.postgres.ask_read_source(stream, &ask.question).map(|mut items| {
            let host = &mut self.replications[node as usize];
            // It said nothing of what was committed after the look, though it may have told it.
            if !self.postgres.stream_ready(stream) && host.looked_at > host.kept_alive {
                host.kept_alive = host.looked_at;
                items.push(SourceItem::Keepalive { wal_end: Lsn(host.looked_at) });
            }
            items
        });
        if items.as_ref().is_ok_and(Vec::is_empty) {
            self.replications[node as usize].reading = Some(ask);
            return;
        }
        self.hit(Probe::Polled);
        self.source_read(node, ask, items);
    }
}
