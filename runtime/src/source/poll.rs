//! The source that polls the slot by plain SQL, where a replication connection is not to be had.
//!
//! A task looks at WAL's end with a cheap statement, soon after something came and ever more rarely while nothing does. Only when
//! WAL or the transactions that ended say that there can be something new does it peek into the slot. While they do not, the
//! source hibernates: time alone never makes it peek.

mod poller;
mod session;
mod watch;

use super::Source;
use super::trouble::Undecodable;
use crate::db::Database;
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{ReadSource, StartStream};
use dormouse_core::source::SourceItem;
use poller::{Delivery, Poller};
use session::Session;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How many portions may wait for the reader.
const PORTIONS_MAX: usize = 4;
/// How long the task may take to end.
const END_MAX: Duration = Duration::from_secs(1);

/// How eagerly to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Between two looks while changes come.
    pub interval: Duration,
    /// Between two looks while nothing happens: what a change after a rest waits at most.
    pub interval_max: Duration,
    /// So many bytes of WAL are peeked through although no transaction ended in them, so that Postgres can forget them.
    pub hibernate_distance: u64,
}

impl Default for Config {
    fn default() -> Self {
        let (interval, interval_max) = (Duration::from_millis(20), Duration::from_millis(500));
        Self { interval, interval_max, hibernate_distance: 1 << 20 }
    }
}

/// Polls the slot of a database.
pub struct PollSource {
    database: Database,
    config: Config,
    open: tokio::sync::Mutex<Option<Open>>,
    /// Ends the task that polls, and a read that waits for it.
    closing: Mutex<CancellationToken>,
    shared: Arc<Shared>,
    undecodable: Undecodable,
}

/// What the task is told while it runs.
#[derive(Debug, Default)]
struct Shared {
    confirmed: AtomicU64,
    confirming: Notify,
    /// Somebody waits: look at once.
    hinted: Notify,
    /// How often it has looked, and peeked.
    looks: AtomicU64,
    peeks: AtomicU64,
}

impl Shared {
    fn confirmed(&self) -> Lsn {
        Lsn(self.confirmed.load(Ordering::Acquire))
    }
}

/// What was taken from the task stays here until a read returns it, so that a read may be given up at any moment.
struct Open {
    inbox: mpsc::Receiver<Delivery>,
    items: VecDeque<SourceItem>,
    failed: Option<Failure>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for PollSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollSource")
            .field("database", &self.database)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl PollSource {
    /// A source that is not started yet.
    #[must_use]
    pub fn new(database: Database, config: Config) -> Self {
        Self {
            database,
            config,
            open: tokio::sync::Mutex::default(),
            closing: Mutex::default(),
            shared: Arc::default(),
            undecodable: Undecodable::default(),
        }
    }

    /// How often the database was looked at.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.shared.looks.load(Ordering::Relaxed)
    }

    /// How often the slot was peeked into.
    #[must_use]
    pub fn peeks(&self) -> u64 {
        self.shared.peeks.load(Ordering::Relaxed)
    }

    fn closing(&self) -> CancellationToken {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for PollSource {
    async fn start(&self, _: StartStream) -> Result<(), Failure> {
        self.stop().await;
        self.undecodable.give_up(&self.database).await?;
        let mut open = self.open.lock().await;
        let closing = CancellationToken::new();
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = closing.clone();
        self.shared.confirmed.store(0, Ordering::Release);
        let session = Session::open(&self.database).await?;
        // A slot tells from what is confirmed on, and that is never before where it is asked to begin.
        let (_, confirmed) = session.look().await?;
        let confirmed = confirmed.ok_or_else(|| Failure::Unavailable("the slot is gone".into()))?;
        let (out, inbox) = mpsc::channel(PORTIONS_MAX);
        let poller = (self.database.clone(), session);
        let poller = Poller::new(poller, self.config, Arc::clone(&self.shared), out, confirmed);
        let task = tokio::spawn(poller.run(closing));
        *open = Some(Open { inbox, items: VecDeque::new(), failed: None, task });
        tracing::debug!(from = %confirmed, "the slot is polled");
        Ok(())
    }

    async fn read(&self, q: ReadSource) -> Result<Vec<SourceItem>, Failure> {
        let closing = self.closing();
        let mut slot = self.open.lock().await;
        let open = slot.as_mut().ok_or_else(|| Failure::Unavailable("the stream is not open".into()))?;
        let filled = tokio::select! {
            filled = open.fill() => filled,
            () = closing.cancelled() => Err(Failure::Unavailable("the stream was closed".into())),
        };
        match filled {
            Ok(()) => {
                let items = open.take(&q);
                if items.iter().any(|item| matches!(item, SourceItem::Commit { .. })) {
                    self.undecodable.decoded();
                }
                Ok(items)
            }
            Err(why) => {
                closing.cancel();
                *slot = None; // Its items are told again by the next.
                self.undecodable.failed(&why);
                Err(why)
            }
        }
    }

    fn confirm(&self, lsn: Lsn) {
        self.shared.confirmed.fetch_max(lsn.0, Ordering::AcqRel);
        self.shared.confirming.notify_one();
    }

    fn nudged(&self) {
        self.shared.hinted.notify_one();
    }

    async fn stop(&self) {
        self.closing().cancel();
        if let Some(open) = self.open.lock().await.take() {
            // What was confirmed last goes out with its end, or is said again by the next.
            let _ = tokio::time::timeout(END_MAX, open.task).await;
        }
    }
}

impl Open {
    /// Waits for at least one item.
    async fn fill(&mut self) -> Result<(), Failure> {
        while self.items.is_empty() {
            if let Some(why) = self.failed.take() {
                return Err(why);
            }
            match self.inbox.recv().await {
                Some(Ok(items)) => self.items.extend(items),
                Some(Err(why)) => return Err(why),
                None => return Err(Failure::Unavailable("polling ended".into())),
            }
        }
        Ok(())
    }

    /// Takes what is ready, up to the limits.
    fn take(&mut self, q: &ReadSource) -> Vec<SourceItem> {
        let (changes_max, bytes_max) = (q.changes_max.max(1) as usize, q.bytes_max.max(1) as usize);
        let (mut taken, mut changes, mut bytes) = (Vec::new(), 0, 0);
        while changes < changes_max && bytes < bytes_max && taken.len() < 4 * changes_max {
            if self.items.is_empty() && self.failed.is_none() {
                match self.inbox.try_recv() {
                    Ok(Ok(items)) => self.items.extend(items),
                    Ok(Err(why)) => self.failed = Some(why),
                    Err(_) => break,
                }
            }
            let Some(item) = self.items.pop_front() else { break };
            if let SourceItem::Change(change) = &item {
                (changes, bytes) = (changes + 1, bytes + change.weight());
            }
            taken.push(item);
        }
        taken
    }
}
