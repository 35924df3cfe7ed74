//! The task that polls: it looks, peeks when there can be something new, and lets Postgres forget what is confirmed.

use super::session::{Refusal, Rows, Session, failure};
use super::watch::{Sight, Watch};
use super::{Config, Shared};
use crate::db::Database;
use crate::source::items::{self, Items};
use bytes::Bytes;
use dormouse_core::fault::Failure;
use dormouse_core::pgoutput::{Message, decode};
use dormouse_core::position::Lsn;
use dormouse_core::replication::ReadSource;
use dormouse_core::source::SourceItem;
use futures::{FutureExt, StreamExt};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

/// A source that says nothing for longer would be taken for dead.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(10);
/// The fewest messages that one peek asks for, and the most while each is confirmed before the next.
const PEEK_FIRST: i32 = 8_192;
const PEEK_MOST: i32 = 131_072;
/// How long the next peek of a backlog waits for the last one to be recorded, so that it need not tell it again.
const RECORDING_MAX: Duration = Duration::from_secs(1);
/// A confirmation is passed on once it frees so much WAL, or after the time below.
const ADVANCE_BYTES: u64 = 256 * 1024;
const ADVANCE_FIRST: Duration = Duration::from_secs(1);
const ADVANCE_LAST: Duration = Duration::from_secs(30);
/// Peeking may take one part in so many of a processor, and advancing one in so many, where their time is long.
const PEEK_SHARE: u32 = 4;
const ADVANCE_SHARE: u32 = 20;
/// How much is handed over at once.
const PORTION: ReadSource = ReadSource { changes_max: 512, bytes_max: 64 * 1024 };
/// How often a slot that is held by another is tried again.
const BUSY_TRIES: u32 = 30;
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How long the last confirmation may take at the end.
const FAREWELL: Duration = Duration::from_millis(500);

pub(super) type Delivery = Result<Vec<SourceItem>, Failure>;

/// How much a peek told.
struct Told {
    /// How many messages there were, those told before among them.
    messages: u64,
    /// It was given up before its end.
    cut: bool,
}

pub(super) struct Poller {
    database: Database,
    session: Session,
    config: Config,
    shared: Arc<Shared>,
    out: mpsc::Sender<Delivery>,
    watch: Watch,
    /// The last transaction that was told whole: its commit, and where that ends.
    delivered: Lsn,
    delivered_end: Lsn,
    /// The slot stands here. It is moved by us alone while we poll.
    advanced: Lsn,
    advance_at: Instant,
    /// How many messages the next peek asks for.
    messages_max: i32,
    /// The last peek was cut: there is more.
    backlog: bool,
    wait: Duration,
    spoke_at: Instant,
    resting: bool,
}

impl Poller {
    pub(super) fn new(
        (database, session): (Database, Session),
        config: Config,
        shared: Arc<Shared>,
        out: mpsc::Sender<Delivery>,
        confirmed: Lsn,
    ) -> Self {
        let now = Instant::now();
        Self {
            database,
            session,
            config,
            shared,
            out,
            watch: Watch::new(config.hibernate_distance),
            delivered: Lsn::ZERO,
            delivered_end: Lsn::ZERO,
            advanced: confirmed,
            advance_at: now,
            messages_max: PEEK_FIRST,
            backlog: false,
            wait: config.interval,
            spoke_at: now,
            resting: false,
        }
    }

