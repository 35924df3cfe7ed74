//! A trace that drifted, found again close by.
//!
//! When a world changes, what a trace names may happen a little earlier or later, or be the third question instead of the second. So
//! the counts of its choices are shifted, its picks changed, and its setup varied a little, until the same promise breaks again, for
//! the same kind of entity and noticed by the same oracle.

use super::subject::{Setup as _, Subject};
use super::trace::{ChoiceOf, TraceFile};

/// How far counts are shifted.
const SHIFT_MOST: i64 = 3;
/// The greatest pick that is tried.
const PICK_MOST: u64 = 6;

/// Looks for the failure of a trace close by, within so many runs. The same trace when it still fails; `None` when it was not found.
#[must_use]
pub fn reanchor<S: Subject>(file: &TraceFile<S>, runs_max: u32) -> Option<TraceFile<S>> {
    let mut search = Search { file, runs_left: runs_max };
    if search.fails(file) {
        return Some(file.clone());
    }
    let mut setups = vec![file.setup.clone()];
    setups.extend(file.setup.neighbours());
    // Every setup with small changes first, then the larger ones.
    for changes in [single_changes::<S>, pairs_of_shifts::<S>, shifts_and_picks::<S>] {
        for setup in &setups {
            for choices in changes(&file.choices) {
                if search.runs_left == 0 {
                    return None;
                }
                let candidate = TraceFile { setup: setup.clone(), choices, ..file.clone() };
                if search.fails(&candidate) {
                    return Some(candidate);
                }
            }
        }
    }
    None
}

struct Search<'a, S: Subject> {
    file: &'a TraceFile<S>,
    runs_left: u32,
}

impl<S: Subject> Search<'_, S> {
    fn fails(&mut self, candidate: &TraceFile<S>) -> bool {
        self.runs_left = self.runs_left.saturating_sub(1);
        let broke = candidate.outcome();
        broke.is_some() && broke == self.file.breaks
    }
}

type Choices<S> = Vec<ChoiceOf<S>>;

fn shifted<S: Subject>(choices: &Choices<S>, which: usize, by: i64) -> Option<Choices<S>> {
    let mut choices = choices.clone();
    choices[which].n = u32::try_from(i64::from(choices[which].n) + by).ok()?;
    Some(choices)
}

/// With one that is held, held until another time of the same.
fn held_until<S: Subject>(choices: &Choices<S>, which: usize, by: i64) -> Option<Choices<S>> {
    let mut choices = choices.clone();
    let until = choices[which].until.as_mut()?;
    until.n = u32::try_from(i64::from(until.n) + by).ok()?;
    Some(choices)
}

fn shifts() -> impl Iterator<Item = i64> + Clone {
    (1..=SHIFT_MOST).flat_map(|by| [by, -by])
}

/// As it is, then with one choice shifted, then with one pick changed.
fn single_changes<S: Subject>(choices: &Choices<S>) -> Vec<Choices<S>> {
    let mut all = vec![choices.clone()];
    for which in 0..choices.len() {
        all.extend(shifts().filter_map(|by| shifted::<S>(choices, which, by)));
        all.extend(shifts().filter_map(|by| held_until::<S>(choices, which, by)));
        let picks = (1..=PICK_MOST).filter(|pick| choices[which].until.is_none() && *pick != choices[which].pick);
        all.extend(picks.map(|pick| {
            let mut choices = choices.clone();
            choices[which].pick = pick;
            choices
        }));
    }
    all
}

/// With two choices shifted, each by its own count.
fn pairs_of_shifts<S: Subject>(choices: &Choices<S>) -> Vec<Choices<S>> {
    let mut all = Vec::new();
    for first in 0..choices.len() {
        for second in first + 1..choices.len() {
            for by in shifts() {
                let Some(moved) = shifted::<S>(choices, first, by) else { continue };
                all.extend(shifts().filter_map(|by| shifted::<S>(&moved, second, by)));
            }
        }
    }
    all
}

/// With one choice shifted and one pick changed.
fn shifts_and_picks<S: Subject>(choices: &Choices<S>) -> Vec<Choices<S>> {
    let mut all = Vec::new();
    for which in 0..choices.len() {
        for moved in shifts().filter_map(|by| shifted::<S>(choices, which, by)) {
            for other in 0..moved.len() {
                for pick in (1..=PICK_MOST).filter(|pick| moved[other].until.is_none() && *pick != moved[other].pick) {
                    let mut picked = moved.clone();
                    picked[other].pick = pick;
                    all.push(picked);
                }
            }
        }
    }
    all
}
