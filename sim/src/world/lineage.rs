//! What a process knows of its database, and its end when it meets that as it was earlier.
//!
//! To restore a database its server must end, and with it every connection. So a process looks at the database whenever it asks
//! something and has no connection of its own yet, with the very comparison that the runtime makes, and until then goes on with
//! what it has in memory.

use super::{Event, World};
use crate::entity::Entity;
use crate::log::{Draft, What};
use crate::oracle::Promise;
use crate::postgres::Postgres;
use crate::probe::Probe;
use dormouse_core::ask::{Answer, AskId};
use dormouse_core::lineage::Sighting;
use dormouse_core::replication::{Fenced, Input};
use dormouse_core::safeguard::Safeguard;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::ServerMessage;
use std::fmt;
use std::time::Duration;

/// How long questions go unanswered when the database's machine has gone in silence.
const SILENCE: Duration = Duration::from_secs(1);

/// How soon a lost connection is noticed otherwise.
const NOTICED: Duration = Duration::from_micros(200);

/// How long a process may take to say farewell, once nothing can be stored any more.
const PARTING: Duration = Duration::from_secs(1);

/// What a process knows of its database.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// The newest sighting; none while the process is down.
    newest: Option<Sighting>,
    /// Answers about the lease that are on their way to it, and how often the lease had been renewed by then.
    told: Vec<(AskId, u64)>,
    /// Whether it has looked since its connections were lost.
    connected: bool,
    /// Until when it does not know that they are lost.
    silent_until: Option<Timestamp>,
    /// It met another database, and ends.
    estranged: bool,
    /// How often the database had been restored when it looked.
    pub(super) restores: u64,
}

/// Counts of the lease's renewals are left out: only a restored database is asked for them, and no search of all ways restores one.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { newest: _, told: _, connected, silent_until, estranged, restores } = self;
        f.debug_tuple("Known").field(connected).field(silent_until).field(estranged).field(restores).finish()
    }
}

impl Known {
    /// A process has connected for the first time.
    const fn new(found: Sighting, restores: u64) -> Self {
        Self { newest: Some(found), told: Vec::new(), connected: true, silent_until: None, estranged: false, restores }
    }

    fn renewed(&mut self, renewals: u64) {
        if let Some(newest) = &mut self.newest {
            newest.renewals = newest.renewals.max(renewals);
        }
    }
}

/// The process of which a hub or a replicator is a part.
pub(super) const fn node_of(entity: Entity) -> u8 {
    match entity {
        Entity::Replication(node) | Entity::Node(node) => node,
        _ => 0,
    }
}

impl World {
    /// A process starts, and connects.
    pub(super) fn first_look(&mut self, node: u8) {
        self.replications[node as usize].known = Known::new(self.postgres.sighting(), self.postgres.restores());
    }

    /// The connections of a process are lost, and it hears of it soon; or not for a while, and what it asks goes unanswered.
    pub(super) fn disconnect(&mut self, node: u8, silent: bool) {
        let known = &mut self.replications[node as usize].known;
        known.connected = false;
        known.silent_until = silent.then(|| self.now + SILENCE);
    }

    /// How long it takes until a process hears that a question fails which is under way, or is asked now, on a lost connection.
    pub(super) fn noticed_after(&self, node: u8) -> Duration {
        let until = self.replications[node as usize].known.silent_until;
        until.map_or(NOTICED, |until| until.since(self.now).max(NOTICED))
    }

