//! The demonstration: a private Postgres, a server, writers and clients, all in one command.

pub mod cluster;
pub mod postgres;
pub mod process;
