//! Connections: a small pool, and single ones for what must not be starved or takes long.

use super::config::Config;
use super::failure;
use super::lineage::Lineage;
use super::target::Target;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime, Timeouts};
use dormouse_core::fault::Failure;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    target: Target,
    lineage: Arc<Lineage>,
}

impl Pool {
    /// Connections to one database, each looked at by `lineage` when it is opened.
    pub(super) fn new(config: &Config, connections_max: usize, lineage: &Arc<Lineage>) -> Result<Self, Failure> {
        let target = config.parsed()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(target.config().clone(), target.connector(), recycling);
        let timeouts = Timeouts {
            wait: Some(Duration::from_secs(30)),
            create: Some(Duration::from_secs(10)),
            recycle: Some(Duration::from_secs(5)),
        };
        let pool = deadpool_postgres::Pool::builder(manager).max_size(connections_max.max(1));
        let looks = Arc::clone(lineage);
        let look = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let looks = Arc::clone(&looks);
            Box::pin(async move {
                looks.look(client).await.map_err(|failure| HookError::message(failure.reason().to_owned()))
            })
        });
        let pool = pool.runtime(Runtime::Tokio1).timeouts(timeouts).post_create(look).build();
        let pool = pool.map_err(|why| Failure::Refused(format!("the connection pool cannot be built: {why}")))?;
        Ok(Self { pool, target, lineage: Arc::clone(lineage) })
    }

    /// A connection of the pool.
    pub(super) async fn get(&self) -> Result<Object, Failure> {
        self.lineage.holds()?;
        self.pool.get().await.map_err(failure::of_pool)
    }

    /// How many connections are open, and how many of them are in use.
    pub(super) fn usage(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.size.saturating_sub(status.available))
    }

    /// A connection of one's own. It ends when the client is dropped.
    pub(super) async fn dedicated(&self) -> Result<Client, Failure> {
        let (client, connection) = self.target.connect().await.map_err(failure::of)?;
        tokio::spawn(async move {
            if let Err(why) = connection.await {
                tracing::debug!(%why, "a database connection ended");
            }
        });
        self.lineage.look(&client).await?;
        Ok(client)
    }

    /// Where to connect to, for replication.
    pub(super) const fn target(&self) -> &Target {
        &self.target
    }
}
