//! The command `dormouse-sim`.

use std::process::ExitCode;

// Worlds allocate for every message, and are dropped whole: with the system's allocator a run takes a third longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dormouse_sim::cli::run()
}
