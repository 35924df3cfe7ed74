//! What Replication counts.

use dormouse_core::change::Page;
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
}

impl HistoryCounts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (transactions, changes, bytes) = (Counter::default(), Counter::default(), Counter::default());
        registry.register("history_transactions", "Transactions recorded in history", transactions.clone());
        registry.register("history_changes", "Changes recorded in history", changes.clone());
        registry.register("history_bytes", "About how many bytes of changes were recorded in history", bytes.clone());
        let append = Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        registry.register("append_duration_seconds", "How long an append to history took", append.clone());
        Self { transactions, changes, bytes, append }
    }

    /// Counts a page, or a piece, that was recorded.
    pub fn appended(&self, page: &Page, took: Duration) {
        let complete = page.transactions.iter().filter(|transaction| transaction.complete).count();
        self.transactions.inc_by(complete as u64);
        self.changes.inc_by(page.changes() as u64);
        self.bytes.inc_by(page.weight() as u64);
        self.append.observe(took.as_secs_f64());
    }
}
