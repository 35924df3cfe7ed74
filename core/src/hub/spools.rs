//! Snapshots on our disk, shared by the sessions of one scope while they are fresh.

use super::desk::{Desk, Timer};
use super::retry::Kind;
use super::{Output, Spool, SpoolId, TakeSnapshot};
use crate::ask::Open;
use crate::change::Scope;
use crate::history::Head;
use crate::position::{Era, SchemaVersion};
use crate::safeguard::Safeguard;
use crate::session::SessionId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A spool as the hub numbers it, from before it is taken.
pub(super) type SpoolNo = u64;

/// All spools of this hub.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spools {
    pub open: Open<TakeSnapshot, SpoolNo>,
    entries: BTreeMap<SpoolNo, Entry>,
    named: SpoolNo,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    scope: Scope,
    era: Era,
    schema: SchemaVersion,
    asked_at: Timestamp,
    state: State,
    users: u32,
    /// Whether nobody may join any more.
    dead: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Wanted { not_before: Timestamp, waiting: Vec<SessionId> },
    Taking { waiting: Vec<SessionId> },
    Ready(Arc<Spool>),
}

impl Entry {
    fn waiting_mut(&mut self) -> Option<&mut Vec<SessionId>> {
        match &mut self.state {
            State::Wanted { waiting, .. } | State::Taking { waiting } => Some(waiting),
            State::Ready(_) => None,
        }
    }
}

impl Spools {
    /// The spool, once it is on disk.
    pub fn ready(&self, no: SpoolNo) -> Option<Arc<Spool>> {
        match &self.entries.get(&no)?.state {
            State::Ready(spool) => Some(Arc::clone(spool)),
            State::Wanted { .. } | State::Taking { .. } => None,
        }
    }

    /// The snapshot was taken: who waits for it. `None` when nobody knows of it any more.
    pub fn taken(&mut self, no: SpoolNo, spool: &Arc<Spool>) -> Option<Vec<SessionId>> {
        let entry = self.entries.get_mut(&no)?;
        let waiting = entry.waiting_mut().map(std::mem::take);
        entry.state = State::Ready(Arc::clone(spool));
        entry.schema = spool.schema;
        entry.dead |= spool.start.era != entry.era;
        Some(waiting.unwrap_or_default())
    }

    /// The snapshot was not taken: it will be tried again.
    pub fn not_taken(&mut self, no: SpoolNo, not_before: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&no) {
            let waiting = entry.waiting_mut().map(std::mem::take).unwrap_or_default();
            entry.state = State::Wanted { not_before, waiting };
        }
    }

    /// It will never be taken: who waited for it.
    pub fn given_up(&mut self, no: SpoolNo) -> Vec<SessionId> {
        let Some(entry) = self.entries.get_mut(&no) else { return Vec::new() };
        let waiting = entry.waiting_mut().map(std::mem::take).unwrap_or_default();
        entry.dead = true;
        entry.state = State::Wanted { not_before: entry.asked_at, waiting: Vec::new() };
        waiting
    }

    /// Nobody may join this spool any more: it is gone, or history was pruned from under it.
    pub fn kill(&mut self, id: SpoolId) {
        let is = |entry: &&mut Entry| matches!(&entry.state, State::Ready(spool) if spool.id == id);
        if let Some(entry) = self.entries.values_mut().find(is) {
            entry.dead = true;
        }
    }

    /// Nobody may join any spool of another era or schema.
    pub fn kill_others(&mut self, head: &Head) {
        for entry in self.entries.values_mut() {
            entry.dead |= entry.era != head.era() || entry.schema != head.schema();
        }
    }

    /// Nobody may join any spool there is.
    pub fn kill_all(&mut self) {
        for entry in self.entries.values_mut() {
            entry.dead = true;
        }
    }

    /// How many sessions use one.
    pub fn users(&self) -> usize {
        self.entries.values().map(|entry| entry.users as usize).sum()
    }

    /// Whether a snapshot is to be taken for somebody, and none is being taken.
    pub fn wait(&self) -> bool {
        let wanted = |entry: &Entry| entry.users > 0 && matches!(entry.state, State::Wanted { .. });
        self.open.is_empty() && self.entries.values().any(wanted)
    }

    /// Whether a snapshot is kept, or would be, that nobody uses.
    pub fn has_unused(&self) -> bool {
        self.entries.values().any(|entry| entry.users == 0)
    }

    /// Whether a snapshot is still to be taken for somebody.
    pub fn is_busy(&self) -> bool {
        !self.open.is_empty() || self.entries.values().any(|entry| entry.users > 0)
    }
}

