//! Connections: a small pool, and single ones for what must not be starved or takes long.

use super::failure;
use super::lineage::Lineage;
use super::target::Target;
use deadpool_postgres::{Connect, Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime, Timeouts};
use dormouse_core::fault::Failure;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};
use tokio_util::sync::CancellationToken;

/// How long a connection of one's own may take to open, and a database to answer for the first time.
pub(super) const OPEN_MAX: Duration = Duration::from_secs(20);

pub(super) struct Pool {
    pool: deadpool_postgres::Pool,
    opener: Opener,
    lineage: Arc<Lineage>,
}

/// Opens connections, and can end all that it has opened.
#[derive(Clone)]
pub(super) struct Opener {
    target: Target,
    /// Cancelled once nothing is expected any more of what was opened under it.
    trust: Arc<Mutex<CancellationToken>>,
}

impl Opener {
    pub(super) fn new(target: Target) -> Self {
        Self { target, trust: Arc::default() }
    }

    /// What the connections that are open stand under. When it is cancelled, all of them end: what waits for an answer on one is
    /// told so, and whoever asks next opens another.
    pub(super) fn trust(&self) -> CancellationToken {
        let mut trust = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if trust.is_cancelled() {
            *trust = CancellationToken::new();
        }
        trust.clone()
    }

    async fn open(&self) -> Result<(Client, JoinHandle<()>), Error> {
        let trust = self.trust();
        let (client, connection) = self.target.connect().await?;
        let task = tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(why) = ended {
                    tracing::debug!(%why, "a database connection ended");
                },
                () = trust.cancelled() => {}
            }
        });
        Ok((client, task))
    }
}

impl Connect for Opener {
    fn connect(&self, _: &tokio_postgres::Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(self.open())
    }
}

impl Pool {
    /// Connections to one database, each looked at by `lineage` when it is opened.
    pub(super) fn new(opener: &Opener, connections_max: usize, lineage: &Arc<Lineage>) -> Result<Self, Failure> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(opener.target.config().clone(), opener.clone(), recycling);
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
        Ok(Self { pool, opener: opener.clone(), lineage: Arc::clone(lineage) })
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
        let open = async {
            let (client, _) = self.opener.open().await.map_err(failure::of)?;
            self.lineage.look(&client).await?;
            Ok(client)
        };
        let late = |_| Err(Failure::Unavailable("the database did not open a connection in time".into()));
        tokio::time::timeout(OPEN_MAX, open).await.unwrap_or_else(late)
    }

    /// Where to connect to, for replication.
    pub(super) const fn target(&self) -> &Target {
        &self.opener.target
    }
}
