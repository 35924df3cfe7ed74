//! A recording as a list of what happened, for people and for whoever draws it.

use crate::journaled::Journaled;
use crate::record::{Cause, Dropped};
use crate::replay::{Played, Replay};
use crate::segment::Segment;
use dormouse_core::time::Timestamp;
use std::fmt::{Debug, Write};

/// The longest text of one entry, in characters.
pub const TEXT_MAX: usize = 240;

/// One thing that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// To which machine.
    pub lane: String,
    /// Of which step, from 1; 0 before the first.
    pub step: u64,
    /// Which way it went.
    pub direction: Direction,
    /// What, in words.
    pub text: String,
}

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The machine was told it.
    In,
    /// The machine said it.
    Out,
    /// The machine's deadline came.
    Timeout,
    /// The machine was built, or dropped.
    Life,
}

impl Direction {
    /// How it is drawn in text.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::In => "<-",
            Self::Out => "->",
            Self::Timeout => "..",
            Self::Life => "**",
        }
    }
}

/// All that happened in a segment, with what the machine says when it is replayed.
#[must_use]
pub fn entries<M: Journaled>(segment: &Segment<M>) -> Vec<Entry> {
    let mut replay = Replay::new(segment);
    let mut entries = Vec::new();
    while let Some(played) = replay.next_record() {
        entries.extend(of_played(&segment.header.lane, replay.steps(), &played));
    }
    entries
}

/// What one record tells.
#[must_use]
pub fn of_played<M: Journaled>(lane: &str, step: u64, played: &Played<'_, M>) -> Vec<Entry> {
    let entry = |at: Timestamp, direction, text| Entry { at, lane: lane.into(), step, direction, text };
    match played {
        Played::Began { at } => vec![entry(*at, Direction::Life, "a machine as in the checkpoint".into())],
        Played::Dropped { at, why } => vec![entry(*at, Direction::Life, dropped(*why))],
        Played::Stepped(stepped) => {
            let (direction, text) = match stepped.cause {
                Cause::Input(input) => (Direction::In, short(input)),
                Cause::Timeout => (Direction::Timeout, "its deadline came".into()),
            };
            let outputs = stepped.outputs.iter().map(|output| entry(stepped.at, Direction::Out, short(output)));
            [entry(stepped.at, direction, text)].into_iter().chain(outputs).collect()
        }
    }
}

fn dropped(why: Dropped) -> String {
    match why {
        Dropped::Slept { alarm: None } => "it sleeps until something happens".into(),
        Dropped::Slept { alarm: Some(at) } => format!("it sleeps until something happens, or {at}"),
        Dropped::Evicted => "its host dropped it".into(),
        Dropped::Broken => "an invariant did not hold, and its host dropped it".into(),
    }
}

/// The start of what `value` looks like.
#[must_use]
pub fn short(value: &impl Debug) -> String {
    let mut text = Short { text: String::new(), left: TEXT_MAX };
    if write!(text, "{value:?}").is_err() {
        text.text.push('…'); // It was full.
    }
    text.text
}

/// Refuses what is too long, so that a page of many megabytes is not printed to be cut.
struct Short {
    text: String,
    left: usize,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for letter in text.chars() {
            if self.left == 0 {
                return Err(std::fmt::Error);
            }
            self.left -= 1;
            self.text.push(letter);
        }
        Ok(())
    }
}
