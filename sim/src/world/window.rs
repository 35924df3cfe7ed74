//! A quiet window in the midst of a run: faults rest and nobody writes until all clients show what was committed, then all goes on.
//!
//! What only fails to recover from a fault while others follow would otherwise hide behind the next fault, or behind the end.

use super::quiet::{CONVERGE_WITHIN, LOOK_EVERY};
use super::{Event, World};
use crate::chooser::Kind;
use crate::entity::Entity;
use crate::log::{Draft, What};
use crate::oracle::Promise;
use crate::probe::Probe;
use std::time::Duration;

/// One seed in so many has a window.
const OF: u64 = 8;
const AFTER_MS: u64 = 800;
const SPREAD_MS: u64 = 4_000;

impl World {
    pub(super) fn begin_window(&mut self) {
        if !self.plan.tight && self.chooser.draw(Kind::Window, Entity::World, OF) == 0 {
            let after = AFTER_MS + self.chooser.draw(Kind::Window, Entity::World, SPREAD_MS);
            self.plan_in(Duration::from_millis(after), Event::Window);
        }
    }

    /// The window opens; or, once all have converged, it closes.
    pub(super) fn window_turns(&mut self) {
        if self.quiet.is_some() {
            return;
        }
        self.digest.word(19);
        let Some(began) = self.window else {
            self.log.add(|_| Draft::new(Entity::World, What::Note, "faults rest".into()));
            self.chooser.hush();
            self.let_go_of_all();
            for client in 0..self.plan.clients() {
                self.clients[client as usize].reads_again = None;
            }
            self.window = Some(self.now);
            return self.plan_in(LOOK_EVERY, Event::Window);
        };
        match self.straggler() {
            None => {
                self.hit(Probe::MidRunQuiet);
                self.log.add(|_| Draft::new(Entity::World, What::Note, "all have converged: faults go on".into()));
                self.chooser.unhush();
                self.window = None;
            }
            Some((entity, why)) if self.now.since(began) > CONVERGE_WITHIN => {
                self.violate(Promise::Converges, "mid-run quiet", entity, why);
            }
            Some(_) => self.plan_in(LOOK_EVERY, Event::Window),
        }
    }
}
