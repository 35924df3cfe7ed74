//! Writers and live clients, first by themselves, then beside first syncs, clients that lag, and one that reads nothing.

use super::{CONNECTING, PATIENCE, all_live, plan};
use crate::bench::load::wire::Seen;
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::report::{Ceiling, Run, Settings};
use crate::bench::subject::Subject;
use crate::bench::writer::{Written, numbers_from, steadily};
use crate::cli::CommandError;
use std::time::Duration;

/// How many clients are cut and come back, again and again.
const LAGGARDS: usize = 20;
/// How many clients sync for the first time, one after the other.
const FIRST_SYNCS: usize = 5;
/// How long laggards are away.
const AWAY: Duration = Duration::from_secs(1);

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let half = Settings { transactions: settings.transactions / 2, ..settings.clone() };
    let base = numbers_from(settings.numbers());
    let mut live = Fleet::start(&plan(subject, base, 2 * half.numbers()))?;
    all_live(live.connect(settings.clients, CONNECTING).await?)?;
    let quiet = steadily(subject, &half, base).await?;

    let second = base + half.numbers() as u64;
    let mut laggards = Fleet::start(&plan(subject, second, half.numbers()))?;
    let mut slow = Fleet::start(&plan(subject, second, half.numbers()))?;
    let mut syncing = Fleet::start(&plan(subject, second, 0))?;
    all_live(laggards.connect(LAGGARDS, CONNECTING).await?)?;
    all_live(slow.connect(1, 1).await?)?;
    slow.deafen(true).await?;
    let pids = [live.pid(), laggards.pid(), slow.pid(), syncing.pid()];
    let meter = Meter::start(subject, &pids);
    let trouble = async {
        let mut syncs = Vec::new();
        for _ in 0..FIRST_SYNCS {
            laggards.cut().await?;
            syncs.push(all_live(syncing.connect(1, 1).await?)?.seconds);
            tokio::time::sleep(AWAY).await;
            all_live(laggards.come_back().await?)?;
        }
        Ok::<_, CommandError>(syncs)
    };
    let (written, syncs) = tokio::join!(steadily(subject, &half, second), trouble);
    let (written, syncs) = (written?, syncs?);
    slow.deafen(false).await?;
    for fleet in [&mut live, &mut laggards, &mut slow] {
        fleet.wait(PATIENCE).await?;
    }
    let mut run = Run { seconds: written.seconds(), ..Run::default() };
    meter.finish(&mut run, ((settings.clients + LAGGARDS + 1) * half.numbers()) as u64);

    let before = only(&mut live, &quiet, half.numbers(), Part::First).await?;
    let during = only(&mut live, &written, half.numbers(), Part::Second).await?;
    run.set_latencies(&during.latency);
    let mut all = during;
    for fleet in [&mut laggards, &mut slow] {
        all.add_counts(&fleet.report(&[]).await?);
    }
    let synced = syncing.report(&[]).await?;
    let whole = synced.rows.iter().filter(|rows| **rows == settings.rows as u64).count();
    all.clients += synced.clients;
    all.exactly_once += whole;
    all.lost += synced.rows.iter().map(|rows| (settings.rows as u64).saturating_sub(*rows)).sum::<u64>();
    run.set_counts(&all);
    run.add("first_sync_seconds", &syncs);
    run.add("slow_client_faults", slow.report(&[]).await?.faults);
    for fleet in [live, laggards, slow, syncing] {
        fleet.forget().await?;
    }
    let undisturbed = before.latency.percentiles().unwrap_or_default();
    let ratio = run.p99_ms.unwrap_or(f64::NAN) / undisturbed.p99_ms;
    run.ceiling = Some(Ceiling::new("the same clients undisturbed, p99", ratio).with("latency", undisturbed));
    Ok(run)
}

/// Which numbers are looked at.
#[derive(Clone, Copy)]
enum Part {
    First,
    Second,
}

/// What the fleet saw; latencies of one half of the numbers only.
async fn only(fleet: &mut Fleet, written: &Written, numbers: usize, part: Part) -> Result<Seen, CommandError> {
    let nothing = std::iter::repeat_n(0, numbers);
    let these = written.committed_us.iter().copied();
    let committed: Vec<u64> = match part {
        Part::First => these.chain(nothing).collect(),
        Part::Second => nothing.chain(these).collect(),
    };
    fleet.report(&committed).await
}
