//! Clocks that jump ahead of everybody else's, and a slot that somebody moves.
//!
//! A machine is told the time by its host. A host that was suspended wakes hours later, with all its timers due at once. Clocks only
//! jump ahead: `runtime/src/clock.rs` carries the wall clock on by the monotonic one, so that none ever goes back within a process.

use super::World;
use crate::entity::{Entity, HUBS};
use crate::log::{Draft, What};
use crate::probe::Probe;
use dormouse_core::time::Timestamp;
use std::time::Duration;

/// How far: past the silences, past a minute, past a night, past every time-to-live.
pub(super) const JUMP_US: &[u64] = &[0, 3_000_000, 60_000_000, 28_800_000_000, 259_200_000_000];

/// How much later than what arrives the timers of a hub are handled that a jump made due.
const STALLED: Duration = Duration::from_millis(20);

impl World {
    /// What the clock of a client's host says.
    pub(super) fn client_now(&self, client: u8) -> Timestamp {
        self.now + self.clients[client as usize].ahead
    }

    /// What the clock of a node says, as its hubs hear it.
    pub(super) fn hub_now(&self, hub: u8) -> Timestamp {
        self.now + self.hubs[hub as usize].ahead
    }

    /// What the clock of a node says, as its replicator hears it.
    pub(super) fn replication_now(&self, node: u8) -> Timestamp {
        self.now + self.replications[node as usize].ahead
    }

    /// When a credential runs out by the clock of a hub's node.
    pub(super) fn expires_at(&self, hub: u8, until: Option<Timestamp>) -> Option<Timestamp> {
        until.map(|until| until + self.hubs[hub as usize].ahead)
    }

    /// The clock of a node or of a client jumps: all timers up to there are due.
    pub(super) fn clock_jumps(&mut self, entity: Entity, pick: u64) {
        if pick == 0 {
            return;
        }
        let by = Duration::from_micros(JUMP_US[usize::try_from(pick).unwrap_or(0)]);
        self.hit(Probe::ClockJumped);
        self.digest.word(19);
        self.log.add(|_| Draft::new(entity, What::Note, format!("the clock jumps ahead by {by:?}")));
        match entity {
            Entity::Client(client) => {
                self.clients[client as usize].ahead += by;
                self.after_client(client);
            }
            Entity::Node(node) => {
                self.replications[node as usize].ahead += by;
                self.after_replication(node);
                for hub in (0..HUBS).filter(|_| node == 0) {
                    self.hubs[hub as usize].ahead += by;
                    self.hubs[hub as usize].stalled_until = self.now + STALLED;
                    if self.hubs[hub as usize].machine.is_none() {
                        self.hit(Probe::ClockJumpedAsleep);
                    }
                    self.after_hub(hub);
                }
            }
            Entity::World | Entity::Postgres | Entity::Replication(_) | Entity::Hub(_) | Entity::Writer(_) => {}
        }
    }

    /// Somebody else reads from our slot, or drops it and creates it again: what committed until now will not be sent.
    pub(super) fn move_slot(&mut self, again: bool) {
        if self.postgres.confirmed().is_none() {
            return; // There is none to be moved.
        }
        self.hit(Probe::SlotMoved);
        if self.lags() {
            self.hit(Probe::SlotMovedOver);
        }
        let end = self.postgres.flushed_lsn();
        if again { self.postgres.create_slot_again() } else { self.postgres.advance_slot(end) }
    }
}
