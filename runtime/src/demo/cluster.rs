//! A private Postgres cluster: made in a moment, killed and started again at will, gone with its owner.

mod copy;
mod standby;

use super::postgres::Postgres;
use super::process;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No server programs on this machine, and none could be fetched.
    #[error(
        "no Postgres server is here{reasons}: install PostgreSQL 14 or newer with its server programs, \
         for example with `apt-get install postgresql`"
    )]
    NotInstalled {
        /// Why none could be fetched, in parentheses; empty when it was not tried.
        reasons: String,
    },
    /// A file or program could not be used.
    #[error("{what}: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        error: std::io::Error,
    },
    /// Postgres did not do as it should.
    #[error("{what}\n{log}")]
    Failed {
        /// What went wrong.
        what: String,
        /// The end of its log.
        log: String,
    },
}

impl ClusterError {
    pub(super) fn not_installed(reasons: &[String]) -> Self {
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        Self::NotInstalled { reasons }
    }

    pub(super) fn io(what: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::Io { what: what.as_ref().display().to_string(), error }
    }
}

/// A private Postgres server on a loopback port, with `wal_level = logical`. Ends, and leaves nothing, when dropped.
///
/// Its methods block for tens to hundreds of milliseconds.
#[derive(Debug)]
pub struct Cluster {
    postgres: Postgres,
    dir: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// A running cluster with settings for throw-away data: it survives a kill of its processes, not a power cut.
    ///
    /// # Errors
    /// When no server is installed, or it does not start.
    pub fn start() -> Result<Self, ClusterError> {
        Self::start_with(&[])
    }

