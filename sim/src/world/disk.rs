//! A database whose disk is full: what needs another page of a table fails before its effect; what only reads or deletes goes on.
//!
//! The applications' tables lie on a disk of their own, so commits go on while history cannot grow: when there is space again, all
//! that waits in the slot must be appended, once.

use super::severed::{hub_failure, replication_failure};
use super::{Event, World};
use crate::chooser::{Kind, per_mille};
use crate::coverage::Phase;
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Draft, What};
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::{hub, replication};
use std::time::Duration;

/// What Postgres says then; the SQLSTATE 53100 is one that asking again may help against.
const FULL: &str = "could not extend file: No space left on device [53100]";

/// How long: shorter than the patience of a greeting, and longer than a lease lasts.
const FULL_US: &[u64] = &[0, 400_000, 1_500_000, 4_500_000];

impl World {
    /// The disk fills up, until somebody makes space.
    pub(super) fn disk_faults(&mut self) {
        self.fill_disk(Entity::Postgres, per_mille(10) * self.danger_anywhere());
    }

    fn fill_disk(&mut self, by: Entity, weight: u32) {
        if !self.plan.has(Family::DiskFull) || self.disk_is_full() {
            return;
        }
        let bucket = self.choose(Kind::DiskFull, by, FULL_US.len() as u64, weight);
        if bucket == 0 {
            return;
        }
        self.hit(Probe::DiskFilled);
        self.digest.word(20);
        let full = Duration::from_micros(FULL_US[usize::try_from(bucket).unwrap_or(0)]);
        self.disk_full_until = Some(self.now + full);
        self.log.add(|_| Draft::new(Entity::Postgres, What::Note, format!("the disk is full for {full:?}")));
        // It meets everybody, whatever they are doing.
        for hub in 0..HUBS {
            self.cover(Kind::DiskFull, Entity::Hub(hub));
        }
        for node in 0..NODES {
            self.cover(Kind::DiskFull, Entity::Replication(node));
        }
    }

    /// Whether it is full now. Somebody makes space when faults rest.
    fn disk_is_full(&self) -> bool {
        self.quiet.is_none() && self.window.is_none() && self.disk_full_until.is_some_and(|until| self.now < until)
    }

    /// A replicator's question reaches the database.
    pub(super) fn ask_disk_as_replication(
        &mut self,
        node: u8,
        life: u64,
        question: replication::Output,
        answered: bool,
    ) {
        if matches!(question, replication::Output::RecordPage(_)) && self.is_mid_transaction() {
            self.fill_disk(Entity::Replication(node), per_mille(20)); // A later piece is what no disk has been asked for yet.
        }
        if !self.disk_refuses_replication(node, &question) {
            return self.replication_asks(node, life, question, answered);
        }
        let entity = Entity::Replication(node);
        self.disk_refuses(entity);
        if answered && let Some(input) = replication_failure(&question, FULL) {
            let after = self.answer_latency(entity);
            self.plan_in(after, Event::ReplicationHears { node, life, input: Box::new(input) });
        }
    }

    /// A hub's question reaches the database.
    pub(super) fn ask_disk_as_hub(&mut self, hub: u8, life: u64, question: hub::Output, answered: bool) {
        if !self.disk_refuses_hub(&question) {
            return self.hub_asks(hub, life, question, answered);
        }
        let entity = Entity::Hub(hub);
        self.disk_refuses(entity);
        if answered && let Some(input) = hub_failure(&question, FULL) {
            let after = self.answer_latency(entity);
            self.plan_in(after, Event::HubHears { hub, life, input: Box::new(input) });
        }
    }

    fn disk_refuses(&mut self, whose: Entity) {
        self.digest.word(21);
        self.log.add(|_| Draft::new(whose, What::Note, format!("its question fails: {FULL}")));
    }

    /// Whether a replicator's question fails because the disk is full.
    fn disk_refuses_replication(&mut self, node: u8, question: &replication::Output) -> bool {
        use replication::Output;
        if !self.disk_is_full() {
            return false;
        }
        match question {
            Output::TakeLease(_) | Output::ReleaseLease(_) | Output::NoteAttempt(_) | Output::SaveCovered(_) => {}
            Output::RenewLease(_) => self.hit(Probe::DiskFullAtLease),
            Output::RecordPage(_) => {
                self.replications[node as usize].recording -= 1;
                self.hit(Probe::DiskFullAtAppend);
                if self.is_mid_transaction() {
                    self.hit(Probe::DiskFullAtPiece);
                }
                self.saw_failure(question);
            }
            Output::CreateSlot(_) | Output::SettleSlot(_) | Output::BeginEra(_) | Output::RaiseSchema(_) => {
                if self.replication_phase(node) == Phase::ReplicationPreparing {
                    self.hit(Probe::DiskFullAtPreparing);
                }
            }
            _ => return false, // It reads, or it deletes.
        }
        true
    }

    /// The same for a hub's.
    fn disk_refuses_hub(&mut self, question: &hub::Output) -> bool {
        use hub::Output;
        if !self.disk_is_full() {
            return false;
        }
        let probe = match question {
            Output::TakeEpoch(_) => Probe::DiskFullAtGreeting,
            Output::SavePositions(_) => Probe::DiskFullAtPositions,
            Output::RenewRegistrations(_) => Probe::DiskFullAtRenewal,
            Output::TakeSnapshot(_) => Probe::DiskFullAtSnapshot,
            _ => return false, // It reads, or it deletes.
        };
        self.hit(probe);
        true
    }
}