impl Desk {
    /// Joins a session to a fresh spool of its scope, or to one that will be taken.
    pub fn join_spool(&mut self, scope: &Scope, head: &Head, session: SessionId, now: Timestamp) -> SpoolNo {
        let reuse_for = self.config.spool_reuse_for;
        let fits = |entry: &Entry| {
            let fresh = !matches!(entry.state, State::Ready(_)) || now.since(entry.asked_at) <= reuse_for;
            let same = entry.era == head.era() && entry.schema == head.schema() && entry.scope == *scope;
            !entry.dead && fresh && same
        };
        if let Some((no, entry)) = self.spools.entries.iter_mut().rev().find(|(_, entry)| fits(entry)) {
            entry.users += 1;
            if let Some(waiting) = entry.waiting_mut() {
                waiting.push(session);
            }
            return *no;
        }
        self.spools.named += 1;
        let entry = Entry {
            scope: scope.clone(),
            era: head.era(),
            schema: head.schema(),
            asked_at: now,
            state: State::Wanted { not_before: now, waiting: vec![session] },
            users: 1,
            dead: false,
        };
        self.spools.entries.insert(self.spools.named, entry);
        self.spools.named
    }

    /// A session needs its spool no more.
    pub fn leave_spool(&mut self, no: SpoolNo, now: Timestamp) {
        let Some(entry) = self.spools.entries.get_mut(&no) else { return };
        entry.users -= 1;
        if entry.users == 0 {
            self.timers.set_at_latest(Timer::Spools, now + std::time::Duration::from_millis(1));
        }
    }

    /// Takes the snapshots that may be taken now.
    pub fn pump_snapshots(&mut self, now: Timestamp) {
        let await_era_start = self.holds(Safeguard::EraStartWait);
        for (no, entry) in &mut self.spools.entries {
            let State::Wanted { not_before, waiting } = &mut entry.state else { continue };
            if *not_before > now {
                self.timers.set_at_latest(Timer::Snapshots, *not_before);
            } else if self.spools.open.len() < self.config.snapshots_max && !entry.dead {
                entry.asked_at = now;
                entry.state = State::Taking { waiting: std::mem::take(waiting) };
                let question = TakeSnapshot { era: entry.era, scope: entry.scope.clone(), await_era_start };
                let ask = self.spools.open.ask(&mut self.asker, question, *no);
                self.outputs.push_back(Output::TakeSnapshot(ask));
            }
        }
    }

    /// Drops the spools that nobody uses and nobody will join; all that nobody uses, with `all`.
    pub fn drop_spools(&mut self, all: bool, now: Timestamp) {
        let mut next = None;
        let (outputs, reuse_for) = (&mut self.outputs, self.config.spool_reuse_for);
        self.spools.entries.retain(|_, entry| {
            let until = entry.asked_at + reuse_for;
            let kept = match &entry.state {
                _ if entry.users > 0 => true,
                State::Wanted { .. } => false,
                State::Taking { .. } => true,
                State::Ready(_) => !all && !entry.dead && until >= now,
            };
            if kept && entry.users == 0 {
                next = Some(next.map_or(until, |next: Timestamp| next.min(until)));
            }
            if let (false, State::Ready(spool)) = (kept, &entry.state) {
                outputs.push_back(Output::DropSpool { spool: spool.id });
            }
            kept
        });
        if let Some(next) = next {
            self.timers.set_at_latest(Timer::Spools, next.max(now) + self.config.scan_every);
        }
    }

    /// Takes a snapshot again after a failure.
    pub fn retry_snapshot(&mut self, no: SpoolNo, failed: bool, now: Timestamp) {
        let at = if failed {
            self.patience.failed(Kind::Snapshot, now, &self.config)
        } else {
            now + self.config.snapshot_retry.max(std::time::Duration::from_millis(1))
        };
        self.spools.not_taken(no, at);
        self.timers.set_at_latest(Timer::Snapshots, at);
        self.drop_spools(false, now);
    }
}
