//! After the faults: everything must come to rest at the same place within a bounded time.

use super::{Event, World};
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Draft, What};
use crate::oracle::Promise;
use crate::plan::Family;
use crate::probe::Probe;
use dormouse_core::position::{Lsn, Waypoint};
use dormouse_core::replication::Replication;
use dormouse_core::time::Timestamp;
use std::time::Duration;

/// How long convergence may take: the longest silences, downtimes, leases and back-offs of the plan, one after the other.
pub(super) const CONVERGE_WITHIN: Duration = Duration::from_secs(45);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the world must then lie still, for the slot to follow and the hubs to hibernate.
const REST: Duration = Duration::from_secs(15);
/// How much WAL may stay unconfirmed when nothing happens but our own upkeep.
const UNCONFIRMED_MAX: u64 = 32 * 1024;
/// WAL of unpublished tables that is written once the world has converged: the slot must move past it.
const FOREIGN_WAL: u64 = 50 * 1024;
/// The most events of a resting world, per client and second.
const REST_EVENTS_PER_SECOND: u64 = 60;

/// A hub that was dropped between keeping a place with the socket and storing it, or a clearing that took effect late, leaves that to
/// the next acknowledgement.
pub(super) const ENDED: [Probe; 5] =
    [Probe::HubEvicted, Probe::NodeCrashed, Probe::NodeDrained, Probe::LateEffect, Probe::Restored];

/// Where the world stands after its faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    began: Timestamp,
    converged: Option<(Timestamp, u64)>,
    /// Which hubs slept since, one bit each.
    slept: u8,
}

impl World {
    pub(super) fn quiet_begins(&mut self) {
        if self.quiet.is_some() {
            return;
        }
        self.digest.word(17);
        self.log.add(|_| Draft::new(Entity::World, What::Note, "faults stop".into()));
        self.chooser.hush();
        self.let_go_of_all();
        self.quiet = Some(Quiet { began: self.now, converged: None, slept: 0 });
        for client in 0..self.plan.clients() {
            self.clients[client as usize].reads_again = None;
        }
        let attacker = self.plan.size.clients();
        let theirs = self.network.connections.of(attacker).filter(|(_, c)| c.client_open);
        for id in theirs.map(|(id, _)| id).collect::<Vec<_>>() {
            self.client_closes(id);
        }
        self.plan_in(LOOK_EVERY, Event::Converged);
    }

    /// Looks whether the world has come to rest.
    pub(super) fn converged(&mut self) {
        let Some(mut quiet) = self.quiet else { return };
        self.digest.word(18);
        for hub in 0..HUBS {
            quiet.slept |= u8::from(self.hubs[hub as usize].machine.is_none()) << hub;
        }
        match (quiet.converged, self.straggler()) {
            (None, None) => {
                self.hit(Probe::Converged);
                self.log.add(|_| Draft::new(Entity::World, What::Note, "has converged".into()));
                self.postgres.advance_wal(FOREIGN_WAL);
                quiet.converged = Some((self.now, self.events));
            }
            (None, Some((entity, why))) => {
                if self.now.since(quiet.began) > CONVERGE_WITHIN {
                    self.violate(Promise::Converges, "converges", entity, why);
                }
            }
            (Some(_), Some(_)) => quiet.converged = None, // A connection had gone dark, and its silence is noticed only now.
            (Some((since, events)), None) => {
                if self.now.since(since) >= REST {
                    self.judge_rest(quiet, self.events - events);
                    self.look_at_all();
                    return self.rest_ends();
                }
            }
        }
        self.quiet = Some(quiet);
        self.plan_in(LOOK_EVERY, Event::Converged);
    }

    /// Whether faults have stopped and everybody has come to rest.
    pub(super) fn is_at_rest(&self) -> bool {
        self.quiet.is_some_and(|quiet| quiet.converged.is_some())
    }

    /// Since when everybody has been at rest, and nothing was tried.
    pub(super) fn rests_since(&self) -> Option<Timestamp> {
        self.quiet.filter(|_| !self.prompt.has_begun()).and_then(|quiet| quiet.converged).map(|(since, _)| since)
    }

    /// Where a client stands.
    pub(super) fn shown(&self, client: u8) -> Option<Waypoint> {
        match self.plan.is_thin(client) {
            true => self.oracle.thin_mark(client),
            false => self.clients[client as usize].store.held().shown,
        }
    }

    /// A hub hibernates.
    pub(super) const fn note_sleep(&mut self, hub: u8) {
        if let Some(quiet) = &mut self.quiet {
            quiet.slept |= 1 << hub;
        }
    }

