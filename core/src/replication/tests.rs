//! Transcripts: what the machine is told, and what it commands.

mod happy;
mod lease;
mod pieces;
mod queue;
mod rig;
mod schema;
mod start;
mod trouble;
mod walk;
