//! Who writes the numbered rows, and notes when each commit returned.

use super::process::now_us;
use super::report::Settings;
use super::subject::{Subject, statement};
use crate::cli::CommandError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio_postgres::types::Type;

const INT4: Type = Type::INT4;
const INT8: Type = Type::INT8;
const TEXT: Type = Type::TEXT;

/// How many connections write at once when they write as fast as they can.
const WRITERS: usize = 16;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// By number: when its commit returned, by the machine's monotonic clock.
    pub(super) committed_us: Vec<u64>,
    pub(super) from_us: u64,
    pub(super) until_us: u64,
}

impl Written {
    pub(super) fn seconds(&self) -> f64 {
        (self.until_us - self.from_us) as f64 / 1e6
    }
}

/// The number before a run's first: no number comes twice, since changes of an earlier run may still be under way, and those of an
/// earlier benchmark in a named database may be part of what a client is sent first.
pub(super) fn numbers_from(count: usize) -> u64 {
    /// Far enough from the end of the column's type for all runs of one process.
    const FIRST_MAX: u32 = 2_000_000_000;
    static FIRST: LazyLock<u32> = LazyLock::new(|| rand::random_range(0..FIRST_MAX));
    static USED: AtomicU64 = AtomicU64::new(0);
    u64::from(*FIRST) + USED.fetch_add(count as u64, Ordering::Relaxed)
}

/// Updates rows of the table one after the other, at a steady rate, on one connection.
pub(super) async fn steadily(subject: &Subject, settings: &Settings, base: u64) -> Result<Written, CommandError> {
    let Settings { transactions, rows_per_transaction: rows, rate, .. } = *settings;
    let database = subject.database().await?;
    let first: i64 = statement(database.query_one("select coalesce(min(id), 0) from bench", &[]).await)?.get(0);
    let update = "update bench set number = $1 + (id - $2)::int where id >= $2 and id < $2 + $3";
    let update = statement(database.prepare_typed(update, &[INT4, INT8, INT8]).await)?;
    let span = (settings.rows / rows).max(1);
    let mut committed_us = Vec::with_capacity(settings.numbers());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    let from_us = now_us();
    for transaction in 0..transactions {
        tick.tick().await;
        let number = number(base + 1 + (transaction * rows) as u64);
        let id = first + (transaction % span * rows) as i64;
        let changed = statement(database.execute(&update, &[&number, &id, &(rows as i64)]).await)?;
        if changed != rows as u64 {
            let why = format!("{changed} of {rows} rows changed: something else writes to the table of the benchmark");
            return Err(CommandError::Environment(why));
        }
        committed_us.extend(std::iter::repeat_n(now_us(), rows));
    }
    Ok(Written { committed_us, from_us, until_us: now_us() })
}

/// Inserts rows on many connections, as fast as Postgres commits, or at a rate in all.
pub(super) async fn fast(subject: &Subject, settings: &Settings, base: u64) -> Result<Written, CommandError> {
    let Settings { transactions, rows_per_transaction: rows, rate, .. } = *settings;
    let committed_us: Arc<Vec<AtomicU64>> = Arc::new((0..transactions).map(|_| AtomicU64::new(0)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let filler = Arc::new("x".repeat(settings.row_bytes));
    let mut connections = Vec::new();
    for _ in 0..WRITERS.min(transactions) {
        let database = subject.database().await?;
        let insert = "insert into bench (number, filler) select $1 + n, $3 from generate_series(0, $2 - 1) n";
        let insert = if rows == 1 { "insert into bench (number, filler) values ($1 + $2 - 1, $3)" } else { insert };
        let insert = statement(database.prepare_typed(insert, &[INT4, INT4, TEXT]).await)?;
        connections.push((database, insert));
    }
    let from_us = now_us();
    let mut writers = Vec::new();
    for (database, insert) in connections {
        let (committed_us, next, filler) = (Arc::clone(&committed_us), Arc::clone(&next), Arc::clone(&filler));
        writers.push(tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let Some(committed) = committed_us.get(n) else { return Ok::<_, tokio_postgres::Error>(()) };
                if rate > 0 {
                    let due_us = from_us + n as u64 * 1_000_000 / u64::from(rate);
                    tokio::time::sleep(Duration::from_micros(due_us.saturating_sub(now_us()))).await;
                }
                let (number, rows) = (number(base + 1 + (n * rows) as u64), i32::try_from(rows).unwrap_or(i32::MAX));
                database.execute(&insert, &[&number, &rows, &*filler]).await?;
                committed.store(now_us(), Ordering::Relaxed);
            }
        }));
    }
    for writer in writers {
        statement(writer.await.expect("a writer does not panic"))?;
    }
    let until_us = now_us();
    let each = committed_us.iter().map(|us| us.load(Ordering::Relaxed));
    Ok(Written { committed_us: each.flat_map(|us| std::iter::repeat_n(us, rows)).collect(), from_us, until_us })
}

/// Inserts rows in as many transactions, on one connection, without waiting for the disk: what is measured comes later.
pub(super) async fn beforehand(subject: &Subject, settings: &Settings, base: u64) -> Result<(), CommandError> {
    let Settings { transactions, rows_per_transaction: rows, row_bytes, .. } = settings;
    let first = number(base + 1);
    let database = subject.database().await?;
    let block = format!(
        "do $$ begin
             for t in 0 .. {transactions} - 1 loop
                 insert into bench (number, filler)
                 select {first} + t * {rows} + n, repeat('x', {row_bytes}) from generate_series(0, {rows} - 1) n;
                 commit;
             end loop;
         end $$"
    );
    // One after the other: statements sent together are one transaction, in which a block may not commit.
    for sql in [
        "set synchronous_commit = off",
        &block,
        "set synchronous_commit = on",
        "select pg_logical_emit_message(true, 'bench', 'flushed')",
    ] {
        statement(database.batch_execute(sql).await)?;
    }
    Ok(())
}

fn number(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
