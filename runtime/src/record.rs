//! The flight recorder: `serve --record DIR` writes what every machine is told, for `dormouse-sim replay DIR`.
//!
//! A machine's loop only hands clones to a bounded channel ([`Lane`]); a thread per machine writes them (`writer`), and all
//! threads share a folder of bounded size (`ring`). When a thread cannot keep up, or the disk refuses, its segment ends with a gap
//! that is counted, and another begins with a new checkpoint: the server never waits for its recorder.

mod lane;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

pub use lane::Lane;

use crate::cli::CommandError;
use crate::clock::Clock;
use crate::metrics::RecordCounts;
use dormouse_core::time::Timestamp;
use dormouse_journal::journaled::Journaled;
use dormouse_journal::redact::Redaction;
use ring::Ring;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The least that a machine's share of the folder may be, in bytes.
pub const LANE_BYTES_MIN: u64 = 1024 * 1024;

/// What to record.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to; made if it is not there.
    pub dir: PathBuf,
    /// How much the folder may hold, in bytes.
    pub bytes_max: u64,
    /// Whether to drop contents.
    pub redact: bool,
}

/// The recorder of one process. A cheap handle.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: Ring,
    started: Timestamp,
    redact: bool,
    redaction: Arc<Redaction>,
    counts: RecordCounts,
    /// About how many bytes wait to be written, in all lanes.
    waiting: Arc<AtomicUsize>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

impl Recorder {
    /// Takes the folder. `lanes` is how many machines will be recorded.
    ///
    /// # Errors
    /// When the folder cannot be written to, another process records into it, or it may hold too little.
    pub fn start(config: &Config, lanes: usize, clock: Clock, counts: RecordCounts) -> Result<Self, CommandError> {
        let least = LANE_BYTES_MIN * lanes.max(1) as u64;
        if config.bytes_max < least {
            let (wanted, mib) = (least.div_ceil(1024 * 1024), config.bytes_max / (1024 * 1024));
            return Err(CommandError::Usage(format!(
                "record-max-mib is {mib}, and {lanes} machines are recorded: give at least {wanted}, or fewer hubs"
            )));
        }
        let ring = Ring::open(&config.dir, config.bytes_max, lanes.max(1) as u64, clock.started_at(), counts.clone())
            .map_err(|why| {
            CommandError::Environment(format!("cannot record into {}: {why}", config.dir.display()))
        })?;
        tracing::info!(dir = %config.dir.display(), redact = config.redact, "what the machines are told is recorded");
        Ok(Self(Arc::new(Inner {
            ring,
            started: clock.started_at(),
            redact: config.redact,
            redaction: Arc::default(),
            counts,
            waiting: Arc::default(),
            writers: Mutex::default(),
        })))
    }

    /// A witness that records one machine under this name, with its settings for people.
    #[must_use]
    pub fn lane<M: Journaled>(&self, name: &str, settings: &impl Serialize) -> Option<Lane<M>> {
        let settings = serde_json::to_value(settings).unwrap_or_default(); // They are for people: the checkpoint has them.
        match lane::open(self.clone(), name, settings) {
            Ok((lane, writer)) => {
                self.0.writers.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
                Some(lane)
            }
            Err(why) => {
                tracing::error!(%why, name, "a machine is not recorded: its thread cannot be started");
                self.0.counts.gaps.inc();
                None
            }
        }
    }

    /// Waits until all is written. Every lane must have been dropped, or this takes for ever.
    pub async fn finish(self) {
        let writers = std::mem::take(&mut *self.0.writers.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || writers.into_iter().for_each(|writer| drop(writer.join())));
        let _ = joined.await; // It does not panic.
    }
}
