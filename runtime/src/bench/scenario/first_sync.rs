//! From the greeting to live, for clients that have nothing; then one more, which comes while the spool is there.

use super::{all_live, plan};
use crate::bench::ceiling::copy;
use crate::bench::meter::Meter;
use crate::bench::part::Fleet;
use crate::bench::report::{Run, Settings};
use crate::bench::subject::{Subject, statement};
use crate::cli::CommandError;

pub(super) async fn run(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let database = subject.database().await?;
    let truth = statement(database.query_one("select count(*), coalesce(sum(id), 0)::bigint from bench", &[]).await)?;
    let (rows, sum) = (truth.get::<_, i64>(0), truth.get::<_, i64>(1));
    let mut fleet = Fleet::start(&plan(subject, 0, 0))?;
    let meter = Meter::start(subject, &[fleet.pid()]);
    let connected = all_live(fleet.connect(settings.clients, 0).await?)?;
    let mut run = Run::default();
    meter.finish(&mut run, (settings.clients * settings.rows) as u64);
    let late = all_live(fleet.connect(1, 0).await?)?;
    let seen = fleet.report(&[]).await?;
    fleet.forget().await?;
    run.set_throughput(rows.unsigned_abs(), connected.seconds);
    run.set_latencies(&connected.took);
    run.set_counts(&seen);
    let rows = rows.unsigned_abs();
    run.lost = seen.rows.iter().map(|got| rows.saturating_sub(*got)).sum();
    run.duplicated = seen.rows.iter().map(|got| got.saturating_sub(rows)).sum();
    let whole = seen.rows.iter().zip(&seen.row_sums).filter(|got| *got == (&rows, &sum.unsigned_abs()));
    run.clients_exactly_once = whole.count();
    run.exactly_once = run.clients_exactly_once == seen.clients;
    run.add("bytes_per_row", seen.bytes as f64 / (seen.clients as u64 * rows).max(1) as f64);
    run.add("one_more_from_the_spool_seconds", late.seconds);
    run.add("spools_taken", 1 + u64::from(late.seconds > connected.seconds));
    run.ceiling = Some(copy::run(subject, &database, rows, connected.seconds).await?);
    Ok(run)
}
