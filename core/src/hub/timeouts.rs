//! What happens because time has passed.

use super::desk::Timer;
use super::retry::Retry;
use super::session::{Phase, Serve, Session};
use super::{Config, Hub};
use crate::fault::{FaultCode, PeerFault};
use crate::time::Timestamp;

impl Hub {
    /// A timer is due.
    pub(super) fn on_timer(&mut self, timer: Timer, now: Timestamp) {
        match timer {
            Timer::Retry => self.retry(now),
            Timer::Histories => self.desk.histories.resume(),
            Timer::Chunks => self.desk.chunks.resume(),
            Timer::Snapshots => {} // What may be taken now is taken when the input has been handled.
            Timer::Save => self.save_positions(),
            Timer::Renew => self.renew_registrations(now),
            Timer::Scan => self.scan(now),
            Timer::Want => self.on_want(now),
            Timer::Poll => self.on_poll(now),
            Timer::Lag => self.on_lag(now),
            Timer::Spools => self.desk.drop_spools(false, now),
            Timer::Credential => {} // Whose credential has run out was closed before anything else.
            Timer::Idle => self.on_idle(now),
        }
    }

    /// Tries again what is due.
    fn retry(&mut self, now: Timestamp) {
        while let Some(retry) = self.desk.retries.take_due(now) {
            match retry {
                Retry::TakeEpoch(id) => self.take_epoch(id, now),
                Retry::Judge(id) => self.judge_position(id),
                Retry::Marks(ids) => self.desk.markless.extend(ids),
                Retry::Unregister(question) => self.desk.ask_unregister(question),
                Retry::Drive(id) => self.serve(id, now, |served, desk| served.drive(desk, now)),
            }
        }
        if let Some(next) = self.desk.retries.next() {
            self.desk.timers.set_at_latest(Timer::Retry, next);
        }
    }

    /// Closes who is too slow. Comes again while anybody could become so.
    fn scan(&mut self, now: Timestamp) {
        let config = &self.desk.config;
        let mut late = Vec::new();
        let mut again = false;
        for session in self.slab.iter() {
            if let Some((deadline, what)) = deadline(session, config) {
                if deadline <= now {
                    late.push((session.id, what));
                } else {
                    again = true;
                }
            }
        }
        for (id, what) in late {
            self.close(id, Some(PeerFault::new(FaultCode::TooSlow, what)), now);
        }
        if again {
            self.desk.arm_scan(now);
        }
    }
}

/// When a session will have been too slow, and in what.
pub(super) fn deadline(session: &Session, config: &Config) -> Option<(Timestamp, &'static str)> {
    const UNACKNOWLEDGED: &str = "nothing was acknowledged for too long; connect again when there is time to read";
    match &session.phase {
        Phase::Opened { greet_by } => Some((*greet_by, "no `hello` came in time; send it when the connection opens")),
        Phase::Greeted(_) => None,
        Phase::Served(served) => {
            let since = match &served.serve {
                Serve::Backfill(backfill) => (backfill.in_flight() > 0).then_some(backfill.since),
                Serve::CatchUp { flow, .. } | Serve::Live(flow) => flow.window.waiting_since(),
            };
            since.map(|since| (since + config.ack_timeout, UNACKNOWLEDGED))
        }
    }
}
