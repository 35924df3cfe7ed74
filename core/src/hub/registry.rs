//! The registry: acknowledged positions are stored in batches, registrations renewed and removed, each fenced by its epoch.

use super::desk::{Desk, Timer};
use super::retry::{Kind, Retry};
use super::session::{Peer, Served, Session};
use super::{Config, Hub, Output, RenewRegistrations, SavePositions, Unregister};
use crate::ask::{Answer, Open};
use crate::fault::{Failure, FaultCode, PeerFault};
use crate::position::Waypoint;
use crate::rng::mix;
use crate::safeguard::{Safeguard, Safeguards};
use crate::session::{ClientId, Epoch, SessionId};
use crate::sum::Hasher;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

type Entry = (ClientId, Epoch, Option<Waypoint>);

/// Positions to be stored.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saves {
    open: Open<SavePositions, Vec<Entry>>,
    pending: BTreeMap<ClientId, Pending>,
    /// Sessions whose last acknowledged position is to be stored, in the order in which they first acknowledged. The position
    /// stays with the session until then: an acknowledgement costs a push at most.
    acked: VecDeque<SessionId>,
    /// How many sessions are in it; what is left there of others is skipped.
    noted: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    epoch: Epoch,
    /// Whether the stored position is cleared first. That goes in a batch of its own.
    clear: bool,
    position: Option<Waypoint>,
}

impl Saves {
    /// Notes a position to store; `None` clears what is stored.
    pub fn note(&mut self, client: &ClientId, epoch: Epoch, position: Option<Waypoint>, safeguards: Safeguards) {
        let fresh = Pending { epoch, clear: false, position: None };
        let pending = self.pending.entry(client.clone()).or_insert_with(|| fresh.clone());
        if pending.epoch > epoch && safeguards.holds(Safeguard::EpochFence) {
            return;
        }
        if pending.epoch != epoch {
            *pending = fresh;
        }
        let earlier = |a: &Waypoint, b: &Waypoint| a.era == b.era && a.position < b.position;
        match (position, &pending.position) {
            (None, _) => (pending.clear, pending.position) = (true, None),
            (Some(new), Some(old)) if safeguards.holds(Safeguard::MonotonicPosition) && earlier(&new, old) => {}
            (Some(new), _) => pending.position = Some(new),
        }
    }

    /// Notes that what a session acknowledged last is to be stored.
    pub fn note_acked(&mut self, peer: &mut Peer) {
        if !std::mem::replace(&mut peer.noted, true) {
            self.noted += 1;
            self.acked.push_back(peer.id);
        }
    }

    /// What a session acknowledged is not to be stored. True when it was to be.
    pub fn drop_acked(&mut self, peer: &mut Peer) -> bool {
        let noted = std::mem::take(&mut peer.noted);
        self.noted -= usize::from(noted);
        if self.noted == 0 {
            self.acked = VecDeque::new();
        }
        noted
    }

    /// How many sessions' acknowledgements are to be stored.
    pub const fn noted(&self) -> usize {
        self.noted
    }

    /// How many positions are to be stored.
    fn waiting(&self) -> usize {
        self.pending.len() + self.noted
    }

    /// What failed to be stored waits again, unless something later does.
    fn put_back(&mut self, entry: Entry) {
        let (client, epoch, position) = entry;
        match self.pending.get_mut(&client) {
            Some(later) if later.epoch > epoch => {}
            Some(later) if later.epoch == epoch => {
                if position.is_none() {
                    later.clear = true;
                } else if !later.clear {
                    later.position = later.position.or(position); // Else it is cleared since.
                }
            }
            _ => {
                self.pending.insert(client, Pending { epoch, clear: position.is_none(), position });
            }
        }
    }

    /// Forgets what sessions before `epoch` noted for a client.
    pub fn forget_before(&mut self, client: &ClientId, epoch: Epoch) {
        if self.pending.get(client).is_some_and(|pending| pending.epoch < epoch) {
            self.pending.remove(client);
        }
    }

    /// Forgets what sessions up to and with `epoch` noted for a client.
    pub fn forget_through(&mut self, client: &ClientId, epoch: Epoch) {
        if self.pending.get(client).is_some_and(|pending| pending.epoch <= epoch) {
            self.pending.remove(client);
        }
    }

    /// The next batch.
    fn batch(&mut self, most: usize) -> Vec<Entry> {
        let (mut batch, mut later) = (Vec::new(), Vec::new());
        while batch.len() < most
            && let Some((client, pending)) = self.pending.pop_first()
        {
            let Pending { epoch, clear, position } = pending;
            if clear && position.is_some() {
                later.push((client.clone(), Pending { epoch, clear: false, position }));
            }
            batch.push((client, epoch, position.filter(|_| !clear)));
        }
        self.pending.extend(later);
        batch
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.waiting() == 0
    }

