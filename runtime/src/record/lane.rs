//! The side of the machine's loop: clones into a bounded channel, and never waits.

use super::Recorder;
use super::writer::Writer;
use crate::drive::Witness;
use dormouse_core::machine::Machine;
use dormouse_core::time::Timestamp;
use dormouse_journal::journaled::Journaled;
use dormouse_journal::record::{Cause, Dropped};
use dormouse_journal::scribe::Happened;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, SyncSender};
use std::thread::{JoinHandle, Thread};

/// The most notes that may wait for the writer of one machine.
const NOTES_MAX: usize = 4_096;
/// The most bytes that may wait for all writers together.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// So many bytes, or notes, are worth waking a writer that lets them gather: most notes have no bytes worth counting, and only so many
/// may wait.
const GATHERED_BYTES_MAX: usize = 256 * 1024;
const GATHERED_NOTES_MAX: usize = NOTES_MAX / 8;

/// What the writer is told.
pub(super) enum Note<M: Journaled> {
    /// The machine as it stands.
    Checkpoint {
        at: Timestamp,
        machine: Box<M>,
        why: Why,
    },
    Step {
        happened: Happened<M>,
        weight: usize,
    },
    Dropped {
        at: Timestamp,
        why: Dropped,
    },
}

/// Why a checkpoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A life of the machine begins.
    Life,
    /// The segment is long enough: another one begins.
    Full,
    /// Steps were lost: another segment begins.
    Gap,
}

/// What both sides see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// How many notes wait.
    pub notes: AtomicUsize,
    /// The writer wants a checkpoint, to begin another segment.
    pub full: AtomicBool,
    /// The writer has given up its segment.
    pub gave_up: AtomicBool,
    /// No segment is begun before this, in microseconds: after a disk refused.
    pub not_before: AtomicU64,
}

/// Records one machine.
#[derive(Debug)]
pub struct Lane<M: Journaled> {
    notes: SyncSender<Note<M>>,
    /// Lets notes gather; unparked, it writes them.
    writer: Thread,
    shared: Arc<Shared>,
    recorder: Recorder,
    /// The step under way.
    step: Option<Happened<M>>,
    weight: usize,
    /// Whether all was handed over since the last checkpoint.
    unbroken: bool,
}

/// A lane, and the thread that writes for it until the lane is dropped.
pub(super) fn open<M: Journaled>(
    recorder: Recorder,
    name: &str,
    settings: serde_json::Value,
) -> io::Result<(Lane<M>, JoinHandle<()>)> {
    let (notes, inbox) = mpsc::sync_channel(NOTES_MAX);
    let shared = Arc::new(Shared::default());
    let writer = Writer::new(recorder.clone(), name.into(), settings, Arc::clone(&shared));
    let thread = std::thread::Builder::new().name(format!("record {name}")).spawn(move || writer.run(&inbox))?;
    // The first checkpoint begins the first segment, and nothing was lost before it.
    let writer = thread.thread().clone();
    Ok((Lane { notes, writer, shared, recorder, step: None, weight: 0, unbroken: true }, thread))
}

impl<M: Journaled> Lane<M> {
    fn send(&mut self, note: Note<M>) {
        if self.shared.notes.fetch_add(1, Relaxed) > GATHERED_NOTES_MAX {
            self.writer.unpark();
        }
        if self.notes.try_send(note).is_err() {
            self.shared.notes.fetch_sub(1, Relaxed);
            self.lose("the recorder cannot keep up: steps are missing from the recording until the next checkpoint");
        }
    }

    /// How many notes wait for the writer, which is not to let them gather any longer.
    #[cfg(test)]
    pub(super) fn hurried(&self) -> usize {
        self.writer.unpark();
        self.shared.notes.load(Relaxed)
    }

    fn lose(&mut self, why: &str) {
        if self.unbroken {
            tracing::warn!("{why}");
            self.recorder.0.counts.gaps.inc();
        }
        (self.unbroken, self.step) = (false, None);
    }

    fn checkpoint(&mut self, at: Timestamp, machine: &M, why: Why) {
        self.send(Note::Checkpoint { at, machine: Box::new(machine.clone()), why });
    }

    /// Begins to record again after a gap, once the writer has caught up.
    fn resume(&mut self, now: Timestamp, machine: &M) {
        let rested = now.micros() >= self.shared.not_before.load(Relaxed);
        if rested && self.shared.notes.load(Relaxed) == 0 {
            self.shared.gave_up.store(false, Relaxed);
            self.shared.full.store(false, Relaxed);
            self.unbroken = true;
            self.checkpoint(now, machine, Why::Gap);
        }
    }

    fn begin_step(&mut self, at: Timestamp, cause: Cause<M::Input>, weight: usize) {
        self.weight = weight;
        self.step = Some(Happened { at, cause, outputs: Vec::new(), whole: true, deadline: None });
    }
}

impl<M: Journaled> Witness<M> for Lane<M> {
    fn begins(&mut self, now: Timestamp, machine: &M) {
        if self.unbroken {
            let full = self.shared.full.swap(false, Relaxed);
            self.checkpoint(now, machine, if full { Why::Full } else { Why::Life });
        } else {
            self.resume(now, machine);
        }
    }

    fn told(&mut self, now: Timestamp, input: &M::Input) {
        if self.unbroken {
            self.begin_step(now, Cause::Input(input.clone()), M::weight(input));
        }
    }

    fn timeout(&mut self, now: Timestamp) {
        if self.unbroken {
            self.begin_step(now, Cause::Timeout, 0);
        }
    }

    fn says(&mut self, output: &M::Output) {
        if let Some(step) = &mut self.step {
            step.outputs.push(output.clone());
        }
    }

    fn stepped(&mut self, now: Timestamp, machine: Option<&M>) {
        if let Some(mut happened) = self.step.take() {
            happened.whole = machine.is_some();
            happened.deadline = machine.and_then(Machine::poll_timeout);
            let weight = self.weight;
            let waiting = self.recorder.0.waiting.fetch_add(weight, Relaxed);
            if waiting > GATHERED_BYTES_MAX {
                self.writer.unpark();
            }
            if waiting > WAITING_BYTES_MAX {
                self.recorder.0.waiting.fetch_sub(weight, Relaxed);
                self.lose(
                    "too much waits to be recorded: steps are missing from the recording until the next checkpoint",
                );
            } else {
                self.send_step(happened, weight);
            }
        }
        if self.shared.gave_up.load(Relaxed) {
            (self.unbroken, self.step) = (false, None); // The writer has counted it.
        }
        let Some(machine) = machine else { return };
        if !self.unbroken {
            self.resume(now, machine);
        } else if self.shared.full.swap(false, Relaxed) {
            self.checkpoint(now, machine, Why::Full);
        }
    }

    fn dropped(&mut self, now: Timestamp, why: Dropped) {
        if self.unbroken {
            self.send(Note::Dropped { at: now, why });
        }
    }
}

impl<M: Journaled> Lane<M> {
    fn send_step(&mut self, happened: Happened<M>, weight: usize) {
        self.send(Note::Step { happened, weight });
        if !self.unbroken {
            self.recorder.0.waiting.fetch_sub(weight, Relaxed); // It did not fit.
        }
    }
}
