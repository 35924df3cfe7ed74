//! What is measured: a server with its database, our own private ones unless others are named.

use super::process;
use crate::cli::CommandError;
use crate::db;
use crate::demo::cluster::Cluster;
use crate::demo::process::{bound, signal, spawn, wait_at_most};
use serde::Deserialize;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A server and its database; or several, each with a database of its own.
pub(super) struct Subject {
    doors: Vec<Door>,
    /// The postmaster, if it runs on this machine.
    postgres: Option<u32>,
    /// The server that was named, if its process was too.
    named_pid: Option<u32>,
    serve: Vec<String>,
    cluster: Option<Cluster>,
}

/// One server.
struct Door {
    address: String,
    database_url: String,
    server: Option<Child>,
}

/// A server that runs already.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) url: String,
    pub(super) database_url: String,
    pub(super) pid: Option<u32>,
}

impl Subject {
    /// The server named, or servers of our own over a private Postgres. The tables are made first, so that they are published.
    pub(super) async fn open(named: Option<Named>, servers: usize, serve: &[String]) -> Result<Self, CommandError> {
        let mut subject = match named {
            Some(named) => Self::named(named)?,
            None => Self::private(servers, serve).await?,
        };
        for door in &subject.doors {
            door.make_tables().await?;
        }
        subject.start_servers()?;
        subject.postgres = subject.find_postgres().await;
        Ok(subject)
    }

    fn named(named: Named) -> Result<Self, CommandError> {
        let wrong =
            || CommandError::Usage(format!("{}: the benchmark's own clients speak ws://HOST:PORT only", named.url));
        let address = named.url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).ok_or_else(wrong)?;
        let door = Door { address: address.to_owned(), database_url: named.database_url.clone(), server: None };
        Ok(Self { doors: vec![door], postgres: None, named_pid: named.pid, serve: Vec::new(), cluster: None })
    }

    async fn private(servers: usize, serve: &[String]) -> Result<Self, CommandError> {
        let settings = [("fsync", "on"), ("max_connections", "300")];
        let cluster = Cluster::start_with(&settings).map_err(|why| CommandError::Environment(why.to_string()))?;
        let mut doors = Vec::new();
        for n in 0..servers {
            let mut database_url = cluster.url();
            if n > 0 {
                let name = format!("bench_{n}");
                statement(connect(&database_url).await?.batch_execute(&format!("create database {name}")).await)?;
                database_url = cluster.url_of(&name);
            }
            doors.push(Door { address: String::new(), database_url, server: None });
        }
        Ok(Self { doors, postgres: None, named_pid: None, serve: serve.to_vec(), cluster: Some(cluster) })
    }

    /// Starts the servers, until they listen: where they did before, if they were stopped.
    pub(super) fn start_servers(&mut self) -> Result<(), CommandError> {
        let is_private = self.cluster.is_some();
        let serve = &self.serve;
        self.doors.iter_mut().filter(|_| is_private).try_for_each(|door| door.serve(serve))
    }

    /// Ends the servers and starts them again, so that nothing is left in their memory or spools. Named ones stay as they are.
    pub(super) fn renew(&mut self) -> Result<(), CommandError> {
        self.stop_servers();
        self.start_servers()
    }

    /// Ends the servers. Named ones stay as they are.
    pub(super) fn stop_servers(&mut self) {
        self.doors.iter_mut().for_each(Door::stop);
    }

    async fn find_postgres(&self) -> Option<u32> {
        let database = self.database().await.ok()?;
        let backend: i32 = database.query_one("select pg_backend_pid()", &[]).await.ok()?.get(0);
        process::parent_of(u32::try_from(backend).ok()?, "postgres")
    }

    /// Whether the server and Postgres are our own.
    pub(super) const fn is_private(&self) -> bool {
        self.cluster.is_some()
    }

    /// `HOST:PORT` of the first server.
    pub(super) fn address(&self) -> &str {
        &self.doors[0].address
    }

    /// `HOST:PORT` of all servers.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.doors.iter().map(|door| door.address.clone()).collect()
    }

    /// The first server's database.
    pub(super) fn database_url(&self) -> &str {
        &self.doors[0].database_url
    }

    /// A connection to the first server's database.
    pub(super) async fn database(&self) -> Result<tokio_postgres::Client, CommandError> {
        connect(self.database_url()).await
    }

    /// A connection to each server's database.
    pub(super) async fn databases(&self) -> Result<Vec<tokio_postgres::Client>, CommandError> {
        let mut databases = Vec::new();
        for door in &self.doors {
            databases.push(connect(&door.database_url).await?);
        }
        Ok(databases)
    }

    /// The servers' processes, as far as they are known.
    pub(super) fn server_pids(&self) -> Vec<u32> {
        let own = self.doors.iter().filter_map(|door| door.server.as_ref().map(Child::id));
        own.chain(self.named_pid).collect()
    }

    /// The postmaster, if it is on this machine.
    pub(super) const fn postgres_pid(&self) -> Option<u32> {
        self.postgres
    }

    /// The program `psql`, if there is one.
    pub(super) fn psql(&self) -> Option<PathBuf> {
        let beside = self.cluster.as_ref().map(|cluster| cluster.program("psql"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|dir| dir.join("psql"));
        beside.into_iter().chain(in_path).find(|program| program.is_file())
    }
}

impl Door {
    async fn make_tables(&self) -> Result<(), CommandError> {
        const TABLES: &str =
            "create table if not exists bench (id bigserial primary key, number int not null, filler text not null);
             create table if not exists bench_idle (id bigint primary key)";
        statement(connect(&self.database_url).await?.batch_execute(TABLES).await)
    }

    fn serve(&mut self, arguments: &[String]) -> Result<(), CommandError> {
        let environment = |why: &dyn std::fmt::Display| CommandError::Environment(why.to_string());
        let program = std::env::current_exe().map_err(|why| environment(&why))?;
        let mut command = bound(program, "TERM");
        let listen = if self.address.is_empty() { "127.0.0.1:0" } else { &self.address };
        command.args(["serve", "--listen", listen, "--database-url", &self.database_url]).args(arguments);
        let mut server = spawn(quiet(command)).map_err(|why| environment(&why))?;
        let mut line = String::new();
        let stdout = server.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).map_err(|why| environment(&why))?;
        #[derive(Deserialize)]
        struct Ready {
            listening: String,
        }
        let ready: Ready = serde_json::from_str(&line)
            .map_err(|_| CommandError::Environment("the server ended before it was ready; its log says why".into()))?;
        (self.address, self.server) = (ready.listening, Some(server));
        Ok(())
    }

    fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        signal("TERM", &[server.id()]);
        if !wait_at_most(&mut server, Duration::from_secs(10)) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Its log would stand between our figures: only what went wrong is wanted.
fn quiet(mut command: std::process::Command) -> std::process::Command {
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    command.stdout(Stdio::piped());
    command
}

/// A connection to a database.
pub(super) async fn connect(url: &str) -> Result<tokio_postgres::Client, CommandError> {
    let connected = db::connect(url).await;
    connected.map_err(|why| CommandError::Environment(format!("cannot connect to the database: {}", why.reason())))
}

/// What a statement gave, or that it was refused.
pub(super) fn statement<T>(result: Result<T, tokio_postgres::Error>) -> Result<T, CommandError> {
    result.map_err(|why| {
        let reason = why.as_db_error().map_or_else(|| why.to_string(), ToString::to_string);
        CommandError::Environment(format!("the database refused the benchmark's statement: {reason}"))
    })
}
