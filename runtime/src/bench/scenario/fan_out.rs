//! Commit returned to client applied: transactions at a steady rate, seen by every client.

use super::{CONNECTING, PATIENCE, all_live, plan};
use crate::bench::ceiling::broadcast;
use crate::bench::load::wire::Plan;
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::Subject;
use crate::bench::writer::{numbers_from, steadily};
use crate::cli::CommandError;

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let base = numbers_from(settings.numbers());
    let plan = Plan { keep_frames: true, ..plan(subject, base, settings.numbers()) };
    let mut fleet = Fleet::start(&plan)?;
    all_live(fleet.connect(settings.clients, CONNECTING).await?)?;
    let meter = Meter::start(subject, &[fleet.pid()]);
    let written = steadily(subject, settings, base).await?;
    fleet.wait(PATIENCE).await?;
    let mut run = Run { seconds: written.seconds(), ..Run::default() };
    meter.finish(&mut run, (settings.clients * settings.numbers()) as u64);
    let seen = fleet.report(&written.committed_us).await?;
    run.set_latencies(&seen.latency);
    run.set_counts(&seen);
    run.add("bytes_per_delivery", seen.bytes / seen.deliveries.max(1));
    run.add("frames_per_read", seen.frames as f64 / seen.reads.max(1) as f64);
    let recorded = fleet.recorded().await?;
    fleet.forget().await?;
    run.ceiling = Some(broadcast::run(&plan, settings, recorded, &run).await?);
    Ok(run)
}
