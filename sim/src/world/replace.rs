//! What is not there any more when somebody looks again: tables that are replaced without a word in the stream, copies of snapshots.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::plan::{Family, Size};
use crate::probe::Probe;
use dormouse_core::hub::Output;

const WAYS: u64 = 9;
/// How often something is replaced while a table has another key: one way in eight makes that what it was.
const REKEYED: u32 = per_mille(300);

impl World {
    pub(super) fn replace_faults(&mut self) {
        if !self.plan.has(Family::Replaces) {
            return;
        }
        // What is out of the publication is put back soon, and a key made what it was.
        let tables = 0..self.postgres.tables();
        let is_rekeyed = tables.clone().any(|table| self.postgres.is_rekeyed(table));
        let is_out = tables.into_iter().any(|table| !self.postgres.is_published(table));
        let often = if is_rekeyed { REKEYED } else { per_mille(if is_out { 60 } else { 20 }) };
        let way = self.choose(Kind::ReplaceTable, Entity::Postgres, WAYS, often);
        let table = usize::from(way.is_multiple_of(2));
        let rekeyed = |back| if back { Probe::TableRekeyedBack } else { Probe::TableRekeyed };
        let replaced = match way {
            0 => return,
            1 | 2 => self.postgres.recreate_table(table).map(|()| Probe::TableRecreated),
            3 | 4 => self.postgres.rekey_table(table).map(rekeyed),
            _ if self.postgres.is_published(table) && self.is_named(table) => return,
            _ if self.postgres.is_published(table) => {
                self.postgres.unpublish_table(table).map(|()| Probe::TableTakenOut)
            }
            _ => self.postgres.publish_table(table, way > 6).map(|()| Probe::TablePutBack),
        };
        if let Ok(probe) = replaced {
            self.hit(probe);
        }
    }

    /// The copy of a snapshot is gone when a hub reads it, as after somebody has cleaned up its disk.
    pub(super) fn lose_spool(&mut self, hub: u8, question: &Output) {
        let Output::ReadChunk(ask) = question else { return };
        let spool = ask.question.spool;
        if !self.plan.has(Family::Evict) || !self.hubs[hub as usize].spools.contains(&spool) {
            return;
        }
        if self.happens(Kind::LoseSpool, Entity::Hub(hub), per_mille(12)) {
            self.hit(Probe::SpoolLost);
            let host = &mut self.hubs[hub as usize];
            host.spools.retain(|kept| *kept != spool);
            host.heard.retain(|kept| *kept != spool);
            self.postgres.drop_spool(spool);
        }
    }

    /// Whether a client asks for this table by its name: it would be sent away for good once that is not published.
    fn is_named(&self, table: usize) -> bool {
        self.plan.has(Family::Narrow) && (table == 0 || self.plan.size != Size::S)
    }
}
