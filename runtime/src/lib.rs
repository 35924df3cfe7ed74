//! Dormouse in production: the machines of `dormouse-core`, driven with tokio, Postgres and WebSockets.
//!
//! The command line is [`cli`]. Everything that touches the outside lives in this crate: the
//! clock, the database, the sockets, the disk.
//!
//! ```text
//! [source] ─▶ [replication] ─▶ [db] ─▶ [hub] ─▶ [socket], [listener] ~~▶ [client]
//!  the stream   its host       history  hosts     the port                a replica
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
//! The crate with `default-features = false` is the client library alone; the feature `sqlite` adds a replica in a file, and
//! `server`, the default, all the rest.
//!
//! A server is started with [`serve`], as the command does it; [`drive`] is the loop that every machine runs in.

#[cfg(feature = "server")]
pub mod access;
#[cfg(feature = "server")]
pub mod bench;
#[cfg(feature = "server")]
pub mod cli;
pub mod client;
pub mod clock;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod db;
#[cfg(feature = "server")]
pub mod demo;
#[cfg(feature = "server")]
pub mod doctor;
#[cfg(feature = "server")]
pub mod drive;
#[cfg(feature = "server")]
pub mod heartbeat;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod hub;
#[cfg(feature = "server")]
pub mod listener;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(feature = "server")]
pub mod record;
#[cfg(feature = "server")]
pub mod replica;
#[cfg(feature = "server")]
pub mod replication;
#[cfg(feature = "server")]
pub mod serve;
#[cfg(feature = "server")]
pub mod setup;
#[cfg(feature = "server")]
pub mod socket;
#[cfg(feature = "server")]
pub mod source;
#[cfg(feature = "server")]
pub mod status;
#[cfg(feature = "server")]
pub mod tail;
#[cfg(feature = "server")]
pub mod teardown;
pub mod tls;
#[cfg(feature = "server")]
mod trace;
#[cfg(feature = "server")]
pub mod verify;
#[cfg(feature = "server")]
pub mod wait;

const _: () =
    assert!(!dormouse_core::safeguard::ABLATION, "the runtime is never built with safeguards that can be off");
