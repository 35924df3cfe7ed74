//! The same transactions out of a replication slot of their own, taken from the walsender and dropped.

use crate::bench::process::now_us;
use crate::bench::report::Ceiling;
use crate::bench::subject::{Subject, statement};
use crate::cli::CommandError;
use crate::source;
use pgwire_replication::{ReplicationClient, ReplicationEvent};

/// The slot from which it is drained.
pub(in crate::bench) const SLOT: &str = "dormouse_bench_ceiling";
/// How long the walsender may say nothing.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// What the walsender gave.
#[derive(Debug)]
pub(in crate::bench) struct Drained {
    pub(in crate::bench) per_second: f64,
    seconds: f64,
}

impl Drained {
    /// The ratio is that of changes per second.
    pub(in crate::bench) fn ceiling(&self, ours_per_second: f64) -> Ceiling {
        Ceiling::new("walsender drain", self.per_second / ours_per_second)
            .with("per_second", self.per_second)
            .with("seconds", self.seconds)
    }
}

/// Drains the slot until so many rows were inserted, as fast as the walsender sends and this crate's own reader reads.
pub(in crate::bench) async fn run(subject: &Subject, rows: u64) -> Result<Drained, CommandError> {
    let environment = |why: &dyn std::fmt::Display| CommandError::Environment(format!("the walsender: {why}"));
    let database = subject.database().await?;
    let published = "select 'dormouse_' || oid from pg_database where datname = current_database()";
    let publication: String = statement(database.query_one(published, &[]).await)?.get(0);
    let config = source::replication_session(subject.database_url(), SLOT, &publication).await;
    let config = config.map_err(|why| environment(&why.reason()))?;
    let mut client = ReplicationClient::connect(config).await.map_err(|why| environment(&why))?;
    let (mut inserted, mut started) = (0, now_us());
    while inserted < rows {
        let event = tokio::time::timeout(SILENCE_MAX, client.recv()).await;
        let event = event.map_err(|_| environment(&"it sent nothing for 20 s"))?.map_err(|why| environment(&why))?;
        match event {
            Some(ReplicationEvent::XLogData { data, .. }) => inserted += u64::from(data.first() == Some(&b'I')),
            // What came before it is the walsender's start.
            Some(ReplicationEvent::Begin { .. }) if inserted == 0 => started = now_us(),
            Some(_) => {}
            None => return Err(environment(&"it ended the stream")),
        }
    }
    let seconds = (now_us() - started) as f64 / 1e6;
    drop(client);
    release(&database).await?;
    Ok(Drained { per_second: rows as f64 / seconds, seconds })
}

/// The walsender ends a moment after its connection; before that the slot cannot be dropped.
async fn release(database: &tokio_postgres::Client) -> Result<(), CommandError> {
    const TRIES: usize = 200;
    let free = format!("select not active from pg_replication_slots where slot_name = '{SLOT}'");
    for _ in 0..TRIES {
        if statement(database.query_one(&free, &[]).await)?.get(0) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    Err(CommandError::Environment(format!("the replication slot {SLOT} stayed in use")))
}
