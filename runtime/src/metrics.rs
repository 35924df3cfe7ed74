//! What is counted for `/metrics`, in OpenMetrics text.
//!
//! One registry per server, handed to whoever counts: there is no global recorder. Names begin with `dormouse_` or `process_`,
//! end in their unit, and are listed in `docs/OPERATIONS.md`. Counters are resolved once: counting is one atomic addition, per
//! batch where a hub works.

mod history;
mod hubs;
mod record;
mod sample;

pub use history::HistoryCounts;
pub use hubs::HubCounts;
pub use record::RecordCounts;
pub use sample::{Gauges, Sample};

use dormouse_core::fault::FaultCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// The commit that was built, where the build says so.
const COMMIT: &str = match option_env!("DORMOUSE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The counters of one server. A cheap handle.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    refusals: Family<Refusal, Counter>,
    heartbeats: Family<Beat, Counter>,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// Connections that are open.
    pub open: Gauge,
    /// Those of them that are parked.
    pub parked: Gauge,
    /// How often a parked connection was given a task again.
    pub unparked: Counter,
    /// Connections that were closed at once because all places were taken.
    pub turned_away: Counter,
    /// Of the hubs.
    pub hubs: HubCounts,
    /// Of Replication.
    pub history: HistoryCounts,
    /// Of the flight recorder.
    pub record: RecordCounts,
    /// What is only looked at when somebody asks.
    pub gauges: Gauges,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Beat {
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let process = registry.sub_registry_with_prefix("process");
        let process = sample::ProcessGauges::register(process);
        let ours = registry.sub_registry_with_prefix("dormouse");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT)]);
        ours.register("build", "The program that runs", build);
        let (refusals, heartbeats) = (Family::default(), Family::<Beat, Counter>::default());
        // A series that is there from the start can be watched for its first step.
        for result in ["moved", "echoed", "holder", "failed"] {
            drop(heartbeats.get_or_create(&Beat { result }));
        }
        let (accepted, turned_away, open) = (Counter::default(), Counter::default(), Gauge::default());
        ours.register("refusals", "Connections, sessions and requests refused or closed, by code", refusals.clone());
        ours.register("heartbeats", "Proofs that replication makes progress, by result", heartbeats.clone());
        ours.register("connections_accepted", "TCP connections accepted", accepted.clone());
        ours.register(
            "connections_turned_away",
            "TCP connections closed because all places were taken",
            turned_away.clone(),
        );
        ours.register("connections_open", "TCP connections open", open.clone());
        let (parked, unparked) = (Gauge::default(), Counter::default());
        ours.register(
            "connections_parked",
            "Connections that are quiet, and have no task and no buffer",
            parked.clone(),
        );
        ours.register("connections_unparked", "Parked connections on which something happened", unparked.clone());
        let hubs = HubCounts::register(ours);
        let history = HistoryCounts::register(ours);
        let record = RecordCounts::register(ours);
        let gauges = Gauges::register(ours, process);
        Self {
            registry: Arc::new(registry),
            refusals,
            heartbeats,
            accepted,
            open,
            parked,
            unparked,
            turned_away,
            hubs,
            history,
            record,
            gauges,
        }
    }
}

impl Metrics {
    /// Counts a connection, session or request that was refused or closed with this code.
    pub fn refused(&self, code: FaultCode) {
        self.refusals.get_or_create(&Refusal { code: code.as_str() }).inc();
    }

    /// Counts a heartbeat with its result.
    pub fn beat(&self, result: &'static str) {
        self.heartbeats.get_or_create(&Beat { result }).inc();
    }

    /// All of them, as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_code() {
        let metrics = Metrics::default();
        metrics.refused(FaultCode::Forbidden);
        metrics.clone().refused(FaultCode::Forbidden);
        assert!(metrics.encode().contains("dormouse_refusals_total{code=\"forbidden\"} 2"), "{}", metrics.encode());
    }
}
