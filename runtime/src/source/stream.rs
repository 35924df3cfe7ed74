//! The source that streams `pgoutput` over a replication connection.

use super::{Source, relay};
use crate::db::{APPLICATION_NAME, Database, SESSION_OPTIONS, Target, is_refusal_code};
use bytes::Bytes;
use dormouse_core::change::{Change, RelationId};
use dormouse_core::fault::Failure;
use dormouse_core::pgoutput::Translator;
use dormouse_core::position::{CommitTime, Lsn};
use dormouse_core::replication::{ReadSource, StartStream};
use dormouse_core::row::{Row, Value};
use dormouse_core::source::SourceItem;
use futures::FutureExt;
use pgwire_replication::config::ReplicationConfig;
use pgwire_replication::error::PgWireError;
use pgwire_replication::{ReplicationClient, ReplicationEvent};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
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
/// How often in a row Postgres may fail to decode its own WAL before the slot is given up.
const UNDECODABLE_MAX: u32 = 3;
/// How often the slot is tried again after our own stale walsender was told to end.
const SLOT_TRIES: u32 = 20;
const SLOT_PAUSE: Duration = Duration::from_millis(100);

/// From the Unix epoch to Postgres' own.
const EPOCH_2000_US: i64 = 946_684_800_000_000;

/// Streams the slot of a database.
pub struct StreamSource {
    database: Database,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// Ends the open stream, and a read that waits in it.
    closing: Mutex<CancellationToken>,
    confirmed: AtomicU64,
    confirming: Notify,
    /// How often in a row Postgres failed to decode its own WAL.
    undecodable: AtomicU32,
}

