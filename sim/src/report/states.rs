//! What the machines held, as leaves that can be compared: `sessions[0].phase` was this and became that.

use super::{Entry, clock};
use crate::log::Log;
use dormouse_core::time::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The most steps of one machine that are told.
const STEPS_MAX: usize = 6;
/// The most leaves of one state that are told.
const LEAVES_MAX: usize = 250;
/// The longest value of a leaf, in characters.
const VALUE_MAX: usize = 110;
/// Parts that no run changes, or that say nothing to people.
const DULL: [&str; 9] = ["config", "rng", "outputs", "committed_at", "asker", "heard_at", "counts", "backoff", "sum"];

/// One machine around the violation.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Whose.
    pub lane: String,
    /// Its last changes, oldest first.
    pub steps: Vec<Step>,
    /// All it held at the end.
    pub leaves: Vec<(String, String)>,
}

/// A change of a machine's state.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// When, in seconds since the world began.
    pub clock: String,
    /// What brought it about.
    pub entry: Option<usize>,
    /// What changed: where, before, after.
    pub changes: Vec<(String, Option<String>, Option<String>)>,
}

/// The machines on the path to the violation, and the one for which a promise broke.
pub(super) fn around(
    log: &Log,
    since: Timestamp,
    entries: &[Entry],
    lanes: &[String],
    path: &[usize],
    entity: &str,
) -> Vec<Machine> {
    // A recording in which nothing breaks has no entity: all its machines are told.
    let on_path = |lane: &str| entity.is_empty() || lane == entity || path.iter().any(|n| lanes[entries[*n].l] == lane);
    let mut wanted: Vec<_> = lanes.iter().filter(|lane| on_path(lane)).collect();
    wanted.sort_by_key(|lane| lane.as_str() != entity);
    wanted.into_iter().filter_map(|lane| machine(log, since, entries, lanes, lane)).collect()
}

fn machine(log: &Log, since: Timestamp, entries: &[Entry], lanes: &[String], lane: &str) -> Option<Machine> {
    let mut before: Option<BTreeMap<String, String>> = None;
    let mut steps = Vec::new();
    for state in log.states().filter(|state| state.lane.to_string() == lane) {
        let mut leaves = BTreeMap::new();
        flatten(&state.value, since, String::new(), &mut leaves);
        if let Some(before) = &before
            && *before != leaves
        {
            let of_event = |entry: &&Entry| entry.e == state.event;
            let entry =
                entries.iter().position(|entry| of_event(&entry) && lanes[entry.l] == lane && entry.k != "choice");
            let time = entries.iter().find(of_event).map_or_else(String::new, |entry| clock(entry.t));
            steps.push(Step { clock: time, entry, changes: changes(before, &leaves) });
        }
        before = Some(leaves);
    }
    let leaves = before?.into_iter().take(LEAVES_MAX).collect();
    let steps = steps.split_off(steps.len().saturating_sub(STEPS_MAX));
    Some(Machine { lane: lane.into(), steps, leaves })
}

fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<(String, Option<String>, Option<String>)> {
    const CHANGES_MAX: usize = 40;
    let mut paths: Vec<_> = before.keys().chain(after.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let all = paths.into_iter().map(|path| (path.clone(), before.get(path).cloned(), after.get(path).cloned()));
    all.filter(|(_, before, after)| before != after).take(CHANGES_MAX).collect()
}

/// The leaves of a value by their paths.
fn flatten(value: &Value, since: Timestamp, path: String, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields.iter().filter(|(name, _)| !DULL.contains(&name.as_str())) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(field, since, path, leaves);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (n, item) in items.iter().enumerate() {
                flatten(item, since, format!("{path}[{n}]"), leaves);
            }
        }
        Value::Null if path.is_empty() => {
            leaves.insert("(gone)".into(), "its process has ended".into());
        }
        Value::Null => {} // What is not there needs no line.
        Value::Object(_) => {}
        Value::Array(items) if items.is_empty() => {}
        Value::Number(n) if n.as_u64().is_some_and(|n| is_time(n, since)) => {
            let since = n.as_u64().unwrap_or_default().saturating_sub(since.micros());
            leaves.insert(path, format!("{} s", clock(since)));
        }
        Value::String(text) => {
            leaves.insert(path, cut(text));
        }
        other => {
            leaves.insert(path, cut(&other.to_string()));
        }
    }
}

/// Whether a number is a time near the run: no other number of a machine is as large as the microseconds since 1970, and a registration
/// ends a day later.
fn is_time(n: u64, since: Timestamp) -> bool {
    const DAYS: u64 = 30 * 24 * 3600 * 1_000_000;
    (since.micros()..since.micros() + DAYS).contains(&n)
}

fn cut(text: &str) -> String {
    if text.chars().count() <= VALUE_MAX {
        return text.into();
    }
    text.chars().take(VALUE_MAX).chain(['…']).collect()
}
