//! What is only looked at when somebody asks: sizes, places in the WAL, phases, and the process itself.

use crate::db::SourceStatus;
use crate::hub::SessionCounts;
use crate::replication::Report;
use dormouse_core::position::Lsn;
use dormouse_core::replication::PhaseName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type FloatGauge = Gauge<f64, AtomicU64>;
type FloatCounter = Counter<f64, AtomicU64>;

/// What was found.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Where Replication stands.
    pub report: &'a Report,
    /// Where the source stands; `None` while the database does not answer.
    pub source: Option<&'a SourceStatus>,
    /// The sessions.
    pub sessions: SessionCounts,
    /// How many spools are on the disk, and their bytes.
    pub spools: (usize, u64),
    /// Memory that is bounded, in bytes, by kind.
    pub memory: [(&'static str, u64); 2],
    /// Of each pool its name, the open connections, and those in use.
    pub connections: [(&'static str, usize, usize); 2],
    /// How long ago progress was seen; `None`: never.
    pub progress_age: Option<Duration>,
    /// Whether `/readyz` would say yes.
    pub ready: bool,
}

/// The gauges that a [`Sample`] sets. A cheap handle.
#[derive(Debug, Clone)]
pub struct Gauges {
    sessions: Family<Phase, Gauge>,
    replication_phase: Family<Phase, Gauge>,
    spools: Gauge,
    spool_bytes: Gauge,
    head_lsn: Gauge,
    covered_lsn: Gauge,
    confirmed_lsn: Gauge,
    covered_lag_bytes: Gauge,
    retained_wal_bytes: Gauge,
    database_up: Gauge,
    lease_held: Gauge,
    era: Gauge,
    ready: Gauge,
    progress_age: FloatGauge,
    connections_open: Family<Pool, Gauge>,
    connections_in_use: Family<Pool, Gauge>,
    memory: Family<Kind, Gauge>,
    process: ProcessGauges,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: &'static str,
}

const PHASES: [(PhaseName, &str); 7] = [
    (PhaseName::Idle, "idle"),
    (PhaseName::Standby, "standby"),
    (PhaseName::Preparing, "preparing"),
    (PhaseName::Streaming, "streaming"),
    (PhaseName::Stopping, "stopping"),
    (PhaseName::Stopped, "stopped"),
    (PhaseName::Halted, "halted"),
];

impl Gauges {
    pub(super) fn register(registry: &mut Registry, process: ProcessGauges) -> Self {
        let (sessions, replication_phase) = (Family::default(), Family::default());
        registry.register("sessions", "Sessions by phase; hibernated are those of sleeping hubs", sessions.clone());
        registry.register(
            "replication_phase",
            "1 for the phase that replication is in, else 0",
            replication_phase.clone(),
        );
        let (connections_open, connections_in_use) = (Family::default(), Family::default());
        registry.register("pool_connections_open", "Connections to Postgres that a pool has", connections_open.clone());
        registry.register("pool_connections_in_use", "Of those, the ones in use", connections_in_use.clone());
        let memory = Family::default();
        registry.register(
            "memory_bytes",
            "Memory that grows with what clients do, by kind: frames that wait for sockets, recent pages of hubs",
            memory.clone(),
        );
        let progress_age = FloatGauge::default();
        registry.register(
            "progress_age_seconds",
            "Since replication was last seen to make progress; -1 before the first time",
            progress_age.clone(),
        );
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            spools: gauge("spools", "Snapshots on the disk"),
            spool_bytes: gauge("spool_bytes", "Bytes of the snapshots on the disk"),
            head_lsn: gauge("head_lsn", "Commit LSN of the last transaction in history, as a number"),
            covered_lsn: gauge("covered_lsn", "LSN below which nothing is missing in history, as a number"),
            confirmed_lsn: gauge("confirmed_lsn", "LSN below which Postgres may forget WAL, as a number"),
            covered_lag_bytes: gauge(
                "covered_lag_bytes",
                "WAL written after covered, in bytes; 0 where this process does not replicate",
            ),
            retained_wal_bytes: gauge("retained_wal_bytes", "WAL that the slot holds back, in bytes"),
            database_up: gauge("database_up", "1 when the database answered this scrape, else 0"),
            lease_held: gauge("lease_held", "1 while this process holds the lease, else 0"),
            era: gauge("era", "The counter of the present era"),
            ready: gauge("ready", "1 when /readyz would answer 200, else 0"),
            sessions,
            replication_phase,
            progress_age,
            connections_open,
            connections_in_use,
            memory,
            process,
        }
    }

    /// Sets them all.
    pub fn set(&self, sample: &Sample<'_>) {
        let status = &sample.report.status;
        for (phase, count) in [
            ("greeted", sample.sessions.awake.greeted),
            ("backfill", sample.sessions.awake.backfill),
            ("catch_up", sample.sessions.awake.catch_up),
            ("live", sample.sessions.awake.live),
            ("hibernated", sample.sessions.hibernated),
        ] {
            self.sessions.get_or_create(&Phase { phase }).set(signed(count));
        }
        for (name, phase) in PHASES {
            self.replication_phase.get_or_create(&Phase { phase }).set(i64::from(name == status.phase));
        }
        for (pool, open, in_use) in sample.connections {
            self.connections_open.get_or_create(&Pool { pool }).set(signed(open as u64));
            self.connections_in_use.get_or_create(&Pool { pool }).set(signed(in_use as u64));
        }
        for (kind, bytes) in sample.memory {
            self.memory.get_or_create(&Kind { kind }).set(signed(bytes));
        }
        self.spools.set(signed(sample.spools.0 as u64));
        self.spool_bytes.set(signed(sample.spools.1));
        self.database_up.set(i64::from(sample.source.is_some()));
        self.lease_held.set(i64::from(status.token.is_some()));
        self.ready.set(i64::from(sample.ready));
        self.progress_age.set(sample.progress_age.map_or(-1.0, |age| age.as_secs_f64()));
        if let Some(head) = status.head {
            self.head_lsn.set(signed(head.position().commit_lsn.0));
            self.covered_lsn.set(signed(head.covered.0));
            self.era.set(i64::from(head.era().counter));
        }
        if let Some(source) = sample.source {
            let confirmed = source.confirmed.unwrap_or(Lsn::ZERO);
            self.confirmed_lsn.set(signed(confirmed.0));
            self.retained_wal_bytes.set(signed(source.retained_wal_bytes));
            let covered = status.head.filter(|_| status.token.is_some()).map(|head| head.covered.0);
            self.covered_lag_bytes.set(covered.map_or(0, |covered| signed(source.wal_end.0.saturating_sub(covered))));
        }
        self.process.set();
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Of the process, as Linux tells; they stay 0 elsewhere.
#[derive(Debug, Clone)]
pub(super) struct ProcessGauges {
    resident: Gauge,
    open_fds: Gauge,
    cpu: FloatCounter,
}

impl ProcessGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (resident, open_fds, cpu) = (Gauge::default(), Gauge::default(), FloatCounter::default());
        registry.register("resident_memory_bytes", "Resident memory in bytes", resident.clone());
        registry.register("open_fds", "Open file descriptors", open_fds.clone());
        registry.register("cpu_seconds", "CPU time in user and kernel mode", cpu.clone());
        Self { resident, open_fds, cpu }
    }

    fn set(&self) {
        /// Linux counts CPU time in these, whatever the kernel's own clock.
        const TICKS_PER_SECOND: f64 = 100.0;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        self.resident.set(resident.map_or(0, |kb: i64| kb * 1024));
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.open_fds.set(signed(open as u64));
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in parentheses may hold anything; utime and stime are the 14th and 15th fields.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(2);
        let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
        self.cpu.inner().store((ticks / TICKS_PER_SECOND).to_bits(), Ordering::Relaxed);
    }
}
