//! What Replication counts.

use dormouse_core::change::Page;
use dormouse_core::time::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// What was appended to history by this process. A cheap handle.
#[derive(Debug, Clone)]
pub struct HistoryCounts {
    transactions: Counter,
    changes: Counter,
    bytes: Counter,
    append: Histogram,
    commit_to_recorded: Histogram,
}

impl HistoryCounts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (transactions, changes, bytes) = (Counter::default(), Counter::default(), Counter::default());
        registry.register("history_transactions", "Transactions recorded in history", transactions.clone());
        registry.register("history_changes", "Changes recorded in history", changes.clone());
        registry.register("history_bytes", "About how many bytes of changes were recorded in history", bytes.clone());
        let append = Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        registry.register("append_duration_seconds", "How long an append to history took", append.clone());
        let commit_to_recorded = Histogram::new(exponential_buckets(0.000_5, 2.0, 20));
        registry.register(
            "commit_to_recorded_seconds",
            "From the commit time by Postgres' clock of a page's last transaction until it is in history by this host's clock, skew included",
            commit_to_recorded.clone(),
        );
        Self { transactions, changes, bytes, append, commit_to_recorded }
    }

    /// Counts a page, or a piece, that was recorded, now.
    pub fn appended(&self, page: &Page, took: Duration, now: Timestamp) {
        let complete = page.transactions.iter().filter(|transaction| transaction.complete).count();
        self.transactions.inc_by(complete as u64);
        self.changes.inc_by(page.changes() as u64);
        self.bytes.inc_by(page.weight() as u64);
        self.append.observe(took.as_secs_f64());
        if let Ok(at @ 1..) = u64::try_from(page.through.committed_at.0) {
            self.commit_to_recorded.observe(now.since(Timestamp(at)).max(Duration::ZERO).as_secs_f64());
        }
    }
}
