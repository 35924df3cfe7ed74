//! The lease: taken, renewed, lost, released.

use super::Replication;
use super::interrupt::{Interrupted, fenced};
use super::io::*;
use super::outside::{Timer, ask, reply};
use super::phase::{Ending, Phase, Step, Tenure};
use crate::ask::{Answer, Incarnation};
use crate::fault::Failure;
use crate::time::Timestamp;

impl Replication {
    pub(super) fn on_started(&mut self, incarnation: Incarnation) {
        if matches!(self.phase, Phase::Idle) {
            self.outside.start(incarnation);
            self.take_lease();
        }
    }

    fn take_lease(&mut self) {
        self.phase = Phase::Standby;
        let question = TakeLease { holder: self.outside.config.holder.clone(), ttl: self.outside.config.lease_ttl };
        ask!(&mut self.outside, take_lease, TakeLease, question);
    }

    pub(super) fn on_lease_taken(&mut self, now: Timestamp, answer: Answer<TakeLease>) {
        let reply = reply!(self.outside, take_lease, answer);
        match (&self.phase, reply) {
            (Phase::Standby, Ok(LeaseTaken::Taken { token, clean })) => {
                let (renew_every, prune_every) =
                    (self.outside.config.lease_renew_every, self.outside.config.prune_every);
                self.outside.set(now, Timer::Renew, renew_every);
                self.outside.set(now, Timer::Prune, prune_every);
                self.outside.timers.stop(Timer::Follow);
                self.outside.timers.stop(Timer::Nudge);
                self.prepare(Tenure { token, suspect: !clean });
            }
            (Phase::Standby, Ok(LeaseTaken::Held { remaining, .. })) => {
                let first = self.outside.config.backoff_first;
                let wait = self.outside.backoff.next_wait().min(remaining.max(first));
                self.outside.set(now, Timer::Retry, wait);
                self.stand_by(now);
            }
            (Phase::Standby, Err(Failure::Unavailable(_))) => {
                let wait = self.outside.backoff.next_wait();
                self.outside.set(now, Timer::Retry, wait);
                self.stand_by(now);
            }
            (Phase::Standby, Err(refused @ Failure::Refused(_))) => {
                let tenure = Tenure { token: Token::default(), suspect: false };
                self.interrupt(now, tenure, Interrupted::from(refused));
            }
            (Phase::Stopping(Ending::Taking), Ok(LeaseTaken::Taken { token, .. })) => self.release(token),
            (Phase::Stopping(Ending::Taking), _) => self.stopped(),
            _ => {} // It was asked in another phase.
        }
    }

    /// The wait after a failure is over.
    pub(super) fn on_retry(&mut self) {
        match &self.phase {
            Phase::Standby => self.take_lease(),
            Phase::Preparing(tenure, Step::Waiting) => self.prepare(*tenure),
            _ => {}
        }
    }

    pub(super) fn renew_lease(&mut self) {
        if let Some(tenure) = self.phase.tenure() {
            let question = RenewLease { token: tenure.token, ttl: self.outside.config.lease_ttl };
            ask!(&mut self.outside, renew_lease, RenewLease, question);
        }
    }

    pub(super) fn on_lease_renewed(&mut self, now: Timestamp, answer: Answer<RenewLease>) {
        let reply = reply!(self.outside, renew_lease, answer);
        let every = self.outside.config.lease_renew_every;
        match fenced(reply) {
            Ok(()) => self.outside.set(now, Timer::Renew, every),
            Err(Interrupted::Failed(_)) => self.outside.set(now, Timer::Renew, every / 4),
            Err(why) => self.interrupt_tenure(now, why),
        }
    }

    /// Ends the tenure, whatever is done under it; while stopping, nothing is left to do then.
    pub(super) fn interrupt_tenure(&mut self, now: Timestamp, why: Interrupted) {
        if matches!(self.phase, Phase::Stopping(_)) {
            self.stopped();
        } else if let Some(tenure) = self.phase.tenure() {
            self.interrupt(now, tenure, why);
        }
    }

    pub(super) fn prune(&mut self) {
        if let Some(tenure) = self.phase.tenure() {
            let (keep_min, keep_max) = (self.outside.config.keep_min, self.outside.config.keep_max);
            ask!(&mut self.outside, prune, Prune, Prune { token: tenure.token, keep_min, keep_max });
        }
    }

    pub(super) fn on_pruned(&mut self, now: Timestamp, answer: Answer<Prune>) {
        let reply = reply!(self.outside, prune, answer);
        let every = self.outside.config.prune_every;
        match fenced(reply) {
            Ok(_) | Err(Interrupted::Failed(_)) => self.outside.set(now, Timer::Prune, every),
            Err(why) => self.interrupt_tenure(now, why),
        }
    }

    pub(super) fn on_stopping(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Standby if !self.outside.asks.take_lease.is_empty() => {
                self.outside.timers.clear();
                self.phase = Phase::Stopping(Ending::Taking);
            }
            Phase::Preparing(tenure, _) => self.release(tenure.token),
            Phase::Streaming(stream) if stream.is_recording() => {
                // What is being recorded is still announced and confirmed; nothing more is read.
                self.outside.stop_timers();
                self.outside.timers.stop(Timer::Prune);
                self.phase = Phase::Stopping(Ending::Recording(stream));
            }
            Phase::Streaming(stream) => self.release(stream.tenure.token),
            ending @ Phase::Stopping(_) => self.phase = ending,
            Phase::Idle | Phase::Standby | Phase::Halted(_) => self.stopped(),
            Phase::Stopped => self.phase = Phase::Stopped,
        }
    }

    /// Closes the stream, then gives the lease back.
    pub(super) fn release(&mut self, token: Token) {
        self.outside.stop_stream();
        self.outside.forget_tenure();
        self.phase = Phase::Stopping(Ending::Releasing);
        ask!(&mut self.outside, release_lease, ReleaseLease, ReleaseLease { token });
    }

    /// The lease was released, or could not be and will run out.
    pub(super) fn on_lease_released(&mut self, answer: Answer<ReleaseLease>) {
        let _ = reply!(self.outside, release_lease, answer);
        if matches!(self.phase, Phase::Stopping(Ending::Releasing)) {
            self.stopped();
        }
    }

    fn stopped(&mut self) {
        self.outside.stop_stream();
        self.outside.forget_tenure();
        self.phase = Phase::Stopped;
        self.outside.push(Output::Stopped);
    }
}
