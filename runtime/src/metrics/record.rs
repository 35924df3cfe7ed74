//! What the flight recorder counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The counters of the recorder. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct RecordCounts {
    /// Steps of machines that were recorded.
    pub steps: Counter,
    /// Segments that were begun.
    pub segments: Counter,
    /// Segments that were given up, because the recorder could not keep up or the disk refused.
    pub gaps: Counter,
    bytes: Counter,
    kept: Gauge,
}

impl RecordCounts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counts = Self::default();
        registry.register("record_steps", "Steps of machines recorded", counts.steps.clone());
        registry.register("record_segments", "Segments of the flight recording begun", counts.segments.clone());
        registry.register("record_gaps", "Segments of the flight recording given up", counts.gaps.clone());
        registry.register("record_written_bytes", "Bytes of the flight recording written", counts.bytes.clone());
        registry.register("record_kept_bytes", "Bytes of the flight recording kept", counts.kept.clone());
        counts
    }

    /// Counts bytes that were written, of so many that are kept now.
    pub fn written(&self, bytes: u64, kept: u64) {
        self.bytes.inc_by(bytes);
        self.kept(kept);
    }

    /// Notes how many bytes are kept.
    pub fn kept(&self, bytes: u64) {
        self.kept.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
