//! Dormouse in production: the machines of `dormouse-core`, driven with tokio, Postgres and WebSockets.
//!
//! The command line is [`cli`]. Everything that touches the outside lives in this crate: the
//! clock, the database, the sockets, the disk.

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
pub mod hub;
pub mod listener;
pub mod metrics;
pub mod replica;
pub mod replication;
pub mod serve;
pub mod socket;
pub mod source;
pub mod status;
pub mod tail;
pub mod verify;

const _: () =
    assert!(!dormouse_core::safeguard::ABLATION, "the runtime is never built with safeguards that can be off");
