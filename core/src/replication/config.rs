//! What Replication is told before it starts.

use crate::limits::{PAGE_BYTES_MAX, PAGE_CHANGES_MAX};
use crate::safeguard::Safeguards;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The settings of one Replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Names this process for people, and lets it take its own unexpired lease again.
    pub holder: String,
    /// How long the lease lasts without renewal, by Postgres' clock.
    pub lease_ttl: Duration,
    /// How often the lease is renewed; well below `lease_ttl`.
    pub lease_renew_every: Duration,
    /// History younger than this is kept in any case.
    pub keep_min: Duration,
    /// History older than this is deleted in any case.
    pub keep_max: Duration,
    /// How often history is pruned.
    pub prune_every: Duration,
    /// How often the published tables are compared with what was noted of them.
    pub inspect_every: Duration,
    /// An idle advance of this many bytes of WAL is saved at once, so that the slot can let go of them.
    pub idle_save_bytes: u64,
    /// A smaller idle advance is saved after this time.
    pub idle_save_every: Duration,
    /// How often a process that stands by looks what another has recorded.
    pub follow_every: Duration,
    /// How soon an idle source is nudged again while somebody waits for covered; then ever more rarely.
    pub nudge_every: Duration,
    /// A stream that delivers nothing for so long is nudged, and after as long again taken for dead.
    pub silence_after: Duration,
    /// The first wait after a failure.
    pub backoff_first: Duration,
    /// The longest wait between two tries.
    pub backoff_most: Duration,
    /// So many attempts at one transaction after unclean ends halt replication instead of trying again; so do as many more, after a start
    /// that was meant to have mended the cause.
    pub attempts_max: u32,
    /// The most changes in one page or piece, and in one read. The queue holds four pages.
    pub page_changes_max: u32,
    /// About the most bytes in one page or piece, and in one read. The queue holds four pages.
    pub page_bytes_max: u32,
    /// From which the jitter of the back-off follows.
    pub seed: u64,
    /// Which safeguards hold.
    pub safeguards: Safeguards,
}

impl Default for Config {
    #[expect(clippy::cast_possible_truncation, reason = "both limits are far below 2^32, as asserted below")]
    fn default() -> Self {
        Self {
            holder: "dormouse".into(),
            lease_ttl: Duration::from_secs(15),
            lease_renew_every: Duration::from_secs(5),
            keep_min: Duration::from_secs(3600),
            keep_max: Duration::from_secs(7 * 24 * 3600),
            prune_every: Duration::from_secs(60),
            inspect_every: Duration::from_secs(5),
            idle_save_bytes: 16 * 1024 * 1024,
            idle_save_every: Duration::from_secs(300),
            follow_every: Duration::from_millis(250),
            nudge_every: Duration::from_millis(50),
            silence_after: Duration::from_secs(60),
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(5),
            attempts_max: 3,
            page_changes_max: PAGE_CHANGES_MAX as u32,
            page_bytes_max: PAGE_BYTES_MAX as u32,
            seed: 0,
            safeguards: Safeguards::ALL,
        }
    }
}

const _: () = assert!(PAGE_CHANGES_MAX < u32::MAX as usize);
const _: () = assert!(PAGE_BYTES_MAX < u32::MAX as usize);
