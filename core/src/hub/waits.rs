//! Nothing is forgotten: whatever waits, waits for an answer, or for a timer that is set.

use super::Hub;
use super::backfill::Step;
use super::desk::Timer;
use super::session::{Fresh, Phase, Serve};
use super::timeouts::deadline;
use crate::ensure;
use crate::machine::BrokenInvariant;

/// How many sessions wait for what.
#[derive(Default)]
struct Waiting {
    greeted: usize,
    histories: usize,
    chunks: usize,
    answers_due: bool,
}

impl Hub {
    /// Checks that everything that waits goes on.
    pub(super) fn check_waits(&self) -> Result<(), BrokenInvariant> {
        let desk = &self.desk;
        let set = |timer| desk.timers.is_set(timer);
        let waiting = self.waiting()?;
        ensure!(!waiting.answers_due || set(Timer::Scan), "sessions may become too slow, and nobody looks");
        let asked = desk.epochs.len() + desk.judgements.len() + desk.retries.len();
        ensure!(waiting.greeted <= asked, "{} greetings wait for {asked} answers", waiting.greeted);
        let asked = desk.histories.waiting();
        ensure!(waiting.histories <= asked, "{} sessions wait for {asked} reads of history", waiting.histories);
        let asked = desk.chunks.waiting();
        ensure!(waiting.chunks <= asked, "{} sessions wait for {asked} chunks", waiting.chunks);

        ensure!(!desk.histories.is_paused() || set(Timer::Histories), "history is read again, and nobody knows when");
        ensure!(!desk.chunks.is_paused() || set(Timer::Chunks), "chunks are read again, and nobody knows when");
        ensure!(!desk.spools.wait() || set(Timer::Snapshots), "a snapshot is to be taken, and nobody knows when");
        ensure!(!desk.spools.has_unused() || set(Timer::Spools), "a snapshot is to be dropped, and nobody knows when");
        ensure!(!desk.saves.wait() || set(Timer::Save), "positions are to be stored, and nobody knows when");
        ensure!(desk.waiting.is_empty() || set(Timer::Want), "covered is waited for, and nobody asks again");
        ensure!(desk.suspect.is_none() || set(Timer::Lag), "sessions may lag, and nobody looks");
        ensure!(self.slab.is_empty() || set(Timer::Poll), "the head may be outdated, and nobody looks");
        let retry = desk.retries.next();
        ensure!(retry.is_none_or(|at| desk.timers.is_set_by(Timer::Retry, at)), "something is tried again too late");
        let expiry = desk.expiries.first();
        ensure!(
            expiry.is_none_or(|(at, _)| desk.timers.is_set_by(Timer::Credential, *at)),
            "a credential runs out, and nobody knows when"
        );
        let renews = set(Timer::Renew) || !desk.renewals.open.is_empty();
        ensure!(renews || self.first_renewal().is_none(), "registrations end, and nobody renews them");
        Ok(())
    }

    fn waiting(&self) -> Result<Waiting, BrokenInvariant> {
        let desk = &self.desk;
        let mut waiting = Waiting::default();
        for session in self.slab.iter() {
            waiting.answers_due |= deadline(session, &desk.config).is_some();
            let served = match &session.phase {
                Phase::Opened { .. } => continue,
                Phase::Greeted(_) => {
                    waiting.greeted += 1;
                    continue;
                }
                Phase::Served(served) => served,
            };
            match &served.serve {
                Serve::CatchUp { reading, .. } => waiting.histories += usize::from(reading.is_some()),
                Serve::Backfill(backfill) => match backfill.step {
                    Step::Chunks { reading, .. } => waiting.chunks += usize::from(reading),
                    Step::Seam { reading, .. } => waiting.histories += usize::from(reading),
                    Step::Covered { spool } => {
                        let fence = desk.spools.ready(spool).map(|spool| spool.fence);
                        let waits = fence.is_some_and(|fence| desk.waiting.contains(&(fence, session.id)));
                        ensure!(waits, "session {} waits for covered, and nobody tells it", session.id);
                    }
                    Step::Unstarted | Step::Snapshot { .. } | Step::Complete { .. } => {}
                },
                Serve::Live(_) => {
                    if let Fresh::Waiting(mark) = served.peer.fresh {
                        let waits = desk.waiting.contains(&(mark, session.id));
                        ensure!(waits, "session {} waits to be live, and nobody tells it", session.id);
                    }
                }
            }
        }
        Ok(waiting)
    }
}
