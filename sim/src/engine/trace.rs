//! A trace as a small text file: the setup of a world, the few choices that were not quiet, and the promise that they break.
//!
//! ```text
//! # A page is lost between two others, and the client applies the second.
//! trace 1
//! seed S:1872
//! transactions 4
//! breaks Complete "content sum" client
//! choice LoseAnnouncement hub/0 #2 = 1
//! hold FrameLatency client/1 #7 until Dialled client/1 #2
//! ```
//!
//! A choice that a replay never comes to is passed over and a choice that is not named is quiet, so a trace never loses its
//! place when the simulator grows; it drifts, and the replay says how far.

use super::chooser::{Choice, Moment, Script, Source};
use super::subject::{Breaks, Kind, Setup, Subject};
use dormouse_core::time::Timestamp;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

/// The first words of every trace file of this form.
const VERSION: &str = "1";

/// A choice of a subject.
pub type ChoiceOf<S> = Choice<<S as Subject>::Kind, <S as Subject>::Entity>;

/// A run, as few words describe it.
pub struct TraceFile<S: Subject> {
    /// What it shows, for people.
    pub about: Vec<String>,
    /// The world.
    pub setup: S::Setup,
    /// What breaks.
    pub breaks: Option<Breaks>,
    /// The choices that are not quiet.
    pub choices: Vec<ChoiceOf<S>>,
}

impl<S: Subject> Clone for TraceFile<S> {
    fn clone(&self) -> Self {
        let Self { about, setup, breaks, choices } = self;
        Self { about: about.clone(), setup: setup.clone(), breaks: breaks.clone(), choices: choices.clone() }
    }
}

impl<S: Subject> PartialEq for TraceFile<S> {
    fn eq(&self, other: &Self) -> bool {
        let parts = |this: &Self| (this.about.clone(), this.setup.clone(), this.breaks.clone(), this.choices.clone());
        parts(self) == parts(other)
    }
}

impl<S: Subject> fmt::Debug for TraceFile<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<S: Subject> TraceFile<S> {
    /// A run of which setup and choices are known.
    #[must_use]
    pub const fn of_run(setup: S::Setup, choices: Vec<ChoiceOf<S>>) -> Self {
        Self { about: Vec::new(), setup, breaks: None, choices }
    }

    /// The world at the beginning of this run.
    #[must_use]
    pub fn begin(&self) -> S {
        S::begin(&self.setup, Source::Script(self.choices.iter().copied().collect::<Script<_, _>>()))
    }

    /// The world at the end of this run; `None` when a machine panicked.
    #[must_use]
    pub fn run(&self) -> Option<S> {
        let run = || {
            let mut subject = self.begin();
            subject.run();
            subject
        };
        catch_unwind(AssertUnwindSafe(run)).ok()
    }

    /// What breaks when it is run; `None` when every promise holds. A panic breaks the promise of the machines' invariants.
    #[must_use]
    pub fn outcome(&self) -> Option<Breaks> {
        self.run().map_or_else(|| Some(Breaks::panic()), |subject| subject.broken())
    }
}

impl<S: Subject> fmt::Display for TraceFile<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.about {
            writeln!(f, "# {line}")?;
        }
        writeln!(f, "trace {VERSION}")?;
        for line in self.setup.lines() {
            writeln!(f, "{line}")?;
        }
        if let Some(Breaks { promise, oracle, entity }) = &self.breaks {
            writeln!(f, "breaks {promise} \"{oracle}\" {entity}")?;
        }
        for Choice { kind, entity, n, pick, until, .. } in &self.choices {
            match until {
                None => writeln!(f, "choice {} {entity} #{n} = {pick}", kind.name())?,
                Some(until) => writeln!(f, "hold {} {entity} #{n} until {until}", kind.name())?,
            }
        }
        Ok(())
    }
}

impl<S: Subject> FromStr for TraceFile<S> {
    type Err = String;

    /// Reads a trace file.
    ///
    /// # Errors
    /// The first line that is none of the form above, and what was expected there.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut about, mut breaks, mut choices, mut setup) = (Vec::new(), None, Vec::new(), Vec::new());
        let mut versioned = false;
        for (n, line) in text.lines().enumerate() {
            let wrong = |expected: &str| format!("line {}: {line:?}: expected {expected}", n + 1);
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "" => {}
                "#" => about.push(rest.into()),
                "trace" if rest == VERSION => versioned = true,
                "trace" => return Err(wrong("`trace 1`: another version is not known here")),
                "breaks" => {
                    breaks =
                        Some(parse_breaks(rest).ok_or_else(|| wrong("a promise, an oracle in quotes, an entity"))?);
                }
                "choice" => {
                    choices.push(
                        parse_choice::<S>(rest).ok_or_else(|| {
                            wrong("`choice KIND ENTITY #3 = 1`, of a kind and an entity of this world")
                        })?,
                    );
                }
                "hold" => {
                    choices.push(parse_hold::<S>(rest).ok_or_else(|| {
                        wrong("`hold KIND ENTITY #3 until KIND ENTITY #1`, of kinds and entities of this world")
                    })?);
                }
                _ => setup.push((n + 1, line)),
            }
        }
        if !versioned {
            return Err("the line `trace 1` is missing".into());
        }
        Ok(Self { about, setup: S::Setup::parse(&setup)?, breaks, choices })
    }
}

fn parse_breaks(text: &str) -> Option<Breaks> {
    let (promise, rest) = text.split_once(" \"")?;
    let (oracle, entity) = rest.split_once("\" ")?;
    Some(Breaks { promise: promise.into(), oracle: oracle.into(), entity: entity.into() })
}

fn parse_choice<S: Subject>(text: &str) -> Option<ChoiceOf<S>> {
    let [kind, entity, n, "=", pick] = text.split_whitespace().collect::<Vec<_>>()[..] else { return None };
    let Moment { kind, entity, n } = parse_moment::<S>(kind, entity, n)?;
    Some(Choice { at: Timestamp::ZERO, kind, entity, n, pick: pick.parse().ok()?, until: None })
}

fn parse_hold<S: Subject>(text: &str) -> Option<ChoiceOf<S>> {
    let words: Vec<_> = text.split_whitespace().collect();
    let [kind, entity, n, "until", of, whose, which] = words[..] else { return None };
    let Moment { kind, entity, n } = parse_moment::<S>(kind, entity, n)?;
    let until = Some(parse_moment::<S>(of, whose, which)?);
    Some(Choice { at: Timestamp::ZERO, kind, entity, n, pick: 0, until })
}

fn parse_moment<S: Subject>(kind: &str, entity: &str, n: &str) -> Option<Moment<S::Kind, S::Entity>> {
    Some(Moment { kind: S::Kind::by_name(kind)?, entity: entity.parse().ok()?, n: n.strip_prefix('#')?.parse().ok()? })
}
