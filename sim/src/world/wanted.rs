//! Hubs say up to where covered is waited for, and a replicator that is there already says so at once.

use super::lineage::node_of;
use super::{Event, World};
use crate::entity::Entity;
use crate::log::Link;
use crate::oracle::Promise;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{Input, PhaseName};
use std::time::Duration;

/// What is waited for and covered, the life of who knows it, and how often that had announced something.
pub(super) type Wanted = Option<(Lsn, u64, u64)>;

impl World {
    /// A hub waits until covered has reached an LSN: the replicator of its process hears it, whoever records.
    pub(super) fn covered_wanted(&mut self, hub: u8, lsn: Lsn) {
        let node = node_of(Entity::Hub(hub));
        if self.replications[node as usize].machine.is_some() {
            self.log.sends(Entity::Hub(hub), || Link::Covered(node, lsn));
            let input = Box::new(Input::CoveredWanted { lsn });
            self.plan_in(Duration::from_micros(30), Event::ReplicationHears { node, life: 0, input });
        }
    }

    /// What a replicator is asked for that streams, or stands by, and knows to be covered.
    pub(super) fn wanted_and_covered(&self, node: u8, input: &Input) -> Wanted {
        let Input::CoveredWanted { lsn } = input else { return None };
        if self.chooser.is_exhaustive() {
            return None;
        }
        let host = &self.replications[node as usize];
        let machine = host
            .machine
            .as_ref()
            .filter(|machine| matches!(machine.phase(), PhaseName::Streaming | PhaseName::Standby))?;
        let covered = machine.status().head?.covered;
        (covered >= *lsn).then_some((*lsn, host.life, host.announced))
    }

    /// It has heard that: whoever waits has not heard what was announced before, perhaps, and it is announced again.
    pub(super) fn judge_wanted(&mut self, node: u8, wanted: Wanted) {
        let Some((lsn, life, announced)) = wanted else { return };
        let host = &self.replications[node as usize];
        if host.machine.is_some() && (host.life, host.announced) == (life, announced) {
            let event = format!("is asked for {lsn}, which it has covered, and does not say so");
            self.violate(Promise::Converges, "wanted", Entity::Replication(node), event);
        }
    }
}
