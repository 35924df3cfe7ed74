//! A server that is suspended, as a machine is that is moved or put to sleep: its replicator and its hubs stand still with all that they
//! had asked, while everybody else goes on, and another server takes over. Then it goes on as if nothing had been.

use super::{Event, World};
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::log::{Draft, What};
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::time::Timestamp;
use std::time::Duration;

/// For how long: shorter than the silences and the lease, past the lease, past all of them.
const SUSPENDED_US: &[u64] = &[0, 1_000_000, 4_000_000, 9_000_000];
/// How much later the server is started that takes over.
const SUCCESSOR_AFTER: Duration = Duration::from_millis(50);

impl World {
    /// Whether the first server, whose hubs these are, stands still.
    pub(super) fn is_suspended(&self) -> bool {
        self.replications[0].suspended_until > self.now
    }

    pub(super) fn suspend_faults(&mut self) {
        let weight = self.weight_at(0, Family::Suspended, per_mille(12));
        let bucket = self.choose(Kind::Suspend, Entity::Node(0), SUSPENDED_US.len() as u64, weight);
        if bucket == 0 || self.replications[0].machine.is_none() || self.is_suspended() {
            return;
        }
        let suspended = Duration::from_micros(SUSPENDED_US[usize::try_from(bucket).unwrap_or(0)]);
        self.hit(Probe::ServerSuspended);
        self.log.add(|_| Draft::new(Entity::Node(0), What::Note, format!("is suspended for {suspended:?}")));
        let until = self.now + suspended;
        self.replications[0].suspended_until = until;
        self.pause_until(until);
        self.plan_in(SUCCESSOR_AFTER, Event::NodeStarts { node: 1 });
    }

    /// An event, unless it concerns a server that is suspended: what reaches that waits, in its order, until it goes on. A
    /// connection that was opened meanwhile was taken by its system, and waits as well.
    pub(super) fn unless_suspended(&mut self, event: Event) -> Option<Event> {
        if !self.is_suspended() {
            return Some(event);
        }
        match event {
            Event::HubHears { .. }
            | Event::SnapshotCopied { .. }
            | Event::Announced { .. }
            | Event::Dialled { .. }
            | Event::Frame { to_server: true, .. }
            | Event::Silence { .. }
            | Event::Timeout { whose: Entity::Hub(_), .. }
            | Event::Alarm { .. }
            | Event::HubWakes { .. }
            | Event::Parts { node: 0, .. } => {
                self.queue.push(self.replications[0].suspended_until, event);
                None
            }
            event => Some(event),
        }
    }

    /// A replicator stands still until then.
    pub(super) fn pause_until(&mut self, until: Timestamp) {
        let host = &mut self.replications[0];
        host.paused_until = Some(host.paused_until.map_or(until, |earlier| earlier.max(until)));
    }
}
