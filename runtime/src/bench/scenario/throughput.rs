//! Changes per second to each client, while transactions commit as fast as Postgres can.

use super::{CONNECTING, PATIENCE, all_live, drop_slot, keep_wal, plan};
use crate::bench::ceiling::drain;
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::Subject;
use crate::bench::writer::{fast, numbers_from};
use crate::cli::CommandError;

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let base = numbers_from(settings.numbers());
    let mut fleet = Fleet::start(&plan(subject, base, settings.numbers()))?;
    all_live(fleet.connect(settings.clients, CONNECTING).await?)?;
    keep_wal(subject, drain::SLOT).await?;
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
    let drained = drain::run(subject, settings.numbers() as u64).await?;
    drop_slot(subject, drain::SLOT).await?;
    run.ceiling = Some(drained.ceiling(run.per_second.unwrap_or(0.0)));
    Ok(run)
}

fn seconds_between(from_us: u64, until_us: u64) -> f64 {
    until_us.saturating_sub(from_us) as f64 / 1e6
}
