//! Prints every change of a replica as it is applied: `cargo run --example subscribe -- ws://127.0.0.1:7654`.

use dormouse_core::change::Change;
use dormouse_core::store::MemoryStore;
use dormouse_core::wire::json::{key_object, row_object};
use dormouse_runtime::client::{Changed, Client, Options};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7654".into());
    subscribe(&url, |line| {
        println!("{line}");
        true
    })
    .await
}

/// Hands on a line for each change, until `print` has had enough.
pub async fn subscribe(url: &str, mut print: impl FnMut(String) -> bool) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(Options::new(url, "example-subscribe")?, MemoryStore::new());
    let mut changes = client.changes();
    let mut wants_more = true;
    while wants_more && let Some(changed) = changes.next().await {
        match changed {
            // The first sync, and whenever changes cannot be listed: look at all rows.
            Changed::Everything { .. } => {
                let rows = client.read(|store| store.tables().iter().map(|(_, table)| table.len()).sum::<usize>());
                wants_more = print(format!("now there are {rows} rows"));
            }
            Changed::Transactions(applied) => {
                for (transaction, relation, change) in applied.changes() {
                    let (xid, table) = (transaction.xid, relation.full_name());
                    wants_more = print(match change {
                        Change::Insert { row, .. } => format!("{xid} insert {table} {}", row_object(relation, row)),
                        Change::Update { row, .. } => format!("{xid} update {table} {}", row_object(relation, row)),
                        Change::Move { row, .. } => format!("{xid} move {table} {}", row_object(relation, row)),
                        Change::Delete { key, .. } => format!("{xid} delete {table} {}", key_object(relation, key)),
                        Change::Truncate { .. } => format!("{xid} truncate {table}"),
                    });
                }
            }
        }
    }
    client.close().await;
    Ok(())
}
