//! Changes per second to each client, while transactions commit as fast as Postgres can, or from a backlog.

use super::{PATIENCE, come_back, drop_slot, live_fleet};
use crate::bench::ceiling::drain;
use crate::bench::meter::Meter;
use crate::bench::process::now_us;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::Subject;
use crate::bench::writer::{beforehand, fast};
use crate::cli::CommandError;

/// While transactions commit as fast as Postgres can.
pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let (base, mut fleet) = live_fleet(subject, settings).await?;
    let meter = Meter::start(subject, &[fleet.pid()]);
    let written = fast(subject, settings, base).await?;
    fleet.wait(PATIENCE).await?;
    let mut run = Run::default();
    meter.finish(&mut run, (settings.clients * settings.numbers()) as u64);
    let seen = fleet.report(&written.committed_us).await?;
    fleet.forget().await?;
    run.set_throughput(settings.numbers() as u64, seconds_between(written.from_us, seen.last_us));
    run.set_latencies(&seen.latency);
    run.set_counts(&seen);
    run.add("written_per_second", settings.numbers() as f64 / written.seconds());
    run.add("behind_at_end_ms", seconds_between(written.until_us, seen.last_us) * 1e3);
    beside_the_drain(subject, settings, run).await
}

/// From the moment that the server listens, with all that was written while it was down before it, to the last change seen.
pub(super) async fn from_backlog(subject: &mut Subject, settings: &Settings) -> Result<Run, CommandError> {
    let (base, mut fleet) = live_fleet(subject, settings).await?;
    fleet.cut().await?;
    subject.stop_servers();
    beforehand(subject, settings, base).await?;
    let starting_us = now_us();
    subject.start_servers()?;
    let listening_us = now_us();
    let (mut run, _, last_us) = come_back(subject, settings, fleet).await?;
    run.set_throughput(settings.numbers() as u64, seconds_between(listening_us, last_us));
    run.add("server_start_ms", seconds_between(starting_us, listening_us) * 1e3);
    beside_the_drain(subject, settings, run).await
}

async fn beside_the_drain(subject: &Subject, settings: &Settings, mut run: Run) -> Result<Run, CommandError> {
    let drained = drain::run(subject, settings.numbers() as u64).await?;
    drop_slot(subject, drain::SLOT).await?;
    run.ceiling = Some(drained.ceiling(run.per_second.unwrap_or(0.0)));
    Ok(run)
}

fn seconds_between(from_us: u64, until_us: u64) -> f64 {
    until_us.saturating_sub(from_us) as f64 / 1e6
}
