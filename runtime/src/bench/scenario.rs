//! The scenarios: each gives one run's figures.

use super::report::{Run, Settings};
use super::store::Counter;
use super::subject::Subject;
use crate::cli::CommandError;
use crate::client::{Client, Options};
use futures::StreamExt;
use futures::stream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many clients connect at once.
const CONNECTING: usize = 64;
/// How many connections write at once when they write as fast as they can.
const WRITERS: usize = 8;
/// How long a straggler is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

type Clients = Vec<Client<Counter>>;

/// Fills the table anew with `rows` rows of about `bytes` bytes, and waits until the server has recorded what that took.
pub(super) async fn prepare(subject: &Subject, rows: usize, bytes: usize) -> Result<(), CommandError> {
    let database = subject.database().await?;
    // Emptied row by row, so that the table stays as the server knows it.
    let sql = format!(
        "delete from bench;
         insert into bench (number, filler) select 0, rpad(md5(n::text), {bytes}, md5(n::text)) from generate_series(1, {rows}) n;"
    );
    run(database.batch_execute(&sql).await)?;
    let client = connect_one(subject, Counter::new(Instant::now(), 0, 0), Some("public.bench_idle")).await?;
    client.forget().await;
    Ok(())
}

/// Commit returned to client applied: single-row transactions at a steady rate, seen by every client.
pub(super) async fn fan_out(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let started = Instant::now();
    let base = numbers_from(settings.transactions);
    let clients = connect(subject, settings.clients, &|| Counter::new(started, base, settings.transactions)).await?;
    let database = subject.database().await?;
    let update = run(database.prepare("update bench set number = $1 where id = (select min(id) from bench)").await)?;
    let cpu = subject.cpu();
    let mut committed_us = vec![0; settings.transactions + 1];
    let mut tick = tokio::time::interval(Duration::from_secs(1) / settings.rate.max(1));
    let wrote_from = Instant::now();
    for (number, committed_us) in committed_us.iter_mut().enumerate().skip(1) {
        tick.tick().await;
        run(database.execute(&update, &[&i32::try_from(base + number).unwrap_or(i32::MAX)]).await)?;
        *committed_us = micros(started);
    }
    let mut figures = Run { server_rss_bytes: subject.rss_bytes(), ..Run::default() };
    await_all(&clients, settings.transactions).await;
    figures.seconds = wrote_from.elapsed().as_secs_f64();
    let deliveries = (settings.clients * settings.transactions) as u64;
    figures.server_cpu_us_per_delivery = spent(subject, cpu, deliveries);
    settle(&mut figures, &clients, &committed_us);
    close(clients).await;
    Ok(figures)
}

/// Changes per second to each client, while single-row transactions commit as fast as Postgres can.
pub(super) async fn throughput(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let started = Instant::now();
    let base = numbers_from(settings.transactions);
    let clients = connect(subject, settings.clients, &|| Counter::new(started, base, settings.transactions)).await?;
    let cpu = subject.cpu();
    let committed_us: Arc<Vec<AtomicU64>> = Arc::new((0..=settings.transactions).map(|_| AtomicU64::new(0)).collect());
    let next = Arc::new(AtomicUsize::new(1));
    let wrote_from = Instant::now();
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (committed_us, next) = (Arc::clone(&committed_us), Arc::clone(&next));
        let database = subject.database().await?;
        writers.push(tokio::spawn(async move {
            let insert = database.prepare("insert into bench (number, filler) values ($1, 'x')").await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(committed) = committed_us.get(number) else { return Ok::<_, tokio_postgres::Error>(()) };
                database.execute(&insert, &[&i32::try_from(base + number).unwrap_or(i32::MAX)]).await?;
                committed.store(micros(started), Ordering::Relaxed);
            }
        }));
    }
    for writer in writers {
        run(writer.await.expect("a writer does not panic"))?;
    }
    await_all(&clients, settings.transactions).await;
    let mut figures = Run { server_rss_bytes: subject.rss_bytes(), ..Run::default() };
    let deliveries = (settings.clients * settings.transactions) as u64;
    figures.set_throughput(settings.transactions as u64, wrote_from.elapsed());
    figures.server_cpu_us_per_delivery = spent(subject, cpu, deliveries);
    let committed_us: Vec<_> = committed_us.iter().map(|us| us.load(Ordering::Relaxed)).collect();
    settle(&mut figures, &clients, &committed_us);
    close(clients).await;
    Ok(figures)
}

