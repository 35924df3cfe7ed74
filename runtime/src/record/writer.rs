//! The thread that writes one machine's segments.

use super::Recorder;
use super::lane::{Note, Shared, Why};
use super::ring::File;
use dormouse_core::time::Timestamp;
use dormouse_journal::header::Header;
use dormouse_journal::journaled::Journaled;
use dormouse_journal::record::End;
use dormouse_journal::scribe::Scribe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// For how long notes gather before they are written: so much of a recording may be lost with the process.
const GATHER: Duration = Duration::from_millis(50);
/// How long nothing is recorded after a disk refused.
const REST: Duration = Duration::from_secs(10);

pub(super) struct Writer<M: Journaled> {
    recorder: Recorder,
    lane: String,
    settings: serde_json::Value,
    shared: Arc<Shared>,
    open: Option<Open<M>>,
    segments: u64,
    /// When the machine was last heard of.
    now: Timestamp,
}

struct Open<M: Journaled> {
    scribe: Scribe<M>,
    file: File,
    /// How large the file may become before another one begins.
    bytes_max: u64,
    asked: bool,
}

impl<M: Journaled> Writer<M> {
    pub(super) const fn new(
        recorder: Recorder,
        lane: String,
        settings: serde_json::Value,
        shared: Arc<Shared>,
    ) -> Self {
        Self { recorder, lane, settings, shared, open: None, segments: 0, now: Timestamp::ZERO }
    }

    pub(super) fn run(mut self, notes: &Receiver<Note<M>>) {
        while let Ok(first) = notes.recv() {
            // Notes gather, so that this thread is woken once for all of them, unless they become large.
            std::thread::park_timeout(GATHER);
            for note in std::iter::once(first).chain(notes.try_iter()) {
                let written = self.on_note(note);
                self.shared.notes.fetch_sub(1, Relaxed);
                self.judge(written);
            }
            let written = self.open.as_mut().map_or(Ok(()), Open::store_all);
            self.judge(written);
        }
        let written = self.close(End::Finished);
        self.judge(written);
    }

    fn on_note(&mut self, note: Note<M>) -> Result<(), String> {
        match note {
            Note::Checkpoint { at, machine, why } => {
                self.now = at;
                match (why, &mut self.open) {
                    (Why::Life, Some(open)) => open.scribe.checkpoint(at, &machine)?,
                    (Why::Life | Why::Full, _) => {
                        self.close(End::Full)?;
                        self.begin(at, &machine)?;
                    }
                    (Why::Gap, _) => {
                        self.close(End::Gap)?;
                        self.begin(at, &machine)?;
                    }
                }
            }
            Note::Step { happened, weight } => {
                self.now = happened.at;
                let written = self.open.as_mut().map_or(Ok(()), |open| open.scribe.step(&happened));
                self.recorder.0.waiting.fetch_sub(weight, Relaxed);
                written?;
                self.recorder.0.counts.steps.inc();
            }
            Note::Dropped { at, why } => {
                self.now = at;
                if let Some(open) = &mut self.open {
                    open.scribe.dropped(at, why)?;
                }
            }
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.store()?;
        if open.file.bytes() >= open.bytes_max && !open.asked {
            open.asked = true;
            self.shared.full.store(true, Relaxed);
        }
        Ok(())
    }

    fn begin(&mut self, at: Timestamp, machine: &M) -> Result<(), String> {
        let inner = &self.recorder.0;
        let header = Header {
            build: env!("DORMOUSE_VERSION").into(),
            lane: self.lane.clone(),
            kind: M::KIND,
            started: inner.started,
            segment: self.segments,
            redacted: inner.redact,
            settings: self.settings.clone(),
        };
        let mut scribe = Scribe::begin(&header, at, machine, &inner.redaction)?;
        let first = scribe.take_all();
        let bytes_max = inner.ring.segment_bytes_max(first.len() as u64)?;
        let file = inner.ring.create(&self.lane, &first)?;
        self.segments += 1;
        inner.counts.segments.inc();
        self.open = Some(Open { scribe, file, bytes_max, asked: false });
        Ok(())
    }

    fn close(&mut self, why: End) -> Result<(), String> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.scribe.end(why)?;
        open.store_all()
    }

    /// Gives up the segment when it could not be written: the machine's loop is told, and goes on without us for a while.
    fn judge(&mut self, written: Result<(), String>) {
        let Err(why) = written else { return };
        tracing::warn!(lane = self.lane, %why, "a recording has a gap");
        self.recorder.0.counts.gaps.inc();
        self.open = None;
        self.shared.not_before.store((self.now + REST).micros(), Relaxed);
        self.shared.gave_up.store(true, Relaxed);
    }
}

impl<M: Journaled> Open<M> {
    fn store(&mut self) -> Result<(), String> {
        self.file.append(&self.scribe.take())
    }

    fn store_all(&mut self) -> Result<(), String> {
        self.file.append(&self.scribe.take_all())
    }
}
