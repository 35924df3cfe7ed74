//! One failure as a person can take it in: what broke, which few choices it took, how it came about, what the machines held, and
//! where the run parts from one in which nothing breaks. As a page of its own, as text, and as data.

mod explain;
mod html;
mod parting;
mod path;
mod states;
mod text;

pub use explain::{Explained, explain};

use crate::log::{Log, What};
use crate::oracle::{Promise, Violation};
use dormouse_core::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// The most entries that a report keeps; the oldest go first.
const ENTRIES_MAX: usize = 6_000;
/// The most bytes of raw values that a report keeps, newest entries first.
const RAW_BYTES_MAX: usize = 500_000;

/// A failure.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What broke.
    pub heading: Heading,
    /// Who takes part, from the left.
    pub lanes: Vec<String>,
    /// What happened, oldest first.
    pub entries: Vec<Entry>,
    /// How many earlier entries are left out.
    pub left_out: u64,
    /// Which entry is the violation.
    pub violation: Option<usize>,
    /// The choices that were not quiet.
    pub choices: Vec<Choice>,
    /// The entries that lead directly to the violation, oldest first: each was brought about by the one before.
    pub path: Vec<usize>,
    /// What the machines on the way held.
    pub states: Vec<states::Machine>,
    /// The nearest run in which nothing breaks.
    pub parting: Option<parting::Parting>,
    /// The run as a trace file.
    pub trace: String,
}

/// What broke, in a few sentences.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Heading {
    /// What this is about, as a title.
    pub title: String,
    /// The name of the promise; empty when none is broken.
    pub promise: String,
    /// What it promises.
    pub sentence: String,
    /// For whom it broke.
    pub entity: String,
    /// What noticed it.
    pub oracle: String,
    /// How it broke.
    pub event: String,
    /// When, in seconds since the world began; empty for a recording.
    pub clock: String,
    /// The run, by its seed; empty for a recording.
    pub seed: String,
    /// Which families of faults it has.
    pub families: String,
    /// What else is to be known of the run: what, and its value.
    pub facts: Vec<(String, String)>,
    /// How many events there were.
    pub events: u64,
    /// The safeguard that was switched off, and what it prevents.
    pub without: Option<(String, String)>,
    /// The command that replays it.
    pub replay: String,
    /// The command that makes this report.
    pub explain: String,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Microseconds since the world began.
    pub t: u64,
    /// In which event.
    pub e: u64,
    /// In which lane.
    pub l: usize,
    /// What kind of thing.
    pub k: &'static str,
    /// In words.
    pub w: String,
    /// The value itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r: String,
    /// The ways that begin here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub s: Vec<u32>,
    /// The way that ends here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub g: Option<u32>,
    /// Whether it seldom matters.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub m: bool,
}

/// A choice that was not quiet.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// Its entry.
    pub entry: usize,
    /// What happened when it was made.
    pub at: Option<usize>,
    /// What becomes of the run without it.
    pub without: Option<String>,
}

