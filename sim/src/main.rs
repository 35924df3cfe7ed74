//! The command `dormouse-sim`.

use std::process::ExitCode;

// A world allocates for every message: an eighth of its time otherwise.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    dormouse_sim::cli::run()
}
