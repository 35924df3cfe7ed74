//! The same rows by `COPY … TO STDOUT`, through the driver and through `psql`.

use crate::bench::process::now_us;
use crate::bench::report::Ceiling;
use crate::bench::subject::{Subject, statement};
use crate::cli::CommandError;
use futures::TryStreamExt;
use std::process::Stdio;

/// How often each is measured; the median counts.
const TIMES: usize = 3;

/// The ratio is that of seconds, to `psql` where it is installed, else to the driver.
pub(in crate::bench) async fn run(
    subject: &Subject,
    database: &tokio_postgres::Client,
    rows: u64,
    ours_seconds: f64,
) -> Result<Ceiling, CommandError> {
    let (mut by_driver, mut by_psql, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TIMES {
        let started = now_us();
        bytes = drain(database).await?;
        by_driver.push(seconds_since(started));
        by_psql.extend(psql(subject).await);
    }
    let (driver, psql) = (median(by_driver).unwrap_or(f64::NAN), median(by_psql));
    let name = if psql.is_some() { "psql \\copy" } else { "copy through the driver" };
    let seconds = psql.unwrap_or(driver);
    Ok(Ceiling::new(name, ours_seconds / seconds)
        .with("seconds", seconds)
        .with("driver_seconds", driver)
        .with("per_second", rows as f64 / seconds)
        .with("bytes_per_row", bytes as f64 / rows.max(1) as f64))
}

async fn drain(database: &tokio_postgres::Client) -> Result<usize, CommandError> {
    let stream = statement(database.copy_out("copy bench to stdout").await)?;
    let mut stream = std::pin::pin!(stream);
    let mut bytes = 0;
    while let Some(row) = statement(stream.try_next().await)? {
        bytes += row.len();
    }
    Ok(bytes)
}

/// `None` where it is not installed or cannot connect.
async fn psql(subject: &Subject) -> Option<f64> {
    let started = now_us();
    let status = tokio::process::Command::new(subject.psql()?)
        .args(["-X", "-q", "-d", subject.database_url(), "-c", "\\copy bench to '/dev/null'"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    status.is_ok_and(|status| status.success()).then(|| seconds_since(started))
}

fn seconds_since(started_us: u64) -> f64 {
    (now_us() - started_us) as f64 / 1e6
}

fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}
