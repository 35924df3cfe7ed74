//! A database that is restored from a copy of its disk: the same system, the same timeline, and an end that is gone.

use super::World;
use super::event::{ANNOUNCED, CONFIRMED, HUB_ASKS, NUDGED, REPLICATION_ASKS, SNAPSHOT_COPIED};
use crate::chooser::{Kind, per_mille};
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Draft, What};
use crate::plan::Family;
use crate::postgres::Postgres;
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
        let weight = match self.plan.has(Family::Unstopped) {
            false => per_mille(25),
            // When they would notice, and sooner when they have something to deliver.
            true if !self.would_notice_copy() => 0,
            true if !self.plan.even && self.would_deliver() => per_mille(50) * self.danger_anywhere().max(16),
            true => per_mille(50) * self.danger_anywhere(),
        };
        if self.happens(Kind::RestoreDatabase, Entity::Postgres, weight) {
            self.restore();
        }
    }

    /// The copy takes the place of the database. The servers are stopped for that, and started again; or they go on.
    fn restore(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        if copy.alterations().len() != self.postgres.alterations().len() {
            return; // Of a table that was rewritten without a word in the stream nobody can tell that it is not any more.
        }
        self.hit(Probe::Restored);
        self.digest.word(22);
        let lost = match self.servers_go_on(&copy) {
            0 => self.restore_alone(&copy),
            pick => self.restore_under_servers(&copy, pick == 2),
        };
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

    /// Whether the servers go on. Not with a copy so young that it knows of every renewal of the lease: nobody would notice it.
    fn servers_go_on(&mut self, copy: &Postgres) -> u64 {
        if !self.plan.has(Family::Unstopped) || !self.would_notice(copy) {
            return 0;
        }
        self.choose(Kind::ServersGoOn, Entity::Postgres, 3, per_mille(900))
    }

    /// The servers are stopped, the copy takes the place of the database, and the servers are started again.
    fn restore_alone(&mut self, copy: &Postgres) -> Postgres {
        (0..NODES).for_each(|node| self.crash_node(node));
        self.lose_all_connections(false);
        // What was asked of a database that is gone takes effect in none, and servers that ended announce nothing.
        for class in [CONFIRMED, REPLICATION_ASKS, HUB_ASKS, SNAPSHOT_COPIED, ANNOUNCED] {
            (0..HUBS.max(NODES)).for_each(|n| self.queue.remove_where((class, n.into()), |_| true));
        }
        self.replications.iter_mut().for_each(|host| host.recording = 0);
        self.postgres.restore(copy)
    }

    /// Only the database ends. What it has answered arrives, and the servers go on with what they remember until they ask again.
    ///
    /// When its machine goes in silence nobody is told that the streams have ended.
    fn restore_under_servers(&mut self, copy: &Postgres, silent: bool) -> Postgres {
        self.hit(Probe::RestoredUnder);
        (0..HUBS).for_each(|hub| self.cover(Kind::ServersGoOn, Entity::Hub(hub)));
        (0..NODES).for_each(|node| self.cover(Kind::ServersGoOn, Entity::Replication(node)));
        self.lose_all_connections(silent);
        for class in [NUDGED, CONFIRMED, REPLICATION_ASKS, HUB_ASKS] {
            (0..HUBS.max(NODES)).for_each(|n| self.queue.remove_where((class, n.into()), |_| true));
        }
        self.replications.iter_mut().for_each(|host| host.recording = 0);
        let lost = self.postgres.restore(copy);
        self.postgres.keep_spools_of(&lost);
        lost
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
