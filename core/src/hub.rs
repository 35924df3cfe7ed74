//! The machine that serves the sessions of one shard, from greeting to live.

mod io;

pub use io::*;
