//! A close look at one segment: what happened around a step, and the machine as it stood.

use super::report::line;
use super::{OK, ReplayArgs, VIOLATED};
use crate::recording::differs;
use dormouse_journal::journaled::Journaled;
use dormouse_journal::replay::{Played, Replay};
use dormouse_journal::segment::Segment;
use dormouse_journal::words;
use serde_json::json;
use std::collections::VecDeque;
use std::io::Write;

/// How many records before and after a step are shown.
const AROUND: usize = 5;

/// Which steps are shown, and whether with the machine.
struct View {
    first: u64,
    last: u64,
    /// Shows the machine after this step.
    machine_after: u64,
}

impl View {
    fn of(args: &ReplayArgs) -> Self {
        match (args.step, args.around, args.until) {
            (Some(n), _, _) => Self { first: n, last: n, machine_after: n },
            (None, Some(n), _) => {
                let around = AROUND as u64;
                Self { first: n.saturating_sub(around), last: n.saturating_add(around), machine_after: n }
            }
            (None, None, n) => {
                let n = n.unwrap_or(u64::MAX);
                Self { first: 0, last: n, machine_after: n }
            }
        }
    }
}

/// Prints what was asked for. `Err` when there is no such step.
pub(super) fn print<M: Journaled>(segment: &Segment<M>, args: &ReplayArgs) -> Result<u8, String> {
    let view = View::of(args);
    let mut replay = Replay::new(segment);
    let (mut entries, mut differences, mut machine) = (VecDeque::new(), Vec::new(), None);
    while replay.steps() <= view.last {
        let Some(played) = replay.next_record() else { break };
        if replay.steps() > view.last {
            break;
        }
        if let Played::Stepped(stepped) = &played {
            if let Some(difference) = stepped.difference {
                differences.push(differs(difference, stepped));
            }
            if let Some(broken) = &stepped.broken {
                differences.push(format!("step {}: an invariant does not hold: {broken}", stepped.n));
            }
            if stepped.n == view.machine_after {
                machine = replay.machine().cloned();
            }
        }
        if replay.steps() >= view.first {
            entries.extend(words::of_played(&segment.header.lane, replay.steps(), &played));
            while entries.len() > args.lines && !args.verbose {
                entries.pop_front();
            }
        }
    }
    if view.machine_after != u64::MAX && replay.steps() < view.machine_after {
        return Err(format!("the segment has {} steps, and no step {}", replay.steps(), view.machine_after));
    }
    let machine = machine.or_else(|| (view.machine_after == u64::MAX).then(|| replay.machine().cloned()).flatten());
    if args.json {
        let machine = machine.as_ref().map(|machine| format!("{machine:?}"));
        println!(
            "{}",
            json!({ "v": 1, "ok": differences.is_empty(), "entries": entries, "differences": differences, "machine": machine })
        );
    } else {
        let mut text: String = entries.iter().map(|entry| line(entry) + "\n").collect();
        if let Some(machine) = machine {
            let after = if view.machine_after == u64::MAX { replay.steps() } else { view.machine_after };
            text += &format!("the machine after step {after}:\n{machine:#?}\n");
        }
        // Once the machine has left the recorded way, every further step may differ: the first tells.
        if let Some(first) = differences.first() {
            text += &format!("the first difference: {first}\n");
        }
        let _ = std::io::stdout().write_all(text.as_bytes()); // A reader that has enough may leave.
    }
    Ok(if differences.is_empty() { OK } else { VIOLATED })
}