impl Report {
    /// The report of a log: of a run that broke a promise, or of a recording.
    ///
    /// Times count from `since`.
    #[must_use]
    pub fn of_log(log: &Log, since: Timestamp, heading: Heading, trace: String) -> Self {
        let skipped = log.entries().len().saturating_sub(ENTRIES_MAX);
        let kept: Vec<_> = log.entries().skip(skipped).collect();
        let lanes: BTreeMap<_, _> = kept.iter().map(|entry| (place(&entry.lane.to_string()), entry.lane)).collect();
        let mut raw_left = RAW_BYTES_MAX;
        let mut entries: Vec<_> = kept
            .iter()
            .rev()
            .map(|entry| {
                let fits = entry.raw.len() <= raw_left;
                raw_left -= if fits { entry.raw.len() } else { raw_left };
                Entry {
                    t: u64::try_from(entry.at.since(since).as_micros()).unwrap_or(u64::MAX),
                    e: entry.event,
                    l: lanes.values().position(|lane| *lane == entry.lane).unwrap_or(0),
                    k: entry.what.name(),
                    w: entry.words.clone(),
                    r: if fits { entry.raw.clone() } else { String::new() },
                    s: entry.sends.iter().map(|link| link.0).collect(),
                    g: entry.receives.map(|link| link.0),
                    m: entry.minor,
                }
            })
            .collect();
        entries.reverse();
        let violation = kept.iter().rposition(|entry| entry.what == What::Violation);
        // Without a violation, what led to the last step is of most interest.
        let end = violation.or_else(|| entries.iter().rposition(|entry| !entry.m));
        let path = end.map_or_else(Vec::new, |end| path::to(&entries, end));
        let lanes: Vec<_> = lanes.values().map(ToString::to_string).collect();
        let states = states::around(log, since, &entries, &lanes, &path, &heading.entity);
        let choices = kept.iter().enumerate().filter(|(_, entry)| entry.what == What::Choice);
        let choices = choices.map(|(n, _)| Choice { entry: n, at: path::when(&entries, n), without: None }).collect();
        let left_out = log.dropped() + skipped as u64;
        Self { heading, lanes, entries, left_out, violation, choices, path, states, parting: None, trace }
    }

    /// Whether this is of a recording, which no choices made and no trace replays.
    fn is_recording(&self) -> bool {
        self.trace.is_empty()
    }

    /// An entry as a line.
    #[must_use]
    pub fn line(&self, entry: usize) -> String {
        format!("{:>11} {}", self.clock(entry), self.say(entry))
    }

    /// The clock of an entry.
    fn clock(&self, entry: usize) -> String {
        self.entries.get(entry).map_or_else(String::new, |entry| clock(entry.t))
    }

    /// An entry in words, with whom it concerns.
    fn say(&self, entry: usize) -> String {
        self.entries.get(entry).map_or_else(String::new, |entry| self.say_it(entry))
    }

    fn say_it(&self, entry: &Entry) -> String {
        let colon = if matches!(entry.k, "choice" | "violation") { ":" } else { "" };
        format!("{}{colon} {}", self.lanes[entry.l], entry.w)
    }
}

/// Where a lane stands: clients to the left, then what serves them, the database, and its writers.
fn place(lane: &str) -> (u8, String) {
    let kinds = ["client", "hub", "replication", "postgres", "writer", "node", "world"];
    let kind = lane.split('/').next().unwrap_or(lane);
    let at = kinds.iter().position(|known| *known == kind).unwrap_or(kinds.len());
    (u8::try_from(at).unwrap_or(u8::MAX), format!("{lane:0>24}"))
}

fn clock(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// What a violation is, for the top of a report.
fn heading(violation: &Violation) -> Heading {
    let since = violation.at.since(crate::world::DAWN);
    Heading {
        title: format!("{} is broken for {}", violation.promise, violation.entity),
        promise: violation.promise.to_string(),
        sentence: sentence(violation.promise).into(),
        entity: violation.entity.to_string(),
        oracle: violation.oracle.into(),
        event: violation.event.clone(),
        clock: clock(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
        ..Heading::default()
    }
}

/// What is promised.
pub(crate) const fn sentence(promise: Promise) -> &'static str {
    match promise {
        Promise::Complete => "every committed change takes effect at each client, once",
        Promise::Ordered => "changes take effect in commit order, across all tables",
        Promise::Atomic => "what a client shows is the state after some commit, never the middle of a transaction",
        Promise::Durable => "no position, acknowledgement or confirmation is ever ahead of what is stored",
        Promise::Converges => "once faults stop, every connected client reaches the head within a bounded time",
        Promise::Bounded => "memory, WAL held back and history kept stay under their limits",
        Promise::Scoped => "no client receives anything that it may not see, or not any more",
        Promise::Fresh => "a client told that it is live has seen everything committed before it greeted",
        Promise::Invariant => "the machines' own invariants hold",
    }
}
