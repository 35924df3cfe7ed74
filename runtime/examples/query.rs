//! Keeps a replica in a SQLite file and asks it with SQL while it is kept up to date:
//! `cargo run --example query -- ws://127.0.0.1:7654 replica.db "select count(*) from orders"`.

use dormouse_runtime::client::sqlite::{SqliteStore, open_reader, rusqlite::types::Value};
use dormouse_runtime::client::{Client, Options};
use std::error::Error;
use std::path::Path;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |or: &str| arguments.next().unwrap_or_else(|| or.into());
    let (url, file) = (next("ws://127.0.0.1:7654"), next("replica.db"));
    let sql = next("select name from sqlite_master where type = 'table' and name not like 'dormouse%'");
    let mut answers = 0;
    query(&url, Path::new(&file), &sql, |rows| {
        println!("{rows:?}");
        answers += 1;
        answers < 10
    })
    .await
}

/// Asks once the replica is live, and again after each change, until `print` has had enough.
pub async fn query(
    url: &str,
    file: &Path,
    sql: &str,
    mut print: impl FnMut(Vec<Value>) -> bool,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Options::new(url, "example-query")?, SqliteStore::open(file)?);
    client.wait_until_live().await?;
    let mut changes = client.changes();
    // A connection of our own: it never waits for the client, nor the client for it.
    let reader = open_reader(file)?;
    loop {
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if !print(rows) || changes.next().await.is_none() {
            break;
        }
    }
    client.close().await;
    Ok(())
}
