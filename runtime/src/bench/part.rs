//! A helper process: started with a hidden command, told what to do line by line, measured apart, gone with us.

use super::load::wire::{Command, Connected, Plan, RawCommand, Recorded, Reply, Seen};
use super::load::{self, raw};
use crate::cli::CommandError;
use crate::demo::process::{bound, spawn};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

/// The most lines of a helper that may wait: it says one for each command.
const LINES_MAX: usize = 4;

/// What a helper process is asked to be.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A fleet of clients, as a plan in JSON; without it, a raw server.
    #[arg(long)]
    plan: Option<String>,
}

/// Is that helper, in a thread of its own.
///
/// # Errors
/// When the plan is none, or no thread or port is to be had.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let plan = args.plan.map(|plan| serde_json::from_str::<Plan>(&plan)).transpose();
    let plan = plan.map_err(|why| CommandError::Usage(format!("no plan: {why}")))?;
    let part = tokio::task::spawn_blocking(|| match plan {
        Some(plan) => load::run(plan),
        None => raw::run(),
    });
    part.await.expect("a part does not panic")
}

/// A running helper.
pub(super) struct Part {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Part {
    fn start(arguments: &[&str]) -> Result<Self, CommandError> {
        let environment = |why: std::io::Error| CommandError::Environment(format!("cannot start a helper: {why}"));
        let program = std::env::current_exe().map_err(environment)?;
        let mut command = bound(program, "KILL");
        command.arg("bench-part").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command).map_err(environment)?;
        let stdin = child.stdin.take().expect("it was asked for");
        let stdout = child.stdout.take().expect("it was asked for");
        let (sender, lines) = mpsc::channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    fn say(&mut self, what: &impl serde::Serialize) -> Result<(), CommandError> {
        let line = serde_json::to_string(what).expect("plain data");
        writeln!(self.stdin, "{line}").map_err(|why| CommandError::Environment(format!("a helper is gone: {why}")))
    }

    async fn hear(&mut self) -> Result<String, CommandError> {
        let gone = || CommandError::Environment("a helper ended before it answered; its error stands above".into());
        self.lines.recv().await.ok_or_else(gone)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended by itself.
        let _ = self.child.wait();
    }
}

/// A fleet of clients.
pub(super) struct Fleet(Part);

impl Fleet {
    /// Starts its process; nobody connects yet.
    pub(super) fn start(plan: &Plan) -> Result<Self, CommandError> {
        let plan = serde_json::to_string(plan).expect("plain data");
        Part::start(&["--plan", &plan]).map(Self)
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    async fn ask(&mut self, command: &Command) -> Result<Reply, CommandError> {
        self.0.say(command)?;
        let line = self.0.hear().await?;
        serde_json::from_str(&line).map_err(|why| CommandError::Environment(format!("a helper said {line}: {why}")))
    }

    pub(super) async fn connect(&mut self, count: usize, at_once: usize) -> Result<Connected, CommandError> {
        let reply = self.ask(&Command::Connect { count, at_once }).await?;
        connected(reply)
    }

    pub(super) async fn cut(&mut self) -> Result<(), CommandError> {
        self.ask(&Command::Cut).await.map(drop)
    }

    pub(super) async fn come_back(&mut self) -> Result<Connected, CommandError> {
        let reply = self.ask(&Command::Return).await?;
        connected(reply)
    }

    pub(super) async fn deafen(&mut self, deaf: bool) -> Result<(), CommandError> {
        self.ask(&Command::Deafen(deaf)).await.map(drop)
    }

    pub(super) async fn wait(&mut self, patience: Duration) -> Result<(), CommandError> {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.ask(&Command::Await { patience_ms }).await.map(drop)
    }

    pub(super) async fn report(&mut self, committed_us: &[u64]) -> Result<Seen, CommandError> {
        match self.ask(&Command::Report { committed_us: committed_us.to_vec() }).await? {
            Reply::Report(seen) => Ok(*seen),
            other => Err(unexpected(&other)),
        }
    }

    /// What came, so that a raw server can send the same.
    pub(super) async fn recorded(&mut self) -> Result<Recorded, CommandError> {
        match self.ask(&Command::Frames).await? {
            Reply::Frames(recorded) => Ok(recorded),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the server forget the clients, and ends.
    pub(super) async fn forget(mut self) -> Result<(), CommandError> {
        self.ask(&Command::Forget).await.map(drop)
    }
}

fn connected(reply: Reply) -> Result<Connected, CommandError> {
    match reply {
        Reply::Connected(connected) => Ok(connected),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> CommandError {
    CommandError::Environment(format!("a helper answered something else: {reply:?}"))
}

/// A raw server.
pub(super) struct Raw {
    part: Part,
    pub(super) address: String,
}

impl Raw {
    pub(super) async fn start() -> Result<Self, CommandError> {
        let mut part = Part::start(&[])?;
        let port = part.hear().await?;
        Ok(Self { part, address: format!("127.0.0.1:{port}") })
    }

    pub(super) fn pid(&self) -> u32 {
        self.part.pid()
    }

    pub(super) fn greet(&mut self, texts: Vec<String>) -> Result<(), CommandError> {
        self.part.say(&RawCommand::Greet { texts })
    }

    pub(super) fn broadcast(&mut self, text: &str) -> Result<(), CommandError> {
        self.part.say(&RawCommand::Broadcast { text: text.to_owned() })
    }
}
