//! What is measured: a server with its database, our own private ones unless others are named.

use super::process;
use crate::cli::CommandError;
use crate::db;
use crate::demo::cluster::Cluster;
use crate::demo::process::{bound, signal, spawn, wait_at_most};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

/// A server and its database.
pub(super) struct Subject {
    /// Where clients connect.
    pub(super) url: String,
    database_url: String,
    server: Option<Child>,
    _cluster: Option<Cluster>,
}

impl Subject {
    /// The server named, or a server of our own over a private Postgres. The tables are made first, so that they are published.
    pub(super) async fn open(named: Option<(String, String)>) -> Result<Self, CommandError> {
        if let Some((url, database_url)) = named {
            let subject = Self { url, database_url, server: None, _cluster: None };
            subject.make_tables().await?;
            return Ok(subject);
        }
        let environment = |why: &dyn std::fmt::Display| CommandError::Environment(why.to_string());
        let cluster = Cluster::start_with(&[("fsync", "on")]).map_err(|why| environment(&why))?;
        let mut subject =
            Self { url: String::new(), database_url: cluster.url(), server: None, _cluster: Some(cluster) };
        subject.make_tables().await?;
        subject.serve()?;
        Ok(subject)
    }

    async fn make_tables(&self) -> Result<(), CommandError> {
        const TABLES: &str =
            "create table if not exists bench (id bigserial primary key, number int not null, filler text not null);
             create table if not exists bench_idle (id bigint primary key)";
        let made = self.database().await?.batch_execute(TABLES).await;
        made.map_err(|why| CommandError::Environment(format!("cannot make the benchmark's tables: {why}")))
    }

    fn serve(&mut self) -> Result<(), CommandError> {
        let environment = |why: &dyn std::fmt::Display| CommandError::Environment(why.to_string());
        let program = std::env::current_exe().map_err(|why| environment(&why))?;
        let mut command = bound(program, "TERM");
        command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &self.database_url]).stdout(Stdio::piped());
        let mut server = spawn(command).map_err(|why| environment(&why))?;
        let mut line = String::new();
        let stdout = server.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).map_err(|why| environment(&why))?;
        #[derive(Deserialize)]
        struct Ready {
            listening: String,
        }
        let ready: Ready = serde_json::from_str(&line)
            .map_err(|_| CommandError::Environment("the server ended before it was ready; its log says why".into()))?;
        self.url = format!("ws://{}", ready.listening);
        self.server = Some(server);
        Ok(())
    }

    /// A connection to the database.
    pub(super) async fn database(&self) -> Result<tokio_postgres::Client, CommandError> {
        let connected = db::connect(&self.database_url).await;
        connected.map_err(|why| CommandError::Environment(format!("cannot connect to the database: {}", why.reason())))
    }

    /// The server's memory, when it is ours.
    pub(super) fn rss_bytes(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| process::rss_bytes(server.id()))
    }

    /// The server's CPU time so far, when it is ours.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.server.as_ref().map(|server| process::cpu(server.id()))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            signal("TERM", &[server.id()]);
            if !wait_at_most(server, Duration::from_secs(10)) {
                let _ = server.kill();
                let _ = server.wait();
            }
        }
    }
}
