//! The source that streams `pgoutput` over a replication connection.

use super::items::{self, Items};
use super::trouble::{self, Undecodable, sqlstate};
use super::{Source, relay};
use crate::db::{APPLICATION_NAME, Database, SESSION_OPTIONS, Target};
use bytes::Bytes;
use dormouse_core::fault::Failure;
use dormouse_core::position::{CommitTime, Lsn};
use dormouse_core::replication::{ReadSource, StartStream};
use dormouse_core::source::SourceItem;
use futures::FutureExt;
use pgwire_replication::config::ReplicationConfig;
use pgwire_replication::error::PgWireError;
use pgwire_replication::{ReplicationClient, ReplicationEvent};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The server asks for a sign of life after half of this, so that a healthy stream is never silent for longer.
const SENDER_TIMEOUT: Duration = Duration::from_secs(20);
/// A stream silent for this long is dead, whatever the socket says.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often at most the server is told what is confirmed.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How long the server may take to begin streaming.
const START_MAX: Duration = Duration::from_secs(20);
/// The most messages between the socket and the reader. Rows may be large, so they are few.
const BUFFER_MESSAGES: usize = 512;
/// How often the slot is tried again after our own stale walsender was told to end.
const SLOT_TRIES: u32 = 20;
const SLOT_PAUSE: Duration = Duration::from_millis(100);

/// Added to an error that says that there is no such connection to be had.
const NO_CONNECTION: &str =
    "; where replication connections are not to be had, `--source poll` reads the same changes over ordinary ones";

/// From the Unix epoch to Postgres' own.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// Streams the slot of a database.
pub struct StreamSource {
    database: Database,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// Ends the open stream, and a read that waits in it.
    closing: Mutex<CancellationToken>,
    confirmed: AtomicU64,
    /// All through here is in history, though the slot may not be confirmed so far: the next stream begins no earlier.
    recorded: AtomicU64,
    confirming: Notify,
    undecodable: Undecodable,
    silence_max: Duration,
}

/// An open stream. What was taken from it stays here until a read returns it, so that a read may be given up at any moment.
struct Open {
    client: ReplicationClient,
    closing: CancellationToken,
    _sentinel: tokio_postgres::Client,
    items: Items,
    undecoded: Option<Bytes>,
    /// Where the last transaction ends that was taken with changes.
    told: Lsn,
    /// Changes were taken whose transaction has not ended.
    tells: bool,
    /// The names that it tells are of the past: it ends once what was told is recorded.
    is_outdated: bool,
    /// Since when something is waited for, by reads that were given up too.
    waits_since: Option<Instant>,
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource").field("database", &self.database).finish_non_exhaustive()
    }
}

