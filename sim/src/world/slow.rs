//! A store whose transactions are slow for a while, one after the other.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::time::Timestamp;
use std::time::Duration;

/// How long a transaction takes where one after the other is slow: a window of them takes longer than a session may go without acknowledging
/// anything, and none of them does.
const SLOW: Duration = Duration::from_millis(1_800);
/// For how long they are: shorter than everybody rests before the world is tried once more.
const SLOW_US: &[u64] = &[0, 4_000_000, 12_000_000];

impl World {
    /// How much longer a transaction takes on a disk that is slow for a while: it does not become fast because faults rest.
    pub(super) fn slowness(&mut self, client: u8) -> Duration {
        let rests = self.quiet.is_some() || self.window.is_some();
        if self.plan.has(Family::SlowReader) && !rests && self.clients[client as usize].slow_until <= self.now {
            let bucket = self.choose(Kind::SlowStore, Entity::Client(client), SLOW_US.len() as u64, per_mille(6));
            if bucket != 0 {
                self.hit(Probe::StoreSlow);
                let slow = Duration::from_micros(SLOW_US[usize::try_from(bucket).unwrap_or(0)]);
                self.clients[client as usize].slow_until = self.now + slow;
            }
        }
        if self.clients[client as usize].slow_until > self.now { SLOW } else { Duration::ZERO }
    }

    /// Whether a store may still be carrying out what it was asked while it was slow.
    pub(super) fn is_slow(&self, client: u8) -> bool {
        let until = self.clients[client as usize].slow_until;
        until != Timestamp::ZERO && self.now < until + SLOW
    }
}
