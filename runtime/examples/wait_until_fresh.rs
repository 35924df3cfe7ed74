//! Writes to Postgres, then waits until the replica shows the write:
//! `cargo run --example wait_until_fresh -- ws://127.0.0.1:7654 postgres://postgres@localhost/postgres`.

use dormouse_core::position::Lsn;
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::{Client, Options};
use std::error::Error;
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |or: &str| arguments.next().unwrap_or_else(|| or.into());
    let (url, database) = (next("ws://127.0.0.1:7654"), next("postgres://postgres@localhost/postgres"));
    let rows = write_and_read(&url, &database, "insert into note (text) values ('hello')", "public.note").await?;
    println!("the replica has {rows} rows, ours among them");
    Ok(())
}

/// How many rows the replica has of a table once it shows what `sql` wrote.
pub async fn write_and_read(url: &str, database: &str, sql: &str, table: &str) -> Result<usize, Box<dyn Error>> {
    let client = Client::connect(Options::new(url, "example-fresh")?, MemoryStore::new());
    client.wait_until_live().await?;

    let (postgres, connection) = tokio_postgres::connect(database, NoTls).await?;
    tokio::spawn(connection);
    postgres.batch_execute(sql).await?;
    let written = postgres.query_one("select pg_current_wal_insert_lsn()::text", &[]).await?;
    let written: Lsn = written.get::<_, String>(0).parse()?;

    client.wait_until_shown(written).await?;
    let rows = client.read(|store| store.table(table).map_or(0, |table| table.len()));
    client.close().await;
    Ok(rows)
}
