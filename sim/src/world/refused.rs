//! A registry that takes nothing for a while: places, renewals and removals wait, and registrations may run out in use meanwhile.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::hub::Output;
use std::time::Duration;

/// For how long: past the waits between tries, and past what a registration lasts where it lasts for seconds.
const REFUSES_US: &[u64] = &[0, 700_000, 3_500_000];

impl World {
    /// Whether the registry refuses what a hub writes to it.
    pub(super) fn registry_refuses(&mut self, hub: u8, question: &Output) -> bool {
        let weight = match question {
            Output::RenewRegistrations(_) => per_mille(200),
            Output::SavePositions(_) => per_mille(15),
            Output::Unregister(_) => per_mille(500),
            _ => return false,
        };
        if !self.plan.has(Family::Brief) {
            return false;
        }
        // It does not become well because faults rest.
        let rests = self.quiet.is_some() || self.window.is_some();
        if !rests && self.hubs[hub as usize].refused_until <= self.now {
            let bucket = self.choose(Kind::RefuseRegistry, Entity::Hub(hub), REFUSES_US.len() as u64, weight);
            let refuses = Duration::from_micros(REFUSES_US[usize::try_from(bucket).unwrap_or(0)]);
            if bucket != 0 {
                self.hit(Probe::RegistryRefused);
            }
            self.hubs[hub as usize].refused_until = self.now + refuses;
        }
        self.hubs[hub as usize].refused_until > self.now
    }
}