    /// Whether a process may ask its database something. It looks first when it must open a connection, and asks nothing of another.
    pub(super) fn may_ask(&mut self, node: u8) -> bool {
        let known = &mut self.replications[node as usize].known;
        if known.connected || known.estranged || known.silent_until.is_some_and(|until| until > self.now) {
            return known.connected;
        }
        let found = self.postgres.sighting();
        let broken = known.newest.as_ref().and_then(|earlier| found.breaks_with(earlier, self.plan.safeguards));
        if let Some(why) = broken {
            known.estranged = true;
            self.estranged(node, &why);
            return false;
        }
        if let Some(newest) = &mut known.newest {
            let earlier = newest.clone();
            newest.follow(&found, &earlier);
        }
        known.connected = true;
        let restored = std::mem::replace(&mut known.restores, self.postgres.restores()) != self.postgres.restores();
        if restored && self.plan.safeguards.holds(Safeguard::SameDatabase) {
            let event = "goes on as before with a database that was restored from a copy".into();
            self.violate(Promise::Complete, "restored", Entity::Replication(node), event);
        }
        true
    }

    /// What a process remembers is not in its database: it says goodbye and begins anew.
    fn estranged(&mut self, node: u8, why: &str) {
        self.hit(Probe::Estranged);
        self.digest.word(23);
        self.log
            .add(|_| Draft::new(Entity::Replication(node), What::Note, format!("begins anew with its process: {why}")));
        let life = self.replications[node as usize].life;
        self.plan_in(Duration::ZERO, Event::Parts { node, life, at_once: false });
        self.plan_in(PARTING, Event::Parts { node, life, at_once: true });
    }

    /// A process that begins anew ends, in an orderly way or, when that took too long, at once.
    pub(super) fn parts(&mut self, node: u8, life: u64, at_once: bool) {
        let host = &self.replications[node as usize];
        if host.machine.is_none() || host.life != life {
            return;
        }
        self.digest.word(24);
        self.stop_node(node);
        if at_once && self.replications[node as usize].life == life {
            self.node_ends(node);
        }
    }

    /// An answer about the lease is on its way: it says how often that was renewed.
    pub(super) fn tells_renewals(&mut self, node: u8, life: u64, input: &Input) {
        let renewals = self.postgres.lease().renewals;
        let host = &mut self.replications[node as usize];
        if let Some(id) = lease_answer(input).filter(|_| host.life == life) {
            host.known.told.push((id, renewals));
        }
    }

    /// An answer has come.
    pub(super) fn hears_renewals(&mut self, node: u8, life: u64, input: &Input) {
        let host = &mut self.replications[node as usize];
        let Some(id) = lease_answer(input).filter(|_| host.life == life) else { return };
        let told = host.known.told.iter().find(|(told, _)| *told == id).map(|(_, renewals)| *renewals);
        host.known.told.retain(|(told, _)| *told != id);
        told.into_iter().for_each(|renewals| host.known.renewed(renewals));
    }

    /// Whether every process that is running would notice that the database became this copy.
    pub(super) fn would_notice(&self, copy: &Postgres) -> bool {
        let kept = copy.lease().renewals;
        let mut known = self.replications.iter().filter(|host| host.machine.is_some()).map(|host| &host.known);
        // It is the same system on the same timeline: only what was renewed since tells of it.
        known.all(|known| known.newest.as_ref().is_some_and(|earlier| kept < earlier.renewals))
    }

    /// Whether a process goes on with what it remembers of a database that is gone.
    pub(super) fn is_behind(&self, node: u8) -> bool {
        let host = &self.replications[node as usize];
        host.machine.is_some() && host.known.restores != self.postgres.restores()
    }

    /// A hub sends something to a client.
    pub(super) fn saw_sent(&mut self, message: &ServerMessage) {
        let ServerMessage::Page(page) = message else { return };
        if self.is_behind(0) && self.oracle.is_lost(&page.through) {
            self.hit(Probe::EstrangedSent);
        }
    }
}

/// The question that was answered with how often the lease was renewed.
fn lease_answer(input: &Input) -> Option<AskId> {
    match input {
        Input::LeaseTaken(Answer { id, reply: Ok(_) }) => Some(*id),
        Input::LeaseRenewed(Answer { id, reply: Ok(Fenced::Done(())) }) => Some(*id),
        _ => None,
    }
}