    /// The same with more settings, as in `postgresql.conf`: `("fsync", "on")`. `ALTER SYSTEM` overrides them.
    ///
    /// # Errors
    /// When no server is installed, or it does not start.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, ClusterError> {
        let postgres = Postgres::find()?;
        let dir = tempfile::Builder::new().prefix("dormouse-postgres-").tempdir();
        let dir = dir.map_err(|error| ClusterError::io("a temporary folder", error))?;
        process::sweep_after_us(dir.path());
        postgres.own(dir.path())?;
        postgres.lay_out(&dir.path().join("data"))?;
        let port = free_port().map_err(|error| ClusterError::io("a free port", error))?;
        let mut cluster = Self { postgres, dir, port, server: None };
        cluster.configure(settings)?;
        cluster.launch_on_some_port()?;
        Ok(cluster)
    }

    /// How to connect, as the superuser, to the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// How to connect, as the superuser, to another database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The loopback port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A program of this server's version, such as `pg_basebackup`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.postgres.program(name)
    }

    /// Ends the server in order (`fast`) and starts it again on the same port.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop();
        self.launch()
    }

    /// Kills all of the server's processes with SIGKILL and starts it again on the same port; it recovers from its WAL.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn kill9(&mut self) -> Result<(), ClusterError> {
        self.kill();
        self.launch()
    }

    /// Kills all of the server's processes with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let mut pids = process::children_of(server.id());
            pids.insert(0, server.id());
            process::signal("KILL", &pids);
            let _ = server.wait();
            // The new postmaster refuses to start while a process of the old one is attached to its shared memory.
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && pids.iter().any(|pid| process::is_running(*pid)) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Ends the server in order (`fast`): connections are cut, nothing is lost. False when it did not end within 20
    /// seconds, as when a receiver of its WAL holds it up, and was killed.
    pub fn stop(&mut self) -> bool {
        let Some(mut server) = self.server.take() else { return true };
        process::signal("INT", &[server.id()]);
        let in_order = process::wait_at_most(&mut server, Duration::from_secs(20));
        if !in_order {
            self.server = Some(server);
            self.kill();
        }
        in_order
    }

    /// Starts the server again after [`Cluster::stop`] or [`Cluster::kill`], on the same port.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn launch(&mut self) -> Result<(), ClusterError> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.map_err(|error| ClusterError::io(self.log_path(), error))?;
        self.postgres.own(&self.log_path())?;
        let mut command = process::bound(self.postgres.program("postgres"), "QUIT");
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.postgres.assume_user(&mut command);
        let server = process::spawn(command).map_err(|error| ClusterError::io("postgres", error))?;
        self.server = Some(server);
        self.await_ready()
    }

    /// The last lines that the server logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn configure(&self, settings: &[(&str, &str)]) -> Result<(), ClusterError> {
        let path = self.data().join("postgresql.conf");
        let ours = [
            ("port", self.port.to_string()),
            ("listen_addresses", "127.0.0.1".into()),
            ("unix_socket_directories", String::new()),
            ("wal_level", "logical".into()),
            ("max_connections", "200".into()),
            ("max_wal_senders", "20".into()),
            ("max_replication_slots", "20".into()),
            ("shared_buffers", "64MB".into()),
            ("fsync", "off".into()),
            ("max_wal_size", "1GB".into()),
        ];
        let ours = ours.iter().map(|(name, value)| (*name, value.as_str()));
        let lines = ours.chain(settings.iter().copied());
        let lines: String = lines.map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect();
        let file = fs::OpenOptions::new().append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
        written.map_err(|error| ClusterError::io(path, error))
    }

    /// Another process may take the port between our look and the server's: then another one is tried.
    fn launch_on_some_port(&mut self) -> Result<(), ClusterError> {
        for _ in 0..5 {
            match self.launch() {
                Err(ClusterError::Failed { log, .. }) if log.contains("could not bind") => {
                    self.port = free_port().map_err(|error| ClusterError::io("a free port", error))?;
                    self.configure(&[])?;
                }
                done => return done,
            }
        }
        self.launch()
    }

    /// The last line of `postmaster.pid` says `ready` once connections are accepted.
    fn await_ready(&mut self) -> Result<(), ClusterError> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let pid_file = self.data().join("postmaster.pid");
        loop {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            let pid = self.server.as_ref().map(Child::id);
            let is_ours = text.lines().next().and_then(|line| line.trim().parse().ok()) == pid;
            if is_ours && text.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let ended = self.server.as_mut().is_none_or(|server| !matches!(server.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                self.kill();
                let what = if ended { "Postgres did not start" } else { "Postgres was not ready within a minute" };
                return Err(ClusterError::Failed { what: what.into(), log: self.log_tail() });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            process::signal("QUIT", &[server.id()]);
            if !process::wait_at_most(&mut server, Duration::from_secs(10)) {
                self.server = Some(server);
                self.kill();
            }
        }
    }
}

/// A loopback port that is free now, below those that the system gives to outgoing connections: so it stays free while
/// its server is restarted.
///
/// # Errors
/// When none is found.
pub fn free_port() -> std::io::Result<u16> {
    for _ in 0..100 {
        let port = rand::random_range(15_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(std::io::Error::other("no free port was found between 15000 and 30000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn query(url: &str, sql: &str) -> String {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        client.query_one(sql, &[]).await.expect("answers").get(0)
    }

    #[tokio::test]
    async fn a_cluster_survives_a_kill_and_leaves_nothing() {
        let mut cluster = Cluster::start().expect("starts");
        let folder = cluster.dir.path().to_path_buf();
        assert_eq!(query(&cluster.url(), "show wal_level").await, "logical");
        let write =
            "with w as (select pg_logical_emit_message(true, 'x', 'y')) select pg_current_wal_lsn()::text from w";
        query(&cluster.url(), write).await;
        cluster.kill9().expect("recovers");
        query(&cluster.url(), write).await;
        cluster.restart().expect("comes back");
        assert_eq!(query(&cluster.url(), "show server_encoding").await, "UTF8");
        let pid = cluster.server.as_ref().map(Child::id).expect("runs");
        drop(cluster);
        assert!(!folder.exists());
        assert!(!process::is_running(pid));
    }
}