    /// Whether something is to be stored and none of it is being stored.
    pub fn wait(&self) -> bool {
        self.open.is_empty() && self.waiting() > 0
    }
}

/// Renewals under way.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewals {
    pub open: Open<RenewRegistrations, Renewal>,
}

/// Whose registrations are being renewed, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Renewal {
    sessions: Vec<SessionId>,
    asked_at: Timestamp,
}

impl Desk {
    /// Stores what is noted, a little later.
    pub fn arm_save(&mut self, now: Timestamp) {
        self.set_after(Timer::Save, self.config.save_positions_every, now);
    }

    /// Removes a registration.
    pub fn unregister(&mut self, client: &ClientId, epoch: Epoch) {
        let fenced = self.holds(Safeguard::EpochFence);
        self.ask_unregister(Unregister { client: client.clone(), epoch, fenced });
    }

    pub fn ask_unregister(&mut self, question: Unregister) {
        let ask = self.unregisters.ask(&mut self.asker, question.clone(), question);
        self.outputs.push_back(Output::Unregister(ask));
    }
}

impl Served {
    /// Moves what the session acknowledged last to what is stored next: it is about to lose its place.
    pub fn settle_acked(&mut self, desk: &mut Desk) {
        if !desk.saves.drop_acked(&mut self.peer) {
            return;
        }
        if let Some(acked) = self.flow().map(|flow| flow.acked) {
            desk.saves.note(&self.peer.client, self.peer.epoch, Some(acked), desk.config.safeguards);
        }
    }
}

impl Hub {
    /// Stores acknowledged positions. What a woken hub would start from is brought up to them first.
    pub(super) fn save_positions(&mut self) {
        if !self.desk.saves.open.is_empty() {
            return; // Its answer comes back here.
        }
        let most = self.desk.config.registry_batch_max;
        while self.desk.saves.pending.len() < most
            && let Some(id) = self.desk.saves.acked.pop_front()
        {
            if let Some(served) = self.slab.get_mut(id).and_then(Session::served_mut) {
                served.settle_acked(&mut self.desk);
            }
        }
        let entries = self.desk.saves.batch(most);
        if entries.is_empty() {
            return;
        }
        for (client, epoch, position) in &entries {
            let served = self.clients.get(client).and_then(|id| self.slab.get(*id)?.served());
            if let Some(served) = served.filter(|served| served.peer.epoch == *epoch && position.is_some()) {
                self.desk.attach(served);
            }
        }
        let fenced = self.desk.holds(Safeguard::EpochFence);
        let monotonic = self.desk.holds(Safeguard::MonotonicPosition);
        let question = SavePositions { entries: entries.clone(), fenced, monotonic };
        let ask = self.desk.saves.open.ask(&mut self.desk.asker, question, entries);
        self.desk.outputs.push_back(Output::SavePositions(ask));
    }

    pub(super) fn on_positions_saved(&mut self, answer: Answer<SavePositions>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some((entries, reply)) = self.desk.saves.open.take(&mut self.desk.asker, safeguards, answer) else {
            return;
        };
        match reply {
            Ok(()) => {
                self.desk.patience.succeeded(Kind::Save);
                if self.desk.saves.waiting() >= self.desk.config.registry_batch_max {
                    self.save_positions();
                } else if self.desk.saves.waiting() > 0 {
                    self.desk.arm_save(now);
                }
            }
            Err(_) => {
                entries.into_iter().for_each(|entry| self.desk.saves.put_back(entry));
                let at = self.desk.patience.failed(Kind::Save, now, &self.desk.config);
                self.desk.timers.set(Timer::Save, at);
            }
        }
    }

    /// Renews what is due, or nearly, in one batch.
    pub(super) fn renew_registrations(&mut self, now: Timestamp) {
        if !self.desk.renewals.open.is_empty() {
            return; // Its answer comes back here.
        }
        let soon = now + self.desk.config.renew_every / 16;
        let served = self.slab.iter().filter_map(Session::served);
        let due = served.filter(|served| served.peer.renew_at <= soon).take(self.desk.config.registry_batch_max);
        let (entries, sessions): (Vec<_>, Vec<_>) =
            due.map(|served| ((served.peer.client.clone(), served.peer.epoch), served.peer.id)).unzip();
        if entries.is_empty() {
            return self.arm_renewal(now);
        }
        let question = RenewRegistrations { entries, ttl: self.desk.config.registration_ttl };
        let memo = Renewal { sessions, asked_at: now };
        let ask = self.desk.renewals.open.ask(&mut self.desk.asker, question, memo);
        self.desk.outputs.push_back(Output::RenewRegistrations(ask));
    }

