//! The world as a value: machines, the model Postgres, network, hosts, stores and clients, and the one loop that drives them.

mod apart;
mod attached;
mod attack;
mod client;
mod connection;
mod connections;
mod cover;
mod credential;
mod database;
mod disk;
mod event;
mod fault;
mod garble;
mod held;
mod hub;
mod idle;
mod judge;
mod jump;
mod kept;
mod late;
mod lineage;
mod naive;
mod names;
mod network;
mod owed;
mod pace;
mod poison;
mod prompt;
mod quiet;
mod recent;
mod refused;
mod replace;
mod replication;
mod restore;
mod severed;
mod slow;
mod state;
mod subject;
mod superseded;
mod suspend;
#[cfg(test)]
mod tests;
mod view;
mod waits;
mod wanted;
mod window;
mod windows;
mod workload;

pub use event::Event;

use crate::chooser::{Answer, Chooser, Kind, Source};
use crate::coverage::Reached;
use crate::digest::Digest;
use crate::engine::queue::Queue;
use crate::engine::subject::Setup as _;
use crate::entity::{Entity, HUBS, NODES};
use crate::log::{Draft, Log, What, words};
use crate::oracle::{Naive, Oracle, Promise, Violation};
use crate::plan::{Plan, Size};
use crate::postgres::Postgres;
use crate::probe::{Probe, Probes};
use crate::scenario::Scenario;
use crate::scenario::rule::Steering;
use crate::trace_file::{Setup, TraceFile};
use client::ClientHost;
use connection::{Encoded, Network};
use dormouse_core::safeguard::Safeguards;
use dormouse_core::time::Timestamp;
use hub::HubHost;
use poison::Poison;
use replication::ReplicationHost;
use std::time::Duration;
use workload::Workload;

/// When worlds begin.
pub const DAWN: Timestamp = Timestamp::from_millis(1_000_000);
/// Machines are checked in full at every so many events, and what was touched at each.
const CHECK_ALL_EVERY: u64 = 8;
/// In a tight world clients come within so many milliseconds.
const TIGHT_MS: u64 = 100;
/// The longest that something is held for something else.
const HELD_MAX: Duration = Duration::from_secs(2);
/// More events than any run of this size takes: reaching it breaks a promise.
const EVENTS_MAX: [u64; 3] = [60_000, 600_000, 20_000_000];

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    /// The present.
    pub now: Timestamp,
    /// What the seed decided.
    pub plan: Plan,
    /// How many events there were.
    pub events: u64,
    /// What everything hashes to.
    pub digest: Digest,
    /// What was reached.
    pub probes: Probes,
    /// Which faults fell into which phases.
    pub reached: Reached,
    /// The first promise that broke.
    pub violation: Option<Violation>,
    /// What happened, in words, when somebody wants to read it.
    pub log: Log,
    /// Where choices come from.
    pub chooser: Chooser,
    /// What is being carried out, by name.
    pub doing: &'static str,
    /// What answers choices instead of the chooser, in a scenario.
    steering: Option<Steering>,
    queue: Queue<Event>,
    postgres: Postgres,
    replications: Vec<ReplicationHost>,
    hubs: Vec<HubHost>,
    clients: Vec<ClientHost>,
    network: Network,
    encoded: Encoded,
    workload: Workload,
    oracle: Oracle,
    /// The second opinion on what clients show, in some runs.
    naive: Option<Naive>,
    lives: u64,
    quiet: Option<quiet::Quiet>,
    /// Since when faults rest in the midst of the run.
    window: Option<Timestamp>,
    /// Until when the disk of the database is full.
    disk_full_until: Option<Timestamp>,
    /// The transaction that ends who records it, if there is one.
    poison: Poison,
    /// What is held until something has happened.
    held: Vec<held::Held>,
    /// How far those have come who see whether it is prompt at rest.
    prompt: prompt::Prompt,
    /// A copy of the database, from which it may be restored.
    copy: Option<Box<Postgres>>,
    finished: bool,
}

/// How often a machine's timer fired at one instant: firing must move the deadline into the future.
#[derive(Debug, Clone, Copy, Default)]
struct Spins {
    at: Timestamp,
    count: u32,
}

