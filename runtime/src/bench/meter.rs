//! CPU and memory of server, Postgres and clients over a stretch of time, each apart.

use super::process;
use super::report::Run;
use super::subject::Subject;
use std::time::Duration;

/// Running from its making.
#[derive(Debug)]
pub(super) struct Meter {
    servers: Vec<u32>,
    postgres: Option<u32>,
    clients: Vec<u32>,
    before: Spent,
}

#[derive(Debug, Clone, Copy)]
struct Spent {
    servers: Duration,
    postgres: Duration,
    clients: Duration,
}

impl Meter {
    /// Measures the subject, and the processes of these clients.
    pub(super) fn start(subject: &Subject, clients: &[u32]) -> Self {
        Self::of(subject.server_pids(), subject.postgres_pid(), clients)
    }

    /// Measures these processes.
    pub(super) fn of(servers: Vec<u32>, postgres: Option<u32>, clients: &[u32]) -> Self {
        servers.iter().for_each(|pid| process::forget_peak(*pid));
        let nothing = Spent { servers: Duration::ZERO, postgres: Duration::ZERO, clients: Duration::ZERO };
        let mut meter = Self { servers, postgres, clients: clients.to_vec(), before: nothing };
        meter.before = meter.read();
        meter
    }

    fn read(&self) -> Spent {
        Spent {
            servers: self.servers.iter().map(|pid| process::cpu(*pid)).sum(),
            postgres: self.postgres.map_or(Duration::ZERO, process::family_cpu),
            clients: self.clients.iter().map(|pid| process::cpu(*pid)).sum(),
        }
    }

    /// Adds what was spent until now to a run's figures.
    pub(super) fn finish(&self, run: &mut Run, deliveries: u64) {
        let (before, now) = (self.before, self.read());
        let server = (now.servers.saturating_sub(before.servers)).as_secs_f64();
        if !self.servers.is_empty() {
            run.server_cpu_seconds = Some(server);
            run.server_cpu_us_per_delivery = (deliveries > 0).then(|| server * 1e6 / deliveries as f64);
        }
        run.postgres_cpu_seconds = self.postgres.map(|_| now.postgres.saturating_sub(before.postgres).as_secs_f64());
        run.clients_cpu_seconds = now.clients.saturating_sub(before.clients).as_secs_f64();
        run.server_rss_bytes = self.servers.iter().map(|pid| process::rss_bytes(*pid)).sum();
        run.server_peak_rss_bytes = self.servers.iter().map(|pid| process::peak_bytes(*pid)).sum();
        run.load_avg = process::load_avg();
    }

    /// CPU seconds of the servers so far.
    pub(super) fn server_seconds(&self) -> f64 {
        self.read().servers.saturating_sub(self.before.servers).as_secs_f64()
    }
}
