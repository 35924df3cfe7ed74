//! A deterministic simulator that drives Dormouse's production machines through crashes, hibernation, reconnects and
//! replication races, and says which promise broke.
//!
//! One loop takes the least event by time, class and a stable key; everything undetermined is asked of one chooser.

pub mod chooser;
pub mod cli;
pub mod coverage;
pub mod digest;
pub mod entity;
pub mod oracle;
pub mod plan;
pub mod postgres;
pub mod probe;
pub mod shrink;
pub mod trace;
pub mod trace_file;
pub mod world;
