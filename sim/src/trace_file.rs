//! A trace as a small text file: the seed of the workload, the few choices that were not quiet, and the promise that they break.
//!
//! ```text
//! # A page is lost between two others, and the client applies the second.
//! trace 1
//! seed S:1872
//! transactions 4
//! rolled-back writer/1#0
//! without ChainedPages
//! breaks Complete "content sum" client
//! choice LoseAnnouncement hub/0 #2 = 1
//! ```
//!
//! A choice that a replay never comes to is passed over and a choice that is not named is quiet, so a trace never loses its
//! place when the simulator grows; it drifts, and the replay says how far.

use crate::chooser::{Choice, Chooser, Kind, Script};
use crate::entity::{Entities, Entity};
use crate::oracle::Violation;
use crate::plan::Size;
use dormouse_core::safeguard::Safeguard;
use dormouse_core::time::Timestamp;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The first words of every trace file of this form.
const VERSION: &str = "1";

/// A run, as few words describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFile {
    /// What it shows, for people.
    pub about: Vec<String>,
    /// From which the workload follows.
    pub seed: u64,
    /// How large the world is.
    pub size: Size,
    /// How many transactions are written.
    pub transactions: u32,
    /// Transactions that roll back instead of committing: a writer, and which of its own.
    pub rolled_back: BTreeSet<(u8, u32)>,
    /// The safeguard without which the promise breaks; `None` for a defect that was mended.
    pub without: Option<Safeguard>,
    /// What breaks.
    pub breaks: Option<Breaks>,
    /// The choices that are not quiet.
    pub choices: Vec<Choice>,
}

/// What tells one kind of failure from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaks {
    /// The promise.
    pub promise: String,
    /// What noticed it.
    pub oracle: String,
    /// The kind of entity for which it broke.
    pub entity: String,
}

impl Breaks {
    /// What a violation is, without its circumstances.
    #[must_use]
    pub fn of(violation: &Violation) -> Self {
        let entity = violation.entity.to_string();
        let entity = entity.split('/').next().unwrap_or_default().to_owned();
        Self { promise: violation.promise.to_string(), oracle: violation.oracle.to_owned(), entity }
    }
}

impl TraceFile {
    /// The whole run of a seed, whose choices are known.
    #[must_use]
    pub fn of_run(seed: u64, size: Size, choices: Vec<Choice>) -> Self {
        let (about, rolled_back, transactions) = (Vec::new(), BTreeSet::new(), size.transactions());
        Self { about, seed, size, transactions, rolled_back, without: None, breaks: None, choices }
    }

    /// The chooser that follows this trace.
    #[must_use]
    pub fn chooser(&self) -> Chooser {
        let entities = Entities { clients: self.size.clients() + 1 };
        let known = self.choices.iter().filter(|choice| entities.has(choice.entity)).copied();
        Chooser::scripted(self.seed, entities, Script::from_iter(known))
    }
}

impl fmt::Display for TraceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.about {
            writeln!(f, "# {line}")?;
        }
        writeln!(f, "trace {VERSION}")?;
        writeln!(f, "seed {}:{}", self.size, self.seed)?;
        writeln!(f, "transactions {}", self.transactions)?;
        if !self.rolled_back.is_empty() {
            let all: Vec<_> = self.rolled_back.iter().map(|(writer, n)| format!("writer/{writer}#{n}")).collect();
            writeln!(f, "rolled-back {}", all.join(" "))?;
        }
        if let Some(safeguard) = self.without {
            writeln!(f, "without {}", safeguard.name())?;
        }
        if let Some(Breaks { promise, oracle, entity }) = &self.breaks {
            writeln!(f, "breaks {promise} \"{oracle}\" {entity}")?;
        }
        for Choice { kind, entity, n, pick, .. } in &self.choices {
            writeln!(f, "choice {} {entity} #{n} = {pick}", kind.name())?;
        }
        Ok(())
    }
}

impl FromStr for TraceFile {
    type Err = String;