impl Spins {
    /// It fired: how often at this instant by now?
    fn fired(&mut self, now: Timestamp) -> u32 {
        self.count = if self.at == now { self.count + 1 } else { 0 };
        self.at = now;
        self.count
    }
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64, size: Size, safeguards: Safeguards, log: Log) -> Self {
        Self::of_setup(&Setup::new(seed, size, safeguards), Source::Random, log)
    }

    /// The world of a trace: its workload and settings follow from the seed, its faults from the trace.
    #[must_use]
    pub fn replay(file: &TraceFile, log: Log) -> Self {
        let script = file.choices.iter().copied().filter(|choice| {
            let entities = file.setup.entities();
            entities.has(choice.entity) && choice.until.is_none_or(|until| entities.has(until.entity))
        });
        Self::of_setup(&file.setup, Source::Script(script.collect()), log)
    }

    /// A scenario answers the choices that would be left to chance; whoever else chooses has its plan only.
    fn of_setup(setup: &Setup, source: Source, log: Log) -> Self {
        let held = setup.scenario.and_then(Scenario::held).filter(|_| matches!(source, Source::Random));
        let mut chooser = Chooser::new(setup.seed(), setup.entities().count(), source);
        let plan = Plan::new(setup.seed, setup.size, setup.safeguards, &mut chooser);
        let plan = Plan { families: setup.families, ..plan };
        let plan = setup.scenario.map_or(plan.clone(), |scenario| plan.of_scenario(scenario));
        let plan = Plan {
            transactions: setup.transactions,
            rolled_back: setup.rolled_back.clone(),
            tight: setup.tight,
            oracles: setup.oracles,
            even: setup.even,
            ..plan
        };
        Self::of_plan(plan, chooser, log, held.map(|held| Steering::new(held.rules)))
    }

    /// The world of a seed, to be steered into the race of a scenario; `None` when that waits for something.
    #[must_use]
    pub fn steered(seed: u64, scenario: &'static Scenario, safeguards: Safeguards, log: Log) -> Option<Self> {
        Some(Self::of_setup(&Setup::of_scenario(seed, scenario, safeguards)?, Source::Random, log))
    }

    fn of_plan(plan: Plan, chooser: Chooser, log: Log, steering: Option<Steering>) -> Self {
        let naive = plan.oracles.wants_naive(plan.seed) && !chooser.is_exhaustive();
        let naive = naive.then(|| Naive::new(&plan));
        let mut world = Self {
            now: DAWN,
            events: 0,
            digest: Digest::default(),
            probes: Probes::default(),
            reached: Reached::default(),
            violation: None,
            log,
            chooser,
            doing: "",
            steering,
            queue: Queue::default(),
            postgres: Postgres::new(plan.postgres()),
            replications: (0..NODES).map(|_| ReplicationHost::default()).collect(),
            hubs: (0..HUBS).map(|_| HubHost::default()).collect(),
            clients: (0..plan.clients()).map(|_| ClientHost::default()).collect(),
            network: Network::default(),
            encoded: Encoded::default(),
            workload: Workload::new(&plan),
            oracle: Oracle::new(&plan),
            naive,
            lives: 0,
            quiet: None,
            window: None,
            disk_full_until: None,
            poison: Poison::default(),
            held: Vec::new(),
            prompt: prompt::Prompt::default(),
            copy: None,
            finished: false,
            plan,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.queue.push(self.now, Event::NodeStarts { node: 0 });
        for client in 0..self.plan.size.clients() {
            // Some come early, some in the midst of it.
            let late = if client % 2 == 0 { 1_500 } else { 5_000 };
            let late = if self.plan.tight { TIGHT_MS } else { late };
            let after = self.chooser.draw(Kind::Work, Entity::Client(client), late);
            let told = self.plan.held().and_then(|held| held.starts_ms.get(client as usize));
            let after = told.copied().unwrap_or(after);
            self.plan_in(Duration::from_millis(after), Event::ClientStarts { client });
        }
        self.begin_workload();
        self.plan_in(fault::EVERY, Event::Faults);
        self.begin_attacks();
        self.begin_window();
    }

    /// How many transactions each writer has begun.
    #[must_use]
    pub fn begun(&self) -> Vec<u32> {
        self.workload.begun().collect()
    }

    fn take_event(&mut self) -> bool {
        if self.finished || self.violation.is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else { return false };
        debug_assert!(at >= self.now, "time never goes backwards");
        self.now = at.max(self.now);
        self.events += 1;
        self.digest.word(self.now.micros());
        self.log.turn(self.now, self.events);
        self.dispatch(event);
        self.wake_streams();
        if !self.held.is_empty() {
            self.let_go_of_past();
        }
        if self.events > EVENTS_MAX[self.plan.size as usize] {
            self.violate(Promise::Converges, "events", Entity::World, "the world never comes to rest".into());
        }
        self.violation.is_none() && !self.finished
    }

    fn dispatch(&mut self, event: Event) {
        let Some(event) = self.unless_suspended(event) else { return };
        match event {
            Event::Timeout { whose, generation } => self.timeout(whose, generation),
            Event::ReplicationAsks { node, life, question, answered } => {
                self.ask_disk_as_replication(node, life, *question, answered);
            }
            Event::ReplicationHears { node, life, input } => self.replication_hears(node, life, *input),
            Event::StreamGrew { node } => self.stream_grew(node),
            Event::Confirmed { node, stream, lsn } => self.confirmed(node, stream, lsn),
            Event::Nudged => self.postgres.nudge(),
            Event::Parts { node, life, at_once } => self.parts(node, life, at_once),
            Event::HubAsks { hub, life, question, answered } => self.ask_disk_as_hub(hub, life, *question, answered),
            Event::SnapshotCopied { hub, life, ask, begun, answered } => {
                self.snapshot_copied(hub, life, *ask, *begun, answered);
            }
            Event::HubHears { hub, life, input } => self.hub_hears(hub, life, *input),
            Event::Announced { hub, announcement, restores } => self.announced(hub, announcement, restores),
            Event::Dialled { client, life, socket } => self.dialled(client, life, socket),
            Event::Frame { connection, to_server } => self.frame(connection, to_server),
            Event::ClientHears { client, life, input } => self.client_hears(client, life, *input),
            Event::Silence { connection } => self.silence(connection),
            Event::StoreRuns { client, life, ask, fate } => self.store_runs(client, life, *ask, fate),
            Event::StoreAnswers { client, life, answer } => self.store_answers(client, life, *answer),
            Event::ClientStarts { client } => self.client_starts(client),
            Event::NodeStarts { node } => self.node_starts(node),
            Event::HubWakes { hub } => self.hub_wakes(hub),
            Event::Alarm { hub, generation } => self.alarm(hub, generation),
            Event::Writes { writer } => self.writes(writer),
            Event::Visible { tx } => self.visible(tx),
            Event::Attacks => self.attacks(),
            Event::Faults => self.faults(),
            Event::Quiet => self.quiet_begins(),
            Event::Window => self.window_turns(),
            Event::Converged => self.converged(),
            Event::Prompt => self.prompt_turns(),
        }
    }

    fn timeout(&mut self, whose: Entity, generation: u64) {
        match whose {
            Entity::Replication(node) => self.replication_timeout(node, generation),
            Entity::Hub(hub) => self.hub_timeout(hub, generation),
            Entity::Client(client) => self.client_timeout(client, generation),
            Entity::World | Entity::Postgres | Entity::Node(_) | Entity::Writer(_) => {}
        }
    }

    /// Plans an event a while from now.
    fn plan_in(&mut self, after: Duration, event: Event) {
        self.queue.push(self.now + after, event);
    }

    /// A number that was never a life of anybody.
    const fn new_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    /// A promise broke.
    fn violate(&mut self, promise: Promise, oracle: &'static str, entity: Entity, event: String) {
        if self.violation.is_none() && !self.plan.oracles.is_off(oracle) {
            self.log.add(|_| Draft::new(entity, What::Violation, format!("{promise} is broken ({oracle}): {event}")));
            self.violation = Some(Violation { promise, oracle, entity, event, at: self.now });
        }
    }

    fn verdict(&mut self, entity: Entity, verdict: Result<(), (Promise, &'static str, String)>) {
        if let Err((promise, oracle, event)) = verdict {
            self.violate(promise, oracle, entity, event);
        }
    }

    /// Something that must happen in some run has happened.
    fn hit(&mut self, probe: Probe) {
        self.probes.hit(probe);
    }

    /// Most choices are of faults that this world does not have: where they are made, little more than a count is left of them.
    #[inline(always)]
    fn choose(&mut self, kind: Kind, entity: Entity, bound: u64, weight: u32) -> u64 {
        let pick = if self.steering.is_none() {
            self.chooser.choose(self.now, kind, entity, bound, weight)
        } else {
            self.steer(kind, entity, bound)
        };
        if pick != 0 {
            self.chose(kind, entity, None);
        }
        pick
    }

    /// A choice was made that is not quiet; of delays the log also tells how long they are, in microseconds.
    fn chose(&mut self, kind: Kind, entity: Entity, delays: Option<&[u64]>) {
        self.cover(kind, entity);
        if let Some(choice) = self.chooser.made.last() {
            self.log.add(|_| words::choice(choice, delays));
        }
    }

    fn steer(&mut self, kind: Kind, entity: Entity, bound: u64) -> u64 {
        let Some(mut steering) = self.steering.take() else { return 0 };
        let pick = steering.pick(self, kind, entity);
        self.steering = Some(steering);
        self.chooser.told(self.now, kind, entity, bound, pick)
    }

    #[inline(always)]
    fn happens(&mut self, kind: Kind, entity: Entity, weight: u32) -> bool {
        self.choose(kind, entity, 2, weight) != 0
    }

    /// A delay: a bucket that is chosen, and a small difference that is drawn. Beyond the buckets of so many microseconds stand two
    /// that are orders: after everything that is under way now, and after the next timer. Or it lasts until a moment.
    fn delay(&mut self, kind: Kind, entity: Entity, buckets_us: &[u64], weight: u32) -> Duration {
        let plain = buckets_us.len() as u64;
        let pick = match self.delayed(kind, entity, buckets_us, weight) {
            Answer::Pick(pick) => pick,
            Answer::HoldUntil(until) => return self.hold(entity, until),
        };
        let micros = buckets_us.get(usize::try_from(pick).unwrap_or(0)).copied().unwrap_or(buckets_us[0]);
        let spread = if self.chooser.is_exhaustive() { 1 } else { micros / 2 + 1 };
        let jitter = Duration::from_micros(self.chooser.draw(Kind::Jitter, entity, spread));
        if pick < plain {
            return Duration::from_micros(micros) + jitter;
        }
        let after = if pick == plain { self.queue.all_arrived() } else { self.queue.next_timer() };
        // Nobody waits longer than for a timer that somebody set for seconds: the rest is for longer delays.
        let after = after.map_or(Duration::ZERO, |at| at.since(self.now)).min(HELD_MAX);
        after + Duration::from_micros(1) + jitter
    }
}
