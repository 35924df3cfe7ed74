//! What a benchmark prints.

use serde::Serialize;
use std::time::Duration;

/// One scenario's figures, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) v: u32,
    pub(super) scenario: String,
    pub(super) settings: Settings,
    /// The machine's one-minute load before the first run.
    pub(super) load_avg: f64,
    pub(super) runs: Vec<Run>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Settings {
    pub(super) clients: usize,
    pub(super) rows: usize,
    pub(super) transactions: usize,
    pub(super) rate: u32,
    pub(super) synchronous_commit: &'static str,
}

/// One run. A figure that the scenario does not measure is left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Run {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_ms: Option<f64>,
    pub(super) seconds: f64,
    /// Rows or changes, over all clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_cpu_us_per_delivery: Option<f64>,
    pub(super) server_rss_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rss_bytes_per_session: Option<i64>,
    pub(super) exactly_once: bool,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
}

impl Run {
    /// Takes over the percentiles of latencies in microseconds.
    pub(super) fn set_latencies(&mut self, mut latencies_us: Vec<u64>) {
        latencies_us.sort_unstable();
        let at = |per_mille: usize| {
            let n = (latencies_us.len().saturating_sub(1)) * per_mille / 1_000;
            latencies_us.get(n).map(|us| *us as f64 / 1_000.0)
        };
        (self.p50_ms, self.p99_ms, self.max_ms) = (at(500), at(990), at(1_000));
    }

    /// Takes over how long it took, and so how many came per second.
    pub(super) fn set_throughput(&mut self, count: u64, took: Duration) {
        self.seconds = took.as_secs_f64();
        self.per_second = Some(count as f64 / took.as_secs_f64());
    }
}

impl Report {
    /// For people: one line per run.
    pub(super) fn print(&self) {
        let Settings { clients, rows, transactions, rate, .. } = &self.settings;
        println!(
            "{}: {clients} clients, {rows} rows, {transactions} transactions, {rate}/s; load {:.2}",
            self.scenario, self.load_avg
        );
        for run in &self.runs {
            let mut line = String::new();
            if let (Some(p50), Some(p99), Some(max)) = (run.p50_ms, run.p99_ms, run.max_ms) {
                line += &format!("  p50 {p50:.1} ms  p99 {p99:.1} ms  max {max:.1} ms");
            }
            if let Some(per_second) = run.per_second {
                line += &format!("  {per_second:.0}/s in {:.2} s", run.seconds);
            }
            if let Some(bytes) = run.rss_bytes_per_session {
                line += &format!("  {bytes} bytes per session");
            }
            if let Some(cpu) = run.server_cpu_us_per_delivery {
                line += &format!("  {cpu:.1} µs of server CPU per delivery");
            }
            let once = if run.exactly_once { "exactly once" } else { "NOT exactly once" };
            println!("{line}  server {} MB  {once}", run.server_rss_bytes / 1_000_000);
        }
    }
}
