//! Until clients that were away have what the server has.

use super::{CONNECTING, PATIENCE, all_live, caught_up, drop_slot, keep_wal, plan};
use crate::bench::ceiling::drain;
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::process::now_us;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::Subject;
use crate::bench::writer::{beforehand, numbers_from};
use crate::cli::CommandError;

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let base = numbers_from(settings.numbers());
    let mut fleet = Fleet::start(&plan(subject, base, settings.numbers()))?;
    all_live(fleet.connect(settings.clients, CONNECTING).await?)?;
    fleet.cut().await?;
    keep_wal(subject, drain::SLOT).await?;
    let writing_us = now_us();
    beforehand(subject, settings, base).await?;
    let written_us = now_us();
    caught_up(subject).await?;
    let recorded_us = now_us();
    let meter = Meter::start(subject, &[fleet.pid()]);
    let back = all_live(fleet.come_back().await?)?;
    fleet.wait(PATIENCE).await?;
    let mut run = Run::default();
    meter.finish(&mut run, (settings.clients * settings.numbers()) as u64);
    let seen = fleet.report(&[]).await?;
    fleet.forget().await?;
    run.set_throughput(settings.numbers() as u64, back.seconds);
    run.set_latencies(&back.took);
    run.set_counts(&seen);
    // What came before: how fast the server recorded a backlog that was written faster than anybody commits.
    run.add("recorded_behind_ms", (recorded_us - written_us) as f64 / 1e3);
    let recorded = settings.numbers() as f64 * 1e6 / (recorded_us - writing_us) as f64;
    run.add("recorded_per_second", recorded);
    let drained = drain::run(subject, settings.numbers() as u64).await?;
    drop_slot(subject, drain::SLOT).await?;
    run.add("recorded_times_ceiling", drained.per_second / recorded);
    run.ceiling = Some(drained.ceiling(run.per_second.unwrap_or(0.0)));
    Ok(run)
}
