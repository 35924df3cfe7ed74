//! What must always be true: the promises, watched online from outside the machines, against the model's truth.

mod as_sent;
mod follows;
mod lost;
mod naive;
mod needless;
mod registry;
mod replica;
mod server;
mod session;
mod watch;

pub use as_sent::as_sent;
pub use follows::follows;
pub use naive::{Naive, Replayed, replay};
pub use registry::RegistryBefore;
pub use replica::Holding;
pub use session::{Sent, of_session};
pub use watch::{Oracles, Second};

use crate::entity::Entity;
use crate::plan::{Limits, Plan};
use crate::postgres::Postgres;
use dormouse_core::change::{Relation, Scope};
use dormouse_core::position::{Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::session::{ClientId, Epoch};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{Hello, Resume, ServerMessage};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Whether a table is in scope: compared here, and not as the machines do it.
#[must_use]
pub fn is_in(scope: &Scope, relation: &Relation) -> bool {
    let named = |name: &String| {
        let table = name.strip_prefix(&relation.schema).and_then(|rest| rest.strip_prefix('.'));
        table == Some(&relation.name)
    };
    match scope {
        Scope::All => true,
        Scope::Tables(names) => names.iter().any(named),
    }
}

/// What the product promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every committed change takes effect at each client, once.
    Complete,
    /// In commit order.
    Ordered,
    /// What a client shows is the state after some commit.
    Atomic,
    /// No position, acknowledgement or confirmation is ahead of what is stored.
    Durable,
    /// Once faults stop, everybody reaches the head within a bounded time.
    Converges,
    /// Memory, WAL held back and history kept stay under their limits.
    Bounded,
    /// No client receives anything that it may not see, or not any more.
    Scoped,
    /// A client told that it is live has seen everything committed before it greeted.
    Fresh,
    /// A machine's own invariant: a defect, whatever it would have led to.
    Invariant,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A promise that broke.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// What noticed it.
    pub oracle: &'static str,
    /// Where.
    pub entity: Entity,
    /// How, in words.
    pub event: String,
    /// When.
    pub at: Timestamp,
}

/// How long a session may be open after its credential ran out: a hub may be evicted then, and its alarm may be late.
const EXPIRED_OPEN_MAX: Duration = Duration::from_secs(8);

