//! What a hub must not do, whatever it was told: keep copies that nobody uses, oversleep, send honest clients away.

use super::World;
use super::held::HOLD_MAX;
use crate::entity::{Entity, HUBS};
use crate::oracle::Promise;
use crate::plan::Family;
use dormouse_core::fault::{FaultCode, ResyncReason};
use dormouse_core::hub::{Output, RenewRegistrations, SpoolId};
use dormouse_core::position::{Lsn, Position, Waypoint};
use dormouse_core::session::{Attachment, SessionId};
use dormouse_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How long a copy of a snapshot may be kept that nobody uses: some reuse, and some looks.
const UNUSED_MAX: Duration = Duration::from_millis(2_500);

/// So many times the same read is asked for within this time: more than by whoever waits between two tries.
const REPEATS_MAX: u32 = 60;
const REPEATS_WITHIN: Duration = Duration::from_millis(500);
/// How long a hub may be awake without renewing anything when a registration ends: longer than the longest wait between two tries.
const UNRENEWED_MAX: Duration = Duration::from_millis(2_500);

/// What a hub reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Chunk(SpoolId, u32),
    History(Position, Option<Lsn>),
}

impl World {
    /// Copies of snapshots that nobody uses are dropped soon, also by a hub that stays awake.
    pub(super) fn judge_spools(&mut self) {
        let suspended = self.is_suspended();
        for hub in 0..HUBS {
            let host = &mut self.hubs[hub as usize];
            let backfilling = host.machine.as_ref().is_none_or(|machine| machine.sessions().backfill > 0);
            let Some(oldest) = host.heard.first().copied().filter(|_| !backfilling && !suspended) else {
                host.unused = None;
                continue;
            };
            if host.unused.is_none_or(|(spool, _)| spool != oldest) {
                host.unused = Some((oldest, self.now));
            }
            let since = host.unused.map_or(self.now, |(_, since)| since);
            if self.now.since(since) > UNUSED_MAX {
                let event = format!("a copy of a snapshot is kept, which nobody has used for {UNUSED_MAX:?}");
                self.violate(Promise::Bounded, "spools", Entity::Hub(hub), event);
            }
        }
    }

    /// A hub sends a session away: not for what no honest client does.
    pub(super) fn judge_fault(&mut self, hub: u8, id: u64, code: FaultCode) {
        let Some(connection) = self.network.connections.get(id) else { return };
        if self.plan.is_attacker(connection.client) {
            return;
        }
        let client = connection.client;
        let known = connection.in_flight_of == self.hubs[hub as usize].life && connection.attachment.is_some();
        let jumps = self.plan.has(Family::Jumps);
        let (greets, ack_timeout) = (self.plan.hub(hub, 0).greet_timeout, self.plan.hub(hub, 0).ack_timeout);
        let progressed = connection.ledger.progressed().is_some_and(|at| self.now.since(at) < ack_timeout);
        let is_newest = |kept: &Arc<Attachment>| self.oracle.is_newest(&kept.client, kept.epoch);
        let event = match code {
            FaultCode::Malformed => format!("client/{client}, which is honest, is told that what it says is malformed"),
            FaultCode::FromTheFuture if self.oracle.is_all_kept() => {
                format!("client/{client} is told that history ends before what it has, and nothing was ever lost")
            }
            // A clock that jumps makes anybody slow.
            FaultCode::TooSlow if known && !jumps && !connection.ledger.awaits_client() => {
                format!("client/{client} is told that it is too slow, and has answered all that it was sent")
            }
            FaultCode::TooSlow
                if connection.attachment.is_none()
                    && !jumps
                    && connection.opened.is_some_and(|at| self.now.since(at) < greets) =>
            {
                format!("client/{client} is told that it is too slow, and has hardly had the time to greet")
            }
            FaultCode::TooSlow if known && !jumps && progressed => {
                format!("client/{client} is told that it is too slow, and has just acknowledged something")
            }
            FaultCode::Replaced
                if self.oracle.is_all_kept() && connection.attachment.as_ref().is_some_and(is_newest) =>
            {
                format!("client/{client} is told that a newer session has taken over, and there is none")
            }
            // Whose side of a connection nobody hears is noticed late, and a drain may have begun before.
            FaultCode::Replaced | FaultCode::Expired | FaultCode::GoingAway => return,
            // Its hub's clock jumped while it owed an answer, and may do so up to the last.
            FaultCode::TooSlow if jumps && connection.ledger.awaits_client() => return,
            // A socket on which nobody greeted was given up while it opened.
            _ if self.is_at_rest() && connection.is_sound() && connection.attachment.is_some() => {
                format!("client/{client} is told {code:?}, although nothing goes wrong any more")
            }
            _ => return,
        };
        self.violate(Promise::Converges, "sent away", Entity::Hub(hub), event);
    }

    /// A hub tells a session that everything comes again: not without need.
    pub(super) fn judge_resync(&mut self, hub: u8, session: SessionId, reason: ResyncReason) {
        let Some(id) = self.network.of_session(hub, session) else { return };
        let Some(connection) = self.network.connections.get(id).filter(|connection| connection.client_open) else {
            return;
        };
        let client = connection.client;
        if self.plan.is_attacker(client) {
            return;
        }
        let kept = connection.attachment.as_ref().and_then(|attachment| {
            let Attachment { era, schema, position, .. } = **attachment;
            position.map(|position| Waypoint { era, schema, ..position })
        });
        let verdict = self.oracle.resyncs(&self.postgres, client, kept, reason);
        self.verdict(Entity::Hub(hub), verdict);
    }

