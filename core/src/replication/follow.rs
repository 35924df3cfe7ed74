//! Standing by, or halted: another process records, and the hubs of this one are told what it has recorded.
//!
//! Where the lease is held is nothing that a client can see, so whoever is served here is served all the same. The head is read again
//! and again, and told without a body: the hubs read the rest from history.

use super::Replication;
use super::io::Output;
use super::outside::{Timer, ask, reply};
use super::phase::Phase;
use crate::ask::Answer;
use crate::history::{Head, ReadHead};
use crate::position::Lsn;
use crate::safeguard::Safeguard;
use crate::time::Timestamp;
use std::time::Duration;

impl Replication {
    /// Another holds the lease, or might.
    pub(super) fn stand_by(&mut self, now: Timestamp) {
        if self.outside.holds(Safeguard::StandbyFollows) && self.outside.asks.read_head.is_empty() {
            self.outside.set_once(now, Timer::Follow, Duration::ZERO);
        }
    }

    /// Whether others may record.
    pub(super) const fn follows(&self) -> bool {
        matches!(self.phase, Phase::Standby | Phase::Halted(_))
    }

    /// Looks where history ends by now.
    pub(super) fn on_follow(&mut self) {
        if self.follows() && self.outside.asks.read_head.is_empty() {
            ask!(&mut self.outside, read_head, ReadHead, ReadHead);
        }
    }

    pub(super) fn on_head_read(&mut self, now: Timestamp, answer: Answer<ReadHead>) {
        let reply = reply!(self.outside, read_head, answer);
        if !self.follows() {
            return; // The lease is ours by now, and what was recorded is loaded.
        }
        let (every, after_failure) = (self.outside.config.follow_every, self.outside.config.backoff_most);
        match reply {
            Ok(head) => {
                self.outside.set(now, Timer::Follow, every);
                if self.is_news(&head) {
                    self.outside.announce(head.position(), head, None);
                }
            }
            Err(_) => self.outside.set(now, Timer::Follow, after_failure), // It is away, or there is no era yet.
        }
    }

    /// As in the stream: an idle advance is told to those who wait for it, and to nobody else.
    fn is_news(&self, head: &Head) -> bool {
        let Some(told) = self.outside.announced else { return true };
        told.waypoint != head.waypoint || told.covered < head.covered && told.covered < self.outside.wanted
    }

    /// Somebody waits for covered, which the other process saves. It cannot know of that, so the source is nudged.
    pub(super) fn on_wanted_standing_by(&mut self, now: Timestamp, lsn: Lsn) {
        match self.outside.announced.filter(|told| told.covered >= lsn) {
            Some(head) => self.outside.announce(head.position(), head, None), // Perhaps before this hub was awake.
            None => {
                self.outside.nudges = 0;
                self.nudge_standing_by(now);
            }
        }
    }

    pub(super) fn nudge_standing_by(&mut self, now: Timestamp) {
        let covered = self.outside.announced.map_or(Lsn::ZERO, |told| told.covered);
        self.outside.nudge(now, covered);
    }
}
