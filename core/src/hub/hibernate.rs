//! Hibernation: a hub with nothing outstanding may be dropped, and is rebuilt from what was kept with the open sockets.

use super::backfill::Backfill;
use super::desk::Timer;
use super::registry::{renew_at, replaced};
use super::session::{Flow, Fresh, Peer, Phase, SLOTS_MAX, Serve, Served, Session};
use super::shapes::Told;
use super::{Hub, Output};
use crate::ask::Incarnation;
use crate::fault::{FaultCode, PeerFault};
use crate::position::Waypoint;
use crate::session::{Attachment, SessionId};
use crate::time::Timestamp;
use std::collections::btree_map::Entry;

impl Hub {
    /// The host built this life. Every wake-up is a hint: the head is read once, and only then is anybody served.
    pub(super) fn on_woke(
        &mut self,
        incarnation: Incarnation,
        sessions: Vec<(SessionId, Option<Attachment>)>,
        now: Timestamp,
    ) {
        *self = Self::of_life(self.desk.config.clone(), incarnation);
        for (id, attachment) in sessions {
            let fits = id.slot < SLOTS_MAX && self.slab.at(id.slot).is_none();
            match attachment.filter(|_| fits) {
                Some(attachment) => self.rebuild(id, attachment, now),
                None => {
                    let message = "the server moved this session before it was ready; connect again";
                    let fault = PeerFault::new(FaultCode::Unavailable, message);
                    self.desk.outputs.push_back(Output::Close { session: id, fault: Some(fault) });
                }
            }
        }
        self.close_expired(now);
        if !self.slab.is_empty() {
            self.desk.ask_head();
        }
        self.arm_renewal(now);
    }

    /// A session as its attachment tells it. It goes on once the head is known.
    fn rebuild(&mut self, id: SessionId, attachment: Attachment, now: Timestamp) {
        let Attachment { client, epoch, era, schema, scope, expires_at, credential_until, told_live, position } =
            attachment;
        let desk = &mut self.desk;
        let peer = Peer {
            id,
            epoch,
            credential_until,
            scope: desk.scopes.take(&scope),
            era,
            schema,
            expires_at,
            renew_at: renew_at(&desk.config, &client, expires_at),
            fresh: if told_live { Fresh::Told } else { Fresh::NoMark },
            told: Told::default(),
            woken: true,
            noted: false,
            client,
        };
        let serve = match position {
            Some(position) => {
                let at = Waypoint { era, schema, ..position };
                Serve::CatchUp { flow: Flow::at(at), reading: None }
            }
            None => Serve::Backfill(Box::new(Backfill::new(desk.next_backfill(), now))),
        };
        if peer.fresh == Fresh::NoMark {
            desk.markless.push(id);
        }
        let client = peer.client.clone();
        desk.expect_expiry(id, credential_until);
        self.slab.put(Session { id, credential_until, phase: Phase::Served(Served { peer, serve }) });
        let other = match self.clients.entry(client.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(id);
                return;
            }
            Entry::Occupied(occupied) => *occupied.get(),
        };
        // The earlier life ended between the newer session's epoch and the older one's close.
        let newer = self.slab.get(other).and_then(Session::epoch) > Some(epoch);
        self.close(if newer { id } else { other }, Some(replaced()), now);
        if !newer {
            self.clients.insert(client, id);
        }
    }

    /// Something happened: not yet time to sleep.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.desk.last_activity = now;
        if !self.desk.timers.is_set(Timer::Idle) {
            self.desk.set_after(Timer::Idle, self.desk.config.hibernate_after, now);
        }
        if !self.slab.is_empty() && !self.desk.timers.is_set(Timer::Poll) {
            self.desk.set_after(Timer::Poll, self.desk.config.poll_head_every, now);
        }
    }

    /// The head is read now and then, in case an announcement was lost.
    pub(super) fn on_poll(&mut self, now: Timestamp) {
        if !self.slab.is_empty() {
            self.desk.ask_head();
            self.desk.set_after(Timer::Poll, self.desk.config.poll_head_every, now);
        }
    }

    /// It has been quiet for long enough, perhaps.
    pub(super) fn on_idle(&mut self, now: Timestamp) {
        let quiet_at = self.desk.last_activity + self.desk.config.hibernate_after;
        if quiet_at > now {
            return self.desk.timers.set_at_latest(Timer::Idle, quiet_at);
        }
        if !self.nothing_is_outstanding() {
            return self.desk.set_after(Timer::Idle, self.desk.config.hibernate_after, now);
        }
        self.desk.drop_spools(true, now);
        self.desk.set_after(Timer::Idle, self.desk.config.hibernate_after, now); // The offer may be declined.
        self.desk.outputs.push_back(Output::Hibernate { alarm: self.alarm() });
    }

    /// Whether everything that matters is in the database, at the clients, or attached to their sockets. A read of the head
    /// promises nothing to anybody, and a woken hub reads it again; only one that is to show what was announced counts.
    pub(super) fn nothing_is_outstanding(&self) -> bool {
        let desk = &self.desk;
        let answered = desk.epochs.is_empty()
            && desk.judgements.is_empty()
            && desk.unregisters.is_empty()
            && desk.histories.is_empty()
            && desk.chunks.is_empty()
            && !desk.spools.is_busy()
            && desk.saves.is_empty()
            && desk.renewals.open.is_empty()
            && (desk.announced_early.is_none() || self.slab.is_empty());
        let nobody_waits = desk.retries.is_empty() && desk.waiting.is_empty() && desk.markless.is_empty();
        answered && nobody_waits && self.slab.iter().all(|session| self.rests(session))
    }

    /// Whether a session is live, was told so, and has acknowledged all.
    fn rests(&self, session: &Session) -> bool {
        let Phase::Served(Served { peer, serve: Serve::Live(flow) }) = &session.phase else { return false };
        let at_head = self.desk.head.is_some_and(|head| flow.sent >= head.position());
        at_head && peer.fresh == Fresh::Told && flow.window.is_empty()
    }
}