impl StreamSource {
    /// A source that is not started yet.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            database,
            open: Arc::default(),
            closing: Mutex::default(),
            confirmed: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            confirming: Notify::new(),
            undecodable: Undecodable::default(),
            silence_max: SILENCE_MAX,
        }
    }

    #[cfg(test)]
    pub(crate) fn patient_for(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    fn closing(&self) -> CancellationToken {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connect(&self, from: Lsn) -> Result<ReplicationClient, Failure> {
        for _ in 0..SLOT_TRIES {
            let config = self.config(from).await?;
            let begin = async {
                let mut client = ReplicationClient::connect(config).await?;
                client.wait_started().await?;
                Ok(client)
            };
            match tokio::time::timeout(START_MAX, begin).await {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(why)) if is_busy(&why) => {
                    self.database.in_time(self.database.end_stale_walsender()).await?;
                    tokio::time::sleep(SLOT_PAUSE).await;
                }
                Ok(Err(why)) => return Err(failure(&why)),
                Err(_) => return Err(Failure::Unavailable("the server did not begin to stream".into())),
            }
        }
        Err(Failure::Unavailable(format!("the slot {} is held by another process", self.database.slot_name())))
    }

    /// An idle session whose end ends the stream.
    ///
    /// Postgres shuts down in an order: it ends ordinary sessions, then waits until each walsender has had everything
    /// confirmed. We confirm only what is durable, and nothing can be made durable any more: so we leave, or it would wait
    /// for ever.
    async fn post_sentinel(&self, closing: CancellationToken) -> Result<tokio_postgres::Client, Failure> {
        let unavailable = |why: tokio_postgres::Error| Failure::Unavailable(format!("the database: {why}"));
        let (sentinel, session) = self.database.target().connect().await.map_err(unavailable)?;
        let open = Arc::clone(&self.open);
        tokio::spawn(async move {
            let ended = session.await;
            closing.cancel();
            let mut open = open.lock().await;
            if open.take_if(|open| open.closing.is_cancelled()).is_some() {
                tracing::info!(?ended, "the database ends its sessions: the stream is closed");
            }
        });
        // Older versions have no such setting, and need none.
        let _ = sentinel.batch_execute("set idle_session_timeout = 0").await;
        Ok(sentinel)
    }

    async fn config(&self, from: Lsn) -> Result<ReplicationConfig, Failure> {
        // Unquoted, the server would fold the publication's name to lower case.
        let publication = crate::db::quoted(&self.database.publication());
        let mut stream = session(self.database.target(), self.database.slot_name(), publication).await?;
        stream.start_lsn = pgwire_replication::Lsn(from.0);
        // Nothing is confirmed by merely starting.
        stream.ack_lsn = Some(pgwire_replication::Lsn(0));
        stream.status_interval = STATUS_EVERY;
        stream.idle_wakeup_interval = SILENCE_MAX;
        stream.buffer_events = BUFFER_MESSAGES;
        Ok(stream)
    }

    async fn fill(&self, open: &mut Open, q: &ReadSource) -> Result<(), Failure> {
        let closing = self.closing();
        while open.items.is_empty() {
            if open.is_outdated {
                items::recorded(&self.database, open.told).await?;
                self.recorded.fetch_max(open.told.0, Ordering::AcqRel);
                return Err(Failure::Unavailable("a table's schema was renamed: the stream is begun anew".into()));
            }
            if open.undecoded.is_some() {
                self.decode(open).await?;
                continue;
            }
            open.client.update_applied_lsn(pgwire_replication::Lsn(self.confirmed.load(Ordering::Acquire)));
            let silent_at = *open.waits_since.get_or_insert_with(Instant::now) + self.silence_max;
            let event = tokio::select! {
                event = tokio::time::timeout_at(silent_at, open.client.recv()) => event,
                () = self.confirming.notified() => continue,
                () = closing.cancelled() => return Err(Failure::Unavailable("the stream was closed".into())),
            };
            let event = event.map_err(|_| Failure::Unavailable("the stream fell silent".into()))?;
            open.waits_since = None;
            open.take(event, &self.database)?;
        }
        while !open.items.is_full(q) && !open.is_outdated {
            if open.undecoded.is_some() {
                self.decode(open).await?;
                continue;
            }
            let Some(event) = open.client.recv().now_or_never() else { break };
            open.take(event, &self.database)?;
        }
        Ok(())
    }

    /// Translates the message that was taken last.
    async fn decode(&self, open: &mut Open) -> Result<(), Failure> {
        if let Some(message) = &open.undecoded {
            open.items.decode(&self.database, message).await?;
        }
        open.undecoded = None;
        Ok(())
    }
}

/// How to open a replication session, once: what `relay` opened is used up by it.
pub(super) async fn session(target: &Target, slot: String, publication: String) -> Result<ReplicationConfig, Failure> {
    let relay::Door { host, port } = relay::open(target).await?;
    let config = target.config();
    let user = config.get_user().unwrap_or("postgres");
    let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
    let database = config.get_dbname().unwrap_or(user);
    let mut session = ReplicationConfig::new(host, user, password, database, slot, publication);
    session.port = port;
    session.application_name = Some(APPLICATION_NAME.into());
    session.options = Some(format!("{SESSION_OPTIONS} -c wal_sender_timeout={}", SENDER_TIMEOUT.as_millis()));
    Ok(session)
}

/// Opens a replication session, asks who the server is, and ends it. It touches no slot.
pub(super) async fn try_connection(target: &Target) -> Result<(), Failure> {
    let session = session(target, String::new(), String::new()).await?;
    let mut client = ReplicationClient::connect_gated(session).await.map_err(|why| failure(&why))?;
    client.identify_system().await.map_err(|why| failure(&why))?;
    Ok(())
}

impl Source for StreamSource {
    async fn start(&self, q: StartStream) -> Result<(), Failure> {
        self.stop().await;
        self.undecodable.give_up(&self.database).await?;
        let mut open = self.open.lock().await;
        let closing = CancellationToken::new();
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = closing.clone();
        self.confirmed.store(0, Ordering::Release);
        let from = q.from.max(Lsn(self.recorded.load(Ordering::Acquire)));
        let client = self.connect(from).await?;
        let late = |_| Err(Failure::Unavailable("the server did not open a session beside the stream".into()));
        let sentinel = self.post_sentinel(closing.clone());
        let sentinel = tokio::time::timeout(START_MAX, sentinel).await.unwrap_or_else(late)?;
        tracing::debug!(%from, "the stream is open");
        *open = Some(Open {
            client,
            closing,
            _sentinel: sentinel,
            items: Items::new(&self.database),
            undecoded: None,
            told: Lsn::ZERO,
            tells: false,
            is_outdated: false,
            waits_since: None,
        });
        Ok(())
    }

