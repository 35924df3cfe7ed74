//! What the replay of one segment came to.

use crate::recording::differs;
use dormouse_journal::digest::Digest;
use dormouse_journal::header::Header;
use dormouse_journal::journaled::Journaled;
use dormouse_journal::record::End;
use dormouse_journal::redact::{Redaction, wrap};
use dormouse_journal::replay::{Played, Replay};
use dormouse_journal::segment::{Ending, Segment};
use dormouse_journal::words;
use serde::Serialize;

/// The outcome of one segment.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The file's name.
    pub file: String,
    /// What is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// How many steps were played.
    pub steps: u64,
    /// How many commands the machine gave.
    pub outputs: u64,
    /// How often a machine was built within the segment, the first checkpoint included.
    pub lives: u64,
    /// How it ends.
    pub ending: Option<Ending>,
    /// The first step that led to something else than was recorded.
    pub differs_at_step: Option<u64>,
    /// Everything that is wrong with it, in words.
    pub problems: Vec<String>,
    /// Identifies the machine that it begins with.
    #[serde(skip)]
    pub first_state: Option<u128>,
    /// Identifies the machine as the last step left it.
    #[serde(skip)]
    pub last_state: Option<u128>,
}

impl Report {
    pub(super) fn unreadable(file: String, header: Option<Header>, why: String) -> Self {
        Self {
            file,
            header,
            steps: 0,
            outputs: 0,
            lives: 0,
            ending: None,
            differs_at_step: None,
            problems: vec![why],
            first_state: None,
            last_state: None,
        }
    }

    /// Replays a segment up to the first difference.
    pub(super) fn of<M: Journaled>(file: String, segment: &Segment<M>) -> Self {
        let mut report = Self::unreadable(file, Some(segment.header.clone()), String::new());
        report.problems.clear();
        report.ending = Some(segment.ending.clone());
        let mut replay = Replay::new(segment);
        while let Some(played) = replay.next_record() {
            match played {
                Played::Began { .. } => {
                    report.lives += 1;
                    if report.lives == 1 {
                        report.first_state = replay.machine().map(state);
                    }
                }
                Played::Stepped(stepped) => {
                    report.outputs += stepped.outputs.len() as u64;
                    if let Some(difference) = stepped.difference {
                        report.differs_at_step = Some(stepped.n);
                        report.problems.push(differs(difference, &stepped));
                        break;
                    }
                }
                Played::Dropped { .. } => {}
            }
        }
        report.steps = replay.steps();
        report.last_state = replay.machine().map(state);
        if let Ending::Damaged { at, what } = &segment.ending {
            report.problems.push(format!("at byte {at} {what}; the {} steps before it can be trusted", report.steps));
        }
        report
    }

    /// Whether every step led to what was recorded.
    #[must_use]
    pub const fn ok(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn print(&self) {
        let (lane, redacted) = self
            .header
            .as_ref()
            .map_or(("?", ""), |header| (header.lane.as_str(), if header.redacted { ", redacted" } else { "" }));
        let verdict = if self.ok() { "ok" } else { "DIFFERS" };
        let ending = match &self.ending {
            Some(Ending::Whole { why: End::Full }) => "goes on in the next",
            Some(Ending::Whole { why: End::Finished }) => "ended in order",
            Some(Ending::Whole { why: End::Gap }) => "ended with a gap: the recorder could not keep up",
            Some(Ending::Torn { .. }) => "torn: the process was killed, or still writes",
            Some(Ending::Damaged { .. }) => "damaged",
            None => "unreadable",
        };
        let Self { file, steps, outputs, lives, .. } = self;
        println!("{verdict} {file}: {lane}, {steps} steps, {outputs} outputs, {lives} lives{redacted}; {ending}");
        self.problems.iter().for_each(|problem| println!("  {problem}"));
        if let (false, Some(header)) = (self.ok(), &self.header)
            && header.build != env!("DORMOUSE_VERSION")
        {
            println!(
                "  recorded by {}, replayed by {}: another build may rightly differ",
                header.build,
                env!("DORMOUSE_VERSION")
            );
        }
        if let Some(step) = self.differs_at_step {
            println!("  look at it with: dormouse-sim replay FILE --around {step}");
        }
    }
}

/// The same number for the same machine, whether its contents were dropped before or are dropped now.
fn state<M: Journaled>(machine: &M) -> u128 {
    let mut digest = Digest::default();
    digest.add(&wrap(machine, &Redaction::default()));
    digest.finish()
}

/// One line of what happened.
pub(super) fn line(entry: &words::Entry) -> String {
    format!("{:>6} {} {} {} {}", entry.step, entry.at, entry.lane, entry.direction.sign(), entry.text)
}