    /// A hub asks something: it does not read the same again and again without a pause.
    pub(super) fn judge_asking(&mut self, hub: u8, question: &Output) {
        if self.chooser.is_exhaustive() {
            return; // What is remembered here would only keep equal states apart.
        }
        if let Output::ReadHistory(ask) = question {
            self.judge_read(hub, &ask.question);
        }
        let host = &mut self.hubs[hub as usize];
        let read = match question {
            Output::RenewRegistrations(ask) => {
                self.judge_early(hub, &ask.question);
                let host = &mut self.hubs[hub as usize];
                (host.renewed, host.renewing) = (self.now, Some(host.life));
                return;
            }
            Output::ReadChunk(ask) => Read::Chunk(ask.question.spool, ask.question.n),
            Output::ReadHistory(ask) => Read::History(ask.question.after, ask.question.until),
            _ => return,
        };
        let (count, since) = match host.repeats {
            Some((last, count, since)) if last == read && self.now.since(since) < REPEATS_WITHIN => (count + 1, since),
            _ => (1, self.now),
        };
        host.repeats = Some((read, count, since));
        if count > REPEATS_MAX {
            let event = format!("reads the same {count} times within {REPEATS_WITHIN:?}");
            self.violate(Promise::Bounded, "repeats", Entity::Hub(hub), event);
        }
    }

    /// A hub that is awake renews the registrations of its sessions in time, or tries.
    pub(super) fn judge_renewals(&mut self) {
        for hub in 0..HUBS {
            let now = self.hub_now(hub);
            let host = &self.hubs[hub as usize];
            let awake = host.machine.is_some() && !self.is_suspended() && !self.chooser.is_exhaustive();
            let goes_on = host.renewed.max(host.born).max(self.replications[0].suspended_until);
            // The question can be held up, and so can its answer.
            let held = if host.renewing == Some(host.life) { 2 * HOLD_MAX } else { Duration::ZERO };
            if !awake || self.now.since(goes_on) < UNRENEWED_MAX + held {
                continue;
            }
            let kept = self.network.at_hub(hub).filter_map(|(_, connection)| connection.attachment.as_ref());
            let renewed = kept.map(|attachment| self.renewed_by(hub, attachment)).min();
            if let Some(by) = renewed.filter(|by| *by + UNRENEWED_MAX <= now) {
                let event = format!("a registration was to be renewed by {by:?}, and its hub did not try");
                self.violate(Promise::Durable, "renewed", Entity::Hub(hub), event);
            }
        }
    }

    /// Registrations are renewed: of those that are not due soon none, for each is written.
    fn judge_early(&mut self, hub: u8, question: &RenewRegistrations) {
        let config = self.plan.hub(hub, 0);
        let by = self.hub_now(hub) + config.renew_every / 16;
        let early = |kept: &&Arc<Attachment>| {
            let (named, begun) = ((&kept.client, kept.epoch), kept.expires_at - config.registration_ttl);
            begun + config.renew_every > by && question.entries.iter().any(|(client, epoch)| (client, *epoch) == named)
        };
        let kept = self.network.at_hub(hub).filter_map(|(_, connection)| connection.attachment.as_ref()).find(early);
        if let Some(kept) = kept.cloned() {
            let event =
                format!("renews the registration of {:?}, which lasts until {:?}", kept.client, kept.expires_at);
            self.violate(Promise::Bounded, "renewed early", Entity::Hub(hub), event);
        }
    }

    /// By when a registration is renewed, whatever the jitter.
    fn renewed_by(&self, hub: u8, attachment: &Attachment) -> Timestamp {
        let config = self.plan.hub(hub, 0);
        attachment.expires_at - config.registration_ttl + config.renew_every + config.renew_every / 2
    }

    /// A hub offers to sleep: it says so, too, to a host that asks.
    pub(super) fn judge_offer(&mut self, hub: u8) {
        if self.hubs[hub as usize].machine.as_ref().is_some_and(|machine| !machine.could_hibernate()) {
            let event = "offers to sleep, and says that it could not".into();
            self.violate(Promise::Bounded, "offer", Entity::Hub(hub), event);
        }
    }

    /// A hub hibernates: what it asked for others must have been answered.
    pub(super) fn judge_asleep(&mut self, hub: u8) {
        let open = self.hubs[hub as usize].open;
        if open > 0 {
            let event = format!("sleeps while {open} of its questions are not answered");
            self.violate(Promise::Durable, "open questions", Entity::Hub(hub), event);
        }
    }

    /// A hub sleeps until its alarm: nothing that it must do by itself may be due before that.
    pub(super) fn judge_alarm(&mut self, hub: u8, alarm: Option<Timestamp>) {
        let late = |due: Timestamp| alarm.is_none_or(|alarm| alarm > due);
        let expires = self.network.at_hub(hub).filter_map(|(_, connection)| connection.expires).min();
        if let Some(due) = expires.filter(|due| late(*due)) {
            let event = format!("sleeps until {alarm:?}, and a credential runs out at {due:?}");
            self.violate(Promise::Scoped, "alarm", Entity::Hub(hub), event);
        }
        let kept = self.network.at_hub(hub).filter_map(|(_, connection)| connection.attachment.as_ref());
        let renewed = kept.map(|attachment| self.renewed_by(hub, attachment)).min();
        if let Some(due) = renewed.filter(|due| late(*due)) {
            let event = format!("sleeps until {alarm:?}, and a registration is to be renewed by {due:?}");
            self.violate(Promise::Durable, "alarm", Entity::Hub(hub), event);
        }
    }
}
