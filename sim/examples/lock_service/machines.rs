//! The machines: a lock with leases, workers that write documents under a lease, and a storage. No clock, no socket, no randomness.

use dormouse_sim::engine::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// How many parts a document has.
const PARTS: u32 = 2;
/// How long a lease lasts.
const LEASE: Duration = Duration::from_millis(20);
/// How long a worker rests before it asks again.
const RETRY: Duration = Duration::from_millis(7);

#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// Greater than that of every lease before.
    pub token: u64,
    pub until: Timestamp,
}

#[derive(Debug, Clone, Default)]
pub struct Lock {
    pub granted: u64,
    pub held: Option<Lease>,
}

impl Lock {
    pub fn acquire(&mut self, now: Timestamp) -> Option<Lease> {
        if self.held.is_some_and(|lease| now < lease.until) {
            return None;
        }
        self.granted += 1;
        self.held = Some(Lease { token: self.granted, until: now + LEASE });
        self.held
    }

    pub fn release(&mut self, token: u64) {
        self.held = self.held.filter(|lease| lease.token != token);
    }
}

#[derive(Debug, Clone)]
pub struct Storage {
    /// Whether a token older than the newest is refused: the safeguard.
    pub checked: bool,
    pub newest: u64,
    /// The tokens under which parts were written, in order.
    pub written: Vec<u64>,
}

impl Storage {
    pub fn write(&mut self, token: u64) -> bool {
        if self.checked && token < self.newest {
            return false;
        }
        self.newest = self.newest.max(token);
        self.written.push(token);
        true
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Phase {
    Idle,
    Asking,
    Writing { lease: Lease, part: u32 },
    Done,
}

#[derive(Debug, Clone, Copy)]
pub enum Input {
    Woke,
    Answered(Option<Lease>),
    /// Whether the storage took it.
    Wrote(bool),
}

#[derive(Debug, Clone, Copy)]
pub enum Output {
    Acquire,
    Release(u64),
    Write(u64),
    WakeAt(Timestamp),
}

#[derive(Debug, Clone)]
pub struct Writer {
    pub phase: Phase,
    /// Documents still to be written.
    pub documents: u32,
    /// Decided, and not yet carried out.
    pub outputs: VecDeque<Output>,
}

impl Writer {
    pub fn new(documents: u32) -> Self {
        Self { phase: Phase::Idle, documents, outputs: VecDeque::new() }
    }

    pub fn handle(&mut self, now: Timestamp, input: Input) {
        match (input, self.phase) {
            (Input::Woke, Phase::Idle) => {
                self.phase = Phase::Asking;
                self.outputs.push_back(Output::Acquire);
            }
            (Input::Answered(Some(lease)), Phase::Asking) => self.write(now, lease, 0),
            (Input::Wrote(true), Phase::Writing { lease, part }) if part + 1 < PARTS => {
                self.write(now, lease, part + 1)
            }
            (Input::Wrote(true), Phase::Writing { lease, .. }) => {
                self.outputs.push_back(Output::Release(lease.token));
                self.documents -= 1;
                self.rest(now);
            }
            (Input::Answered(None), Phase::Asking) | (Input::Wrote(false), Phase::Writing { .. }) => self.rest(now),
            (_, Phase::Idle | Phase::Asking | Phase::Writing { .. } | Phase::Done) => {} // Nobody asked.
        }
    }

    /// Begins no write after its lease; what it has decided may be late nevertheless.
    fn write(&mut self, now: Timestamp, lease: Lease, part: u32) {
        if now >= lease.until {
            return self.rest(now);
        }
        self.phase = Phase::Writing { lease, part };
        self.outputs.push_back(Output::Write(lease.token));
    }

    fn rest(&mut self, now: Timestamp) {
        self.phase = if self.documents == 0 { Phase::Done } else { Phase::Idle };
        if self.documents > 0 {
            self.outputs.push_back(Output::WakeAt(now + RETRY));
        }
    }
}
