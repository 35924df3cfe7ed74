//! A `serve` process, to be killed and started again.

use super::process;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// How long the server may take to open its port.
const START_MAX: Duration = Duration::from_secs(30);

/// A server process with its own port. Ends when dropped.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    database_url: String,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts `program serve` for a database on a free loopback port; `more` goes to its command line.
    ///
    /// # Errors
    /// When it does not open its port; with the end of its log.
    pub async fn start(program: &Path, database_url: &str, more: &[&str]) -> io::Result<Self> {
        let port = super::cluster::free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let fixed = ["serve", "--listen", &listen];
        let arguments = fixed.iter().chain(more).map(|argument| (*argument).to_owned()).collect();
        let dir = tempfile::Builder::new().prefix("dormouse-server-").tempdir()?;
        process::sweep_after_us(dir.path());
        let mut server = Self {
            program: program.into(),
            database_url: database_url.into(),
            environment: Vec::new(),
            arguments,
            port,
            dir,
            child: None,
        };
        server.launch()?;
        server.await_open().await?;
        Ok(server)
    }

    /// The port it listens on, in each of its lives.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sets an environment variable for its lives to come.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Starts it again after it was killed or ended.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn launch(&mut self) -> io::Result<()> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = process::bound(&self.program, "KILL");
        // What this shell configures is for servers that are meant to last.
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DORMOUSE_"));
        for (name, _) in ours {
            command.env_remove(name);
        }
        // Its password, if it has one, is nobody's to see among the arguments of processes.
        command.env("DORMOUSE_DATABASE_URL", &self.database_url);
        command.envs(self.environment.iter().cloned());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(process::spawn(command)?);
        Ok(())
    }

    /// Starts it again if it has ended by itself, as whoever supervises processes does. True when it had.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn revive(&mut self) -> io::Result<bool> {
        let runs = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !runs {
            self.launch()?;
        }
        Ok(!runs)
    }

    /// Waits until it takes connections.
    ///
    /// # Errors
    /// When it ends instead, or takes too long; with the end of its log.
    pub async fn await_open(&mut self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let runs = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
            if !runs || tokio::time::Instant::now() > deadline {
                let what = if runs { "the server did not open its port" } else { "the server ended" };
                return Err(io::Error::other(format!("{what}\n{}", self.log_tail(20))));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it in order, as an operator does. False when it did not end within `limit` and was killed.
    pub fn stop(&mut self, limit: Duration) -> bool {
        let Some(child) = &mut self.child else { return true };
        process::signal("TERM", &[child.id()]);
        let in_order = process::wait_at_most(child, limit);
        self.kill();
        in_order
    }

    /// Makes it evict all its hubs.
    pub fn hibernate(&self) {
        process::signal("USR1", self.pid().as_slice());
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines_max: usize) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(lines_max)..].join("\n")
    }

    /// Everything that it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log_tail(usize::MAX)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
