//! Many clients connecting at once, and coming back at once after a cut.

use super::{all_live, plan};
use crate::bench::ceiling::broadcast;
use crate::bench::load::wire::Plan;
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::{Subject, statement};
use crate::bench::writer::numbers_from;
use crate::cli::CommandError;
use serde_json::json;
use std::time::Duration;

/// How long a straggler is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let base = numbers_from(2);
    let plan = Plan { keep_frames: true, ..plan(subject, base, 2) };
    let mut fleet = Fleet::start(&plan)?;
    let meter = Meter::start(subject, &[fleet.pid()]);
    let connected = all_live(fleet.connect(settings.clients, 0).await?)?;
    let mut run = Run { seconds: connected.seconds, ..Run::default() };
    run.set_latencies(&connected.took);
    let connecting = meter.server_seconds();
    // One change before the cut and one while all are away: each must come to each client once.
    write(subject, base + 1).await?;
    fleet.cut().await?;
    write(subject, base + 2).await?;
    let before = meter.server_seconds();
    let back = all_live(fleet.come_back().await?)?;
    let returning = meter.server_seconds() - before;
    fleet.wait(PATIENCE).await?;
    meter.finish(&mut run, 0);
    let seen = fleet.report(&[]).await?;
    run.set_counts(&seen);
    run.add("connecting_cpu_us_per_client", connecting * 1e6 / settings.clients as f64);
    run.add("returning_cpu_us_per_client", returning * 1e6 / settings.clients as f64);
    let percentiles = back.took.percentiles();
    run.add("back", json!({ "seconds": back.seconds, "latency": percentiles }));
    let recorded = fleet.recorded().await?;
    fleet.forget().await?;
    run.ceiling = Some(broadcast::connect(&plan, settings, recorded, connected.seconds).await?);
    Ok(run)
}

async fn write(subject: &Subject, number: u64) -> Result<(), CommandError> {
    let sql = format!("update bench set number = {number} where id = (select min(id) from bench)");
    statement(subject.database().await?.batch_execute(&sql).await)
}
