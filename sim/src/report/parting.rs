//! The nearest run in which nothing breaks, and where the two part.

use crate::log::{Entry, Log, What};
use serde::Serialize;

/// How many entries of each run are told from where they part.
const TOLD: usize = 10;

/// Two runs that are the same up to a point.
#[derive(Debug, Clone, Serialize)]
pub struct Parting {
    /// How the other run differs.
    pub other: String,
    /// How many entries they have in common.
    pub common: usize,
    /// When they part, in seconds since the world began.
    pub clock: String,
    /// The last thing they have in common.
    pub last: String,
    /// What happens then in the run that breaks the promise: when, and what.
    pub here: Vec<(String, String)>,
    /// What happens then in the other.
    pub there: Vec<(String, String)>,
}

/// Where two logs part. Choices are no part of what is compared: they are why the rest differs.
pub(super) fn of(other: String, here: &Log, there: &Log) -> Option<Parting> {
    fn happenings(log: &Log) -> Vec<&Entry> {
        log.entries().filter(|entry| entry.what != What::Choice).collect()
    }
    let (ours, theirs) = (happenings(here), happenings(there));
    let same = |(one, two): &(&&Entry, &&Entry)| {
        (one.at, one.lane, &one.words, &one.raw) == (two.at, two.lane, &two.words, &two.raw)
    };
    let common = ours.iter().zip(&theirs).take_while(same).count();
    let first = ours.get(common).or_else(|| theirs.get(common))?;
    let tell = |entries: &[&Entry]| -> Vec<_> {
        let matters = entries.iter().skip(common).filter(|entry| !entry.minor);
        matters.take(TOLD).map(|entry| (entry.clock(), said(entry))).collect()
    };
    Some(Parting {
        other,
        common,
        clock: first.clock(),
        last: common.checked_sub(1).map_or_else(String::new, |last| said(ours[last])),
        here: tell(&ours),
        there: tell(&theirs),
    })
}

fn said(entry: &Entry) -> String {
    let colon = if entry.what == What::Violation { ":" } else { "" };
    format!("{}{colon} {}", entry.lane, entry.words)
}
