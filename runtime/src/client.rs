//! The client library: keeps a replica of what a Dormouse server publishes.
//!
//! ```no_run
//! use dormouse_core::store::MemoryStore;
//! use dormouse_runtime::client::{Client, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new("ws://127.0.0.1:8080", "my-laptop")?;
//! let client = Client::connect(options, MemoryStore::default());
//! client.wait_until_live().await?;
//! client.read(|store| println!("{:?}", store.held().shown));
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! What an application does with it, each with an example that runs (`runtime/examples/`):
//!
//! - **Subscribe to changes**: [`Client::changes`] tells every transaction that is applied, or that it could not: `subscribe.rs`.
//! - **Query**: [`Client::read`] looks into the store between two transactions. With the feature `sqlite`, `sqlite::SqliteStore` keeps
//!   the rows as tables in a file, which any connection can query while they are kept up to date: `query.rs`.
//! - **Wait until fresh**: [`Client::wait_until_shown`] after a write of one's own, [`Client::wait_until_fresh`] after anyone's:
//!   `wait_until_fresh.rs`.
//! - **Watch how it goes**: [`Client::status`] and [`Client::events`].
//! - **Keep rows elsewhere**: implement [`Store`].
//!
//! # What it promises
//!
//! Each committed transaction is applied once, as a whole and in commit order. The connection is dialled again whenever it is
//! lost, and the client goes on from where its store stands. A store that fails is asked again after a while.
//!
//! # Cancellation
//!
//! Every `async` function here may be dropped at any moment, as `select!` and timeouts do. A wait that is given up loses
//! nothing: what it waited for happens all the same. [`Client::close`] and [`Client::forget`] that are given up, and a [`Client`] that is dropped,
//! end it at once, as a crash would: nothing that was stored is lost, and nothing is stored any more by the time that whoever
//! takes the store has it. So the same store can be given to the next client at once.
//!
//! # Features of the crate
//!
//! With `default-features = false` there is this module and nothing heavy. `sqlite` adds the store in a file (and compiles SQLite).
//! `server`, the default, is the program `dormouse` with all its commands.

mod address;
mod changes;
mod driver;
mod errands;
mod fresh;
mod security;
mod socket;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use changes::{Changed, Changes};
pub use security::Security;
pub(crate) use security::{OpenError, Stream};
pub use store::{Replica, Store};

use changes::Publisher;
use dormouse_core::change::Scope;
use dormouse_core::client::{ClientPhase, Config, Notice};
use dormouse_core::fault::{Failure, PeerFault};
use dormouse_core::position::{Era, Position, Waypoint};
use dormouse_core::session::ClientId;
pub use dormouse_core::wire::Format;
use dormouse_core::wire::Secret;
use driver::{Command, Life};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

/// How many notices wait for a slow listener before it misses the oldest.
const NOTICES_KEPT: usize = 1_024;
/// How many wishes of the application wait for the client.
const COMMANDS_MAX: usize = 16;
/// How long [`Client::close`] waits for the server to hear of it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Whom to connect to, and as whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server is.
    pub address: Address,
    /// Whom to trust behind `wss://`.
    pub security: Security,
    /// Who the client is, what it wants, and its times. Its credential is sent as a bearer in a header, and in no message.
    pub config: Config,
    /// How messages travel, if the server speaks it; else as plain JSON, which every server speaks.
    pub format: Format,
}

/// An address or client id that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(pub String);

impl Options {
    /// Everything published, at `url` (`ws://host:port`, or `wss://host:port` with TLS), without a credential. Behind
    /// `wss://` must be a certificate that the system trusts, for the host's name.
    ///
    /// # Errors
    /// When the URL or the client id cannot be used.
    pub fn new(url: &str, client_id: &str) -> Result<Self, InvalidOptions> {
        let client = ClientId::new(client_id).map_err(|why| InvalidOptions(why.into()))?;
        let address = Address::parse(url)?;
        Ok(Self {
            address,
            security: Security::default(),
            config: Config { seed: rand::random(), ..Config::new(client) },
            format: Format::Binary,
        })
    }

    /// The same for some tables only (`schema.table`).
    #[must_use]
    pub fn with_tables(mut self, tables: impl IntoIterator<Item = String>) -> Self {
        self.config.scope = Scope::tables(tables);
        self
    }

    /// The same with another format than [`Format::Binary`]. Those that deflate are for thin lines: they cost both ends time.
    #[must_use]
    pub const fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The same, but behind `wss://` only the authorities in this file of PEM are trusted, instead of the system's.
    #[must_use]
    pub fn with_root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.security = Security::new(Some(file.into()));
        self
    }

    /// The same with a credential.
    #[must_use]
    pub fn with_credential(mut self, credential: Option<String>) -> Self {
        self.config.token = credential;
        self
    }

    /// The same for a program that will never have another credential: the client ends when this one runs out.
    #[must_use]
    pub const fn with_fixed_credential(mut self) -> Self {
        self.config.waits_for_credential = false;
        self
    }
}

/// How much of a backfill has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Rows that have arrived.
    pub rows: u64,
    /// Rows that there are, as the server told with them.
    pub of: u64,
}

