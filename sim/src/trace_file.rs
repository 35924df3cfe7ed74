//! What a run of Dormouse has beside its choices: the lines of a trace file that describe its world.
//!
//! ```text
//! seed S:1872
//! families Latency Evict
//! transactions 4
//! rolled-back writer/1#0
//! without ChainedPages
//! ```

use crate::chooser::{Chooser, Source};
use crate::engine::{subject, trace};
use crate::entity::Entities;
use crate::oracle::Oracles;
use crate::plan::{Families, Size};
use crate::scenario::{self, Scenario};
use crate::world::World;
use dormouse_core::safeguard::{Safeguard, Safeguards};
use std::collections::BTreeSet;

/// How many seeds to either side a trace that drifted is looked for in.
const SEEDS_BESIDE: u64 = 8;

/// A run of Dormouse, as few words describe it.
pub type TraceFile = trace::TraceFile<World>;

/// The world of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// From which the workload follows.
    pub seed: u64,
    /// How large the world is.
    pub size: Size,
    /// Which families of faults and of workload it has. A file tells them, so that it stays what it is when the simulator gets others;
    /// in one that does not they follow from the seed.
    pub families: Families,
    /// How many transactions are written.
    pub transactions: u32,
    /// Transactions that roll back instead of committing: a writer, and which of its own.
    pub rolled_back: BTreeSet<(u8, u32)>,
    /// The race whose workload and families the run has, instead of those that follow from the seed.
    pub scenario: Option<&'static Scenario>,
    /// The safeguard without which the promise breaks; `None` for a defect that was mended.
    pub without: Option<Safeguard>,
    /// Whether everybody comes at once and faults last until all have been live: the world of an exhaustive search.
    pub tight: bool,
    /// What holds: not of the file, but of whoever runs it.
    pub safeguards: Safeguards,
    /// Who watches: not of the file either.
    pub oracles: Oracles,
    /// Whether dangerous windows draw no more faults than the rest: not of the file, which says what was drawn.
    pub even: bool,
}

impl Setup {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64, size: Size, safeguards: Safeguards) -> Self {
        Self {
            seed,
            size,
            families: Families::drawn(&mut Chooser::new(seed, 1, Source::Random)),
            transactions: size.transactions(),
            rolled_back: BTreeSet::new(),
            scenario: None,
            without: None,
            tight: false,
            safeguards,
            oracles: Oracles::default(),
            even: false,
        }
    }

    /// The world that a scenario wants of a seed; `None` when it waits for something.
    #[must_use]
    pub fn of_scenario(seed: u64, scenario: &'static Scenario, safeguards: Safeguards) -> Option<Self> {
        let held = scenario.held()?;
        let new = Self::new(seed, held.size, safeguards);
        Some(Self { transactions: held.script.transactions, scenario: Some(scenario), ..new })
    }

    /// Who is in it.
    #[must_use]
    pub const fn entities(&self) -> Entities {
        Entities { clients: self.size.clients() + 1 }
    }
}

impl subject::Setup for Setup {
    fn seed(&self) -> u64 {
        self.seed
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("seed {}:{}", self.size, self.seed)];
        lines.push(match self.scenario {
            Some(scenario) => format!("scenario {}", scenario.name),
            None => format!("families {}", self.families).trim_end().to_owned(),
        });
        lines.push(format!("transactions {}", self.transactions));
        if !self.rolled_back.is_empty() {
            let all: Vec<_> = self.rolled_back.iter().map(|(writer, n)| format!("writer/{writer}#{n}")).collect();
            lines.push(format!("rolled-back {}", all.join(" ")));
        }
        lines.extend(self.tight.then(|| "tight".to_owned()));
        lines.extend(self.without.map(|safeguard| format!("without {}", safeguard.name())));
        lines
    }

    /// With transactions that shrinking took away, and of the seeds beside this one.
    fn neighbours(&self) -> Vec<Self> {
        let whole = Self { transactions: self.size.transactions(), rolled_back: BTreeSet::new(), ..self.clone() };
        let more = (1..=2).map(|more| Self { transactions: self.transactions + more, ..self.clone() });
        let seeds = (1..=SEEDS_BESIDE).flat_map(|by| [self.seed.wrapping_add(by), self.seed.wrapping_sub(by)]);
        let beside = seeds.map(|seed| Self { seed, ..self.clone() });
        more.chain([whole]).chain(beside).collect()
    }

    fn parse(lines: &[(usize, &str)]) -> Result<Self, String> {
        let mut setup = None;
        let (mut transactions, mut rolled_back, mut without, mut tight) = (None, BTreeSet::new(), None, false);
        let (mut scenario, mut families) = (None, None);
        for (n, line) in lines {
            let wrong = |expected: &str| format!("line {n}: {line:?}: expected {expected}");
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "seed" => setup = Some(parse_seed(rest).ok_or_else(|| wrong("a seed such as S:123"))?),
                "scenario" => {
                    let named = scenario::find(rest).filter(|scenario| scenario.held().is_some());
                    scenario = Some(named.ok_or_else(|| wrong("the name of a scenario that is held"))?);
                }
                "families" => families = Some(rest.parse().map_err(|()| wrong("names of families"))?),
                "transactions" => transactions = Some(rest.parse().map_err(|_| wrong("a number"))?),
                "rolled-back" => {
                    let all = rest.split_whitespace().map(transaction).collect::<Option<_>>();
                    rolled_back = all.ok_or_else(|| wrong("transactions such as writer/1#0"))?;
                }
                "tight" => tight = true,
                "without" => {
                    let named = Safeguard::ALL.iter().find(|safeguard| safeguard.name() == rest);
                    without = Some(*named.ok_or_else(|| wrong("the name of a safeguard"))?);
                }
                _ => return Err(wrong("a word of trace files (trace, seed, choice, …)")),
            }
        }
        let (size, seed) = setup.ok_or("the line `seed …` is missing")?;
        let new = Self::new(seed, size, Safeguards::ALL);
        let transactions = transactions.unwrap_or(new.transactions);
        let families = families.unwrap_or(new.families);
        Ok(Self { families, transactions, rolled_back, scenario, without, tight, ..new })
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# What it shows.\ntrace 1\nseed M:7\nfamilies Latency Evict\ntransactions 4\nrolled-back writer/0#2 writer/1#0\n\
        without SeamFilter\nbreaks Complete \"content sum\" client\nchoice Cut client/0 #3 = 1\nchoice Pause node/1 #0 = 2\n\
        hold FrameLatency client/1 #7 until Dialled client/1 #2\n";

    #[test]
    fn a_file_reads_as_it_was_written() {
        let file: TraceFile = TEXT.parse().expect("a trace file");
        assert_eq!(file.to_string(), TEXT);
        assert_eq!(
            (file.setup.seed, file.setup.size, file.choices.len(), file.setup.rolled_back.len()),
            (7, Size::M, 3, 2)
        );
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
        check("trace 1\nseed S:1\nhold Cut client/0 #1 until", "line 3");
        check("trace 1\nseed S:1\nhold Cut client/0 #1 until Lunch client/0 #1", "`hold KIND");
        check("trace 1\nseed S:1\nwithout Belts", "a safeguard");
        check("trace 1\nseed S:1\nfamilies Cuts Earthquakes", "names of families");
        check("trace 1\nseed S:1\nnonsense", "line 3");
    }
}
