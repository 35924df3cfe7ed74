//! The program `dormouse`.

/// Gives back what a storm of connections needed; its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    dormouse_runtime::cli::run()
}
