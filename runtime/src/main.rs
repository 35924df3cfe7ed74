//! The program `dormouse`.

fn main() -> std::process::ExitCode {
    dormouse_runtime::cli::run()
}