    async fn read(&self, q: ReadSource) -> Result<Vec<SourceItem>, Failure> {
        let mut slot = self.open.lock().await;
        let open = slot.as_mut().ok_or_else(|| Failure::Unavailable("the stream is not open".into()))?;
        match self.fill(open, &q).await {
            Ok(()) => {
                let items = open.items.take();
                open.note_told(&items);
                if items.iter().any(|item| matches!(item, SourceItem::Commit { .. })) {
                    self.undecodable.decoded();
                }
                Ok(items)
            }
            Err(why) => {
                *slot = None; // Its items are sent again by the next.
                self.undecodable.failed(&why);
                Err(why)
            }
        }
    }

    fn confirm(&self, lsn: Lsn) {
        self.confirmed.fetch_max(lsn.0, Ordering::AcqRel);
        self.confirming.notify_one();
    }

    async fn stop(&self) {
        self.closing().cancel();
        if let Some(open) = self.open.lock().await.take() {
            // What was confirmed last goes out with the end of the stream, or is said again by the next.
            drop(open);
        }
    }
}

impl Open {
    fn take(
        &mut self,
        event: Result<Option<ReplicationEvent>, PgWireError>,
        database: &Database,
    ) -> Result<(), Failure> {
        let event = event.map_err(|why| failure(&why))?;
        match event.ok_or_else(|| Failure::Unavailable("the server ended the stream".into()))? {
            ReplicationEvent::Begin { final_lsn, .. } if self.items.are_outdated(database, Lsn(final_lsn.0)) => {
                self.is_outdated = true;
            }
            ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => self.items.push(SourceItem::Begin {
                commit_lsn: Lsn(final_lsn.0),
                committed_at: CommitTime(commit_time_micros.saturating_add(EPOCH_2000_US)),
                xid,
            }),
            ReplicationEvent::Commit { end_lsn, .. } => {
                self.items.push(SourceItem::Commit { end_lsn: Lsn(end_lsn.0) });
            }
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                self.items.push(SourceItem::Keepalive { wal_end: Lsn(wal_end.0) });
            }
            ReplicationEvent::XLogData { data, .. } => self.undecoded = Some(data),
            // A nudge: the transaction around it says all. We stop at no LSN.
            ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. } => {}
        }
        Ok(())
    }

    /// These go to whoever records them.
    fn note_told(&mut self, items: &[SourceItem]) {
        for item in items {
            match item {
                SourceItem::Change(_) => self.tells = true,
                SourceItem::Commit { end_lsn } if std::mem::take(&mut self.tells) => self.told = *end_lsn,
                _ => {}
            }
        }
    }
}

fn is_busy(error: &PgWireError) -> bool {
    matches!(error, PgWireError::Server(why) if trouble::is_busy(sqlstate(why)))
}

/// Sorts an error of the replication connection by who must act.
fn failure(error: &PgWireError) -> Failure {
    let why = format!("the replication connection: {error}");
    match error {
        PgWireError::Auth(_) => Failure::Refused(format!("{why}{NO_CONNECTION}")),
        PgWireError::Tls(_) | PgWireError::MessageTooLarge { .. } => Failure::Refused(why),
        PgWireError::Server(text) if is_closed_door(text) => Failure::Refused(format!("{why}{NO_CONNECTION}")),
        // All are taken, for now or for ever: max_wal_senders may be 0.
        PgWireError::Server(text) if sqlstate(text) == Some("53300") => {
            Failure::Unavailable(format!("{why}{NO_CONNECTION}"))
        }
        PgWireError::Server(text) => trouble::sort(sqlstate(text), why),
        _ => Failure::Unavailable(why),
    }
}

/// Whether ordinary connections are had here and one for replication is not: a pooler stands before Postgres and knows no such
/// thing, or a provider keeps them to itself. (Lines for `replication` in `pg_hba.conf` do not concern logical replication.)
fn is_closed_door(text: &str) -> bool {
    matches!(sqlstate(text), Some("28000" | "08P01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_replication_connection_is_told_of_polling() {
        let check = |error: PgWireError, advised: bool| {
            let failure = failure(&error);
            assert_eq!(failure.reason().contains("--source poll"), advised, "{failure:?}");
            assert_eq!(matches!(failure, Failure::Refused(_)), advised, "{failure:?}");
        };
        let server = |text: &str| PgWireError::Server(text.into());
        check(server("no pg_hba.conf entry for host (SQLSTATE 28000)"), true);
        check(server("unsupported startup parameter: replication (SQLSTATE 08P01)"), true);
        check(PgWireError::Auth("no".into()), true);
        check(server("replication slot \"d\" is active for PID 1 (SQLSTATE 55006)"), false);
        assert!(is_busy(&server("busy (SQLSTATE 55006)")));
        let taken =
            failure(&server("number of requested standby connections exceeds max_wal_senders (SQLSTATE 53300)"));
        assert!(matches!(&taken, Failure::Unavailable(why) if why.contains("--source poll")), "{taken:?}");
    }
}
