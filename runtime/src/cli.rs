//! The command line: which commands there are, and how they end.

use crate::{bench, config, demo, doctor, serve, setup, status, tail, teardown, verify};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::fmt;
use std::process::ExitCode;

/// Keeps the rows of a Postgres database in step with many clients over WebSockets.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version = env!("DORMOUSE_VERSION"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The name of the command whose settings have more sources than its flags.
const SERVE: &str = "serve";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the rows of a database to clients
    #[command(after_help = config::HELP)]
    Serve(Box<config::Args>),
    /// Examine a database: what is in the way of serving it, each with its remedy
    Doctor(doctor::Args),
    /// Make what a server needs in a database beforehand, or print the SQL for an administrator
    Setup(setup::Args),
    /// Remove from a database what servers made in it
    Teardown(teardown::Args),
    /// Show where a server stands
    Status(status::Args),
    /// See it move: a Postgres, a server, and a page with live clients to cut and a server to kill
    Demo(demo::Args),
    /// Become a client and print every change
    Tail(tail::Args),
    /// Become a client and compare what it holds with the database
    Verify(verify::Args),
    /// Measure: latency, throughput, memory, each beside what the machine allows at most
    #[command(after_help = bench::HELP)]
    Bench(bench::Args),
    /// A process of `bench`'s own
    #[command(hide = true)]
    BenchPart(bench::PartArgs),
    /// Print what lets a shell complete this command line
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

const COMPLETIONS_HELP: &str = "Install it once:
  bash  dormouse completions bash > ~/.local/share/bash-completion/completions/dormouse
  zsh   dormouse completions zsh > \"${fpath[1]}/_dormouse\"
  fish  dormouse completions fish > ~/.config/fish/completions/dormouse.fish";

impl Command {
    async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Serve(args) => serve::run(*args).await,
            Self::Doctor(args) => doctor::run(args).await,
            Self::Setup(args) => setup::run(args).await,
            Self::Teardown(args) => teardown::run(args).await,
            Self::Status(args) => status::run(args).await,
            Self::Demo(args) => demo::run(args).await,
            Self::Tail(args) => tail::run(args).await,
            Self::Verify(args) => verify::run(args).await,
            Self::Bench(args) => bench::run(args).await,
            Self::BenchPart(args) => bench::run_part(args).await,
            Self::Completions { shell } => {
                print_completions(shell);
                Ok(())
            }
        }
    }

    /// What is logged when `RUST_LOG` says nothing.
    const fn log_level(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            // What a replication connection that fails has to say is in the finding.
            Self::Doctor(_) => "warn,pgwire_replication=off",
            Self::Setup(_)
            | Self::Teardown(_)
            | Self::Status(_)
            | Self::Demo(_)
            | Self::Tail(_)
            | Self::Verify(_)
            | Self::Bench(_)
            | Self::BenchPart(_)
            | Self::Completions { .. } => "warn",
        }
    }
}

fn print_completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dormouse", &mut script);
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &script); // A reader that has enough may leave.
}

/// Why a command did not do what it was asked, and with which status the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// A promise or a check failed: status 1.
    Failed(String),
    /// The command was called wrongly: status 2.
    Usage(String),
    /// The environment lacks something, such as a database or a free port: status 3.
    Environment(String),
    /// What the process remembers is of no use any more: the same command begins anew in its place. Status 1 where it cannot.
    Anew(String),
}

impl CommandError {
    const fn status(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Anew(_) => 1,
            Self::Usage(_) => 2,
            Self::Environment(_) => 3,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Usage(why) | Self::Environment(why) | Self::Anew(why) => f.write_str(why),
        }
    }
}

/// Runs the command that the process was called with. Wrong usage prints what is right and ends with status 2.
#[must_use]
pub fn run() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(code) => return code,
    };
    log_to_stderr(command.log_level());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return end(&CommandError::Environment(format!("cannot start threads: {why}"))),
    };
    let outcome = runtime.block_on(command.run());
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if matches!(error, CommandError::Anew(_)) {
                let failed = begin_anew();
                eprintln!("dormouse: cannot begin anew, start it again: {failed}");
            }
            end(&error)
        }
    }
}

/// Puts a new process of the same program with the same arguments in the place of this one. Returns only when it cannot.
fn begin_anew() -> std::io::Error {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe();
    program
        .map_or_else(|why| why, |program| std::process::Command::new(program).args(std::env::args_os().skip(1)).exec())
}

/// The command that the process was called with, or how it ends at once.
fn command() -> Result<Command, ExitCode> {
    let usage = |wrong: clap::Error| {
        let status = if wrong.use_stderr() { 2 } else { 0 };
        let text = wrong.render().to_string();
        match without_secrets(&text, std::env::args_os().filter_map(|argument| argument.into_string().ok())) {
            Some(text) => eprint!("{text}"),
            None => drop(wrong.print()), // A closed terminal is no reason to fail differently.
        }
        ExitCode::from(status)
    };
    let mut strict = Cli::command();
    strict.build(); // So that `serve` knows its full name.
    let matches = Cli::command().mut_subcommand(SERVE, config::lenient).try_get_matches().map_err(usage)?;
    match (matches.subcommand(), strict.find_subcommand(SERVE)) {
        (Some((SERVE, flags)), Some(serve)) => match config::load(serve, flags, &|name| std::env::var_os(name)) {
            Ok(config::Loaded::Serve(args)) => Ok(Command::Serve(args)),
            Ok(config::Loaded::Print(text)) => {
                print(&text);
                Err(ExitCode::SUCCESS)
            }
            Err((error, text)) => {
                text.iter().for_each(|text| print(text));
                Err(end(&error))
            }
        },
        _ => Cli::from_arg_matches(&matches).map(|cli| cli.command).map_err(usage),
    }
}

/// A message that quotes an argument with a database's URL, without what is secret in it.
fn without_secrets(message: &str, arguments: impl Iterator<Item = String>) -> Option<String> {
    let values = arguments.map(|argument| match argument.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
        Some((_, value)) => value.to_owned(),
        None => argument,
    });
    let quoted = values.filter(|value| value.starts_with("postgres") && message.contains(value.as_str()));
    let redacted = quoted.fold(message.to_owned(), |text, url| text.replace(&url, &crate::db::redact(&url)));
    (redacted != message).then_some(redacted)
}

fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes()); // A reader that has seen enough closes our output.
}

fn end(error: &CommandError) -> ExitCode {
    eprintln!("dormouse: {error}");
    ExitCode::from(error.status())
}

fn log_to_stderr(level: &str) {
    use tracing_subscriber::EnvFilter;
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // What these print when they trace can hold a credential, a password or a row: whole frames, headers, statements.
    for library in
        ["tungstenite", "async_tungstenite", "hyper", "hyper_util", "tokio_postgres", "rustls", "pgwire_replication"]
    {
        filter = filter.add_directive(format!("{library}=info").parse().expect("a directive"));
    }
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init();
}
