//! A transaction that ends the process that records it, each time: its replicator must halt, and go on when the cause is mended.

use super::World;
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::oracle::Promise;
use crate::plan::{ATTEMPTS_MAX, Family};
use crate::probe::Probe;
use dormouse_core::fault::Halt;
use dormouse_core::position::Lsn;
use dormouse_core::replication::Output;

/// What can hide a count from the replicator that asks for it: then it goes on, at worst for as many tries again.
const HIDING: &[Family] = &[
    Family::NodeCrash,
    Family::Drain,
    Family::Questions,
    Family::ConnectionDrop,
    Family::PostgresRestart,
    Family::DiskFull,
    Family::HalfOpen,
    Family::Pause,
    Family::SlotLoss,
    Family::MovedSlot,
    Family::Restore,
];

/// The transaction that ends who records it.
#[derive(Debug, Clone, Default)]
pub(super) struct Poison {
    commit_lsn: Option<Lsn>,
    /// How often it has.
    ends: u32,
    /// The one that halted a replicator, and was mended.
    mended: Option<Lsn>,
}

impl World {
    /// Whether the process ends because of what this output records.
    pub(super) fn is_poisoned(&mut self, node: u8, output: &Output) -> bool {
        let Output::RecordPage(ask) = output else { return false };
        if !self.plan.has(Family::Poison) {
            return false;
        }
        let transactions = &ask.question.page.transactions;
        let holds = |lsn: Option<Lsn>| lsn.is_some_and(|lsn| transactions.iter().any(|one| one.commit_lsn == lsn));
        if holds(self.poison.mended) {
            self.hit(Probe::PoisonMended);
        }
        if self.quiet.is_some() || self.window.is_some() {
            return false; // Everything rests, and so does this.
        }
        if self.poison.commit_lsn.is_none() {
            if !self.happens(Kind::PoisonTransaction, Entity::Replication(node), per_mille(120)) {
                return false;
            }
            self.poison = Poison { commit_lsn: transactions.first().map(|one| one.commit_lsn), ..Poison::default() };
        } else if !holds(self.poison.commit_lsn) {
            return false;
        }
        self.poison.ends += 1;
        let hides = HIDING.iter().any(|family| self.plan.has(*family));
        if self.poison.ends > ATTEMPTS_MAX && !hides {
            let event = format!("one transaction has ended the process {} times", self.poison.ends);
            self.violate(Promise::Converges, "poison", Entity::Replication(node), event);
        }
        self.crash_node(node);
        true
    }

    /// A replicator halts. Where one transaction has ended it often enough, somebody mends that and starts it again.
    pub(super) fn halted(&mut self, node: u8, halt: &Halt) {
        let ended = self.plan.has(Family::Poison) && self.postgres.unclean_ends_most() >= ATTEMPTS_MAX;
        if halt.code != "poison_transaction" || !ended {
            return self.violate_halt(node, halt);
        }
        self.hit(Probe::PoisonedHalt);
        let hides = HIDING.iter().any(|family| self.plan.has(*family));
        if let Some(lsn) = self.poison.commit_lsn.filter(|lsn| !hides && !halt.message.contains(&format!("{lsn} "))) {
            let event = format!("{lsn} has ended the process, and it halts with another name: {}", halt.message);
            self.violate(Promise::Converges, "poison named", Entity::Replication(node), event);
        }
        self.poison = Poison { mended: self.poison.commit_lsn, ..Poison::default() };
        self.crash_node(node);
    }
}
