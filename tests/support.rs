//! A database, a server and clients for one test.

pub mod authority;
mod browser;
pub mod http;
mod raw;
mod show;
pub mod site;

pub use browser::Browser;
pub use raw::Raw;
pub use show::Show;
pub use site::Site;

use dormouse_core::row::Value;
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::Client;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// The longest that anything a test waits for may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dormouse-under-test"))
}

/// Calls a command and waits until it ends.
pub async fn call(arguments: &[&str]) -> Output {
    let output = Command::new(program()).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("it starts")
}

/// Sends a process a signal: it is suspended by `STOP`, and goes on after `CONT`.
pub fn signal(pid: impl ToString, name: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the process is there");
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A table's rows as text: values joined by `|`, rows ascending.
pub fn rows(store: &MemoryStore, table: &str) -> Vec<String> {
    let Some(table) = store.table(table) else { return Vec::new() };
    let text = |value: Value<'_>| match value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => text.to_owned(),
        Value::Unchanged => "(unchanged)".to_owned(),
        Value::Omitted(size) => format!("(omitted {size})"),
    };
    let row = |values: Vec<String>| values.join("|");
    let mut rows: Vec<_> = table.rows().map(|(_, stored)| row(stored.row.values().map(text).collect())).collect();
    rows.sort_unstable();
    rows
}

/// Waits until a client's table holds these rows.
pub async fn holds(client: &Client<MemoryStore>, table: &str, expected: &[&str]) {
    let mut expected: Vec<_> = expected.iter().map(|row| (*row).to_owned()).collect();
    expected.sort_unstable();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let actual = client.read(|store| rows(store, table));
        if actual == expected {
            break;
        }
        assert!(Instant::now() < deadline, "{table} holds {actual:?} instead of {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.read(|store| store.held().anomalies), 0, "every change fits");
}
