//! The report for a terminal of about 100 columns.

use super::{Entry, Report};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// How wide lines are.
const WIDTH: usize = 100;
/// How many of the last entries the diagram shows.
const ROWS: usize = 45;

impl Report {
    /// The report as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = self.write(&mut out); // A text refuses nothing.
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let about = &self.heading;
        wrap(out, "", &format!("{}: {}.", about.title, about.event))?;
        if !about.sentence.is_empty() {
            wrap(out, "", &format!("The promise: {}.", about.sentence))?;
        }
        if let Some((name, what)) = &about.without {
            wrap(out, "", &format!("{name} was switched off: {what}"))?;
        }
        for (name, value) in &about.facts {
            wrap(out, &format!("{name:>14}  "), value)?;
        }
        if !self.is_recording() {
            self.write_choices(out)?;
        }
        self.write_path(out)?;
        self.write_diagram(out)?;
        self.write_parting(out)?;
        self.write_states(out)?;
        writeln!(out, "\nSee it again:\n  {}", about.replay)?;
        writeln!(out, "As a page:\n  {}", about.explain)
    }

    fn write_choices(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "\nWhat it takes ({}; all else is quiet)", plural(self.choices.len(), "choice"))?;
        for choice in &self.choices {
            wrap(out, &format!("{:>11}  ", self.clock(choice.entry)), &self.say(choice.entry))?;
            if let Some(at) = choice.at {
                wrap(out, "               at: ", &self.say(at))?;
            }
            if let Some(without) = &choice.without {
                wrap(out, "               without it: ", without)?;
            }
        }
        Ok(())
    }

    fn write_path(&self, out: &mut String) -> fmt::Result {
        if self.path.len() < 2 {
            return Ok(());
        }
        writeln!(out, "\nHow it came about (each step was brought about by the one before)")?;
        self.path.iter().try_for_each(|n| wrap(out, &format!("{:>11}  ", self.clock(*n)), &self.say(*n)))
    }

    fn write_diagram(&self, out: &mut String) -> fmt::Result {
        let end = self.violation.map_or(self.entries.len(), |n| n + 1);
        let mut shown: Vec<_> =
            (0..end).rev().filter(|n| !self.entries[*n].m || self.path.contains(n)).take(ROWS).collect();
        shown.reverse();
        let used = |lane: &usize| shown.iter().any(|n| self.entries[*n].l == *lane);
        let lanes: Vec<_> = (0..self.lanes.len()).filter(used).collect();
        let senders: BTreeMap<_, _> =
            self.entries.iter().flat_map(|e| e.s.iter().map(move |link| (*link, e.l))).collect();
        writeln!(
            out,
            "\nThe last {} of {} entries; o a step, * a choice, X the violation",
            shown.len(),
            self.entries.len()
        )?;
        let names: Vec<_> = lanes.iter().map(|lane| short(&self.lanes[*lane])).collect();
        writeln!(out, "{:>11} {}", "", names.iter().map(|name| format!("{name:<4}")).collect::<String>())?;
        for n in shown {
            let entry = &self.entries[n];
            let lead = format!("{:>11} {} ", self.clock(n), row(entry, &lanes, &senders));
            wrap(out, &lead, &self.say_it(entry))?;
        }
        Ok(())
    }

    fn write_parting(&self, out: &mut String) -> fmt::Result {
        let Some(parting) = &self.parting else { return Ok(()) };
        writeln!(out, "\nThe nearest run in which nothing breaks")?;
        wrap(out, "  ", &format!("{}. They part at {} s, after:", parting.other, parting.clock))?;
        wrap(out, "    ", &parting.last)?;
        for (whose, lines) in [("here, then:", &parting.here), ("there, then:", &parting.there)] {
            writeln!(out, "  {whose}")?;
            for (clock, words) in lines {
                wrap(out, &format!("  {clock:>11}  "), words)?;
            }
        }
        Ok(())
    }

    fn write_states(&self, out: &mut String) -> fmt::Result {
        const STEPS: usize = 3;
        for machine in self.states.iter().filter(|machine| !machine.steps.is_empty()) {
            writeln!(out, "\nLast changes of {}", machine.lane)?;
            for step in &machine.steps[machine.steps.len().saturating_sub(STEPS)..] {
                let cause = step.entry.map_or_else(String::new, |entry| self.say(entry));
                wrap(out, &format!("{:>11}  ", step.clock), &cause)?;
                for (path, before, after) in &step.changes {
                    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
                    wrap(out, "               ", &format!("{path}: {} -> {}", value(before), value(after)))?;
                }
            }
        }
        Ok(())
    }
}

/// One row of the diagram: a mark in its lane, and from where something came.
fn row(entry: &Entry, lanes: &[usize], senders: &BTreeMap<u32, usize>) -> String {
    let at = lanes.iter().position(|lane| *lane == entry.l).unwrap_or(0);
    let from = entry.g.and_then(|link| senders.get(&link)).and_then(|lane| lanes.iter().position(|one| one == lane));
    let mut cells: Vec<char> = lanes.iter().flat_map(|_| ['|', ' ', ' ', ' ']).collect();
    if let Some(from) = from.filter(|from| *from != at) {
        let (low, high) = (from.min(at) * 4, from.max(at) * 4);
        cells[low + 1..high].fill('-');
        cells[if at > from { high - 1 } else { low + 1 }] = if at > from { '>' } else { '<' };
    }
    cells[at * 4] = match entry.k {
        "choice" => '*',
        "violation" => 'X',
        _ => 'o',
    };
    cells.into_iter().collect()
}

/// A lane's name in three characters: `c0`, `pg`.
fn short(lane: &str) -> String {
    match lane.split_once('/') {
        Some((kind, n)) => format!("{}{n}", &kind[..1]),
        None if lane == "postgres" => "pg".into(),
        None => lane.chars().take(3).collect(),
    }
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Writes words after a lead, going on below them.
fn wrap(out: &mut String, lead: &str, text: &str) -> fmt::Result {
    let indent = lead.chars().count();
    let room = WIDTH.saturating_sub(indent).max(30);
    let mut line = String::new();
    let mut lead = lead.to_owned();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            writeln!(out, "{lead}{line}")?;
            (lead, line) = (" ".repeat(indent), String::new());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{lead}{line}")
}
