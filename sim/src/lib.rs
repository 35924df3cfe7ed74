//! A deterministic simulator that drives Dormouse's production machines through crashes, hibernation, reconnects and
//! replication races, and says which promise broke.
//!
//! One loop takes the least event by time, class and a stable key; everything undetermined is asked of one chooser.
//!
//! ```text
//! [chooser] ── what happens ──▶ [world]: model [postgres], network, hosts ── drives ──▶ the machines of `dormouse-core`
//!                                  └─ after every event ─▶ [oracle]: did a promise break? ─▶ [log], [report]
//! ```
//!
//! The program is `dormouse-sim` ([`cli`]); `docs/SIMULATOR.md` explains what is modelled and what is watched.

pub mod chooser;
pub mod cli;
pub mod corpus;
pub mod coverage;
pub mod engine;
pub mod entity;
pub mod golden;
pub mod kind;
pub mod log;
pub mod oracle;
pub mod plan;
pub mod postgres;
pub mod probe;
pub mod recording;
pub mod report;
pub mod scenario;
mod sorted;
pub mod trace_file;
pub mod world;

pub use dormouse_journal::digest;
