//! The tables' shape: compared every few seconds and at each new shape in the stream, noted before the changes that follow it.

use super::interrupt::{Interrupted, fenced};
use super::io::*;
use super::outside::{Outside, Timer, ask};
use super::pipeline::{Job, Lane};
use super::prepare::RaiseReply;
use super::stream::Stream;
use crate::fault::Failure;
use crate::source::{Fingerprints, alters_existing_rows};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whether changes may be recorded: not between a new shape in the stream and an inspection that was asked for after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Gate {
    Open,
    /// A new shape came: the tables must be looked at from now on.
    Shut,
    /// They are being looked at.
    Asked,
    /// For the wait after a failed look.
    Waiting,
}

impl Gate {
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }

    pub const fn shut(&mut self) {
        *self = match self {
            Self::Open | Self::Shut | Self::Asked => Self::Shut,
            Self::Waiting => Self::Waiting,
        };
    }
}

/// What our schema says of the tables, and what it must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    /// As noted, or being noted.
    noted: Fingerprints,
    /// What differs from it, with the reason if rows that replicas hold may have been altered.
    differs: Option<(Fingerprints, Option<String>)>,
}

impl Noted {
    pub const fn new(noted: Fingerprints) -> Self {
        Self { noted, differs: None }
    }

    /// Compares what was found with what is noted, or about to be, and with the tables that the stream told of before.
    pub fn found(&mut self, found: Fingerprints, told: &BTreeSet<String>) {
        let (last, earlier) = self.differs.take().unzip();
        let reason = earlier.flatten().or_else(|| alters_existing_rows(last.as_ref().unwrap_or(&self.noted), &found));
        // What it told will be in history: nobody may keep it.
        let stray = || told.iter().find(|name| !found.contains_key(*name));
        let reason = reason.or_else(|| stray().map(|name| format!("{name} was published for a while")));
        self.differs = (found != self.noted || reason.is_some()).then_some((found, reason));
    }

    /// Takes out what is to be noted next, with what is noted before it.
    pub fn take(&mut self) -> Option<(Fingerprints, Fingerprints, Option<String>)> {
        let (fingerprints, reason) = self.differs.take()?;
        let before = std::mem::replace(&mut self.noted, fingerprints.clone());
        Some((before, fingerprints, reason))
    }
}

impl Stream {
    /// Looks at the tables because of a new shape, once no earlier look is under way.
    pub fn inspect_for_gate(&mut self, outside: &mut Outside) {
        if self.gate == Gate::Shut && outside.asks.inspect_tables.is_empty() {
            self.gate = Gate::Asked;
            self.ask_inspection(outside);
        }
    }

    fn ask_inspection(&self, outside: &mut Outside) {
        outside.timers.stop(Timer::Inspect);
        ask!(outside, inspect_tables, InspectTables, InspectTables { token: self.tenure.token });
    }

    /// It is time for another look.
    pub fn on_inspection_due(&mut self, outside: &mut Outside) {
        match self.gate {
            Gate::Waiting => self.gate = Gate::Shut,
            Gate::Open if outside.asks.inspect_tables.is_empty() => self.ask_inspection(outside),
            Gate::Open | Gate::Shut | Gate::Asked => {}
        }
    }

    pub fn on_tables_inspected(
        &mut self,
        now: Timestamp,
        reply: Result<Fenced<Fingerprints>, Failure>,
        outside: &mut Outside,
    ) -> Result<(), Interrupted> {
        let wait = match fenced(reply) {
            Ok(found) => {
                let mut told = BTreeSet::new();
                if self.gate == Gate::Asked {
                    self.gate = Gate::Open;
                    told = std::mem::take(&mut self.told);
                }
                self.noted.found(found, &told);
                outside.config.inspect_every
            }
            Err(Interrupted::Failed(_)) => {
                if self.gate == Gate::Asked {
                    self.gate = Gate::Waiting;
                }
                self.backoff.next_wait()
            }
            Err(why) => return Err(why),
        };
        outside.set(now, Timer::Inspect, wait);
        Ok(())
    }

    /// The shape is noted: later pages carry its number, and the hubs are told at once.
    pub fn on_schema_raised(
        &mut self,
        now: Timestamp,
        reply: RaiseReply,
        outside: &mut Outside,
    ) -> Result<(), Interrupted> {
        let job = match std::mem::replace(&mut self.lane, Lane::Free) {
            Lane::Asked(job @ Job::Raise { .. }) => job,
            other => {
                self.lane = other;
                return Ok(());
            }
        };
        match fenced(reply) {
            Ok(schema) if schema != self.head.schema() => {
                self.head.waypoint.schema = schema;
                outside.announce(self.head.position(), self.head, None);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(Interrupted::Failed(_)) => {
                self.wait_with(now, job, outside);
                Ok(())
            }
            Err(why) => Err(why),
        }
    }
}
