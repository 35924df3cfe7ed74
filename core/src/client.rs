//! The machine that holds a replica: dial, greet, stage or apply, store, acknowledge.

mod io;

pub use io::*;
