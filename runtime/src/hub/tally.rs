//! What one hub counts: summed up in plain numbers while a batch is worked on, and added to the shared counters once.

use crate::metrics::HubCounts;
use dormouse_core::fault::Malformed;
use dormouse_core::history::Announcement;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, ServerMessage};
use std::time::Duration;

pub(super) struct Tally {
    counts: HubCounts,
    awake: bool,
    frames: u64,
    bytes: u64,
    received: u64,
    /// When the newest transaction of this batch that was announced with its body was committed, in µs since 1970.
    committed_at: Option<i64>,
}

impl Tally {
    pub(super) const fn new(counts: HubCounts) -> Self {
        Self { counts, awake: false, frames: 0, bytes: 0, received: 0, committed_at: None }
    }

    pub(super) fn woke(&mut self) {
        self.awake = true;
        self.counts.wakes.inc();
    }

    pub(super) fn evicted(&self) {
        self.counts.evictions.inc();
    }

    pub(super) fn received(&mut self, message: &Result<ClientMessage, Malformed>, now: Timestamp) {
        self.received += 1;
        // At an era's start nothing was committed.
        if let Ok(ClientMessage::Ack { through }) = message
            && let Ok(at @ 1..) = u64::try_from(through.committed_at.0)
        {
            self.counts.commit_to_acked.observe(age(at, now));
        }
    }

    pub(super) fn announced(&mut self, announcement: &Announcement) {
        if announcement.page.is_some() {
            self.committed_at = Some(announcement.head.waypoint.committed_at.0);
        }
    }

    /// A message was put on the way to some sessions, as frames of so many bytes together.
    pub(super) fn sent(&mut self, recipients: usize, message: &ServerMessage, bytes: usize) {
        let recipients = recipients as u64;
        self.frames += recipients;
        self.bytes += bytes as u64;
        match message {
            ServerMessage::Resync { reason } => self.counts.resynced(*reason),
            ServerMessage::Chunk { n: 0, .. } | ServerMessage::Seam { n: 0, complete: None, .. } => {
                self.counts.backfills_started.inc_by(recipients);
            }
            ServerMessage::Seam { n, complete: Some(_), .. } => {
                if *n == 0 {
                    self.counts.backfills_started.inc_by(recipients); // There was nothing but the end.
                }
                self.counts.backfills_completed.inc_by(recipients);
            }
            _ => {}
        }
    }

    /// Ends a batch, for which so many messages were encoded.
    pub(super) fn settle(&mut self, awake: bool, encoded: u64, now: Timestamp) {
        if self.awake && !awake {
            self.awake = false;
            self.counts.hibernations.inc();
        }
        let committed_at = self.committed_at.take();
        if self.frames > 0 {
            self.counts.frames.inc_by(std::mem::take(&mut self.frames));
            self.counts.bytes.inc_by(std::mem::take(&mut self.bytes));
            self.counts.encoded.inc_by(encoded);
            if let Some(at) = committed_at {
                self.counts.commit_to_sent.observe(age(u64::try_from(at).unwrap_or(0), now));
            }
        }
        if self.received > 0 {
            self.counts.received.inc_by(std::mem::take(&mut self.received));
        }
    }
}

/// How many seconds ago that was, in µs since 1970; 0 when it lies ahead.
fn age(at: u64, now: Timestamp) -> f64 {
    now.since(Timestamp(at)).max(Duration::ZERO).as_secs_f64()
}
