//! A database that is restored from a copy of its disk: the same system, the same timeline, and an end that is gone.

use super::World;
use super::event::{ANNOUNCED, CONFIRMED, HUB_ASKS, REPLICATION_ASKS, SNAPSHOT_COPIED};
use crate::chooser::{Kind, per_mille};
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Draft, What};
use crate::plan::Family;
use crate::probe::Probe;

impl World {
    pub(super) fn restore_faults(&mut self) {
        if !self.plan.has(Family::Restore) {
            return;
        }
        self.look_at_lost();
        if self.copy.is_none() {
            if self.happens(Kind::CopyDatabase, Entity::Postgres, per_mille(30)) {
                self.copy = Some(Box::new(self.postgres.clone()));
            }
            return;
        }
        if self.happens(Kind::RestoreDatabase, Entity::Postgres, per_mille(25)) {
            self.restore();
        }
    }

    /// The servers are stopped, the copy takes the place of the database, and the servers are started again.
    fn restore(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        if copy.alterations().len() != self.postgres.alterations().len() {
            return; // Of a table that was rewritten without a word in the stream nobody can tell that it is not any more.
        }
        self.hit(Probe::Restored);
        self.digest.word(22);
        (0..NODES).for_each(|node| self.crash_node(node));
        self.lose_all_connections();
        // What was asked of a database that is gone takes effect in none, and servers that ended announce nothing.
        for class in [CONFIRMED, REPLICATION_ASKS, HUB_ASKS, SNAPSHOT_COPIED, ANNOUNCED] {
            (0..HUBS.max(NODES)).for_each(|n| self.queue.remove_where((class, n.into()), |_| true));
        }
        self.replications.iter_mut().for_each(|host| host.recording = 0);
        let lost = self.postgres.restore(&copy);
        self.oracle.restored(&lost, &self.postgres);
        if let Some(naive) = &mut self.naive {
            naive.restored();
        }
        let gone = lost.commits().len() - self.postgres.commits().len();
        self.log.add(|_| {
            let event = format!("is restored from a copy: {gone} commits are gone");
            Draft::new(Entity::Postgres, What::Note, event)
        });
        self.look_at_lost();
    }

    /// Whether clients show what is lost, and whether the database has grown past that.
    fn look_at_lost(&mut self) {
        let last = self.postgres.commits().last().map(|commit| commit.commit_lsn);
        let shown = (0..self.plan.size.clients()).filter_map(|client| self.shown(client));
        let Some(lost) = shown.filter(|shown| self.oracle.is_lost(shown)).min_by_key(|shown| shown.position) else {
            return;
        };
        self.hit(Probe::RestoredLost);
        if last > Some(lost.position.commit_lsn) {
            self.hit(Probe::RestoredRegrown);
        }
    }
}
