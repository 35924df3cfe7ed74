//! Creates the schema `dormouse`, and brings an older one up to date.

use super::failure;
use super::pool::Pool;
use dormouse_core::fault::Failure;
use std::time::Duration;
use tokio_postgres::{Client, Transaction};

/// One script per version, in order. A script is never changed once it was released.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
];

/// The version of the schema that this program makes.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "there are few migrations")]
pub(crate) const VERSION: i32 = MIGRATIONS.len() as i32;

/// Serializes the nodes that start at once. Any number would do, as long as it stays.
const ADVISORY_LOCK: i64 = 0x646f_726d_6f75_7365;

/// Returns the oid of the database. The migration itself may take long, or wait for another node's; the first answer may not.
pub(super) async fn migrate(pool: &Pool, patience: Duration) -> Result<u32, Failure> {
    let mut client = pool.get().await?;
    let oid = tokio::time::timeout(patience, inspect(&client)).await.unwrap_or_else(|_| {
        let why = format!("it accepted the connection, and then answered nothing for {} s", patience.as_secs());
        Err(Failure::Unavailable(why))
    })?;
    let transaction = client.transaction().await.map_err(failure::of)?;
    run(&transaction).await?;
    transaction.commit().await.map_err(failure::of)?;
    Ok(oid)
}

/// Refuses a server or database that cannot be used. Returns the oid of the database.
async fn inspect(client: &Client) -> Result<u32, Failure> {
    let row = client
        .query_one(
            "select oid, pg_is_in_recovery(), current_setting('server_version_num')::int, getdatabaseencoding()::text \
         from pg_database where datname = current_database()",
            &[],
        )
        .await;
    let row = row.map_err(failure::of)?;
    let (oid, standby, version, encoding): (u32, bool, i32, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
    if standby {
        return Err(Failure::Refused("this database is a standby: point the database URL at the primary".into()));
    }
    if version < 140_000 {
        return Err(Failure::Refused("this server is older than PostgreSQL 14: upgrade it".into()));
    }
    if encoding == "SQL_ASCII" {
        return Err(Failure::Refused(
            "this database's encoding is SQL_ASCII: texts need a real one, such as UTF8".into(),
        ));
    }
    Ok(oid)
}

/// Lets nobody else make or change the schema until the transaction ends.
pub(crate) async fn lock(transaction: &Transaction<'_>) -> Result<(), Failure> {
    let locked = transaction.query_one("select pg_advisory_xact_lock($1)", &[&ADVISORY_LOCK]).await;
    locked.map(drop).map_err(failure::of)
}

/// What brings the schema up to date, as one text; empty when there is nothing to do.
pub(crate) fn scripts_from(version: i32) -> String {
    let done = usize::try_from(version).unwrap_or(0).min(MIGRATIONS.len());
    MIGRATIONS[done..].concat()
}

async fn run(transaction: &Transaction<'_>) -> Result<(), Failure> {
    lock(transaction).await?;
    let found = transaction.query_one("select to_regclass('dormouse.version') is not null", &[]).await;
    let found: i32 = if found.map_err(failure::of)?.get(0) {
        let row = transaction.query_one("select version from dormouse.version", &[]).await.map_err(failure::of)?;
        row.get(0)
    } else {
        // Where an administrator made it for us, we may not be allowed to.
        let has_schema = transaction.query_one("select to_regnamespace('dormouse') is not null", &[]).await;
        if !has_schema.map_err(failure::of)?.get::<_, bool>(0) {
            transaction.batch_execute("create schema dormouse").await.map_err(failure::of)?;
        }
        let create = "create table dormouse.version (version integer not null); \
             insert into dormouse.version values (0)";
        transaction.batch_execute(create).await.map_err(failure::of)?;
        0
    };
    let done = usize::try_from(found).map_err(|_| failure::corrupt("a negative version"))?;
    if done > MIGRATIONS.len() {
        return Err(Failure::Refused(format!(
            "the schema dormouse is of version {done}, made by a newer Dormouse, and this one knows versions up to {}: \
             run the newer one",
            MIGRATIONS.len()
        )));
    }
    for script in &MIGRATIONS[done..] {
        transaction.batch_execute(script).await.map_err(failure::of)?;
    }
    if done < MIGRATIONS.len() {
        let version = i32::try_from(MIGRATIONS.len()).expect("there are few migrations");
        transaction.execute("update dormouse.version set version = $1", &[&version]).await.map_err(failure::of)?;
    }
    Ok(())
}
