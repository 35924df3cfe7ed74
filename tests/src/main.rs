//! The `dormouse` program under a name of this package: Cargo tells a test only where its own package's programs are.

use std::process::ExitCode;

fn main() -> ExitCode {
    dormouse_runtime::cli::run()
}
