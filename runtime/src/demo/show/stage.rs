//! What runs behind the page: the keeper of the tea room, the server and its supervisor.

use super::board::{self, Keeper, Truth, Written};
use super::database::{Database, DatabaseError};
use crate::demo::server::Server;
use rand::Rng;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::Client;

/// How long the tea room rests between two transactions: about four a second.
const PAUSE_MS: std::ops::Range<u64> = 120..380;
/// How long a killed server stays dead, so that one sees it.
const DEAD: Duration = Duration::from_millis(1_200);
/// How often the supervisor looks whether the server has ended by itself.
const SUPERVISE_EVERY: Duration = Duration::from_millis(200);
/// The truth is read for at most this share of the time.
const TRUTH_SHARE: u32 = 20;

/// Everything that the page can move.
#[derive(Debug)]
pub struct Stage {
    keeper: Mutex<Keeper>,
    reader: Mutex<Reader>,
    server: Mutex<Supervised>,
    writes: AtomicBool,
}

#[derive(Debug)]
struct Supervised {
    server: Server,
    lives: u32,
    /// When a server that was killed is to be started again.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Reader {
    client: Client,
    last: Option<(Truth, Instant)>,
}

/// The server's process, as the system sees it.
#[derive(Debug, Serialize)]
pub struct ServerProcess {
    /// `None` while it is dead.
    pub pid: Option<u32>,
    /// How often it was started.
    pub lives: u32,
    /// Its resident memory.
    pub rss_bytes: Option<u64>,
}

impl Stage {
    /// Takes the keeper's and the reader's connections, and a server that runs.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(database: &Database, server: Server) -> Result<Self, DatabaseError> {
        Ok(Self {
            keeper: Mutex::new(Keeper::new(database.connect().await?)),
            reader: Mutex::new(Reader { client: database.connect().await?, last: None }),
            server: Mutex::new(Supervised { server, lives: 1, due: None }),
            writes: AtomicBool::new(true),
        })
    }

    /// Writes and supervises, for as long as it is polled.
    pub async fn run(&self) {
        tokio::join!(self.write(), self.supervise());
    }

    async fn write(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(rand::rng().random_range(PAUSE_MS))).await;
            if self.writes()
                && let Err(error) = self.keeper.lock().await.carry_on().await
            {
                tracing::warn!(%error, "the tea room cannot write");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn supervise(&self) {
        loop {
            tokio::time::sleep(SUPERVISE_EVERY).await;
            let mut supervised = self.server.lock().await;
            if supervised.due.is_some_and(|due| Instant::now() < due) {
                continue;
            }
            match supervised.server.revive() {
                Ok(true) => {
                    supervised.lives += 1;
                    // One that ends as soon as it has started is not started again at once.
                    supervised.due = Some(Instant::now() + DEAD);
                }
                Ok(false) => supervised.due = None,
                Err(error) => tracing::warn!(%error, "the server cannot be started"),
            }
        }
    }

    /// Whether the steady writer writes.
    pub fn writes(&self) -> bool {
        self.writes.load(Ordering::Relaxed)
    }

    /// Lets the steady writer write, or pause.
    pub fn let_write(&self, writes: bool) {
        self.writes.store(writes, Ordering::Relaxed);
    }

    /// One order.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn write_row(&self) -> Result<Written, DatabaseError> {
        Ok(self.keeper.lock().await.write_row().await?)
    }

    /// 10,000 changes.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn burst(&self) -> Result<Written, DatabaseError> {
        Ok(self.keeper.lock().await.burst().await?)
    }

    /// Kills the server with SIGKILL; it is started again a little later.
    pub async fn kill_server(&self) {
        let mut supervised = self.server.lock().await;
        tokio::task::block_in_place(|| supervised.server.kill());
        supervised.due = Some(Instant::now() + DEAD);
    }

    /// Lets the server drop all its hubs.
    pub async fn hibernate(&self) {
        let supervised = self.server.lock().await;
        tokio::task::block_in_place(|| supervised.server.hibernate());
    }

    /// What Postgres holds; some moments old if reading it is much work.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn truth(&self) -> Result<Truth, DatabaseError> {
        let mut reader = self.reader.lock().await;
        if let Some((truth, until)) = &reader.last
            && Instant::now() < *until
        {
            return Ok(truth.clone());
        }
        let start = Instant::now();
        let truth = board::truth(&reader.client).await?;
        let until = Instant::now() + start.elapsed() * TRUTH_SHARE;
        reader.last = Some((truth.clone(), until));
        Ok(truth)
    }

    /// The server's process.
    pub async fn server(&self) -> ServerProcess {
        let supervised = self.server.lock().await;
        let pid = supervised.server.pid();
        ServerProcess { pid, lives: supervised.lives, rss_bytes: pid.and_then(rss_bytes) }
    }

    /// Ends the server in order. Nobody must be polling [`Stage::run`], which would start it again.
    pub async fn end(&self) {
        let mut supervised = self.server.lock().await;
        tokio::task::block_in_place(|| supervised.server.stop(Duration::from_secs(6)));
    }
}

fn rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kb| kb * 1024)
}
