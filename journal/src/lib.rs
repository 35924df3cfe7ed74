//! Flight recordings: what a machine of `dormouse-core` was told in production, in a form from which it can be driven again.
//!
//! A recording is a folder of *segments*. Each begins with a checkpoint of one machine and then holds its steps: the time,
//! the input (or that its timer fired), how many commands followed, and a [`digest`] that runs over all commands and
//! deadlines since the segment began. The commands themselves are not kept: replaying makes them again, and the digest
//! tells whether they are the same, bit for bit.
//!
//! ```text
//! `dormouse serve --record DIR` ── [scribe] ──▶ segment = [header], [block]s of [record]s
//!                                                  │
//! `dormouse-sim replay DIR` ◀── [replay] ◀── [segment]
//! ```
//!
//! Credentials are in no recording: the types that hold them refuse to be written. [`redact`] also keeps rows out.

pub mod block;
pub mod digest;
pub mod header;
pub mod journaled;
pub mod record;
pub mod redact;
pub mod replay;
pub mod scribe;
pub mod segment;
pub mod words;

/// The version of the format. Another one is refused.
pub const FORMAT: u32 = 1;

/// How a segment's file name ends.
pub const EXTENSION: &str = "journal";
