//! Readiness that means progress: covered moved a moment ago, or a message written to an idle source came through.
//!
//! A healthy stream moves covered every few seconds by itself, because renewing the lease writes WAL. Only when it has not
//! moved for [`FRESH`] is a small logical message written and waited for: one proof at a time, however many ask.

use crate::db::Database;
use crate::metrics::Metrics;
use crate::replication::{Event, Report};
use dormouse_core::position::Lsn;
use dormouse_core::replication::PhaseName;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a proof of progress counts.
pub const FRESH: Duration = Duration::from_secs(5);
/// How long a proof may take. Trouble that no connection tells of is seen after [`FRESH`] and this.
pub const PROOF_MAX: Duration = Duration::from_secs(5);
/// How often a holder's walsender is looked at while a proof is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A receiver reports to its walsender twice a second; one that is silent for so long is gone.
const RECEIVER_SILENCE_MAX: Duration = Duration::from_secs(15);

/// Why nothing is moving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For programs: `starting`, `no_lease`, `preparing`, `halted`, `stopping`, `database`, `no_progress`.
    pub reason: &'static str,
    /// For the operator: what is wrong, since when, and what to do.
    pub message: String,
}

impl Trouble {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What the last proof found.
#[derive(Debug, Clone)]
struct Verdict {
    /// Grows with each.
    n: u64,
    /// What Replication was doing: found then, it means nothing for another phase.
    phase: PhaseName,
    /// When progress was made, or why none is.
    found: Result<Instant, Trouble>,
    /// When progress was last seen.
    proven_at: Option<Instant>,
}

/// The way to ask whether replication makes progress. A cheap handle.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    reports: watch::Receiver<Report>,
    verdicts: watch::Receiver<Verdict>,
    demand: mpsc::Sender<()>,
}

/// What a [`Heartbeat`] works with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Where Replication stands.
    pub reports: watch::Receiver<Report>,
    /// Where it is asked to reach what was written.
    pub replication: mpsc::Sender<Event>,
    /// Where a message is written.
    pub database: Database,
    /// Where the results are counted.
    pub metrics: Metrics,
}

impl Heartbeat {
    /// Makes the handle, and the task that proves progress every `every`, and when asked, until it is cancelled.
    pub fn prepare(around: Surroundings, every: Duration, end: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let (demand, demanded) = mpsc::channel(1);
        let found = Err(Trouble::new("starting", "replication has not started yet"));
        let (verdict, verdicts) = watch::channel(Verdict { n: 0, phase: PhaseName::Idle, found, proven_at: None });
        let heartbeat = Self { reports: around.reports.clone(), verdicts, demand };
        let task = async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = beat_on(&around, every, demanded, &verdict) => {}
            }
        };
        (heartbeat, task)
    }

    /// Whether replication makes progress, by a proof no older than [`FRESH`]; a new one is made if need be, within [`PROOF_MAX`].
    ///
    /// # Errors
    /// When it makes none.
    pub async fn judge(&self) -> Result<(), Trouble> {
        if self.is_fresh() {
            return Ok(());
        }
        let mut verdicts = self.verdicts.clone();
        let before = verdicts.borrow_and_update().n;
        let _ = self.demand.try_send(()); // One that waits already is ours, too.
        let newer = verdicts.wait_for(|verdict| verdict.n > before);
        match tokio::time::timeout(PROOF_MAX + Duration::from_secs(1), newer).await {
            Ok(Ok(verdict)) => verdict.found.clone().map(|_| ()),
            Ok(Err(_)) => Err(Trouble::new("stopping", "the server is going away")),
            Err(_) => Err(Trouble::new("no_progress", "the proof of progress itself did not end in time")),
        }
    }

    /// Whether the last sign of progress is fresh, and nothing has ended since.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let report = self.reports.borrow();
        let verdict = self.verdicts.borrow();
        let proven = verdict.found.as_ref().ok().copied().filter(|_| verdict.phase == report.status.phase);
        match report.status.phase {
            PhaseName::Streaming => report.moved_at.max(proven).is_some_and(fresh),
            PhaseName::Standby => proven.is_some_and(fresh),
            PhaseName::Idle | PhaseName::Preparing | PhaseName::Stopping | PhaseName::Stopped | PhaseName::Halted => {
                false
            }
        }
    }

    /// How long ago progress was last seen, of this process or of the holder that it stands by for.
    #[must_use]
    pub fn progress_age(&self) -> Option<Duration> {
        let moved_at = self.reports.borrow().moved_at;
        moved_at.max(self.verdicts.borrow().proven_at).map(|at| at.elapsed())
    }
}

fn fresh(at: Instant) -> bool {
    at.elapsed() <= FRESH
}

