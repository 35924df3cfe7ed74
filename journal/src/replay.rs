//! Drives a machine through a segment, and compares what it says with what it said.

use crate::journaled::Journaled;
use crate::record::{Cause, Dropped, Record, RecordOf};
use crate::redact::Redaction;
use crate::scribe::Running;
use crate::segment::Segment;
use dormouse_core::time::Timestamp;

/// A replay on its way through a segment.
#[derive(Debug)]
pub struct Replay<'s, M: Journaled> {
    records: std::slice::Iter<'s, RecordOf<M>>,
    machine: Option<M>,
    running: Running,
    redaction: Option<Redaction>,
    steps: u64,
}

/// One record, played.
#[derive(Debug)]
pub enum Played<'s, M: Journaled> {
    /// A life of the machine begins, or goes on.
    Began {
        /// When.
        at: Timestamp,
    },
    /// The machine took a step.
    Stepped(Stepped<'s, M>),
    /// The machine was dropped.
    Dropped {
        /// When.
        at: Timestamp,
        /// Why.
        why: Dropped,
    },
}

/// A step, with what the machine said now.
#[derive(Debug)]
pub struct Stepped<'s, M: Journaled> {
    /// Counts the segment's steps, from 1.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What the machine was told.
    pub cause: &'s Cause<M::Input>,
    /// What it said now.
    pub outputs: Vec<M::Output>,
    /// When it wants to be called next.
    pub deadline: Option<Timestamp>,
    /// In what this differs from what was recorded.
    pub difference: Option<Difference>,
    /// An invariant of the machine that does not hold after the step.
    pub broken: Option<String>,
}

/// In what a step differs from what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// There is no machine to take it: the recording is not one.
    NoMachine,
    /// A command is another, or in another place.
    Output {
        /// Which, from 0.
        index: usize,
        /// How many there were.
        recorded: usize,
    },
    /// All commands are the same, and their number is another.
    Count {
        /// How many there were.
        recorded: usize,
    },
    /// All commands are the same, and the machine wants to be called at another time.
    Deadline,
}

impl<M: Journaled> Stepped<'_, M> {
    /// What the machine was told, in words.
    #[must_use]
    pub fn cause_in_words(&self) -> String {
        match self.cause {
            Cause::Input(input) => crate::words::short(input),
            Cause::Timeout => "its deadline came".into(),
        }
    }
}

impl<'s, M: Journaled> Replay<'s, M> {
    /// At a segment's start.
    #[must_use]
    pub fn new(segment: &'s Segment<M>) -> Self {
        Self {
            records: segment.records.iter(),
            machine: None,
            running: Running::default(),
            redaction: segment.header.redacted.then(Redaction::default),
            steps: 0,
        }
    }

    /// The machine as it stands, if it is there.
    #[must_use]
    pub const fn machine(&self) -> Option<&M> {
        self.machine.as_ref()
    }

    /// How many steps were played.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Plays the next record. `None` at the end.
    pub fn next_record(&mut self) -> Option<Played<'s, M>> {
        Some(match self.records.next()? {
            Record::Checkpoint { at, machine } => {
                self.machine = Some(machine.clone());
                Played::Began { at: *at }
            }
            Record::Step(step) => {
                self.steps += 1;
                let (outputs, deadline, difference) = self.play(step);
                let broken = self.machine.as_ref().and_then(|machine| machine.check().err());
                Played::Stepped(Stepped {
                    n: self.steps,
                    at: step.at,
                    cause: &step.cause,
                    outputs,
                    deadline,
                    difference,
                    broken: broken.map(|broken| broken.what),
                })
            }
            Record::Dropped { at, why } => {
                self.machine = None;
                Played::Dropped { at: *at, why: *why }
            }
            Record::End(_) => return None,
        })
    }

    fn play(
        &mut self,
        step: &'s crate::record::Step<M::Input>,
    ) -> (Vec<M::Output>, Option<Timestamp>, Option<Difference>) {
        let Some(machine) = &mut self.machine else { return (Vec::new(), None, Some(Difference::NoMachine)) };
        match &step.cause {
            Cause::Input(input) => machine.handle(step.at, input.clone()),
            Cause::Timeout => machine.handle_timeout(step.at),
        }
        let wanted = if step.whole { usize::MAX } else { step.marks.len() };
        let outputs: Vec<_> = std::iter::from_fn(|| machine.poll_output()).take(wanted).collect();
        // A machine that its host dropped within the step was asked for nothing more.
        let deadline = if step.whole { machine.poll_timeout() } else { None };
        let recorded = step.marks.len();
        let mut difference = None;
        for (index, output) in outputs.iter().enumerate() {
            let mark = self.running.output(output, self.redaction.as_ref());
            match step.marks.get(index) {
                Some(was) if *was == mark => {}
                Some(_) => difference = difference.or(Some(Difference::Output { index, recorded })),
                None => difference = difference.or(Some(Difference::Count { recorded })),
            }
        }
        if outputs.len() < recorded {
            difference = difference.or(Some(Difference::Count { recorded }));
        }
        if self.running.step(deadline) != step.digest {
            difference = difference.or(Some(Difference::Deadline));
        }
        (outputs, deadline, difference)
    }
}
