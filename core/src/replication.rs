//! The machine that turns the WAL into history: lease, slot, eras, the pipelined read → record → announce → confirm.

mod io;

pub use io::*;
