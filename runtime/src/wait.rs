//! Waiting until history holds all that was committed before the request came.
//!
//! Any number of requests that arrive while a mark is being read share the next one: each needs a mark that was read after
//! it came, and no more.

use crate::db::Database;
use crate::replication::{Event, Report};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Era, Lsn};
use dormouse_core::replication::PhaseName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

/// The most requests that may wait at once.
pub const WAITERS_MAX: usize = 1_024;

type Reply = oneshot::Sender<Result<Lsn, Failure>>;

/// The way to wait. A cheap handle.
#[derive(Debug, Clone)]
pub struct Waiting {
    places: Arc<Semaphore>,
    marks: mpsc::Sender<Reply>,
    reports: watch::Receiver<Report>,
    replication: mpsc::Sender<Event>,
}

/// What was waited for has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// How far nothing is missing now.
    pub covered: Lsn,
    /// The era.
    pub era: Era,
    /// How long it took.
    pub waited: Duration,
}

/// Why it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// Not in the time that was given: the mark, and how far nothing is missing.
    TimedOut(String),
    /// It cannot be waited for here and now.
    Unavailable(String),
}

impl Waiting {
    /// Makes the handle, and the task that reads marks until the last handle is gone.
    pub fn prepare(
        database: Database,
        reports: watch::Receiver<Report>,
        replication: mpsc::Sender<Event>,
    ) -> (Self, impl Future<Output = ()>) {
        let (marks, asked) = mpsc::channel(WAITERS_MAX);
        let waiting = Self { places: Arc::new(Semaphore::new(WAITERS_MAX)), marks, reports, replication };
        (waiting, read_marks(database, asked))
    }

    /// Waits until covered has reached what was written to the WAL before this call, `most` at most.
    ///
    /// # Errors
    /// When that takes longer, when replication has ended here, or when too many wait already.
    pub async fn wait(&self, most: Duration) -> Result<Reached, Unmet> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Unmet::Unavailable(format!("{WAITERS_MAX} requests wait already: ask again a little later")));
        };
        let began = Instant::now();
        let mut mark = None;
        match tokio::time::timeout(most, self.reach(began, &mut mark)).await {
            Ok(done) => done,
            Err(_) => {
                let covered = self.reports.borrow().status.head.map(|head| head.covered);
                let at = |lsn: Option<Lsn>| lsn.map_or_else(|| "unknown".to_owned(), |lsn| lsn.to_string());
                let (mark, covered) = (at(mark), at(covered));
                Err(Unmet::TimedOut(format!(
                    "covered is {covered} and has not reached {mark} in time; /readyz says whether it moves"
                )))
            }
        }
    }

    async fn reach(&self, began: Instant, mark: &mut Option<Lsn>) -> Result<Reached, Unmet> {
        let mut reports = self.reports.clone();
        loop {
            let lsn = self.mark().await?;
            *mark = Some(lsn);
            let mut era = None;
            let _ = self.replication.send(Event::CoveredWanted(lsn)).await; // One that ended says so in its report.
            let stands = reports.wait_for(|report| {
                let head = report.status.head;
                let first = *era.get_or_insert_with(|| head.map(|head| head.era()));
                let moved_on = first.is_some() && head.map(|head| head.era()) != first;
                has_ended(report) || moved_on || head.is_some_and(|head| head.covered >= lsn)
            });
            let report = stands.await.map_err(|_| Unmet::Unavailable("the server is going away".into()))?.clone();
            if has_ended(&report) {
                return Err(Unmet::Unavailable(
                    format!("replication has ended in this process (it is {:?})", report.status.phase).to_lowercase(),
                ));
            }
            let head = report.status.head.filter(|head| era.flatten().is_none_or(|era| era == head.era()));
            if let Some(head) = head.filter(|head| head.covered >= lsn) {
                return Ok(Reached { covered: head.covered, era: head.era(), waited: began.elapsed() });
            }
            // Another era has begun, and nothing of this one can be compared with it: a mark is read anew.
        }
    }

    async fn mark(&self) -> Result<Lsn, Unmet> {
        let gone = |_| Unmet::Unavailable("the server is going away".into());
        let (reply, mark) = oneshot::channel();
        self.marks.send(reply).await.map_err(|_| Unmet::Unavailable("the server is going away".into()))?;
        let mark = mark.await.map_err(gone)?;
        mark.map_err(|why| Unmet::Unavailable(format!("the database does not answer: {}", why.reason())))
    }
}

/// Whether nothing more is heard of history here. Who stands by hears what another records.
const fn has_ended(report: &Report) -> bool {
    match report.status.phase {
        PhaseName::Stopping | PhaseName::Stopped | PhaseName::Halted => true,
        PhaseName::Idle | PhaseName::Standby | PhaseName::Preparing | PhaseName::Streaming => false,
    }
}

async fn read_marks(database: Database, mut asked: mpsc::Receiver<Reply>) {
    let mut batch = Vec::new();
    while asked.recv_many(&mut batch, WAITERS_MAX).await > 0 {
        let mark = database.read_mark().await;
        for reply in batch.drain(..) {
            let _ = reply.send(mark.clone()); // Whoever asked may have gone.
        }
    }
}
