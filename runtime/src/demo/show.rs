//! The interactive demonstration: a database, a server, and a page at `/` that shows and moves both.

mod board;
mod database;
mod forward;
mod guard;
mod page;
mod stage;

use super::cluster::ClusterError;
use super::server::Server;
use crate::cli::CommandError;
use database::{Database, DatabaseError};
use forward::Forward;
use guard::Guard;
use page::Desk;
use stage::Stage;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Where the page is, unless told.
const PORT: u16 = 7654;
/// How many ports after it are tried when it is taken.
const PORTS_MORE: u16 = 20;
/// How long it may take to remove what was made; whoever waits has asked for the end.
const CLEAR_MAX: Duration = Duration::from_secs(15);

/// How to show it.
#[derive(Debug)]
pub struct Plan {
    /// The program whose `serve` is shown.
    pub program: PathBuf,
    /// How many receipts there are at first.
    pub rows: i32,
    /// The page's port; `None` takes the usual one, or the next that is free.
    pub port: Option<u16>,
    /// The database that was asked for, if one was.
    pub database_url: Option<String>,
}

/// Shows until `interrupted` is ready, and ends everything that it started.
///
/// # Errors
/// When there is no database, no port, or the server does not start.
pub async fn show(plan: &Plan, interrupted: impl Future<Output = ()>) -> Result<(), CommandError> {
    let mut interrupted = std::pin::pin!(interrupted);
    let began = tokio::time::Instant::now();
    let listener = listen(plan.port).await?;
    let port = listener.local_addr().map_err(|why| CommandError::Environment(why.to_string()))?.port();
    let database = tokio::select! {
        database = find_database(plan.database_url.as_deref()) => database?,
        () = &mut interrupted => return Ok(()),
    };
    let prepared = tokio::select! {
        prepared = prepare(plan, &database) => prepared.map(Some),
        () = &mut interrupted => Ok(None),
    };
    let shown = match prepared {
        Ok(Some((stage, forward))) => {
            invite(&database, port, began.elapsed());
            let desk = Arc::new(Desk { stage: Arc::clone(&stage), forward, guard: Guard::new(port) });
            let shown = tokio::select! {
                shown = perform(&stage, listener, desk) => shown,
                () = &mut interrupted => Ok(()),
            };
            tell("ending the server and the database");
            // Open pages still hold the stage: what it holds must be ended, not dropped.
            stage.end().await;
            shown
        }
        Ok(None) => Ok(()),
        Err(why) => Err(why),
    };
    shown.and(clear(database).await)
}

async fn clear(database: Database) -> Result<(), CommandError> {
    let why = match tokio::time::timeout(CLEAR_MAX, database.clear()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why.to_string(),
        Err(_) => "the database does not answer".into(),
    };
    let left = "the demo's schema, slot or publication may be left";
    Err(CommandError::Failed(format!("{left}: {why}; the next demo on this database removes them")))
}

/// Makes the tables and starts the server.
async fn prepare(plan: &Plan, database: &Database) -> Result<(Arc<Stage>, Forward), CommandError> {
    database.prepare(plan.rows).await.map_err(|why| explain(&why))?;
    tell("starting the server");
    let server = Server::start(&plan.program, database.url(), &["--tables", board::TABLES]).await;
    let server = server.map_err(|why| CommandError::Environment(format!("the server does not start: {why}")))?;
    let forward = Forward::to(server.port());
    let stage = Stage::new(database, server).await.map_err(|why| explain(&why))?;
    Ok((Arc::new(stage), forward))
}

/// Serves the page and keeps the tea room, until it is dropped.
async fn perform(stage: &Stage, listener: TcpListener, desk: Arc<Desk>) -> Result<(), CommandError> {
    tokio::select! {
        served = axum::serve(listener, page::router(desk)) => {
            served.map_err(|why| CommandError::Failed(format!("the page is served no more: {why}")))
        }
        () = stage.run() => Ok(()),
    }
}

fn invite(database: &Database, port: u16, took: Duration) {
    let seconds = took.as_secs_f32();
    say(&format!(
        "\nThe demo is at http://127.0.0.1:{port}/ (after {seconds:.1} s). Ctrl-C ends it and removes everything."
    ));
    say("Try: cut a client, run a burst, reconnect it; kill the server and watch it come back.");
    if database.is_private() {
        let sql = "update dormouse_demo.orders set tea = 'Mint'";
        say(&format!("Or write by yourself: psql {} -c \"{sql}\"", database.url()));
    }
    say("");
}

/// The port that was wished for; or else the usual one, or the first after it that is free.
async fn listen(wished: Option<u16>) -> Result<TcpListener, CommandError> {
    let first = wished.unwrap_or(PORT);
    let last = if wished.is_some() { first } else { first + PORTS_MORE };
    let mut port = first;
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Err(_) if port < last => port += 1,
            Err(why) => {
                let sentence = format!("cannot listen on 127.0.0.1:{first}: {why}; give another with --port");
                return Err(CommandError::Environment(sentence));
            }
            Ok(listener) => {
                if port != first {
                    tell(&format!("port {first} is taken, so the page will be on port {port}"));
                }
                return Ok(listener);
            }
        }
    }
}

/// The database that was asked for, or that the environment names and that is fit; else a private one.
async fn find_database(asked: Option<&str>) -> Result<Database, CommandError> {
    if let Some(url) = asked {
        let unfit = |why| CommandError::Environment(format!("cannot use the database of --database-url: {why}"));
        return Database::existing(url).await.map_err(unfit).inspect(|_| tell_existing("--database-url"));
    }
    if let Ok(url) = std::env::var("DATABASE_URL") {
        match Database::existing(&url).await {
            Ok(database) => {
                tell_existing("DATABASE_URL");
                return Ok(database);
            }
            Err(why) => tell(&format!("the database of DATABASE_URL is left alone: {why}")),
        }
    }
    tell("starting a private Postgres");
    let started = tokio::task::spawn_blocking(Database::private).await;
    let started = started.map_err(|why| CommandError::Failed(why.to_string()))?;
    started.map_err(|why: ClusterError| CommandError::Environment(why.to_string()))
}

fn tell_existing(whose: &str) {
    let schema = board::SCHEMA;
    tell(&format!(
        "using the database of {whose}: only in its schemas {schema} and dormouse, which are removed at the end"
    ));
}

fn explain(error: &DatabaseError) -> CommandError {
    CommandError::Environment(format!("the database refuses: {error}"))
}

/// On stdout, where nobody may be reading.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// On stderr: how it goes.
fn tell(line: &str) {
    eprintln!("dormouse: {line}");
}