/// An open stream. What was taken from it stays here until a read returns it, so that a read may be given up at any moment.
struct Open {
    client: ReplicationClient,
    closing: CancellationToken,
    _sentinel: tokio_postgres::Client,
    translator: Translator,
    /// Tables without a key, whose rows no replica could tell apart.
    keyless: BTreeSet<RelationId>,
    value_bytes_max: usize,
    undecoded: Option<Bytes>,
    items: Vec<SourceItem>,
    changes: usize,
    bytes: usize,
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
            confirming: Notify::new(),
            undecodable: AtomicU32::new(0),
        }
    }

    fn closing(&self) -> CancellationToken {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connect(&self, from: Lsn) -> Result<ReplicationClient, Failure> {
        for _ in 0..SLOT_TRIES {
            let config = self.config(from).await?;
            let mut client = ReplicationClient::connect(config).await.map_err(|why| failure(&why))?;
            match tokio::time::timeout(START_MAX, client.wait_started()).await {
                Ok(Ok(())) => return Ok(client),
                Ok(Err(why)) if is_busy(&why) => {
                    drop(client);
                    self.database.end_stale_walsender().await?;
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
            if open.undecoded.is_some() {
                self.decode(open).await?;
                continue;
            }
            open.client.update_applied_lsn(pgwire_replication::Lsn(self.confirmed.load(Ordering::Acquire)));
            let event = tokio::select! {
                event = tokio::time::timeout(SILENCE_MAX, open.client.recv()) => event,
                () = self.confirming.notified() => continue,
                () = closing.cancelled() => return Err(Failure::Unavailable("the stream was closed".into())),
            };
            let event = event.map_err(|_| Failure::Unavailable("the stream fell silent".into()))?;
            open.take(event)?;
        }
        // What is ready comes along. Transactions without changes count too, or a busy source could keep us here.
        let items_max = 4 * q.changes_max as usize;
        while open.changes < q.changes_max as usize && open.bytes < q.bytes_max as usize && open.items.len() < items_max
        {
            if open.undecoded.is_some() {
                self.decode(open).await?;
                continue;
            }
            let Some(event) = open.client.recv().now_or_never() else { break };
            open.take(event)?;
        }
        Ok(())
    }

    /// Translates the message that was taken last.
    async fn decode(&self, open: &mut Open) -> Result<(), Failure> {
        let Some(message) = &open.undecoded else { return Ok(()) };
        if let Some(oid) = Translator::needs_keys(message) {
            let keys = self.database.table_key(oid).await?;
            open.translator.set_keys(oid, keys);
        }
        open.translate()
    }
}

/// How to open a replication session, once: what `relay` opened is used up by it.
async fn session(target: &Target, slot: String, publication: String) -> Result<ReplicationConfig, Failure> {
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
        let mut open = self.open.lock().await;
        let closing = CancellationToken::new();
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = closing.clone();
        self.confirmed.store(0, Ordering::Release);
        let client = self.connect(q.from).await?;
        let sentinel = self.post_sentinel(closing.clone()).await?;
        tracing::debug!(from = %q.from, "the stream is open");
        *open = Some(Open {
            client,
            closing,
            _sentinel: sentinel,
            translator: Translator::default(),
            keyless: BTreeSet::new(),
            value_bytes_max: self.database.config().value_bytes_max,
            undecoded: None,
            items: Vec::new(),
            changes: 0,
            bytes: 0,
        });
        Ok(())
    }

    async fn read(&self, q: ReadSource) -> Result<Vec<SourceItem>, Failure> {
        let mut slot = self.open.lock().await;
        let open = slot.as_mut().ok_or_else(|| Failure::Unavailable("the stream is not open".into()))?;
        match self.fill(open, &q).await {
            Ok(()) => {
                let items = open.hand_over();
                if items.iter().any(|item| matches!(item, SourceItem::Commit { .. })) {
                    self.undecodable.store(0, Ordering::Relaxed);
                }
                Ok(items)
            }
            Err(why) => {
                *slot = None; // Its items are sent again by the next.
                self.give_up_undecodable_slot(&why).await?;
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

impl StreamSource {
    /// Postgres' own decoder can fail for ever in a slot that was made while a table was being truncated ("could not map
    /// filenode"). Such a slot is dropped: a new era begins, every client gets everything again, and nothing is lost unseen.
    async fn give_up_undecodable_slot(&self, failure: &Failure) -> Result<(), Failure> {
        let is_internal = sqlstate(failure.reason()).is_some_and(|code| code.starts_with("XX"));
        if !is_internal || self.undecodable.fetch_add(1, Ordering::Relaxed) + 1 < UNDECODABLE_MAX {
            return Ok(());
        }
        tracing::error!(why = failure.reason(), "Postgres cannot decode this slot's WAL: a new slot begins a new era");
        self.undecodable.store(0, Ordering::Relaxed);
        self.database.drop_slot().await
    }
}

impl Open {
    fn take(&mut self, event: Result<Option<ReplicationEvent>, PgWireError>) -> Result<(), Failure> {
        let event = event.map_err(|why| failure(&why))?;
        match event.ok_or_else(|| Failure::Unavailable("the server ended the stream".into()))? {
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

    fn translate(&mut self) -> Result<(), Failure> {
        let Some(message) = self.undecoded.take() else { return Ok(()) };
        let from = self.items.len();
        self.translator.translate(&message, &mut self.items).map_err(|why| {
            Failure::Refused(format!("the stream could not be decoded ({why}): report this as a defect"))
        })?;
        for n in from..self.items.len() {
            match &mut self.items[n] {
                SourceItem::Relation(relation) if !relation.columns.iter().any(|column| column.key) => {
                    self.keyless.insert(relation.id);
                }
                SourceItem::Change(change) => {
                    omit_large_values(change, self.value_bytes_max);
                    self.changes += 1;
                    self.bytes += change.weight();
                }
                _ => {}
            }
        }
        if !self.keyless.is_empty() {
            self.drop_keyless(from);
        }
        Ok(())
    }

    fn drop_keyless(&mut self, from: usize) {
        let keyless = &self.keyless;
        let tail: Vec<_> = self.items.drain(from..).collect();
        self.items.extend(tail.into_iter().filter(|item| match item {
            SourceItem::Relation(relation) => !keyless.contains(&relation.id),
            SourceItem::Change(change) => !keyless.contains(&change.relation()),
            SourceItem::Begin { .. } | SourceItem::Commit { .. } | SourceItem::Keepalive { .. } => true,
        }));
    }

    fn hand_over(&mut self) -> Vec<SourceItem> {
        (self.changes, self.bytes) = (0, 0);
        std::mem::take(&mut self.items)
    }
}

fn omit_large_values(change: &mut Change, max: usize) {
    let row = match change {
        Change::Insert { row, .. } | Change::Update { row, .. } | Change::Move { row, .. } => row,
        Change::Delete { .. } | Change::Truncate { .. } => return,
    };
    let large = |value: &Value<'_>| matches!(value, Value::Text(text) if text.len() > max);
    if row.bytes().len() > max && row.values().any(|value| large(&value)) {
        *row = Row::of(row.values().map(|value| match value {
            Value::Text(text) if text.len() > max => Value::Omitted(u32::try_from(text.len()).unwrap_or(u32::MAX)),
            other => other,
        }));
    }
}

fn is_busy(error: &PgWireError) -> bool {
    matches!(error, PgWireError::Server(why) if sqlstate(why) == Some("55006"))
}

/// Sorts an error of the replication connection by who must act.
fn failure(error: &PgWireError) -> Failure {
    let why = format!("the replication connection: {error}");
    match error {
        PgWireError::Auth(_) | PgWireError::Tls(_) | PgWireError::MessageTooLarge { .. } => Failure::Refused(why),
        PgWireError::Server(text) => match sqlstate(text) {
            // It was made anew behind our back, and the slot's WAL is older.
            Some("42704") if text.contains("publication") => {
                Failure::Refused(format!("{why}: it was created after the slot, so drop the slot to begin a new era"))
            }
            // A slot that vanished or was invalidated is found, and made again, by the next look at the source.
            Some("42704" | "55000") => Failure::Unavailable(why),
            Some(code) if is_refusal_code(code) => Failure::Refused(why),
            _ => Failure::Unavailable(why),
        },
        _ => Failure::Unavailable(why),
    }
}

/// The five characters of a text that ends in `(SQLSTATE 55006)`.
fn sqlstate(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("SQLSTATE ")?;
    rest.get(..5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_server_are_sorted() {
        let check = |text: &str, refused: bool| {
            let failure = failure(&PgWireError::Server(text.into()));
            assert_eq!(matches!(failure, Failure::Refused(_)), refused, "{failure:?}");
        };
        check("replication slot \"d\" is active for PID 1 (SQLSTATE 55006)", false);
        check("replication slot \"d\" does not exist (SQLSTATE 42704)", false);
        check("can no longer get changes from replication slot \"d\" (SQLSTATE 55000)", false);
        check("terminating connection due to administrator command (SQLSTATE 57P01)", false);
        check("publication \"p\" does not exist (SQLSTATE 42704)", true);
        check("must be superuser or replication role (SQLSTATE 42501)", true);
        check("no code", false);
        assert!(is_busy(&PgWireError::Server("busy (SQLSTATE 55006)".into())));
    }

    #[test]
    fn a_large_value_becomes_a_marker() {
        let row = Row::of([Value::Text("1"), Value::Text("12345"), Value::Unchanged]);
        let mut change = Change::Insert { relation: RelationId(1), row };
        omit_large_values(&mut change, 5);
        assert!(format!("{change:?}").contains("(1, 12345, unchanged)"));
        omit_large_values(&mut change, 4);
        assert!(format!("{change:?}").contains("(1, omitted 5, unchanged)"));
    }
}
