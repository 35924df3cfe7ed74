//! The world around the machines: a network with delays, a host that pauses, and the oracle. A value, so that it can be forked.

use crate::machines::{Input, Lock, Output, Phase, Storage, Writer};
use crate::names::{Scene, WORKERS, What, Worker};
use dormouse_sim::digest::Digest;
use dormouse_sim::engine::Timestamp;
use dormouse_sim::engine::chooser::{Chooser, Source, per_mille};
use dormouse_sim::engine::queue::{Placed, Queue, Waits};
use dormouse_sim::engine::state::State;
use dormouse_sim::engine::subject::{Breaks, Entity, Subject};
use std::fmt;
use std::time::Duration;

/// More events than any run takes.
const EVENTS_MAX: u64 = 2_000;
/// The buckets of delays; two more are orders: after all that is under way, and after the next timer.
const DELAYS_MS: [u64; 3] = [1, 4, 30];
const PAUSES_MS: [u64; 2] = [5, 40];

#[derive(Debug, Clone, Copy)]
enum Event {
    Resumes(Worker),
    Acquire(Worker),
    Release(Worker, u64),
    Write(Worker, u64),
    Hears(Worker, Input),
}

impl Placed for Event {
    fn place(&self) -> (u8, u16) {
        let (class, Worker(worker)) = match *self {
            Self::Resumes(worker) => (0, worker), // Before what the worker could not hear.
            Self::Acquire(worker) => (1, worker),
            Self::Release(worker, _) => (2, worker),
            Self::Write(worker, _) => (3, worker),
            Self::Hears(worker, _) => (4, worker),
        };
        (class, worker.into())
    }

    fn waits(&self) -> Waits {
        match self {
            Self::Resumes(_) => Waits::Else,
            Self::Hears(_, Input::Woke) => Waits::Timer,
            Self::Acquire(_) | Self::Release(..) | Self::Write(..) | Self::Hears(..) => Waits::UnderWay,
        }
    }
}

#[derive(Debug, Clone)]
pub struct World {
    now: Timestamp,
    events: u64,
    queue: Queue<Event>,
    chooser: Chooser<What, Worker>,
    lock: Lock,
    pub storage: Storage,
    workers: Vec<Writer>,
    paused: [Option<Timestamp>; WORKERS as usize],
    /// How many writes the storage refused.
    pub refused: u64,
    broken: Option<&'static str>,
    history: Digest,
}

impl World {
    fn delay(&mut self, kind: What, worker: Worker) -> Timestamp {
        let plain = DELAYS_MS.len() as u64;
        let pick = self.chooser.choose(self.now, kind, worker, plain + 2, per_mille(60));
        let spread = if self.chooser.is_exhaustive() { 1 } else { 300 };
        let jitter = Duration::from_micros(1 + self.chooser.draw(What::Think, worker, spread));
        let order = if pick == plain { self.queue.all_arrived() } else { self.queue.next_timer() };
        match DELAYS_MS.get(usize::try_from(pick).unwrap_or(usize::MAX)) {
            Some(ms) => self.now + Duration::from_millis(*ms) + jitter,
            None => order.unwrap_or(self.now) + jitter, // After all that is under way, or after the next timer.
        }
    }

