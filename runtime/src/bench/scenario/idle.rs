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
use crate::http;
use serde_json::json;
use std::time::Duration;

/// How many clients connect at once: their number at the same moment decides the server's peak, not what stays.
const CONNECTING: usize = 64;
/// How many clients one process has, by its open files.
const PER_PROCESS: usize = 15_000;
/// How long it may take until every connection is parked and every hub sleeps.
const REST_MAX: Duration = Duration::from_secs(40);
/// How often a server is asked whether they are.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long a server may take to tell.
const TELL_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a server's metrics.
const METRICS_BYTES_MAX: usize = 1 << 20;
/// How long a straggler is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let watching = Duration::from_secs(settings.seconds);
    let mut run = Run::default();
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
    let live = per_session(rss(subject), alone, settings);
    let resting = until_at_rest(subject, settings.clients as u64).await;
    let before = meter.server_seconds();
    tokio::time::sleep(watching).await;
    let cpu = 100.0 * (meter.server_seconds() - before) / watching.as_secs_f64();
    let parked = per_session(rss(subject), alone, settings);
    run.rss_bytes_per_session = Some(parked);
    run.add("live_rss_bytes_per_session", live);
    run.add("at_rest", resting);
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
        all.broken += seen.broken;
        all.latency.add(&seen.latency);
        all.add_counts(&seen);
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

/// Waits until all connections are parked and all sessions sleep, and returns how many are and do: what the servers told last. Servers that
/// tell only operators are given all the time there is.
async fn until_at_rest(subject: &Subject, clients: u64) -> serde_json::Value {
    let mut told = json!(null);
    let asking = async {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        loop {
            ticks.tick().await;
            let (mut parked, mut asleep) = (0, 0);
            for address in subject.addresses() {
                let Some(metrics) = metrics(&address).await else { continue };
                parked += count(&metrics, "dormouse_connections_parked ");
                asleep += count(&metrics, "dormouse_sessions{phase=\"hibernated\"} ");
            }
            told = json!({ "parked": parked, "asleep": asleep });
            if parked >= clients && asleep >= clients {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(REST_MAX, asking).await; // Then it says how many are not.
    told
}

async fn metrics(address: &str) -> Option<String> {
    let url = format!("http://{address}/metrics").parse().ok()?;
    String::from_utf8(http::get(&url, METRICS_BYTES_MAX, TELL_MAX).await.ok()?).ok()
}

fn count(metrics: &str, series: &str) -> u64 {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.parse().ok()).unwrap_or(0)
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