async fn beat_on(
    around: &Surroundings,
    every: Duration,
    mut demanded: mpsc::Receiver<()>,
    verdict: &watch::Sender<Verdict>,
) {
    loop {
        let asked = tokio::time::timeout(every, demanded.recv()).await;
        if asked == Ok(None) {
            return; // Nobody can ask any more.
        }
        let phase = around.reports.borrow().status.phase;
        let proof = tokio::time::timeout(PROOF_MAX, prove(around));
        let found = proof.await.unwrap_or_else(|_| Err(stalled(&around.reports.borrow())));
        if let Err(trouble) = &found {
            around.metrics.beat("failed");
            tracing::debug!(reason = trouble.reason, "no progress: {}", trouble.message);
        }
        let _ = demanded.try_recv(); // Whoever asked meanwhile is answered by this one.
        verdict.send_modify(|last| {
            last.proven_at = found.as_ref().ok().copied().max(last.proven_at);
            (last.n, last.phase) = (last.n + 1, phase);
            last.found = found;
        });
    }
}

/// Sees progress, or makes some.
async fn prove(around: &Surroundings) -> Result<Instant, Trouble> {
    let report = around.reports.borrow().clone();
    match report.status.phase {
        PhaseName::Streaming => match report.moved_at.filter(|at| fresh(*at)) {
            Some(at) => {
                around.metrics.beat("moved");
                Ok(at)
            }
            None => echo(around).await,
        },
        PhaseName::Standby => holder(around, &report).await,
        PhaseName::Idle => Err(Trouble::new("starting", "replication has not started yet")),
        PhaseName::Preparing => Err(Trouble::new("preparing", because("the stream is being prepared", &report))),
        PhaseName::Stopping | PhaseName::Stopped => Err(Trouble::new("stopping", "the server is going away")),
        PhaseName::Halted => {
            let halt = report.status.halt.map_or_else(|| "see the log".into(), |halt| halt.message);
            Err(Trouble::new("halted", format!("replication has halted until somebody acts: {halt}")))
        }
    }
}

/// Writes a message to the source and waits until it has come through.
async fn echo(around: &Surroundings) -> Result<Instant, Trouble> {
    let mut reports = around.reports.clone();
    let before = reports.borrow_and_update().moved_at;
    let lsn = write(around).await?;
    let _ = around.replication.send(Event::CoveredWanted(lsn)).await; // A Replication that has ended says so in its report.
    let came = reports.wait_for(|report| report.moved_at > before || report.status.phase != PhaseName::Streaming).await;
    match came.map(|report| (report.status.phase, report.moved_at)) {
        Ok((PhaseName::Streaming, Some(at))) => {
            around.metrics.beat("echoed");
            Ok(at)
        }
        Ok(_) | Err(_) => {
            Err(Trouble::new("preparing", because("the stream has just ended", &around.reports.borrow())))
        }
    }
}

/// Another process replicates: what counts is that its walsender sends what is written now, and hears from it.
async fn holder(around: &Surroundings, report: &Report) -> Result<Instant, Trouble> {
    let source = async || {
        let source = around.database.source_status().await;
        source.map_err(|why| Trouble::new("database", format!("the database does not answer: {}", why.reason())))
    };
    let first = source().await?;
    if !first.is_held() {
        return Err(Trouble::new("no_lease", because("nobody holds the lease", report)));
    }
    let lsn = write(around).await?;
    loop {
        let now = source().await?;
        match now.walsender {
            _ if !now.is_held() => return Err(Trouble::new("no_lease", because("nobody holds the lease", report))),
            None => {
                let message = format!("{} holds the lease, but nothing is streamed to it", now.holder);
                return Err(Trouble::new("preparing", message));
            }
            Some(walsender) if walsender.silence > RECEIVER_SILENCE_MAX => {
                let seconds = walsender.silence.as_secs();
                let message = format!(
                    "{} holds the lease, and said nothing for {seconds} s to the walsender that serves it",
                    now.holder
                );
                return Err(Trouble::new("no_progress", message));
            }
            Some(walsender) if walsender.sent >= lsn => {
                around.metrics.beat("holder");
                return Ok(Instant::now());
            }
            Some(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn write(around: &Surroundings) -> Result<Lsn, Trouble> {
    let written = around.database.nudge_source().await;
    written.map_err(|why| Trouble::new("database", format!("the database does not answer: {}", why.reason())))
}

/// What is said when a proof ran out of time.
fn stalled(report: &Report) -> Trouble {
    let covered = report.status.head.map_or(Lsn::ZERO, |head| head.covered);
    let since = report.moved_at.map_or_else(|| "ever".into(), |at| format!("for {} s", at.elapsed().as_secs()));
    let what = match report.status.phase {
        PhaseName::Standby => "the process that holds the lease does not get what is written".into(),
        _ => format!("covered has not moved from {covered} {since}, and what is written now does not come through"),
    };
    Trouble::new(
        "no_progress",
        because(&what, report) + "; look at the walsender, the network, and locks on dormouse's tables",
    )
}

fn because(what: &str, report: &Report) -> String {
    report.trouble.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what}, after: {why}"))
}
