//! What a hub is set to.

use crate::limits;
use crate::safeguard::Safeguards;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The settings of a hub. The defaults suit production; a simulator makes the windows small and the times short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Jitter follows from it.
    pub seed: u64,
    /// How long a registration lasts unless it is renewed.
    pub registration_ttl: Duration,
    /// How long after one renewal the next may come; up to half as much again is added to spread them.
    pub renew_every: Duration,
    /// How long a socket may stay open without a greeting.
    pub greet_timeout: Duration,
    /// How long a session may go without acknowledging anything while something is on its way to it.
    pub ack_timeout: Duration,
    /// How long a position above the head is waited for before everything is sent again.
    pub ahead_wait: Duration,
    /// How often acknowledged positions are stored.
    pub save_positions_every: Duration,
    /// How long nothing must have happened before the hub hibernates.
    pub hibernate_after: Duration,
    /// How often the head is read, in case an announcement was lost.
    pub poll_head_every: Duration,
    /// How often it is said again up to where covered is waited for.
    pub want_covered_every: Duration,
    /// How often sessions are looked over for timeouts.
    pub scan_every: Duration,
    /// For how long after it was asked for a spool serves further sessions.
    pub spool_reuse_for: Duration,
    /// When to ask again for a snapshot of an era that is starting, or to judge again what could not be judged.
    pub snapshot_retry: Duration,
    /// The first wait after a failure.
    pub backoff_first: Duration,
    /// The longest wait between two tries.
    pub backoff_most: Duration,
    /// The most pages on their way to one session.
    pub window_pages: u32,
    /// The most bytes of pages on their way to one session, exceeded by no more than one page.
    pub window_bytes: u64,
    /// The most chunks and seam pages on their way to one session.
    pub window_chunks: u32,
    /// The most changes that are read from history at once.
    pub page_changes_max: u32,
    /// The most bytes that are read from history at once.
    pub page_bytes_max: u32,
    /// The most recent pages that are kept for live sessions.
    pub ring_pages_max: usize,
    /// The most bytes of recent pages that are kept.
    pub ring_bytes_max: u64,
    /// The most reads of history, and of spools, at once.
    pub reads_max: usize,
    /// The most snapshots being taken at once.
    pub snapshots_max: usize,
    /// The most entries in one batch to the registry.
    pub registry_batch_max: usize,
    /// Which safeguards hold.
    pub safeguards: Safeguards,
}

impl Default for Config {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        Self {
            seed: 0,
            registration_ttl: Duration::from_secs(24 * HOUR),
            renew_every: Duration::from_secs(8 * HOUR),
            greet_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(60),
            ahead_wait: Duration::from_secs(5),
            save_positions_every: Duration::from_secs(1),
            hibernate_after: Duration::from_secs(10),
            poll_head_every: Duration::from_secs(5),
            want_covered_every: Duration::from_secs(1),
            scan_every: Duration::from_secs(1),
            spool_reuse_for: Duration::from_secs(30),
            snapshot_retry: Duration::from_millis(250),
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(10),
            window_pages: limits::WINDOW_PAGES_MAX as u32,
            window_bytes: limits::WINDOW_BYTES_MAX as u64,
            window_chunks: limits::WINDOW_CHUNKS_MAX,
            page_changes_max: limits::PAGE_CHANGES_MAX as u32,
            page_bytes_max: limits::PAGE_BYTES_MAX as u32,
            ring_pages_max: limits::RING_PAGES_MAX,
            ring_bytes_max: limits::RING_BYTES_MAX as u64,
            reads_max: 16,
            snapshots_max: 2,
            registry_batch_max: 1_000,
            safeguards: Safeguards::ALL,
        }
    }
}