    /// Who has not come to rest, and why. None: the world has converged.
    pub(super) fn straggler(&self) -> Option<(Entity, String)> {
        if self.is_suspended() {
            return Some((Entity::Node(0), "node/0 is suspended".into()));
        }
        let last = self.postgres.commits().last().map_or(Lsn::ZERO, |commit| commit.commit_lsn);
        for client in 0..self.plan.size.clients() {
            let host = &self.clients[client as usize];
            if !host.live {
                return Some((Entity::Client(client), format!("client/{client} is not live")));
            }
            if self.is_slow(client) {
                return Some((Entity::Client(client), format!("the store of client/{client} is slow")));
            }
            let shown = self.shown(client);
            let at = shown.map_or(Lsn::ZERO, |shown| shown.position.commit_lsn);
            if let Some(shown) = shown.filter(|shown| self.oracle.is_lost(shown)) {
                let event = format!("client/{client} shows {}, which is lost", shown.position);
                return Some((Entity::Client(client), event));
            }
            // What comes and goes before anybody looks leaves everything as it was.
            if let Some(shown) = shown.filter(|_| !self.plan.is_thin(client))
                && self.postgres.is_altered_since(&shown)
                && !self.postgres.is_present(host.store.held().sum, &self.plan.scope(client))
            {
                let event = format!("client/{client} shows tables as they were before they were altered");
                return Some((Entity::Client(client), event));
            }
            if at < last {
                return Some((
                    Entity::Client(client),
                    format!("client/{client} shows {at}, the last commit is {last}"),
                ));
            }
        }
        None
    }

    fn judge_rest(&mut self, quiet: Quiet, events: u64) {
        let most = REST.as_secs() * REST_EVENTS_PER_SECOND * u64::from(self.plan.clients());
        if events > most {
            let event = format!("{events} events in {REST:?} although nothing happens");
            self.violate(Promise::Bounded, "rest", Entity::World, event);
        }
        let confirmed = self.postgres.confirmed().unwrap_or(Lsn::ZERO);
        let unconfirmed = self.postgres.flushed_lsn().0.saturating_sub(confirmed.0);
        if unconfirmed > UNCONFIRMED_MAX {
            let event = format!("the slot is confirmed at {confirmed} and holds back {unconfirmed} bytes of WAL");
            self.violate(Promise::Bounded, "slot", Entity::Postgres, event);
        }
        match (0..HUBS).find(|hub| quiet.slept & 1 << hub == 0) {
            Some(hub) => {
                self.violate(Promise::Bounded, "hibernate", Entity::Hub(hub), "an idle hub stays awake".into());
            }
            None => self.hit(Probe::Idle),
        }
        let spools = self.postgres.spools().count();
        if spools > 0 {
            let event = format!("{spools} copies of snapshots are kept and nobody needs them");
            self.violate(Promise::Bounded, "spools", Entity::World, event);
        }
        let kept = self.postgres.history_changes();
        if self.plan.has(Family::Retention) && kept > 0 {
            let event = format!("{kept} changes are kept in history, and all are older than keep_max");
            self.violate(Promise::Bounded, "history", Entity::Postgres, event);
        }
        let open = self.network.connections.values().filter(|c| c.server_open).count();
        if open > self.plan.size.clients() as usize {
            let event = format!("{open} sockets are open for {} clients", self.plan.size.clients());
            self.violate(Promise::Bounded, "sessions", Entity::World, event);
        }
        for client in 0..self.plan.size.clients() {
            let row = self.postgres.registrations().get(&self.client_id(client));
            if self.clients[client as usize].live && row.is_none_or(|row| row.expires_at <= self.now) {
                let event = "a connected client's registration has expired".into();
                self.violate(Promise::Durable, "registered", Entity::Client(client), event);
            }
            if ENDED.iter().any(|probe| self.probes.count(*probe) > 0) {
                continue;
            }
            let row = self.postgres.registrations().get(&self.client_id(client));
            let stored = row.and_then(|row| row.position).map(|stored| stored.position);
            let shown = self.shown(client).map(|shown| shown.position);
            if self.clients[client as usize].live && stored < shown {
                let event = format!("the registry says {stored:?} for a client that rests at {shown:?}");
                self.violate(Promise::Converges, "stored position", Entity::Client(client), event);
            }
        }
        for hub in 0..HUBS {
            let sessions = self.hubs[hub as usize].machine.as_ref().map(dormouse_core::hub::Hub::sessions);
            let sessions = sessions.map_or(0, |s| s.greeted + s.backfill + s.catch_up + s.live);
            let sockets = self.network.at_hub(hub).count() as u64;
            if sessions > sockets {
                let event = format!("{sessions} sessions for {sockets} sockets");
                self.violate(Promise::Bounded, "sessions", Entity::Hub(hub), event);
            }
        }
        for node in 0..NODES {
            let queued = self.replications[node as usize].machine.as_ref().map_or(0, Replication::queued_bytes);
            if queued > 0 {
                let event = format!("{queued} bytes wait to be recorded, and nothing is written");
                self.violate(Promise::Bounded, "queue", Entity::Replication(node), event);
            }
        }
        if let Some(node) = (0..NODES).find(|node| self.replications[*node as usize].stopping) {
            let event = "was told to stop, and never says that it has".into();
            self.violate(Promise::Converges, "stops", Entity::Replication(node), event);
        }
        if !self.postgres.is_noted() {
            let event = "what is noted of the tables is not what they are".into();
            self.violate(Promise::Converges, "noted", Entity::Postgres, event);
        }
        let lease = self.postgres.lease();
        if lease.expires <= self.now && (0..NODES).any(|node| self.replications[node as usize].stream.is_some()) {
            let event = format!("the lease of {} ran out while its holder streams", lease.holder);
            self.violate(Promise::Durable, "lease", Entity::World, event);
        }
        let streaming = (0..NODES).filter(|node| self.replications[*node as usize].stream.is_some()).count();
        if streaming > 1 {
            let event = format!("{streaming} replicators stream at rest");
            self.violate(Promise::Durable, "one replicator", Entity::World, event);
        }
    }
}