    /// Reads a trace file.
    ///
    /// # Errors
    /// The first line that is none of the form above, and what was expected there.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut file = Self::of_run(0, Size::S, Vec::new());
        let (mut versioned, mut seeded) = (false, false);
        for (n, line) in text.lines().enumerate() {
            let wrong = |expected: &str| format!("line {}: {line:?}: expected {expected}", n + 1);
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "" => {}
                "#" => file.about.push(rest.into()),
                "trace" if rest == VERSION => versioned = true,
                "trace" => return Err(wrong("`trace 1`: another version is not known here")),
                "seed" => {
                    (file.size, file.seed) = parse_seed(rest).ok_or_else(|| wrong("a seed such as S:123"))?;
                    (file.transactions, seeded) = (file.size.transactions(), true);
                }
                "transactions" => file.transactions = rest.parse().map_err(|_| wrong("a number"))?,
                "rolled-back" => {
                    let all = rest.split_whitespace().map(transaction).collect::<Option<_>>();
                    file.rolled_back = all.ok_or_else(|| wrong("transactions such as writer/1#0"))?;
                }
                "without" => {
                    let named = Safeguard::ALL.iter().find(|safeguard| safeguard.name() == rest);
                    file.without = Some(*named.ok_or_else(|| wrong("the name of a safeguard"))?);
                }
                "breaks" => {
                    file.breaks = Some(breaks(rest).ok_or_else(|| wrong("a promise, an oracle in quotes, an entity"))?);
                }
                "choice" => file.choices.push(choice(rest).ok_or_else(|| wrong("`choice Cut client/0 #3 = 1`"))?),
                _ => return Err(wrong("a word of trace files (trace, seed, choice, …)")),
            }
        }
        match (versioned, seeded) {
            (true, true) => Ok(file),
            (false, _) => Err("the line `trace 1` is missing".into()),
            (true, false) => Err("the line `seed …` is missing".into()),
        }
    }
}

/// Parses `S:123` or `123`.
#[must_use]
pub fn parse_seed(text: &str) -> Option<(Size, u64)> {
    let (size, seed) = match text.split_once(':') {
        None => (Size::S, text),
        Some(("S", seed)) => (Size::S, seed),
        Some(("M", seed)) => (Size::M, seed),
        Some(("L", seed)) => (Size::L, seed),
        Some(_) => return None,
    };
    Some((size, seed.parse().ok()?))
}

fn transaction(text: &str) -> Option<(u8, u32)> {
    let (writer, n) = text.strip_prefix("writer/")?.split_once('#')?;
    Some((writer.parse().ok()?, n.parse().ok()?))
}

fn breaks(text: &str) -> Option<Breaks> {
    let (promise, rest) = text.split_once(" \"")?;
    let (oracle, entity) = rest.split_once("\" ")?;
    Some(Breaks { promise: promise.into(), oracle: oracle.into(), entity: entity.into() })
}

fn choice(text: &str) -> Option<Choice> {
    let [kind, entity, n, "=", pick] = text.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    Some(Choice {
        at: Timestamp::ZERO,
        kind: Kind::ALL.iter().copied().find(|known| known.name() == kind)?,
        entity: entity.parse::<Entity>().ok()?,
        n: n.strip_prefix('#')?.parse().ok()?,
        pick: pick.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# What it shows.\ntrace 1\nseed M:7\ntransactions 4\nrolled-back writer/0#2 writer/1#0\n\
        without SeamFilter\nbreaks Complete \"content sum\" client\nchoice Cut client/0 #3 = 1\nchoice Pause node/1 #0 = 2\n";

    #[test]
    fn a_file_reads_as_it_was_written() {
        let file: TraceFile = TEXT.parse().expect("a trace file");
        assert_eq!(file.to_string(), TEXT);
        assert_eq!((file.seed, file.size, file.choices.len(), file.rolled_back.len()), (7, Size::M, 2, 2));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let check = |text: &str, says: &str| {
            let why = text.parse::<TraceFile>().expect_err("it is wrong");
            assert!(why.contains(says), "{why:?} says {says:?}");
        };
        check("seed S:1", "`trace 1` is missing");
        check("trace 1", "`seed …` is missing");
        check("trace 2\nseed S:1", "line 1");
        check("trace 1\nseed X:1", "line 2");
        check("trace 1\nseed S:1\nchoice Cut client/0 = 1", "line 3");
        check("trace 1\nseed S:1\nchoice Cut nobody/0 #1 = 1", "line 3");
        check("trace 1\nseed S:1\nwithout Belts", "a safeguard");
        check("trace 1\nseed S:1\nnonsense", "line 3");
    }
}