/// What a check says: nothing, or which promise broke, what noticed it, and how.
pub type Checked = Result<(), (Promise, &'static str, String)>;

fn broken<T>(promise: Promise, oracle: &'static str, event: String) -> Result<T, (Promise, &'static str, String)> {
    Err((promise, oracle, event))
}

#[derive(Debug, Clone, Default)]
struct ClientTruth {
    /// The furthest that any of its stores durably held, by era and schema: under another number everything comes anew.
    held: BTreeMap<(Era, SchemaVersion), Position>,
    /// The newest commit that was visible when it greeted last.
    greeted: Lsn,
    /// What it said last of its store when it greeted: which, the attempt, and what it holds.
    hello: Option<(Option<u64>, u64, Resume)>,
    /// How far a thin client has received everything since its first start.
    thin: Option<Waypoint>,
    /// What it may see.
    scope: Scope,
}

/// Everything the oracles remember.
#[derive(Debug, Clone)]
pub struct Oracle {
    clients: Vec<ClientTruth>,
    /// Who greets first under an id: two, where one is a copy of the other.
    numbers: BTreeMap<ClientId, Vec<usize>>,
    /// To whom each epoch was given.
    epochs: BTreeMap<Epoch, ClientId>,
    /// Who has ever asked to be forgotten, and the newest epoch that they had then: what came later stays.
    leavers: BTreeMap<ClientId, Epoch>,
    honest: usize,
    limits: Limits,
    /// What was recorded last: a complete transaction, or how far the pieces of one reach.
    recorded: Option<(Era, Lsn)>,
    piece: Option<(Era, Lsn, u32)>,
    lost: lost::Lost,
}

impl Oracle {
    /// The oracles of a run.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut numbers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for client in 0..plan.clients() {
            numbers.entry(plan.client_id(client)).or_default().push(client as usize);
        }
        Self {
            clients: (0..plan.clients())
                .map(|client| ClientTruth { scope: plan.scope(client), ..ClientTruth::default() })
                .collect(),
            numbers,
            epochs: BTreeMap::new(),
            leavers: BTreeMap::new(),
            honest: plan.size.clients() as usize,
            limits: plan.limits(),
            recorded: None,
            piece: None,
            lost: lost::Lost::default(),
        }
    }

    /// The numbers of the honest clients that may have an id: one, or both of two copies.
    fn honest(&self, id: &ClientId) -> impl Iterator<Item = usize> {
        let all = ClientId::new(id.base()).ok().and_then(|base| self.numbers.get(&base));
        all.into_iter().flatten().copied().filter(|client| *client < self.honest)
    }

    /// Whether this is an honest client's, and none that may have this id ever held it.
    fn is_made_up(&self, id: &ClientId, waypoint: &Waypoint) -> bool {
        let mut held = self.honest(id).map(|client| self.ever_held(client, waypoint)).peekable();
        held.peek().is_some() && !held.any(|held| held)
    }

    /// Whether a client's stores ever held this.
    fn ever_held(&self, client: usize, waypoint: &Waypoint) -> bool {
        let most = self.clients[client].held.get(&(waypoint.era, waypoint.schema));
        most.is_some_and(|most| waypoint.position <= *most)
    }

    fn note_held(&mut self, client: usize, waypoint: &Waypoint) {
        let most = self.clients[client].held.entry((waypoint.era, waypoint.schema)).or_default();
        *most = waypoint.position.max(*most);
    }

    /// A message is sent to a client.
    ///
    /// # Errors
    /// When it holds rows of a table that the client may not see.
    pub fn scoped(&self, client: u8, message: &ServerMessage) -> Checked {
        let Some(truth) = self.clients.get(client as usize).filter(|_| (client as usize) < self.honest) else {
            return Ok(());
        };
        let foreign = |relation: &&Arc<Relation>| !is_in(&truth.scope, relation);
        let found = match message {
            ServerMessage::Chunk { chunk, .. } => Some(&chunk.relation).filter(foreign),
            ServerMessage::Page(page) | ServerMessage::Seam { page: Some(page), .. } => {
                let changed = page.transactions.iter().flat_map(|transaction| transaction.changes.iter());
                changed.filter_map(|change| page.relation(change.relation())).find(foreign)
            }
            _ => None,
        };
        match found {
            Some(relation) => broken(Promise::Scoped, "scope", format!("rows of {} are sent to it", relation.name)),
            None => Ok(()),
        }
    }

    /// So many bytes are on their way to one session.
    ///
    /// # Errors
    /// When the window does not bound them.
    pub fn in_flight(&self, bytes: u64) -> Checked {
        const CHUNKS: u64 = 3 * 4 * 1024;
        const PAGE: u64 = 8 * 1024;
        if bytes > self.limits.window_bytes + CHUNKS + 2 * PAGE {
            return broken(Promise::Bounded, "in flight", format!("{bytes} bytes are on their way to one session"));
        }
        Ok(())
    }

    /// So many bytes wait in a replicator to be recorded: four pages at most, of which a read may exceed one by its last change.
    ///
    /// # Errors
    /// When they are more.
    pub fn queues(&self, bytes: usize) -> Checked {
        const LARGEST: usize = 2 * 1024;
        let Limits { changes, recorded_bytes, .. } = self.limits;
        if bytes > 4 * recorded_bytes as usize + LARGEST + 128 * (changes as usize + 1) {
            return broken(Promise::Bounded, "queue bytes", format!("{bytes} bytes wait to be recorded"));
        }
        Ok(())
    }

    /// A hub keeps so many bytes of recent pages, of which none is as large as all may be.
    ///
    /// # Errors
    /// When they are more than it may keep.
    pub fn keeps(&self, bytes: u64) -> Checked {
        if bytes > self.limits.ring_bytes {
            return broken(Promise::Bounded, "recent pages", format!("{bytes} bytes of recent pages are kept"));
        }
        Ok(())
    }

    /// A hub sends a message on a connection, on which `sent` says where its pages end.
    ///
    /// # Errors
    /// When the pages of one life do not chain, or overtake each other.
    pub fn sent(&self, sent: &mut Option<Waypoint>, message: &ServerMessage) -> Checked {
        match message {
            ServerMessage::Page(page) => {
                let before = sent.replace(page.through).filter(|before| before.era == page.through.era);
                let Some(before) = before.map(|before| before.position) else { return Ok(()) };
                let (after, through) = (page.after, page.through.position);
                // In the midst of a transaction the rest of it follows: a thin client is not handed its changes twice.
                if after > before || through <= before || !before.is_boundary() && after != before {
                    let event = format!("a page {after}..{through} is sent after one through {before}");
                    return broken(Promise::Ordered, "chained", event);
                }
            }
            ServerMessage::Welcome { from, .. } => *sent = *from,
            ServerMessage::Resync { .. } => *sent = None,
            ServerMessage::Seam { complete: Some(at), .. } => *sent = Some(*at),
            _ => {}
        }
        Ok(())
    }

    /// A hub sends a message on a connection whose credential is good until `until`.
    ///
    /// # Errors
    /// When rows, or that it is live, are sent after that.
    pub fn allowed(&self, now: Timestamp, until: Option<Timestamp>, message: &ServerMessage) -> Checked {
        let tells = match message {
            ServerMessage::Page(_)
            | ServerMessage::Chunk { .. }
            | ServerMessage::Seam { .. }
            | ServerMessage::Schema(_)
            | ServerMessage::Live => true,
            ServerMessage::Welcome { .. }
            | ServerMessage::Resync { .. }
            | ServerMessage::Credential { .. }
            | ServerMessage::Fault(_) => false,
        };
        match until.filter(|until| tells && now >= *until) {
            None => Ok(()),
            Some(until) => {
                let event = format!("something is sent {:?} after the credential ran out", now.since(until));
                broken(Promise::Scoped, "credential", event)
            }
        }
    }

    /// A session whose credential ran out is closed soon, also while its hub sleeps.
    ///
    /// # Errors
    /// When it is still open long after.
    pub fn closed_in_time(&self, now: Timestamp, until: Option<Timestamp>) -> Checked {
        match until.filter(|until| now.since(*until) > EXPIRED_OPEN_MAX) {
            None => Ok(()),
            Some(until) => {
                let event = format!("a session is open {:?} after its credential ran out", now.since(until));
                broken(Promise::Scoped, "expired", event)
            }
        }
    }

    /// A client says hello.
    pub fn greeted(&mut self, client: u8, hello: &Hello, newest_visible: Lsn) {
        let truth = &mut self.clients[client as usize];
        (truth.greeted, truth.hello) = (newest_visible, Some((hello.instance, hello.attempt, hello.resume.clone())));
    }

    /// A client is told that it is live.
    ///
    /// # Errors
    /// When something that was visible before its greeting is missing.
    pub fn live(&self, _: &Postgres, client: u8, shown: Option<&Waypoint>) -> Checked {
        let greeted = self.clients[client as usize].greeted;
        let at = shown.map_or(Lsn::ZERO, |shown| shown.position.commit_lsn);
        if at < greeted {
            let event = format!("live at {at}, but {greeted} was visible before the greeting");
            return broken(Promise::Fresh, "fresh", event);
        }
        Ok(())
    }

    /// The platform took a client's store: a new life of the store begins.
    pub const fn store_lost(&mut self, _: u8) {}

    /// How far a thin client has received everything.
    #[must_use]
    pub fn thin_mark(&self, client: u8) -> Option<Waypoint> {
        self.clients[client as usize].thin
    }
}
