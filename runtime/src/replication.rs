//! Replication in production: its machine, the database, the source, and whom it announces to.

mod host;
mod reader;
mod thread;

use crate::clock::Clock;
use crate::db::Database;
use crate::drive::drive;
use crate::hub::Incarnations;
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::source::Source;
use dormouse_core::history::Announcement;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{Config, Input, PhaseName, Replication, Status};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How many events may wait.
const EVENTS_MAX: usize = 1_024;
/// How many announcements a busy hub may fall behind before it has to read history instead.
const ANNOUNCEMENTS_MAX: usize = 32;

/// What happens to Replication.
#[derive(Debug)]
pub enum Event {
    /// The process is ready for it.
    Start,
    /// The process ends: finish what is being recorded, release the lease.
    Stop,
    /// A hub waits until covered has reached this.
    CoveredWanted(Lsn),
    /// A question is answered.
    Answered(Box<Input>),
}

/// Where Replication stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// As the machine sees it.
    pub status: Status,
    /// Whether its task has ended.
    pub ended: bool,
    /// Why the last preparation or stream ended, until the next stream delivers.
    pub trouble: Option<String>,
    /// When covered moved last in this process, or an era began.
    pub moved_at: Option<Instant>,
}

/// The handles of one running Replication.
#[derive(Debug, Clone)]
pub struct Replicator {
    /// Tells it something.
    pub events: mpsc::Sender<Event>,
    /// What it announces.
    pub announcements: broadcast::Sender<Arc<Announcement>>,
    /// Where it stands.
    pub reports: watch::Receiver<Report>,
    /// Where it counts.
    pub metrics: Metrics,
}

/// Makes the handles first, so that hubs can subscribe before anything is announced.
#[must_use]
pub fn prepare(metrics: Metrics) -> (Replicator, Inbox) {
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let (announcements, _) = broadcast::channel(ANNOUNCEMENTS_MAX);
    let status = Status { phase: PhaseName::Idle, token: None, head: None, confirmed: Lsn::ZERO, halt: None };
    let (report, reports) = watch::channel(Report { status, ended: false, trouble: None, moved_at: None });
    (Replicator { events, announcements, reports, metrics }, Inbox { events: inbox, report })
}

/// The receiving ends of a [`Replicator`].
#[derive(Debug)]
pub struct Inbox {
    events: mpsc::Receiver<Event>,
    report: watch::Sender<Report>,
}

/// Starts Replication on a thread of its own. Its task ends after [`Event::Stop`], or when it halts; the thread, once `tasks` are closed
/// and have ended.
///
/// # Errors
/// When there is no thread to be had.
pub fn start<S: Source + 'static>(
    clock: Clock,
    (config, incarnations, database): (Config, Incarnations, Database),
    source: S,
    (replicator, inbox): (Replicator, Inbox),
    recorder: Option<&Recorder>,
    tasks: &TaskTracker,
) -> std::io::Result<()> {
    let thread = thread::start(tasks)?;
    let _here = thread.enter(); // What is spawned from now on.
    let witness = recorder.and_then(|recorder| recorder.lane::<Replication>("replication", &config));
    let source = reader::Reader::start(source, replicator.events.clone(), tasks);
    let host = host::ReplicationHost::new(config, incarnations, database, source, replicator, inbox);
    tasks.spawn(drive(clock, host, witness));
    Ok(())
}
