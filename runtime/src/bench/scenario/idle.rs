//! The server's memory for each connected session that has nothing to do, and what it costs when nobody is there.

use super::{all_live, plan};
use crate::bench::ceiling::broadcast;
use crate::bench::load::wire::{Plan, Seen};
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::process;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::{Subject, statement};
use crate::bench::writer::numbers_from;
use crate::cli::CommandError;
use serde_json::json;
use std::time::Duration;

/// How many clients connect at once: their number at the same moment decides the server's peak, not what stays.
const CONNECTING: usize = 64;
/// How many clients one process has, by its open files.
const PER_PROCESS: usize = 15_000;
/// After this, memory for connecting is given back and nobody is parked yet.
const SETTLING: Duration = Duration::from_secs(2);
/// How long clients are watched at most, twice: hubs sleep and connections are parked sooner.
const QUIET_MAX: Duration = Duration::from_secs(20);
/// How long a straggler is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let watching = Duration::from_secs(settings.seconds);
    let mut run = Run::default();
    tokio::time::sleep(SETTLING).await;
    let meter = Meter::start(subject, &[]);
    tokio::time::sleep(watching).await;
    let alone = rss(subject);
    let cpu = 100.0 * meter.server_seconds() / watching.as_secs_f64();
    run.add("nobody", json!({ "rss_bytes": alone, "cpu_percent_of_a_core": cpu, "seconds": settings.seconds }));

    let base = numbers_from(1);
    let mut fleets = start(subject, settings, base)?;
    let pids: Vec<_> = fleets.iter().map(|(fleet, _)| fleet.pid()).collect();
    let meter = Meter::start(subject, &pids);
    for (fleet, clients) in &mut fleets {
        let connected = all_live(fleet.connect(*clients, CONNECTING).await?)?;
        run.seconds += connected.seconds;
    }
    tokio::time::sleep(SETTLING).await;
    let live = per_session(rss(subject), alone, settings);
    let quiet = watching.min(QUIET_MAX);
    tokio::time::sleep(quiet).await;
    let before = meter.server_seconds();
    tokio::time::sleep(quiet).await;
    let cpu = 100.0 * (meter.server_seconds() - before) / quiet.as_secs_f64();
    let parked = per_session(rss(subject), alone, settings);
    run.rss_bytes_per_session = Some(parked);
    run.add("live_rss_bytes_per_session", live);
    run.add("idle_cpu_percent_of_a_core", cpu);

    // Everything wakes for one change.
    let started = process::now_us();
    let written = write(subject, base + 1).await?;
    for (fleet, _) in &mut fleets {
        fleet.wait(PATIENCE).await?;
    }
    meter.finish(&mut run, 0);
    run.add("written_in_ms", (written - started) as f64 / 1e3);
    let (mut all, mut recorded) = (Seen::default(), None);
    for (mut fleet, _) in fleets {
        let seen = fleet.report(&[written]).await?;
        all.clients += seen.clients;
        all.exactly_once += seen.exactly_once;
        all.lost += seen.lost;
        all.duplicated += seen.duplicated;
        all.gaps += seen.gaps;
        all.broken += seen.broken;
        all.latency.add(&seen.latency);
        recorded.get_or_insert(fleet.recorded().await?);
        fleet.forget().await?;
    }
    run.set_latencies(&all.latency);
    run.set_counts(&all);
    let raw = Settings { clients: settings.clients.min(PER_PROCESS), ..settings.clone() };
    let recorded = recorded.unwrap_or_default();
    run.ceiling = Some(broadcast::hold(&plan(subject, base, 1), &raw, recorded, parked as f64).await?);
    Ok(run)
}

/// So many clients per server, in as many processes as their files need.
fn start(subject: &Subject, settings: &Settings, base: u64) -> Result<Vec<(Fleet, usize)>, CommandError> {
    let addresses = subject.addresses();
    let per_server = settings.clients.div_ceil(addresses.len());
    let mut fleets = Vec::new();
    for address in addresses {
        for first in (0..per_server).step_by(PER_PROCESS) {
            let keep_frames = first == 0;
            let plan = Plan { address: address.clone(), first, keep_frames, ..plan(subject, base, 1) };
            fleets.push((Fleet::start(&plan)?, PER_PROCESS.min(per_server - first)));
        }
    }
    Ok(fleets)
}

/// One change in every database; returns when the last commit had returned.
async fn write(subject: &Subject, number: u64) -> Result<u64, CommandError> {
    for database in subject.databases().await? {
        let sql = format!("insert into bench (number, filler) values ({number}, 'wake up')");
        statement(database.batch_execute(&sql).await)?;
    }
    Ok(process::now_us())
}

fn rss(subject: &Subject) -> u64 {
    subject.server_pids().into_iter().map(process::rss_bytes).sum()
}

fn per_session(now: u64, before: u64, settings: &Settings) -> i64 {
    let grown = now.cast_signed() - before.cast_signed();
    grown / i64::try_from(settings.clients).unwrap_or(i64::MAX)
}
