//! What a benchmark prints.

use super::histogram::{Histogram, Percentiles};
use super::load::wire::Seen;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Write;

/// One scenario's figures, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) v: u32,
    pub(super) scenario: String,
    pub(super) settings: Settings,
    /// The machine's one-minute load before the first run.
    pub(super) load_avg: f64,
    /// How long a small write takes to be durable, where temporary files lie.
    pub(super) fsync: Option<Percentiles>,
    pub(super) runs: Vec<Run>,
    /// Of the run with the median ratio.
    pub(super) ceiling: Option<Ceiling>,
    /// The median of all runs: how many times the ceiling's cost. 1 is as good as it can be.
    pub(super) ratio: Option<f64>,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Settings {
    pub(super) clients: usize,
    pub(super) rows: usize,
    /// The bytes of a row's text column.
    pub(super) row_bytes: usize,
    pub(super) transactions: usize,
    pub(super) rows_per_transaction: usize,
    /// Transactions per second; 0 is as fast as Postgres commits.
    pub(super) rate: u32,
    /// Whether all was written while the server was down.
    pub(super) backlog: bool,
    /// How long the scenarios that watch do so.
    pub(super) seconds: u64,
    /// Further arguments of the server.
    pub(super) serve: Vec<String>,
    pub(super) servers: usize,
    pub(super) synchronous_commit: &'static str,
    pub(super) fsync: &'static str,
}

impl Settings {
    /// How many numbered rows are written.
    pub(super) const fn numbers(&self) -> usize {
        self.transactions * self.rows_per_transaction
    }
}

/// One run. A figure that the scenario does not measure is null.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Run {
    pub(super) p50_ms: Option<f64>,
    pub(super) p90_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) max_ms: Option<f64>,
    pub(super) seconds: f64,
    /// Rows or changes that one client got.
    pub(super) per_second: Option<f64>,
    pub(super) server_cpu_us_per_delivery: Option<f64>,
    pub(super) server_cpu_seconds: Option<f64>,
    pub(super) postgres_cpu_seconds: Option<f64>,
    pub(super) clients_cpu_seconds: f64,
    pub(super) server_rss_bytes: u64,
    pub(super) server_peak_rss_bytes: u64,
    pub(super) rss_bytes_per_session: Option<i64>,
    pub(super) exactly_once: bool,
    /// So many clients got everything exactly once.
    pub(super) clients_exactly_once: usize,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) load_avg: f64,
    pub(super) ceiling: Option<Ceiling>,
    /// What only this scenario measures.
    #[serde(flatten)]
    pub(super) more: Map<String, Value>,
}

/// The least that the same work costs here, measured in the same run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ceiling {
    pub(super) name: &'static str,
    /// How many times its cost ours is.
    pub(super) ratio: f64,
    #[serde(flatten)]
    pub(super) figures: Map<String, Value>,
}

impl Ceiling {
    pub(super) fn new(name: &'static str, ratio: f64) -> Self {
        Self { name, ratio, figures: Map::new() }
    }

    pub(super) fn with(mut self, name: &str, figure: impl Serialize) -> Self {
        self.figures.insert(name.into(), serde_json::to_value(figure).expect("plain data"));
        self
    }
}

impl Run {
    pub(super) fn set_latencies(&mut self, latencies: &Histogram) {
        let Some(Percentiles { p50_ms, p90_ms, p99_ms, max_ms }) = latencies.percentiles() else { return };
        (self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms) = (Some(p50_ms), Some(p90_ms), Some(p99_ms), Some(max_ms));
    }

    /// Takes over how long it took, and so how many came per second.
    pub(super) fn set_throughput(&mut self, count: u64, seconds: f64) {
        (self.seconds, self.per_second) = (seconds, Some(count as f64 / seconds));
    }

    /// Takes over what the clients counted.
    pub(super) fn set_counts(&mut self, seen: &Seen) {
        (self.lost, self.duplicated, self.clients_exactly_once) = (seen.lost, seen.duplicated, seen.exactly_once);
        self.exactly_once = seen.exactly_once == seen.clients;
        self.add("gaps", seen.gaps);
        self.add("reconnects", seen.broken);
        if !seen.faults.is_empty() {
            self.add("faults", &seen.faults);
        }
    }

    /// Adds a figure of one scenario's own.
    pub(super) fn add(&mut self, name: &str, figure: impl Serialize) {
        self.more.insert(name.into(), serde_json::to_value(figure).expect("plain data"));
    }
}

impl Report {
    /// Takes over the ceiling of the run whose ratio is the median.
    pub(super) fn settle(&mut self) {
        let mut ceilings: Vec<_> = self.runs.iter().filter_map(|run| run.ceiling.clone()).collect();
        ceilings.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        self.ceiling = (!ceilings.is_empty()).then(|| ceilings.swap_remove(ceilings.len() / 2));
        self.ratio = self.ceiling.as_ref().map(|ceiling| ceiling.ratio);
    }

    /// For people: the settings, then one paragraph per run.
    pub(super) fn print(&self) {
        let s = &self.settings;
        println!(
            "{}: {} clients, {} rows, {} transactions of {} rows, {}; load {:.2}",
            self.scenario,
            s.clients,
            s.rows,
            s.transactions,
            s.rows_per_transaction,
            match s.rate {
                _ if s.backlog => "written while the server was down".to_owned(),
                0 => "as fast as Postgres commits".to_owned(),
                rate => format!("{rate}/s"),
            },
            self.load_avg
        );
        if let Some(fsync) = &self.fsync {
            println!("  the disk makes 8 KB durable in {:.2} ms (p99 {:.2})", fsync.p50_ms, fsync.p99_ms);
        }
        self.runs.iter().for_each(|run| println!("{run}"));
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = String::new();
        if let (Some(p50), Some(p90), Some(p99), Some(max)) = (self.p50_ms, self.p90_ms, self.p99_ms, self.max_ms) {
            write!(line, "  p50 {p50:.2} ms  p90 {p90:.2}  p99 {p99:.2}  max {max:.1}")?;
        }
        write!(line, "  {:.2} s", self.seconds)?;
        if let Some(per_second) = self.per_second {
            write!(line, "  {per_second:.0}/s")?;
        }
        writeln!(f, "{line}")?;
        write!(f, "  server {:.1} MB, peak {:.1}", mega(self.server_rss_bytes), mega(self.server_peak_rss_bytes))?;
        if let Some(bytes) = self.rss_bytes_per_session {
            write!(f, ", {bytes} bytes per session")?;
        }
        if let Some(us) = self.server_cpu_us_per_delivery {
            write!(f, ", {us:.2} µs of CPU per delivery")?;
        }
        let seconds = |cpu: Option<f64>| cpu.map_or_else(|| "unknown".to_owned(), |cpu| format!("{cpu:.2} s"));
        let (server, postgres) = (seconds(self.server_cpu_seconds), seconds(self.postgres_cpu_seconds));
        writeln!(f, "  CPU: server {server}, Postgres {postgres}, clients {:.2} s", self.clients_cpu_seconds)?;
        let once = if self.exactly_once { "exactly once" } else { "NOT exactly once" };
        let (clients, lost, duplicated) = (self.clients_exactly_once, self.lost, self.duplicated);
        write!(f, "  {once}: {clients} clients; lost {lost}, duplicated {duplicated}")?;
        for (name, figure) in &self.more {
            write!(f, "; {name} {figure}")?;
        }
        if let Some(Ceiling { name, ratio, figures }) = &self.ceiling {
            write!(f, "\n  {ratio:.2} times the ceiling ({name}: {})", Value::Object(figures.clone()))?;
        }
        Ok(())
    }
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