    fn hears(&mut self, kind: What, worker: Worker, input: Input) {
        let at = self.delay(kind, worker);
        self.queue.push(at, Event::Hears(worker, input));
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Resumes(worker) => {
                self.paused[worker.index()] = None;
                self.carry_out_one(worker);
                self.carry_out(worker);
            }
            Event::Acquire(worker) => {
                let lease = self.lock.acquire(self.now);
                self.hears(What::LockDelay, worker, Input::Answered(lease));
            }
            Event::Release(_, token) => self.lock.release(token),
            Event::Write(worker, token) => {
                let taken = self.storage.write(token);
                self.refused += u64::from(!taken);
                self.judge();
                self.hears(What::StorageDelay, worker, Input::Wrote(taken));
            }
            Event::Hears(worker, input) => match self.paused[worker.index()] {
                Some(until) => self.queue.push(until, event),
                None => {
                    self.workers[worker.index()].handle(self.now, input);
                    self.carry_out(worker);
                }
            },
        }
    }

    /// One at a time, so that a pause can fall between any two.
    fn carry_out(&mut self, worker: Worker) {
        while !self.workers[worker.index()].outputs.is_empty() {
            let pick = self.chooser.choose(self.now, What::Pause, worker, PAUSES_MS.len() as u64 + 1, per_mille(30));
            if pick > 0 {
                let until = self.now + Duration::from_millis(PAUSES_MS[usize::from(pick > 1)]);
                self.paused[worker.index()] = Some(until);
                return self.queue.push(until, Event::Resumes(worker));
            }
            self.carry_out_one(worker);
        }
    }

    fn carry_out_one(&mut self, worker: Worker) {
        let Some(output) = self.workers[worker.index()].outputs.pop_front() else { return };
        let (at, event) = match output {
            Output::Acquire => (self.delay(What::LockDelay, worker), Event::Acquire(worker)),
            Output::Release(token) => (self.delay(What::LockDelay, worker), Event::Release(worker, token)),
            Output::Write(token) => (self.delay(What::StorageDelay, worker), Event::Write(worker, token)),
            Output::WakeAt(at) => (at, Event::Hears(worker, Input::Woke)),
        };
        self.queue.push(at, event);
    }

    /// The oracle: what was written under one token stands together. It knows nothing of which token is newer.
    fn judge(&mut self) {
        let runs: Vec<_> = self.storage.written.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
        let Some((last, before)) = runs.split_last() else { return };
        if before.contains(last) {
            self.broken = Some("Apart");
        }
    }
}

impl Subject for World {
    type Kind = What;
    type Entity = Worker;
    type Setup = Scene;

    fn begin(setup: &Scene, source: Source<What, Worker>) -> Self {
        let mut chooser = Chooser::new(setup.seed, WORKERS.into(), source);
        let mut queue = Queue::default();
        for worker in (0..WORKERS).map(Worker) {
            let after = Duration::from_millis(chooser.draw(What::Think, worker, 10));
            queue.push(Timestamp::ZERO + after, Event::Hears(worker, Input::Woke));
        }
        let storage = Storage { checked: setup.checked, newest: 0, written: Vec::new() };
        let workers = (0..WORKERS).map(|_| Writer::new(setup.documents)).collect();
        let (lock, paused, history) = (Lock::default(), [None; WORKERS as usize], Digest::default());
        let (now, events, refused, broken) = (Timestamp::ZERO, 0, 0, None);
        Self { now, events, queue, chooser, lock, storage, workers, paused, refused, broken, history }
    }

    fn step(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else {
            let done = self.workers.iter().all(|worker| matches!(worker.phase, Phase::Done));
            self.broken = (!done).then_some("Finishes");
            return false;
        };
        self.now = at;
        self.events += 1;
        self.history.bytes(format!("{at} {event:?}").as_bytes());
        self.dispatch(event);
        if self.events > EVENTS_MAX {
            self.broken = Some("Finishes");
        }
        self.broken.is_none()
    }

    fn chooser(&self) -> &Chooser<What, Worker> {
        &self.chooser
    }

    fn chooser_mut(&mut self) -> &mut Chooser<What, Worker> {
        &mut self.chooser
    }

    fn broken(&self) -> Option<Breaks> {
        let breaks =
            |promise: &str| Breaks { promise: promise.into(), oracle: "storage".into(), entity: "world".into() };
        self.broken.map(breaks)
    }

    fn history(&self) -> u128 {
        self.history.finish()
    }

    /// Tokens stay as they are: their order matters.
    fn state(&self) -> u128 {
        let mut state = State::new(self.now, &[]);
        let queue: Vec<_> = self.queue.iter().collect();
        let parts: [&dyn fmt::Debug; 5] = [&queue, &self.lock, &self.storage, &self.workers, &self.paused];
        parts.into_iter().for_each(|part| state.part(part));
        state.finish()
    }

    fn simplify(&self, setup: &Scene, fails: &mut dyn FnMut(&Scene) -> bool) {
        let _ = (1..setup.documents).any(|documents| fails(&Scene { documents, ..setup.clone() }));
    }
}
