//! The scenarios: each gives one run's figures, with the ceiling of the same work measured right after it.

mod catch_up;
mod fan_out;
mod first_sync;
mod idle;
mod mixed;
mod storm;
mod throughput;

use super::ceiling::drain;
use super::load::wire::{Connected, Plan};
use super::meter::Meter;
use super::part::Fleet;
use super::report::{Run, Settings};
use super::subject::{Subject, connect, statement};
use super::writer::numbers_from;
use crate::cli::CommandError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many clients connect at once where connecting is not what is measured.
const CONNECTING: usize = 64;
/// How long a straggler is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The table whose rows are numbered.
const TABLE: &str = "public.bench";
/// A table without rows, for clients that only want to know whether the server has caught up.
const EMPTY_TABLE: &str = "public.bench_idle";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// Rows per second of a first sync
    FirstSync,
    /// Commit returned to client applied, at a steady rate, every client seeing every change
    FanOut,
    /// Changes per second while transactions commit as fast as Postgres can
    Throughput,
    /// Until clients that were away have what the server has
    CatchUp,
    /// Memory per connected session that has nothing to do, and of a server that nobody uses
    Idle,
    /// Many clients connecting at once, and coming back at once after a cut
    Storm,
    /// Writers, live clients, a first sync, clients that lag and a slow one, all at once
    Mixed,
}

impl Scenario {
    /// Clients, rows, transactions, rate and bytes of a row, unless said otherwise.
    pub(super) const fn defaults(self) -> (usize, usize, usize, u32, usize) {
        match self {
            Self::FirstSync => (1, 100_000, 0, 0, 220),
            Self::FanOut => (100, 1_000, 400, 20, 220),
            Self::Throughput => (1, 1_000, 50_000, 0, 60),
            Self::CatchUp => (1, 1_000, 50_000, 0, 60),
            Self::Idle => (1_000, 1_000, 0, 0, 220),
            Self::Storm => (1_000, 1_000, 0, 0, 220),
            Self::Mixed => (100, 20_000, 400, 20, 220),
        }
    }

    /// Runs it once.
    pub(super) async fn run(self, subject: &mut Subject, settings: &Settings) -> Result<Run, CommandError> {
        if self == Self::FirstSync {
            subject.renew()?; // Or a later run would share the spool of an earlier one.
        }
        prepare(subject, settings).await?;
        match self {
            Self::FirstSync => first_sync::run(subject, settings).await,
            Self::FanOut => fan_out::run(subject, settings).await,
            Self::Throughput if settings.backlog => throughput::from_backlog(subject, settings).await,
            Self::Throughput => throughput::run(subject, settings).await,
            Self::CatchUp => catch_up::run(subject, settings).await,
            Self::Idle => idle::run(subject, settings).await,
            Self::Storm => storm::run(subject, settings).await,
            Self::Mixed => mixed::run(subject, settings).await,
        }
    }
}

/// Fills the table anew, and waits until the server has recorded what that took.
async fn prepare(subject: &Subject, settings: &Settings) -> Result<(), CommandError> {
    let Settings { rows, row_bytes, .. } = settings;
    let database = subject.database().await?;
    let found = statement(database.query_one("select count(*) from bench where number = 0", &[]).await)?;
    let all = statement(database.query_one("select count(*) from bench", &[]).await)?;
    let (found, all) = (found.get::<_, i64>(0), all.get::<_, i64>(0));
    if found != all || found != *rows as i64 {
        // Emptied row by row, so that the table stays as the server knows it.
        statement(database.batch_execute("delete from bench").await)?;
        let sql = format!(
            "insert into bench (number, filler)
             select 0, rpad(md5(n::text), {row_bytes}, md5(n::text)) from generate_series(1, {rows}) n"
        );
        statement(database.batch_execute(&sql).await)?;
    }
    statement(database.batch_execute("vacuum analyze bench").await)?;
    statement(database.batch_execute("checkpoint").await)?;
    caught_up(subject).await
}

/// Waits until the server has all that was committed before: a new client is told that it is live no sooner.
async fn caught_up(subject: &Subject) -> Result<(), CommandError> {
    let plan = Plan { table: Some(EMPTY_TABLE.into()), ..plan(subject, 0, 0) };
    let mut probe = Fleet::start(&plan)?;
    all_live(probe.connect(1, 1).await?)?;
    probe.forget().await
}

/// A fleet of clients that watches numbers from `base + 1` to `base + numbers`.
fn plan(subject: &Subject, base: u64, numbers: usize) -> Plan {
    static FLEETS: AtomicUsize = AtomicUsize::new(0);
    let fleet = FLEETS.fetch_add(1, Ordering::Relaxed);
    Plan {
        address: subject.address().to_owned(),
        name: format!("bench-{:08x}-{fleet}", rand::random::<u32>()),
        // A named server may publish more than is measured.
        table: (!subject.is_private()).then(|| TABLE.to_owned()),
        base,
        numbers,
        keep_frames: false,
        first: 0,
    }
}

/// Or an error that says how many are missing.
fn all_live(connected: Connected) -> Result<Connected, CommandError> {
    match connected.missing {
        0 => Ok(connected),
        missing => Err(CommandError::Failed(format!("{missing} clients did not become live"))),
    }
}

/// Clients that are live, the number before the first that they will see, and a slot that keeps what is written from now on.
async fn live_fleet(subject: &Subject, settings: &Settings) -> Result<(u64, Fleet), CommandError> {
    let base = numbers_from(settings.numbers());
    let mut fleet = Fleet::start(&plan(subject, base, settings.numbers()))?;
    all_live(fleet.connect(settings.clients, CONNECTING).await?)?;
    keep_wal(subject, drain::SLOT).await?;
    Ok((base, fleet))
}

/// Clients that were cut come back, until each has seen all: what that cost, in how many seconds the last was live, and when the last
/// number was seen.
async fn come_back(subject: &Subject, settings: &Settings, mut fleet: Fleet) -> Result<(Run, f64, u64), CommandError> {
    let meter = Meter::start(subject, &[fleet.pid()]);
    let back = all_live(fleet.come_back().await?)?;
    fleet.wait(PATIENCE).await?;
    let mut run = Run::default();
    meter.finish(&mut run, (settings.clients * settings.numbers()) as u64);
    let seen = fleet.report(&[]).await?;
    fleet.forget().await?;
    run.set_latencies(&back.took);
    run.set_counts(&seen);
    Ok((run, back.seconds, seen.last_us))
}

/// A slot that keeps what is written from now on, for the ceiling of who reads it.
async fn keep_wal(subject: &Subject, slot: &str) -> Result<(), CommandError> {
    let database = subject.database().await?;
    let drop =
        format!("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}'");
    statement(database.batch_execute(&drop).await)?;
    let create = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    statement(database.batch_execute(&create).await)
}

/// Removes that slot.
async fn drop_slot(subject: &Subject, slot: &str) -> Result<(), CommandError> {
    let drop = format!("select pg_drop_replication_slot('{slot}')");
    statement(connect(subject.database_url()).await?.batch_execute(&drop).await)
}