/// From the greeting to live, for clients that have nothing.
pub(super) async fn first_sync(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    let started = Instant::now();
    let clients = connect(subject, settings.clients, &|| Counter::new(started, 0, 0)).await?;
    let took = started.elapsed();
    let rows: u64 = clients.iter().map(|client| client.read(|counter| counter.rows)).sum();
    let expected = (settings.rows * settings.clients) as u64;
    let mut figures =
        Run { server_rss_bytes: subject.rss_bytes(), lost: expected.saturating_sub(rows), ..Run::default() };
    figures.exactly_once = rows == expected;
    figures.set_throughput(rows, took);
    close(clients).await;
    Ok(figures)
}

/// The server's memory for each connected session that is live and has nothing to do.
pub(super) async fn idle(subject: &Subject, settings: &Settings) -> Result<Run, CommandError> {
    const SETTLING: Duration = Duration::from_secs(5);
    let started = Instant::now();
    let first = connect(subject, 1, &|| Counter::new(started, 0, 0)).await?;
    tokio::time::sleep(SETTLING).await;
    let alone = subject.rss_bytes();
    let clients = connect(subject, settings.clients, &|| Counter::new(started, 0, 0)).await?;
    let took = started.elapsed();
    tokio::time::sleep(SETTLING).await;
    let together = subject.rss_bytes();
    let mut figures =
        Run { server_rss_bytes: together, seconds: took.as_secs_f64(), exactly_once: true, ..Run::default() };
    let grown = i64::try_from(together).unwrap_or(i64::MAX) - i64::try_from(alone).unwrap_or(i64::MAX);
    figures.rss_bytes_per_session = Some(grown / i64::try_from(settings.clients.max(1)).unwrap_or(i64::MAX));
    close(clients).await;
    close(first).await;
    Ok(figures)
}

/// The number before a run's first: no number comes twice, since changes of an earlier run may still be under way.
fn numbers_from(count: usize) -> usize {
    static USED: AtomicUsize = AtomicUsize::new(0);
    USED.fetch_add(count, Ordering::Relaxed)
}

/// Connects clients and waits until all are live.
async fn connect(subject: &Subject, count: usize, counter: &impl Fn() -> Counter) -> Result<Clients, CommandError> {
    let connecting = (0..count).map(|_| connect_one(subject, counter(), None));
    let connected: Vec<_> = stream::iter(connecting).buffer_unordered(CONNECTING).collect().await;
    connected.into_iter().collect()
}

/// Connects a client that wants one table, or all, and waits until it is live: all that was committed before is recorded then.
async fn connect_one(
    subject: &Subject,
    counter: Counter,
    table: Option<&str>,
) -> Result<Client<Counter>, CommandError> {
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("bench-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
    let mut options = Options::new(&subject.url, &name).map_err(|why| CommandError::Usage(why.to_string()))?;
    if let Some(table) = table {
        options = options.with_tables([table.to_owned()]);
    }
    let client = Client::connect(options, counter);
    match tokio::time::timeout(PATIENCE * 5, client.wait_until_live()).await {
        Ok(Ok(_)) => Ok(client),
        Ok(Err(stopped)) => Err(CommandError::Failed(format!("{name}: {stopped}"))),
        Err(_) => Err(CommandError::Failed(format!("{name} did not become live"))),
    }
}

/// Waits until each client has applied as many changes as were made; a straggler shows in the counts.
async fn await_all(clients: &Clients, changes: usize) {
    for client in clients {
        let enough = client.wait_for(|_| client.read(|counter| counter.noted >= changes as u64));
        let _ = tokio::time::timeout(PATIENCE, enough).await;
    }
}

fn settle(figures: &mut Run, clients: &Clients, committed_us: &[u64]) {
    let mut latencies_us = Vec::with_capacity(clients.len() * committed_us.len());
    for client in clients {
        client.read(|counter| {
            figures.duplicated += counter.duplicated;
            for (arrival, committed) in counter.arrivals_us.iter().zip(committed_us).skip(1) {
                if *arrival == 0 {
                    figures.lost += 1;
                } else {
                    latencies_us.push(arrival.saturating_sub(*committed));
                }
            }
        });
    }
    figures.exactly_once = figures.lost == 0 && figures.duplicated == 0;
    figures.set_latencies(latencies_us);
}

fn spent(subject: &Subject, before: Option<Duration>, deliveries: u64) -> Option<f64> {
    let spent = subject.cpu()?.checked_sub(before?)?;
    Some(spent.as_micros() as f64 / deliveries.max(1) as f64)
}

async fn close(clients: Clients) {
    stream::iter(clients.into_iter().map(Client::forget)).buffer_unordered(CONNECTING).collect::<Vec<_>>().await;
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn run<T>(result: Result<T, tokio_postgres::Error>) -> Result<T, CommandError> {
    result.map_err(|why| CommandError::Environment(format!("the database refused the benchmark's statement: {why}")))
}
