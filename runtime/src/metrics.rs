//! What is counted for `/metrics`, in Prometheus' text format.
//!
//! One registry per server, handed to whoever counts: there is no global recorder. Names begin with `dormouse_`, end in their
//! unit, and are listed in `docs/OPERATIONS.md`.

use dormouse_core::fault::FaultCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// The counters of one server. A cheap handle.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    refusals: Family<Refusal, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("dormouse");
        let refusals = Family::default();
        registry.register("refusals", "Connections, sessions and requests refused, by code", refusals.clone());
        Self { registry: Arc::new(registry), refusals }
    }
}

impl Metrics {
    /// Counts a connection, session or request that was refused or closed with this code.
    pub fn refused(&self, code: FaultCode) {
        self.refusals.get_or_create(&Refusal { code: code.as_str() }).inc();
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
