//! Dormouse in production: the machines of `dormouse-core`, driven with tokio, Postgres and WebSockets.
//!
//! The command line is [`cli`]. Everything that touches the outside lives in this crate: the
//! clock, the database, the sockets, the disk.
//!
//! ```text
//! [source] ─▶ [replication] ─▶ [db] ─▶ [hub] ─▶ [socket], [listener] ~~▶ [client] ─▶ [replica]
//!  the stream   its host       history  hosts     the port                a replica     in SQLite
//! ```
//!
//! An application uses [`client`]: a replica in memory or in a SQLite file, which dials, resumes and stores by itself.
//!
//! ```no_run
//! use dormouse_core::store::MemoryStore;
//! use dormouse_runtime::client::{Client, Options};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new("ws://127.0.0.1:7654", "tablet-7")?;
//! let client = Client::connect(options, MemoryStore::default());
//! client.wait_until_live().await?; // Everything that was committed before this connection is applied.
//! let rows = client.read(|store| store.table("public.orders").map_or(0, |table| table.len()));
//! println!("{rows} orders");
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A server is started with [`serve`], as the command does it; [`drive`] is the loop that every machine runs in.

pub mod access;
pub mod bench;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod db;
pub mod demo;
pub mod doctor;
pub mod drive;
pub mod heartbeat;
pub mod hub;
pub mod listener;
pub mod metrics;
pub mod replica;
pub mod replication;
pub mod serve;
pub mod setup;
pub mod socket;
pub mod source;
pub mod status;
pub mod tail;
pub mod teardown;
pub mod tls;
pub mod verify;
pub mod wait;

const _: () =
    assert!(!dormouse_core::safeguard::ABLATION, "the runtime is never built with safeguards that can be off");