/// What is known of a client at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub phase: ClientPhase,
    /// Whether everything that was committed before the present connection is applied.
    pub live: bool,
    /// Where its rows stand.
    pub shown: Option<Waypoint>,
    /// The server's era and head, as the last welcome told them.
    pub welcome: Option<(Era, Position)>,
    /// How much of a first sync, or of one that comes again, has arrived; `None` when there is none under way.
    pub backfill: Option<BackfillProgress>,
    /// How often everything came again.
    pub resyncs: u64,
    /// How many connections were welcome.
    pub welcomes: u64,
    /// How many greetings were sent.
    pub greetings: u64,
    /// When the credential runs out, as far as the server has said: provide another before, with [`Client::set_credential`].
    pub credential_until: Option<Instant>,
    /// The credential has run out, and the client waits for another.
    pub credential_wanted: bool,
    /// With what the server last closed a session.
    pub fault: Option<PeerFault>,
    /// How the store last failed.
    pub store_failure: Option<Failure>,
    /// Set once the client has ended and will not come back.
    pub stopped: bool,
}

/// The client has ended, and will not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the client has stopped{}", .0.as_ref().map(|fault| format!(" ({}): {}", fault.code.as_str(), fault.message)).unwrap_or_default())]
pub struct Stopped(pub Option<PeerFault>);

/// A running client with its store.
#[derive(Debug)]
pub struct Client<S> {
    store: Arc<Mutex<S>>,
    status: watch::Receiver<Status>,
    notices: broadcast::Sender<Notice>,
    publisher: Publisher,
    commands: mpsc::Sender<Command>,
    driver: Option<AbortOnDropHandle<()>>,
    life: Life,
}

/// Ends it at once, as a crash would. Nothing is stored any more once this returns, or once whoever takes the store has it.
impl<S> Drop for Client<S> {
    fn drop(&mut self) {
        self.life.end();
        self.publisher.end();
    }
}

impl<S: Store> Client<S> {
    /// Starts a client over a store, which may hold what an earlier client left there. Must be called within tokio.
    pub fn connect(options: Options, store: S) -> Self {
        Self::connect_shared(options, Arc::new(Mutex::new(store)))
    }

    /// The same with a store that the caller goes on to share. One client at a time may use it.
    pub fn connect_shared(options: Options, store: Arc<Mutex<S>>) -> Self {
        let shown = store.lock().unwrap_or_else(PoisonError::into_inner).held().shown;
        let first = Status {
            phase: ClientPhase::Offline,
            live: false,
            shown,
            welcome: None,
            backfill: None,
            resyncs: 0,
            welcomes: 0,
            greetings: 0,
            credential_until: None,
            credential_wanted: false,
            fault: None,
            store_failure: None,
            stopped: false,
        };
        let (status, watched) = watch::channel(first);
        let (notices, _) = broadcast::channel(NOTICES_KEPT);
        let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
        let life = Life::begin();
        let publisher = Publisher::default();
        let tell = driver::Tell { status, notices: notices.clone(), publisher: publisher.clone() };
        let driver = driver::Driver::new(options, Arc::clone(&store), tell, life.clone());
        let driver = Some(AbortOnDropHandle::new(tokio::spawn(driver.run(commanded))));
        Self { store, status: watched, notices, publisher, commands, driver, life }
    }

    /// Looks at the store between two of its transactions. Keep it short: nothing is applied meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store, to be kept beyond this client.
    #[must_use]
    pub fn store(&self) -> Arc<Mutex<S>> {
        Arc::clone(&self.store)
    }

    /// What is known of the client now; to be watched, too.
    ///
    /// What is borrowed of it must be given back before anything else is waited for: the client cannot say what comes next meanwhile.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Every transaction that is applied from now on. A listener that falls behind, and whoever must look at everything anew for
    /// another reason, is told so: see [`Changed`].
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.publisher.subscribe(self.status.clone())
    }

    /// What the client is told from now on. A listener that falls far behind misses the oldest, and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Waits until everything that was committed before the present connection is applied. May be cancelled.
    ///
    /// # Errors
    /// When the client stops instead.
    pub async fn wait_until_live(&self) -> Result<Option<Waypoint>, Stopped> {
        self.wait_for(|status| status.live).await.map(|status| status.shown)
    }

    /// Waits until the status is as wished. May be cancelled.
    ///
    /// # Errors
    /// When the client stops instead.
    pub async fn wait_for(&self, mut wished: impl FnMut(&Status) -> bool) -> Result<Status, Stopped> {
        let mut status = self.status.clone();
        let status = match status.wait_for(|status| status.stopped || wished(status)).await {
            Ok(status) => status.clone(),
            Err(_) => self.status.borrow().clone(),
        };
        if wished(&status) { Ok(status) } else { Err(Stopped(status.fault)) }
    }

    /// Provides a new credential, for the same client: on the open connection, which stays, and for every later one. A client whose
    /// credential has run out comes back with it.
    pub async fn set_credential(&self, credential: String) {
        let _ = self.commands.send(Command::UseCredential(Secret::new(&credential))).await; // A client that has ended needs none.
    }

    /// Ends the client in order.
    pub async fn close(self) {
        self.end(false).await;
    }

    /// Ends the client, and lets the server forget it.
    pub async fn forget(self) {
        self.end(true).await;
    }

    async fn end(mut self, forget: bool) {
        let _ = self.commands.send(Command::Stop { forget }).await;
        if let Some(driver) = self.driver.take() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, driver).await;
        }
    }
}
