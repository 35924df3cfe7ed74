//! Until clients that were away have what the server has.

use super::{caught_up, come_back, drop_slot, live_fleet};
use crate::bench::ceiling::drain;
use crate::bench::process::now_us;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::Subject;
use crate::bench::writer::beforehand;
use crate::cli::CommandError;

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let (base, mut fleet) = live_fleet(subject, settings).await?;
    fleet.cut().await?;
    let writing_us = now_us();
    beforehand(subject, settings, base).await?;
    let written_us = now_us();
    caught_up(subject).await?;
    let recorded_us = now_us();
    let (mut run, seconds, _) = come_back(subject, settings, fleet).await?;
    run.set_throughput(settings.numbers() as u64, seconds);
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
