//! Kills of every kind at random moments, each kind at least once.

use super::cluster::{Cluster, ClusterError};
use super::fleet::Fleet;
use super::proxy::Proxy;
use super::server::Server;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// What was killed, and how often.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Kills {
    /// The server process, with SIGKILL.
    pub server: u64,
    /// Postgres with all its processes, with SIGKILL.
    pub postgres: u64,
    /// Clients, whose stores stay.
    pub client: u64,
    /// Connections cut or gone silent.
    pub cut: u64,
    /// Evictions of all hubs.
    pub hibernate: u64,
}

impl Kills {
    /// Whether each kind was done.
    #[must_use]
    pub const fn of_every_kind(&self) -> bool {
        self.server > 0 && self.postgres > 0 && self.client > 0 && self.cut > 0 && self.hibernate > 0
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Server,
    Postgres,
    Client,
    Cut,
    Hibernate,
}

/// The kinds of one round; the gentle ones come more often.
const ROUND: [Kind; 8] =
    [Kind::Server, Kind::Postgres, Kind::Client, Kind::Client, Kind::Cut, Kind::Cut, Kind::Hibernate, Kind::Hibernate];

/// Everything that can be killed.
pub struct Stage<'a> {
    /// The database.
    pub cluster: &'a mut Cluster,
    /// The server.
    pub server: &'a mut Server,
    /// Between clients and server.
    pub proxy: &'a Proxy,
    /// The clients.
    pub fleet: &'a mut Fleet,
}

/// Why the chaos could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// Postgres did not come back.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The server did not come back.
    #[error("the server did not come back: {0}")]
    Server(#[from] std::io::Error),
}

/// Kills until the time is over, and as much longer as one round of every kind takes.
///
/// # Errors
/// When what was killed does not come back.
pub async fn rage(stage: &mut Stage<'_>, random: &mut SmallRng, lasting: Duration) -> Result<Kills, ChaosError> {
    let end = Instant::now() + lasting;
    let mut kills = Kills::default();
    // A round takes about a second per kill; in a short run less, so that it fits.
    let pause_ms = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX) / (2 * ROUND.len() as u64);
    let pause_ms = pause_ms.clamp(20, 900);
    let mut exits = 0;
    while Instant::now() < end || !kills.of_every_kind() {
        let mut round = ROUND;
        round.shuffle(random);
        for kind in round {
            if Instant::now() >= end && kills.of_every_kind() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(pause_ms / 2..=pause_ms * 3 / 2))).await;
            // It may find no Postgres when it starts, and says so and ends: then it is started again.
            exits += u64::from(stage.server.revive()?);
            one(kind, stage, random, &mut kills).await?;
        }
    }
    exits += u64::from(stage.server.revive()?);
    if exits > 0 {
        tracing::info!(exits, "the server ended by itself and was started again");
    }
    stage.server.await_open().await?;
    Ok(kills)
}

async fn one(kind: Kind, stage: &mut Stage<'_>, random: &mut SmallRng, kills: &mut Kills) -> Result<(), ChaosError> {
    tracing::debug!(?kind, "kill");
    match kind {
        Kind::Server => {
            kills.server += 1;
            tokio::task::block_in_place(|| stage.server.kill());
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            stage.server.launch()?;
            if random.random_ratio(1, 2) {
                // The other half of the time the next kill may meet it while it starts.
                let _ = stage.server.await_open().await;
            }
        }
        Kind::Postgres => {
            kills.postgres += 1;
            tokio::task::block_in_place(|| stage.cluster.kill());
            tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
            tokio::task::block_in_place(|| stage.cluster.launch())?;
        }
        Kind::Client => kills.client += stage.fleet.crash_some(random),
        Kind::Cut => {
            let silent = random.random_ratio(1, 3);
            let share = random.random_range(1..=3);
            let chosen = || random.random_ratio(share, 3);
            let hit = if silent { stage.proxy.stall(chosen) } else { stage.proxy.cut(chosen) };
            kills.cut += hit as u64;
        }
        Kind::Hibernate => {
            // Counted only where a server is there to obey; one that is starting has no hubs yet.
            if stage.server.await_open().await.is_ok() {
                kills.hibernate += 1;
                tokio::task::block_in_place(|| stage.server.hibernate());
            }
        }
    }
    Ok(())
}
