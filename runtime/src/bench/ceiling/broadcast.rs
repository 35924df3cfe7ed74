//! The same frames, sent by a server that does nothing else, to the same kind of clients with the same acknowledgements.

use crate::bench::load::wire::{Plan, Recorded};
use crate::bench::meter::Meter;
use crate::bench::part::{Fleet, Raw};
use crate::bench::process::{self, now_us};
use crate::bench::report::{Ceiling, Run, Settings};
use crate::cli::CommandError;
use std::time::Duration;

/// How long a straggler is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends the frames at the same rate to as many clients. The ratio is that of server CPU per delivery.
pub(in crate::bench) async fn run(
    plan: &Plan,
    settings: &Settings,
    recorded: Recorded,
    ours: &Run,
) -> Result<Ceiling, CommandError> {
    let (mut raw, mut fleet) = greeted(plan, recorded.greeting).await?;
    fleet.connect(settings.clients, 0).await?;
    let meter = Meter::of(vec![raw.pid()], None, &[fleet.pid()]);
    let mut tick = tokio::time::interval(Duration::from_secs(1) / settings.rate.max(1));
    let mut sent_us = Vec::with_capacity(settings.numbers());
    for (frame, numbers) in recorded.frames {
        tick.tick().await;
        sent_us.extend(std::iter::repeat_n(now_us(), numbers));
        raw.broadcast(&frame)?;
    }
    fleet.wait(PATIENCE).await?;
    let mut run = Run::default();
    meter.finish(&mut run, (settings.clients * settings.numbers()) as u64);
    let seen = fleet.report(&sent_us).await?;
    run.set_latencies(&seen.latency);
    let cpu = |run: &Run| run.server_cpu_us_per_delivery.unwrap_or(f64::NAN);
    let ceiling = Ceiling::new("raw broadcast", cpu(ours) / cpu(&run))
        .with("p50_ms", run.p50_ms)
        .with("p99_ms", run.p99_ms)
        .with("max_ms", run.max_ms)
        .with("server_cpu_us_per_delivery", run.server_cpu_us_per_delivery)
        .with("server_rss_bytes", run.server_rss_bytes)
        .with("clients_cpu_seconds", run.clients_cpu_seconds)
        .with("exactly_once", seen.exactly_once == seen.clients);
    Ok(ceiling)
}

/// Lets as many clients connect at once. The ratio is that of seconds until the last is live.
pub(in crate::bench) async fn connect(
    plan: &Plan,
    settings: &Settings,
    recorded: Recorded,
    ours_seconds: f64,
) -> Result<Ceiling, CommandError> {
    let (raw, mut fleet) = greeted(plan, recorded.greeting).await?;
    let connected = fleet.connect(settings.clients, 0).await?;
    let rss = process::rss_bytes(raw.pid());
    Ok(Ceiling::new("raw connections", ours_seconds / connected.seconds)
        .with("seconds", connected.seconds)
        .with("latency", connected.took.percentiles())
        .with("server_rss_bytes", rss))
}

/// Lets as many clients connect and stay. The ratio is that of the server's memory per connection.
pub(in crate::bench) async fn hold(
    plan: &Plan,
    settings: &Settings,
    recorded: Recorded,
    ours_bytes_per_session: f64,
) -> Result<Ceiling, CommandError> {
    let (raw, mut fleet) = greeted(plan, recorded.greeting).await?;
    let before = process::rss_bytes(raw.pid());
    fleet.connect(settings.clients, 0).await?;
    let per_connection = process::rss_bytes(raw.pid()).saturating_sub(before) as f64 / settings.clients as f64;
    Ok(Ceiling::new("raw connections", ours_bytes_per_session / per_connection)
        .with("rss_bytes_per_connection", per_connection))
}

/// A raw server that greets, and a fleet that is not yet connected.
async fn greeted(plan: &Plan, greeting: Vec<String>) -> Result<(Raw, Fleet), CommandError> {
    let mut raw = Raw::start().await?;
    raw.greet(greeting)?;
    let plan = Plan { address: raw.address.clone(), keep_frames: false, ..plan.clone() };
    Ok((raw, Fleet::start(&plan)?))
}
