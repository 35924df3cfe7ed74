//! What is always true of a client.

use super::{Client, Mode, Phase, Timer};
use crate::ensure;
use crate::machine::BrokenInvariant;
use crate::position::Waypoint;

impl Client {
    pub(super) fn check_now(&self) -> Result<(), BrokenInvariant> {
        ensure!(self.stores.len() <= 1, "the store carries out one transaction at a time, not {}", self.stores.len());
        if self.config.mode == Mode::Replica {
            let (staged, shown) = (self.held.staged, self.held.shown);
            ensure!(reaches(staged, shown), "what is staged ({staged:?}) is no earlier than what is shown ({shown:?})");
        }
        ensure!(self.moved_back.is_none(), "a page never moves the store back: {:?}", self.moved_back);
        match &self.phase {
            Phase::Ended => ensure!(self.timers.next().is_none(), "a client that has ended waits for nothing"),
            Phase::Waiting => ensure!(self.timers.is_set(Timer::Dial), "a client that is away will dial again"),
            Phase::Expired => {
                ensure!(self.timers.next().is_none(), "a client without a credential waits for nothing else")
            }
            Phase::Settling => ensure!(!self.stores.is_empty(), "a client that settles waits for its store"),
            Phase::Dialling { .. } | Phase::Greeting { .. } => {
                ensure!(self.timers.is_set(Timer::Patience), "dialling and greeting take a bounded time");
                ensure!(self.stores.is_empty(), "a client greets when it knows what it holds");
            }
            Phase::Open(session) => {
                ensure!(self.timers.is_set(Timer::Liveness), "an open connection is watched for silence");
                ensure!(
                    session.owed.is_none() || self.timers.is_set(Timer::Ack),
                    "what is owed is acknowledged in a bounded time"
                );
                ensure!(session.queue.is_empty() || !self.stores.is_empty(), "messages wait for nothing but the store");
                ensure!(
                    session.queue.len() <= self.config.queue_messages_max,
                    "the queue is bounded: {} messages",
                    session.queue.len()
                );
                let stored = match self.config.mode {
                    Mode::Replica => self.held.staged,
                    Mode::Thin => session.position,
                };
                ensure!(reaches(stored, session.acked), "acknowledged {:?} but stored {stored:?}", session.acked);
            }
        }
        Ok(())
    }
}

/// Whether `one` is no earlier than `other`, where they can be compared.
fn reaches(one: Option<Waypoint>, other: Option<Waypoint>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => one.era != other.era || one.position >= other.position,
    }
}
