//! The hubs of this process: each serves the sessions of the clients whose ids fall to it.

mod event;
mod frames;
mod host;
mod look;
mod sockets;
mod tally;

pub use event::Event;
pub use look::SessionPhase;

use crate::clock::Clock;
use crate::db::Database;
use crate::drive::drive;
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::replication;
use crate::socket::{Budget, Outbox};
use dormouse_core::ask::Incarnation;
use dormouse_core::history::Announcement;
use dormouse_core::hub::{Config, Hub as Machine, Sessions};
use dormouse_core::session::{ClientId, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::Hello;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many events may wait for one hub; a socket whose event does not fit waits with reading.
const EVENTS_MAX: usize = 1_024;

/// Numbers the lives of this process' machines.
///
/// It counts on from the process' start in microseconds, so that the numbers of a later process are higher as long as fewer
/// than a million machines are built per second. Were the wall clock set back in between, numbers could come again in another
/// process, which is harmless: an answer never outlives the process that asked.
#[derive(Debug, Clone)]
pub struct Incarnations(Arc<AtomicU64>);

impl Incarnations {
    /// Counts from now.
    #[must_use]
    pub fn start(clock: Clock) -> Self {
        Self(Arc::new(AtomicU64::new(clock.started_at().micros())))
    }

    /// One that this process never had.
    #[must_use]
    pub fn next(&self) -> Incarnation {
        Incarnation(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What hubs are surrounded by.
#[derive(Clone)]
pub struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// Numbers their lives.
    pub incarnations: Incarnations,
    /// Answers their questions.
    pub database: Database,
    /// Where they say what they wait for.
    pub replication: mpsc::Sender<replication::Event>,
    /// What Replication announces.
    pub announcements: broadcast::Sender<Arc<Announcement>>,
    /// Where they count.
    pub metrics: Metrics,
    /// Records them, if they are recorded.
    pub recorder: Option<Recorder>,
    /// How many bytes may wait for all sockets together.
    pub budget: Arc<Budget>,
    /// Cancelled, after the sentence was logged, when a hub cannot go on.
    pub defect: CancellationToken,
}

/// The hubs of one process. A cheap handle.
#[derive(Debug, Clone)]
pub struct Hubs {
    shards: Arc<[mpsc::Sender<Event>]>,
}

/// How many sessions are in which phase, and how many stand at sleeping hubs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SessionCounts {
    /// Those of awake hubs.
    #[serde(flatten)]
    pub awake: Sessions,
    /// Those of sleeping ones.
    pub hibernated: u64,
    /// How many bytes of recent pages awake hubs keep.
    #[serde(skip)]
    pub recent_bytes: u64,
}

impl Hubs {
    /// Starts `count` hubs, at least one; their tasks end when they are drained.
    #[must_use]
    pub fn start(count: usize, config: &Config, surroundings: &Surroundings, tasks: &TaskTracker) -> Self {
        let start = |n: usize| {
            let (events, inbox) = mpsc::channel(EVENTS_MAX);
            let config = Config { seed: config.seed.wrapping_add(n as u64), ..config.clone() };
            let witness =
                surroundings.recorder.as_ref().and_then(|one| one.lane::<Machine>(&format!("hub/{n}"), &config));
            let host = host::HubHost::new(config, surroundings.clone(), events.clone(), inbox);
            tasks.spawn(drive(surroundings.clock, host, witness));
            events
        };
        Self { shards: (0..count.max(1)).map(start).collect() }
    }

    /// The hub of a client: always the same one while the number of hubs is.
    #[must_use]
    pub fn of(&self, client: &ClientId) -> Hub {
        Hub { events: self.shards[self.shard_of(client)].clone() }
    }

    fn shard_of(&self, client: &ClientId) -> usize {
        let shard = fnv1a(client.as_str().as_bytes()) % self.shards.len() as u64;
        usize::try_from(shard).expect("a remainder of a length fits")
    }

    /// Drops every hub's machine at once; each is built again from what is kept with its sockets.
    pub async fn evict_all(&self) {
        for shard in self.shards.iter() {
            let _ = shard.send(Event::Evict).await; // A hub that has ended has nothing to evict.
        }
    }

    /// Tells every client that the server is going away. The hubs end once all is stored.
    pub async fn drain(&self) {
        for shard in self.shards.iter() {
            let _ = shard.send(Event::Drain).await; // A hub that has ended is drained.
        }
    }

    /// Of these clients, those that have a session in this process, with its phase.
    pub async fn look<'a>(&self, clients: impl IntoIterator<Item = &'a ClientId>) -> BTreeMap<ClientId, SessionPhase> {
        let mut of_shard = BTreeMap::<usize, Vec<ClientId>>::new();
        for client in clients {
            of_shard.entry(self.shard_of(client)).or_default().push(client.clone());
        }
        let mut found = BTreeMap::new();
        for (shard, clients) in of_shard {
            let (look, answer) = look::Look::at(clients);
            let _ = self.shards[shard].send(Event::Look(look)).await; // A hub that has ended has no sessions.
            found.extend(answer.await.unwrap_or_default());
        }
        found
    }

    /// Counts the sessions.
    pub async fn count(&self) -> SessionCounts {
        let mut total = SessionCounts::default();
        for shard in self.shards.iter() {
            let (reply, counted) = oneshot::channel();
            let _ = shard.send(Event::Count(reply)).await; // A hub that has ended has no sessions.
            let counts = counted.await.unwrap_or_default();
            total.awake.greeted += counts.awake.greeted;
            total.awake.backfill += counts.awake.backfill;
            total.awake.catch_up += counts.awake.catch_up;
            total.awake.live += counts.awake.live;
            total.hibernated += counts.hibernated;
            total.recent_bytes += counts.recent_bytes;
        }
        total
    }
}

/// One hub, as a socket's task sees it.
#[derive(Debug, Clone)]
pub struct Hub {
    events: mpsc::Sender<Event>,
}

impl Hub {
    /// Opens a session with its first message. `None` when the hub has ended.
    pub async fn open(
        &self,
        outbox: Arc<Outbox>,
        hello: Hello,
        credential_until: Option<Timestamp>,
    ) -> Option<SessionId> {
        let (reply, session) = oneshot::channel();
        self.tell(Event::Opened { outbox, hello: Box::new(hello), credential_until, reply }).await;
        session.await.ok()
    }

    /// Tells the hub something, once it has room for it.
    pub async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await; // The sockets of a hub that has ended are closed.
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
