//! The command `dormouse-sim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dormouse_sim::cli::run()
}
