//! The `dormouse` program under a name of this package: Cargo tells a test only where its own package's programs are.
//!
//! The tests themselves are one binary, `tests/all.rs`: each starts a private Postgres and a real server, and kills what it
//! wants to see killed.

use std::process::ExitCode;

fn main() -> ExitCode {
    dormouse_runtime::cli::run()
}
