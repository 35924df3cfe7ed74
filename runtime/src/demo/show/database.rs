//! The database of the demonstration: one that exists, or a private one.

use super::board;
use crate::db;
use crate::demo::cluster::{Cluster, ClusterError};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Written on the sample's schema: what may be removed, by us or by a later run.
const MARK: &str =
    "made by dormouse demo, with the schema dormouse, its slot and its publication; removed when the demo ends";

/// Why there is no database to show.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No private Postgres.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The database does not answer, or refuses.
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// There is no connection to it.
    #[error("{0}")]
    Unreachable(String),
    /// The database that was named cannot be used.
    #[error("{0}")]
    Unfit(String),
}

/// Postgres' own sentence, where there is one.
fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error;
    let source = || error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    error.as_db_error().map_or_else(source, |error| error.message().to_owned())
}

/// A database with the sample's schema in it.
#[derive(Debug)]
pub struct Database {
    url: String,
    /// Ours alone; ends, and leaves nothing, when dropped.
    cluster: Option<Cluster>,
}

impl Database {
    /// A private one. Blocks.
    ///
    /// # Errors
    /// When there is no Postgres, or it does not start.
    pub fn private() -> Result<Self, ClusterError> {
        let cluster = Cluster::start()?;
        Ok(Self { url: cluster.url(), cluster: Some(cluster) })
    }

    /// One that exists, if we may use it: nothing in it but what an earlier demo left is touched.
    ///
    /// # Errors
    /// When it does not answer, cannot replicate, or is served by Dormouse already.
    pub async fn existing(url: &str) -> Result<Self, DatabaseError> {
        let client = connect(url).await?;
        let mark = "select obj_description(to_regnamespace($1), 'pg_namespace'), to_regnamespace($1) is not null";
        let row = client.query_one(mark, &[&board::SCHEMA]).await?;
        if row.get::<_, Option<&str>>(0) == Some(MARK) {
            remove(&client).await?; // A demo that was killed left it.
        } else if row.get(1) {
            return Err(DatabaseError::Unfit(format!("its schema {} was not made by a demo", board::SCHEMA)));
        }
        let fit = "select current_setting('wal_level'), pg_is_in_recovery(), to_regnamespace('dormouse') is not null
            or exists (select from pg_publication where pubname = name)
            or exists (select from pg_replication_slots where slot_name = name)
            from (select 'dormouse_' || oid from pg_database where datname = current_database()) ours (name)";
        let row = client.query_one(fit, &[]).await?;
        if row.get(1) {
            return Err(DatabaseError::Unfit("it is a standby, and a demo writes".into()));
        }
        if row.get::<_, &str>(0) != "logical" {
            let sentence = "its wal_level is not logical (`alter system set wal_level = 'logical'`, then restart it)";
            return Err(DatabaseError::Unfit(sentence.into()));
        }
        if row.get(2) {
            let sentence = "Dormouse already serves it (it has a schema `dormouse`, or the slot or publication)";
            return Err(DatabaseError::Unfit(sentence.into()));
        }
        Ok(Self { url: url.into(), cluster: None })
    }

    /// How to connect. May hold a password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is ours alone, so that its address is no secret.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    /// A new connection.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn connect(&self) -> Result<Client, DatabaseError> {
        connect(&self.url).await
    }

    /// Makes the sample's schema and tables.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn prepare(&self, receipts: i32) -> Result<(), DatabaseError> {
        let client = self.connect().await?;
        let schema = board::SCHEMA;
        client.batch_execute(&format!("create schema {schema}; comment on schema {schema} is '{MARK}'")).await?;
        Ok(board::prepare(&client, receipts).await?)
    }

    /// Removes what the demo made. The server must have ended.
    ///
    /// # Errors
    /// As Postgres says; then a later demo tries again.
    pub async fn clear(self) -> Result<(), DatabaseError> {
        match self.cluster {
            Some(cluster) => tokio::task::block_in_place(|| drop(cluster)),
            None => remove(&connect(&self.url).await?).await?,
        }
        Ok(())
    }
}

async fn remove(client: &Client) -> Result<(), DatabaseError> {
    let name: String = client
        .query_one("select 'dormouse_' || oid from pg_database where datname = current_database()", &[])
        .await?
        .get(0);
    // A server that was just killed may still be attached.
    let detach = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active";
    client.execute(detach, &[&name]).await?;
    drop_slot(client, &name).await?;
    let schema = board::SCHEMA;
    let rest = format!(
        "drop publication if exists {name}; drop schema if exists dormouse cascade; drop schema if exists {schema} cascade"
    );
    Ok(client.batch_execute(&format!("set client_min_messages = warning; {rest}")).await?)
}

/// The slot is free once whoever was attached to it has noticed.
async fn drop_slot(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    const ATTEMPTS_MAX: u32 = 50;
    let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1";
    let mut attempts = 1;
    loop {
        match client.execute(sql, &[&name]).await {
            Err(error) if attempts < ATTEMPTS_MAX && error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            dropped => return dropped.map(drop),
        }
    }
}

async fn connect(url: &str) -> Result<Client, DatabaseError> {
    db::connect(url).await.map_err(|why| DatabaseError::Unreachable(why.reason().to_owned()))
}
