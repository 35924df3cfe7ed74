//! Every question, against a real Postgres.

mod history;
mod lease;
mod registry;
mod support;
