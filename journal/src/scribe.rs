//! Writes one segment.

use crate::block;
use crate::digest::Digest;
use crate::header::Header;
use crate::journaled::Journaled;
use crate::record::{Borrowed, Cause, Dropped, End, Step};
use crate::redact::{Redaction, wrap};
use dormouse_core::time::Timestamp;
use serde::Serialize;
use std::marker::PhantomData;
use std::sync::Arc;

/// So many bytes of records make a block.
const BLOCK_BYTES: usize = 64 * 1024;

/// What happened to a machine in one step.
#[derive(Debug, Clone)]
pub struct Happened<M: Journaled> {
    /// What the machine was told the time is.
    pub at: Timestamp,
    /// What it was told.
    pub cause: Cause<M::Input>,
    /// What it said, as far as it was asked.
    pub outputs: Vec<M::Output>,
    /// Whether it was asked until it had said all.
    pub whole: bool,
    /// When it wants to be called next, after all that.
    pub deadline: Option<Timestamp>,
}

/// Digests steps: the same in a recording and in its replay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Running {
    digest: Digest,
}

impl Running {
    /// Adds a command; returns its mark.
    pub fn output(&mut self, output: &impl Serialize, redaction: Option<&Redaction>) -> u32 {
        match redaction {
            Some(redaction) => self.digest.add(&wrap(output, redaction)),
            None => self.digest.add(output),
        }
        (self.digest.low_half() >> 32) as u32
    }

    /// Ends a step with the machine's deadline; returns the digest.
    pub fn step(&mut self, deadline: Option<Timestamp>) -> u128 {
        self.digest.add(&deadline);
        self.digest.finish()
    }
}

/// Writes a segment of a machine `M`: bytes that whoever stores them takes from time to time.
#[derive(Debug)]
pub struct Scribe<M> {
    redaction: Option<Arc<Redaction>>,
    running: Running,
    /// Records that are not yet a block.
    raw: Vec<u8>,
    /// What was not taken yet.
    out: Vec<u8>,
    machine: PhantomData<fn() -> M>,
}

impl<M: Journaled> Scribe<M> {
    /// Begins a segment with its header and the machine as it stands. The redaction, if the header says that there is one,
    /// is that of the segments before: what stands for a text must be the same in all of them.
    ///
    /// # Errors
    /// A sentence on why it has no form.
    pub fn begin(header: &Header, at: Timestamp, machine: &M, redaction: &Arc<Redaction>) -> Result<Self, String> {
        let redaction = header.redacted.then(|| Arc::clone(redaction));
        let out = header.line().into_bytes();
        let mut scribe = Self { redaction, running: Running::default(), raw: Vec::new(), out, machine: PhantomData };
        scribe.checkpoint(at, machine)?;
        Ok(scribe)
    }

    /// Adds the machine as it stands at the start of a further life.
    ///
    /// # Errors
    /// A sentence on why it has no form.
    pub fn checkpoint(&mut self, at: Timestamp, machine: &M) -> Result<(), String> {
        self.record(&Borrowed::Checkpoint { at, machine })
    }

    /// Adds a step.
    ///
    /// # Errors
    /// A sentence on why it has no form.
    pub fn step(&mut self, happened: &Happened<M>) -> Result<(), String> {
        let mut marks = Vec::with_capacity(happened.outputs.len());
        for output in &happened.outputs {
            marks.push(self.running.output(output, self.redaction.as_deref()));
        }
        let digest = self.running.step(happened.deadline);
        let cause = match &happened.cause {
            Cause::Input(input) => Cause::Input(input),
            Cause::Timeout => Cause::Timeout,
        };
        self.record(&Borrowed::Step(Step { at: happened.at, cause, marks, whole: happened.whole, digest }))
    }

    /// Adds that the machine was dropped.
    ///
    /// # Errors
    /// A sentence on why it has no form.
    pub fn dropped(&mut self, at: Timestamp, why: Dropped) -> Result<(), String> {
        self.record(&Borrowed::Dropped { at, why })
    }

    /// Ends the segment.
    ///
    /// # Errors
    /// A sentence on why it has no form.
    pub fn end(&mut self, why: End) -> Result<(), String> {
        self.record(&Borrowed::End(why))
    }

    /// Takes the bytes of whole blocks, to be stored behind those that were taken before.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The same, and makes a block of what waits: what is stored then outlives the process.
    pub fn take_all(&mut self) -> Vec<u8> {
        self.close_block();
        self.take()
    }

    fn close_block(&mut self) {
        if !self.raw.is_empty() {
            block::write(&self.raw, &mut self.out);
            self.raw.clear();
        }
    }

    fn record(&mut self, record: &Borrowed<'_, M>) -> Result<(), String> {
        let raw = std::mem::take(&mut self.raw);
        let raw = match &self.redaction {
            Some(redaction) => postcard::to_extend(&wrap(record, redaction), raw),
            None => postcard::to_extend(record, raw),
        };
        self.raw = raw.map_err(|why| format!("a record has no form: {why}"))?;
        if self.raw.len() > block::RAW_MAX {
            return Err("a record is larger than a recording can hold".into());
        }
        if self.raw.len() >= BLOCK_BYTES {
            self.close_block();
        }
        Ok(())
    }
}