    /// Polls until it is closed or fails; the failure is told to the reader.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let ended = tokio::select! {
            biased;
            () = closing.cancelled() => None,
            why = self.rounds() => Some(why),
        };
        match ended {
            Some(why) => {
                let _ = self.out.send(Err(why)).await; // Nobody reads any more: then nobody needs to know.
            }
            // What could not be said now is said again by the next.
            None if self.resting && self.shared.confirmed() > self.advanced => {
                let _ = tokio::time::timeout(FAREWELL, self.session.advance(self.shared.confirmed())).await;
            }
            None => {}
        }
    }

    async fn rounds(&mut self) -> Failure {
        loop {
            self.resting = false;
            match self.round().await {
                Ok(()) => {
                    self.resting = true;
                    self.rest().await;
                }
                Err(why) => return why,
            }
        }
    }

    async fn round(&mut self) -> Result<(), Failure> {
        self.advance().await?;
        let (sight, confirmed) = self.session.look().await?;
        self.shared.looks.fetch_add(1, Ordering::Relaxed);
        self.check_slot(confirmed)?;
        if self.watch.wants_peek(&sight) || self.backlog {
            return self.peek(sight).await;
        }
        self.wait = (self.wait * 3 / 2).min(self.config.interval_max);
        self.sign_of_life().await
    }

    /// Sleeps, or waits for what was told to be recorded while there is more.
    async fn rest(&mut self) {
        if self.backlog {
            let recorded = async {
                while self.shared.confirmed() < self.delivered_end {
                    self.shared.confirming.notified().await;
                }
            };
            let _ = tokio::time::timeout(RECORDING_MAX, recorded).await; // The next peek then tells it again, and more.
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(self.wait) => {}
            () = self.shared.hinted.notified() => self.wait = self.config.interval,
        }
    }

    /// A slot that moved or vanished in our absence may have skipped something. A slot made anew stands later than ours did.
    fn check_slot(&self, confirmed: Option<Lsn>) -> Result<(), Failure> {
        match confirmed {
            Some(lsn) if lsn <= self.advanced => Ok(()),
            Some(lsn) => {
                Err(Failure::Unavailable(format!("somebody else moved the slot from {} to {lsn}", self.advanced)))
            }
            None => Err(Failure::Unavailable("the slot is gone".into())),
        }
    }

    async fn peek(&mut self, sight: Sight) -> Result<(), Failure> {
        let (started, before) = (Instant::now(), self.delivered);
        let Told { messages, cut } = self.tell(&sight).await?;
        let moved = self.delivered > before;
        self.backlog = cut || messages >= u64::from(self.messages_max.unsigned_abs());
        self.messages_max = match (self.backlog, moved || cut) {
            (false, _) => PEEK_FIRST,
            (true, true) => self.messages_max.saturating_mul(2).min(PEEK_MOST).max(self.messages_max),
            // All of it had been told before: only a longer one can come further.
            (true, false) => self.messages_max.saturating_mul(2),
        };
        if cut {
            // Or the next peek would come upon the same names again.
            let (out, told) = (self.out.clone(), self.watch.told());
            patiently(&out, told, items::recorded(&self.database, self.delivered_end)).await?;
            self.advance_to(self.delivered_end).await?;
        }
        if !self.backlog {
            self.hand_over(vec![SourceItem::Keepalive { wal_end: sight.flushed }]).await;
            self.watch.peeked(sight);
        }
        let slower = if moved { self.config.interval } else { self.wait * 3 / 2 };
        self.wait = slower.max(started.elapsed() * PEEK_SHARE).min(self.config.interval_max);
        Ok(())
    }

    /// Tells what a peek returns and was not told before.
    async fn tell(&mut self, sight: &Sight) -> Result<Told, Failure> {
        let (first, mut rows) = self.open_peek().await?;
        // All is decoded by now: so the slot stood here all the while, and nothing is missing before the first row.
        self.check_slot(self.database.slot_confirmed().await?)?;
        let (mut items, mut skipping) = (Items::new(&self.database), false);
        let mut told = Told { messages: 0, cut: false };
        let (mut first, mut commit_lsn) = (Some(first), Lsn::ZERO);
        loop {
            let row = match first.take() {
                Some(first) => first,
                None => self.next(&mut rows).await?,
            };
            let Some(row) = row else { break };
            told.messages += 1;
            let message = Bytes::copy_from_slice(row.try_get(0).map_err(failure)?);
            match (message.first(), skipping) {
                (Some(b'B'), _) => {
                    if let Ok(Message::Begin { final_lsn, .. }) = decode(&message) {
                        (commit_lsn, skipping) = (final_lsn, final_lsn <= self.delivered);
                    }
                    // The next peek, once what was told is confirmed, tells present names.
                    if !skipping && items.are_outdated(&self.database, commit_lsn) {
                        told.cut = true;
                        break;
                    }
                }
                (Some(b'C'), true) => {
                    skipping = false;
                    continue;
                }
                (Some(b'C'), false) => {
                    if let Ok(Message::Commit { end_lsn, .. }) = decode(&message) {
                        (self.delivered, self.delivered_end) = (commit_lsn, end_lsn);
                    }
                }
                // Shapes are told once per peek, wherever they come first.
                (Some(b'I' | b'U' | b'D' | b'T'), true) => continue,
                _ => {}
            }
            if !skipping || message.first() != Some(&b'B') {
                items.decode(&self.database, &message).await?;
            }
            if items.is_full(&PORTION) {
                self.hand_over(items.take()).await;
            }
        }
        if !items.is_empty() {
            self.hand_over(items.take()).await;
        }
        tracing::trace!(messages = told.messages, through = %sight.flushed, "peeked");
        Ok(told)
    }

    async fn next(&self, rows: &mut Rows) -> Result<Option<Row>, Failure> {
        let row = match rows.next().now_or_never() {
            Some(row) => row,
            None => patiently(&self.out, self.watch.told(), rows.next()).await,
        };
        row.transpose().map_err(failure)
    }

    async fn open_peek(&mut self) -> Result<(Option<Row>, Rows), Failure> {
        for _ in 0..BUSY_TRIES {
            // The first answer comes when everything is decoded.
            let (shared, out, told) = (Arc::clone(&self.shared), self.out.clone(), self.watch.told());
            shared.peeks.fetch_add(1, Ordering::Relaxed);
            match patiently(&out, told, self.session.peek(self.messages_max)).await {
                Ok(peeked) => return Ok(peeked),
                Err(Refusal::Busy) => {
                    self.database.end_stale_walsender().await?;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(Refusal::Failed(why)) => return Err(why),
            }
        }
        Err(Failure::Unavailable(format!("the slot {} is held by another process", self.database.slot_name())))
    }

    async fn sign_of_life(&mut self) -> Result<(), Failure> {
        if let Some(wal_end) = self.watch.told()
            && self.spoke_at.elapsed() >= SIGN_OF_LIFE_EVERY
        {
            self.hand_over(vec![SourceItem::Keepalive { wal_end }]).await;
        }
        Ok(())
    }

    /// Waits while the reader has enough.
    async fn hand_over(&mut self, items: Vec<SourceItem>) {
        if self.out.send(Ok(items)).await.is_err() {
            std::future::pending::<()>().await; // The reader is gone, and closes us.
        }
        self.spoke_at = Instant::now();
    }

    /// Passes on what is confirmed: rarely, since like a peek it reads WAL from the oldest running transaction on.
    async fn advance(&mut self) -> Result<(), Failure> {
        let confirmed = self.shared.confirmed();
        let freed = confirmed.0.saturating_sub(self.advanced.0);
        let started = Instant::now();
        let due = self.backlog || freed >= ADVANCE_BYTES || started >= self.advance_at;
        if freed == 0 || !due {
            return Ok(());
        }
        self.advance_to(confirmed).await?;
        let pause = (started.elapsed() * ADVANCE_SHARE).clamp(ADVANCE_FIRST, ADVANCE_LAST);
        self.advance_at = Instant::now() + pause;
        Ok(())
    }

    async fn advance_to(&mut self, lsn: Lsn) -> Result<(), Failure> {
        if lsn <= self.advanced {
            return Ok(());
        }
        match self.session.advance(lsn).await {
            Ok(advanced) => self.advanced = advanced.max(self.advanced),
            Err(Refusal::Busy) => tracing::debug!("the slot is held by another process; its advance is tried again"),
            Err(Refusal::Failed(why)) => return Err(why),
        }
        Ok(())
    }
}

/// Waits for something long, with a sign of life now and then.
async fn patiently<T>(out: &mpsc::Sender<Delivery>, told: Option<Lsn>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Ok(done) = tokio::time::timeout(SIGN_OF_LIFE_EVERY, &mut future).await {
            return done;
        }
        if let Some(wal_end) = told {
            let _ = out.try_send(Ok(vec![SourceItem::Keepalive { wal_end }])); // A full channel is life enough.
        }
    }
}
