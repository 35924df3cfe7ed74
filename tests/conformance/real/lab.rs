//! The one cluster of a suite, and a new database on it for each run.

use super::spy::{self, Spied};
use crate::conformance::TABLES;
use crate::conformance::wire::Wire;
use dormouse_core::position::Lsn;
use dormouse_runtime::db::{Config, Database};
use dormouse_runtime::demo::cluster::Cluster;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

/// The longest that anything here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Sessions of this suite wait for no standby, unless a commit is to be held.
const OPTIONS: &str = "-c%20synchronous_commit%3Dlocal%20-c%20lock_timeout%3D150ms";

/// A cluster whose commits wait for a standby that never comes, and a prepared database to copy.
pub struct Lab {
    cluster: Cluster,
    admin: Client,
    wire: Wire,
    runs: u32,
}

impl Lab {
    pub async fn new() -> Self {
        let settings =
            [("synchronous_standby_names", "nobody"), ("autovacuum", "off"), ("max_slot_wal_keep_size", "-1")];
        let cluster = Cluster::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
        let admin = connect(&url(cluster.port(), "postgres")).await;
        admin.batch_execute("create database template_of_runs").await.expect("a superuser may");
        let prototype = url(cluster.port(), "template_of_runs");
        let client = connect(&prototype).await;
        client.batch_execute(&tables()).await.expect("the preparation is valid SQL");
        drop(Database::connect(Config::new(&prototype)).await.expect("the database is new"));
        drop(client);
        let wire = Wire::to(cluster.port()).await;
        Self { cluster, admin, wire, runs: 0 }
    }

    /// A new database with the tables of the model, and a spy on what commits in it.
    pub async fn bench(&mut self) -> Bench<'_> {
        self.runs += 1;
        let name = format!("run_{}", self.runs);
        let sql = format!("create database {name} template template_of_runs");
        // The session that prepared it may take a moment to end.
        eventually("the prepared database is copied", async || self.admin.batch_execute(&sql).await.is_ok()).await;
        let client = connect(&url(self.cluster.port(), &name)).await;
        spy::post(&client, &name).await;
        Bench { lab: self, name, client, spied: Vec::new() }
    }
}

/// The tables as the model has them: a key, a value, and a large column that updates may leave alone.
fn tables() -> String {
    let one = |n: usize| {
        format!(
            "create table t{n} (id int8 primary key, value text, large text); \
             alter table t{n} alter column large set storage external; "
        )
    };
    let all: Vec<_> = (0..TABLES).map(|n| format!("t{n}")).collect();
    format!("{} create publication spy for table {}", (0..TABLES).map(one).collect::<String>(), all.join(", "))
}

/// One run's database.
pub struct Bench<'a> {
    lab: &'a mut Lab,
    name: String,
    client: Client,
    spied: Vec<Spied>,
}

impl Bench<'_> {
    pub fn url(&self) -> String {
        url(self.lab.cluster.port(), &self.name)
    }

    /// The same over the wire that loses answers.
    pub fn lossy_url(&self) -> String {
        format!("{}&sslmode=disable", url(self.lab.wire.port(), &self.name))
    }

    pub const fn wire(&self) -> &Wire {
        &self.lab.wire
    }

    pub async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    pub const fn client(&self) -> &Client {
        &self.client
    }

    pub async fn restart(&mut self, crash: bool) {
        let cluster = &mut self.lab.cluster;
        let back = tokio::task::block_in_place(|| if crash { cluster.kill9() } else { cluster.restart() });
        back.unwrap_or_else(|error| panic!("{error}"));
        self.lab.admin = connect(&url(self.lab.cluster.port(), "postgres")).await;
        self.client = connect(&self.url()).await;
    }

    /// Everything that is stored as a time lies further back: to all who compare it with the clock, the clock went on.
    pub async fn pass(&self, hours: u32) {
        let back = format!("- interval '{hours} hours'");
        self.sql(&format!(
            "update dormouse.lease set expires_at = expires_at {back}; \
             update dormouse.client set expires_at = expires_at {back}; \
             update dormouse.transaction_history set commit_time = commit_time {back}"
        ))
        .await;
    }

    pub async fn renewals(&self) -> u64 {
        let row = self.client.query_one("select renewals from dormouse.lease", &[]).await.expect("answers");
        u64::try_from(row.get::<_, i64>(0)).expect("it only grows")
    }

    pub async fn confirmed(&self, slot: &str) -> Option<Lsn> {
        let sql = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
        let row = self.client.query_opt(sql, &[&slot]).await.expect("answers")?;
        row.get::<_, Option<String>>(0).map(|lsn| lsn.parse().expect("an LSN"))
    }

    pub async fn drop_slot(&self, slot: &str) {
        let end =
            format!("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'");
        let drop =
            format!("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}'");
        eventually("the slot is dropped", async || {
            self.client.batch_execute(&end).await.is_ok() && self.client.batch_execute(&drop).await.is_ok()
        })
        .await;
    }

    pub async fn advance_slot(&self, slot: &str) {
        let sql = format!("select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())");
        eventually("the slot is moved", async || self.client.batch_execute(&sql).await.is_ok()).await;
    }

    /// Makes Postgres give up its slots because they hold back too much WAL. Our spy's is one of them, so another is posted.
    pub async fn invalidate_slots(&mut self, slot: &str) {
        self.spied = self.spied().await;
        self.sql("alter system set max_slot_wal_keep_size = '1MB'").await;
        self.sql("select pg_reload_conf()").await;
        let status = "select coalesce(wal_status, '') from pg_replication_slots where slot_name = $1";
        eventually("the slot is lost", async || {
            self.sql("select pg_switch_wal()").await;
            self.sql("select pg_logical_emit_message(false, 'x', repeat('x', 1100000))").await;
            self.sql("checkpoint").await;
            let row = self.client.query_opt(status, &[&slot]).await.expect("answers");
            row.is_none_or(|row| row.get::<_, String>(0) == "lost")
        })
        .await;
        self.sql("alter system reset max_slot_wal_keep_size").await;
        self.sql("select pg_reload_conf()").await;
        self.drop_slot(&spy::slot(&self.name)).await;
        spy::post(&self.client, &self.name).await;
    }

    /// What has been committed in this run.
    pub async fn spied(&self) -> Vec<Spied> {
        let mut all = self.spied.clone();
        all.extend(spy::report(&self.client, &self.name).await);
        all
    }

    pub async fn end(&self) {
        self.drop_slot(&spy::slot(&self.name)).await;
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}?options={OPTIONS}")
}

/// A connection to a database.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database answers");
    tokio::spawn(connection);
    client
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
