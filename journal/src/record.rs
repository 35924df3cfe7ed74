//! What a segment holds, one after the other.

use crate::journaled::Journaled;
use dormouse_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One record of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "M: Serialize, I: Serialize", deserialize = "M: Deserialize<'de>, I: Deserialize<'de>"))]
pub enum Record<M, I> {
    /// The machine as it stood: at the segment's start, and at the start of each further life within it.
    Checkpoint {
        /// When.
        at: Timestamp,
        /// All of it.
        machine: M,
    },
    /// The machine was told something, and said what follows from it.
    Step(Step<I>),
    /// The machine was dropped; a checkpoint follows if it is built again.
    Dropped {
        /// When.
        at: Timestamp,
        /// Why.
        why: Dropped,
    },
    /// The segment ends in good order. Without this record, the process was killed, or still writes.
    End(End),
}

/// The records of a machine.
pub type RecordOf<M> = Record<M, <M as dormouse_core::machine::Machine>::Input>;

/// One input or timeout, with what identifies all that followed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step<I> {
    /// What the machine was told the time is.
    pub at: Timestamp,
    /// What it was told.
    pub cause: Cause<I>,
    /// The low half of a word of the running digest after each command: names the first that differs.
    pub marks: Vec<u32>,
    /// Whether all commands were taken. False when the host dropped the machine before it had said all.
    pub whole: bool,
    /// The running digest over all commands, and the deadline after each step, since the segment began.
    pub digest: u128,
}

/// Why a machine acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause<I> {
    /// It was told a fact.
    Input(I),
    /// Its deadline came.
    Timeout,
}

/// Why a machine was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dropped {
    /// It had nothing to do.
    Slept {
        /// When it is to be woken at the latest.
        alarm: Option<Timestamp>,
    },
    /// The host took it down, to be built again from what is kept.
    Evicted,
    /// An invariant did not hold. Replaying names it.
    Broken,
}

/// Why a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It was long enough: the next one goes on at the same step.
    Full,
    /// The machine's host ended.
    Finished,
    /// The recorder could not keep up, or the disk refused: steps are missing before the next segment.
    Gap,
}

impl<I> Step<I> {
    /// The fact, unless it was time that moved the machine.
    pub const fn input(&self) -> Option<&I> {
        match &self.cause {
            Cause::Input(input) => Some(input),
            Cause::Timeout => None,
        }
    }
}

/// A record that is about to be written, without a copy of what it holds.
#[derive(Debug, Serialize)]
#[serde(rename = "Record", bound(serialize = ""))]
pub(crate) enum Borrowed<'a, M: Journaled> {
    Checkpoint { at: Timestamp, machine: &'a M },
    Step(Step<&'a M::Input>),
    Dropped { at: Timestamp, why: Dropped },
    End(End),
}