    pub(super) fn on_registrations_renewed(&mut self, answer: Answer<RenewRegistrations>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let renewals = &mut self.desk.renewals;
        let Some((memo, reply)) = renewals.open.take(&mut self.desk.asker, safeguards, answer) else { return };
        let Ok(fenced) = reply else {
            let at = self.desk.patience.failed(Kind::Renew, now, &self.desk.config);
            return self.desk.timers.set_at_latest(Timer::Renew, at);
        };
        self.desk.patience.succeeded(Kind::Renew);
        for id in memo.sessions {
            let Some(served) = self.slab.get_mut(id).and_then(Session::served_mut) else { continue };
            if fenced.contains(&served.peer.client) {
                self.close(id, Some(replaced()), now);
                continue;
            }
            let peer = &mut served.peer;
            if peer.expires_at <= now {
                // It ran out in use. If it was deleted, it was entered again without its place.
                self.desk.saves.note_acked(peer);
                self.desk.arm_save(now);
            }
            peer.expires_at = memo.asked_at + self.desk.config.registration_ttl;
            peer.renew_at = renew_at(&self.desk.config, &peer.client, peer.expires_at);
            self.desk.attach(served);
        }
        self.arm_renewal(now);
    }

    /// Sets the timer for the first renewal that will be due.
    pub(super) fn arm_renewal(&mut self, now: Timestamp) {
        if let Some(first) = self.first_renewal() {
            self.desk.timers.set(Timer::Renew, first.max(now + Duration::from_millis(1)));
        }
    }

    /// When the first renewal will be due.
    pub(super) fn first_renewal(&self) -> Option<Timestamp> {
        self.slab.iter().filter_map(Session::served).map(|served| served.peer.renew_at).min()
    }

    pub(super) fn on_unregistered(&mut self, answer: Answer<Unregister>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some((question, reply)) = self.desk.unregisters.take(&mut self.desk.asker, safeguards, answer) else {
            return;
        };
        match reply {
            Err(Failure::Unavailable(_)) => {
                self.desk.retry_failed(Kind::Unregister, Retry::Unregister(question), now);
            }
            Ok(()) | Err(Failure::Refused(_)) => self.desk.patience.succeeded(Kind::Unregister),
        }
    }
}

/// When a registration is renewed: well before its end, and not all at the same time.
pub(super) fn renew_at(config: &Config, client: &ClientId, expires_at: Timestamp) -> Timestamp {
    let mut hasher = Hasher::default();
    hasher.write(client.as_str().as_bytes());
    let spread = u64::try_from(config.renew_every.as_micros() / 2).unwrap_or(u64::MAX).max(1);
    #[expect(clippy::cast_possible_truncation, reason = "any 64 bits of the hash do")]
    let jitter = mix(hasher.finish() as u64) % spread;
    expires_at - config.registration_ttl + config.renew_every + Duration::from_micros(jitter)
}

/// What a session is told when a newer one of its client has taken over.
pub(super) fn replaced() -> PeerFault {
    let message =
        "a newer session of this client has taken over; to run two thin clients at once, give each its own client id";
    PeerFault::new(FaultCode::Replaced, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion};
    use crate::xid::Xid;

    fn place(lsn: u64) -> Waypoint {
        Waypoint {
            era: Era { counter: 1, id: 1 },
            schema: SchemaVersion(1),
            position: Position::after(Lsn(lsn)),
            xid: Xid(lsn),
            committed_at: CommitTime(0),
        }
    }

    /// Notes this after `failed` was taken to be stored, which is put back then: what is stored in the end.
    fn in_the_end(failed: Entry, later: (u64, Option<Waypoint>)) -> Vec<Entry> {
        let mut saves = Saves::default();
        saves.note(&failed.0, Epoch(later.0), later.1, Safeguards::default());
        saves.put_back(failed);
        std::iter::from_fn(|| Some(saves.batch(10)).filter(|batch| !batch.is_empty())).flatten().collect()
    }

    #[test]
    fn what_failed_to_be_stored_does_not_survive_what_came_later() {
        let ann = ClientId::new("ann").expect("a valid id");
        let entry = |epoch, position| (ann.clone(), Epoch(epoch), position);
        let clear = None;
        assert_eq!(in_the_end(entry(1, Some(place(1))), (1, clear)), [entry(1, clear)], "it is cleared since");
        assert_eq!(in_the_end(entry(1, Some(place(1))), (1, Some(place(2)))), [entry(1, Some(place(2)))]);
        assert_eq!(in_the_end(entry(1, clear), (1, Some(place(2)))), [entry(1, clear), entry(1, Some(place(2)))]);
        assert_eq!(in_the_end(entry(1, clear), (2, Some(place(2)))), [entry(2, Some(place(2)))], "a newer session's");
        assert_eq!(in_the_end(entry(2, Some(place(2))), (1, clear)), [entry(2, Some(place(2)))], "an older session's");
    }
}
