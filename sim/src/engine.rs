//! The generic part: what it takes to search the runs of any sans-IO machine, keep them as traces, and make them small.
//!
//! It knows nothing of Dormouse but its [`Timestamp`]. A world of machines is a [`Subject`](subject::Subject): a value that steps from event to event and asks a
//! [`Chooser`](chooser::Chooser) about everything undetermined. Every way of searching is only another chooser on the same loop:
//!
//! | way | what it is for |
//! |---|---|
//! | [`chooser::Source::Random`] | the default: a seed |
//! | [`chooser::Pct`] | races of small depth: few faults, well placed |
//! | [`chooser::Script`] | replay of a [`trace`] |
//! | [`chooser::Bytes`] | coverage-guided fuzzing |
//! | [`exhaust`] | every schedule of a small scope, with a certificate |
//! | [`fork`] | many futures of one rare state |
//!
//! `sim/examples/lock_service` drives a machine of another kind with it.

pub mod chooser;
pub mod exhaust;
pub mod fork;
pub mod queue;
pub mod reanchor;
pub mod shrink;
pub mod state;
pub mod subject;
pub mod trace;

pub use dormouse_core::time::Timestamp;
