//! `dormouse demo` as a process, with its page.

use super::{PATIENCE, program};
use dormouse_runtime::demo::cluster::free_port;
use dormouse_runtime::demo::process;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A demo that runs.
pub struct Show {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Where its page is.
    pub url: String,
    /// The page's port.
    pub port: u16,
    /// How to connect to its database, if that is its own.
    pub database_url: Option<String>,
}

impl Show {
    /// Starts it, and waits until it says where its page is.
    pub async fn start(more: &[&str]) -> Self {
        let port = free_port().expect("a port").to_string();
        let mut command = Command::new(program());
        command.args(["demo", "--rows", "500", "--port", &port]).args(more).env_remove("DATABASE_URL");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let port = port.parse().expect("a port");
        let mut show = Self { child, stdout, url: String::new(), port, database_url: None };
        let line = show.line_with("http://").await;
        show.url = word_with(&line, "http://");
        if more.is_empty() {
            let line = show.line_with("postgres://").await;
            show.database_url = Some(word_with(&line, "postgres://"));
        }
        show
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// All its processes: the server, Postgres with its own, helpers.
    pub fn descendants(&self) -> Vec<u32> {
        let mut pids = process::children_of(self.pid());
        let mut at = 0;
        while let Some(pid) = pids.get(at) {
            pids.extend(process::children_of(*pid));
            at += 1;
        }
        pids
    }

    /// Sends a signal, and waits for its end.
    pub async fn end_with(&mut self, signal: &str) -> std::process::ExitStatus {
        process::signal(signal, &[self.pid()]);
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("waited for")
    }

    async fn line_with(&mut self, word: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("in time");
            let line = line.expect("text").expect("it goes on");
            if line.contains(word) {
                return line;
            }
        }
    }
}

fn word_with(line: &str, start: &str) -> String {
    line.split_whitespace().find(|word| word.starts_with(start)).expect("it is there").to_owned()
}
