//! A private Postgres with a server in front of it.

use super::program;
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::{Client, Options};
use dormouse_runtime::demo::cluster::Cluster;
use dormouse_runtime::demo::server::Server;
use dormouse_runtime::verify::verify;
use std::time::Duration;
use tokio_postgres::NoTls;

/// Both, and how to reach them. Dropped, they leave nothing.
pub struct Site {
    // Dropped first: the server would complain about a database that is gone.
    pub server: Server,
    pub cluster: Cluster,
}

impl Site {
    /// A database prepared by `sql`, and a server with default settings.
    pub async fn start(sql: &str) -> Self {
        Self::start_with(sql, &[], &[]).await
    }

    /// The same with settings of Postgres and of the server.
    pub async fn start_with(sql: &str, settings: &[(&str, &str)], serve: &[&str]) -> Self {
        let cluster = Cluster::start_with(settings).unwrap_or_else(|error| panic!("{error}"));
        connect(&cluster.url()).await.batch_execute(sql).await.expect("the preparation is valid SQL");
        Self::serve(cluster, serve).await
    }

    /// A server for a database that exists.
    pub async fn serve(cluster: Cluster, serve: &[&str]) -> Self {
        let server = Server::start(program(), &cluster.url(), serve).await.unwrap_or_else(|error| panic!("{error}"));
        Self { server, cluster }
    }

    /// A connection to the database, as an application has it.
    pub async fn sql(&self) -> tokio_postgres::Client {
        connect(&self.cluster.url()).await
    }

    /// Runs statements, as an application does.
    pub async fn execute(&self, sql: &str) {
        self.sql().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// How to connect to the server as `name`, with little patience between attempts.
    pub fn options(&self, name: &str) -> Options {
        options(&self.server.url(), name)
    }

    /// A new client with an empty store.
    pub fn client(&self, name: &str) -> Client<MemoryStore> {
        Client::connect(self.options(name), MemoryStore::default())
    }

    /// A new client that is live.
    pub async fn live_client(&self, name: &str) -> Client<MemoryStore> {
        let client = self.client(name);
        client.wait_until_live().await.unwrap_or_else(|stopped| panic!("{stopped}\n{}", self.server.log_tail(20)));
        client
    }

    /// The server's memory in kB: now (`VmRSS`), or at its peak (`VmHWM`).
    pub fn memory_kb(&self, field: &str) -> u64 {
        let pid = self.server.pid().expect("the server runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// A further client compares all it gets with the database.
    pub async fn verify(&self) {
        let options = self.options(&format!("verify-{}", rand::random::<u32>()));
        let report = verify(options, &self.cluster.url(), None).await;
        let report = report.unwrap_or_else(|error| panic!("{error}\n{}", self.server.log_tail(20)));
        assert!(report.ok(), "{report:?}\n{}", self.server.log_tail(20));
        assert!(!report.tables.is_empty(), "something is published");
    }
}

/// A further server in front of a database that has one.
pub async fn second_server(cluster: &Cluster, serve: &[&str]) -> Server {
    Server::start(program(), &cluster.url(), serve).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A connection to a database.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    client
}

/// Options with little patience between attempts.
pub fn options(url: &str, name: &str) -> Options {
    let mut options = Options::new(url, name).expect("a valid address");
    options.config.backoff_first = Duration::from_millis(20);
    options.config.backoff_most = Duration::from_millis(500);
    options
}
