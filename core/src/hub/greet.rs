//! Greeting: the epoch is taken, which fences older sessions of the client; then the position that it claims is judged.

use super::backfill::Backfill;
use super::credential::expires_in_ms;
use super::desk::{Desk, Judging};
use super::reads::refused;
use super::registry::{renew_at, replaced};
use super::retry::{Kind, Retry};
use super::session::{Flow, Fresh, Greeted, Peer, Phase, Serve, Served, Step};
use super::shapes::Told;
use super::{EpochTaken, Hub, JudgePosition, Judged, Named, Output, StoredPosition, TakeEpoch};
use crate::ask::Answer;
use crate::change::Scope;
use crate::fault::{Failure, FaultCode, PeerFault, ResyncReason};
use crate::history::Head;
use crate::position::{Position, Waypoint};
use crate::safeguard::Safeguard;
use crate::session::{Epoch, SessionId};
use crate::time::Timestamp;
use crate::wire::{Hello, Resume, ServerMessage};
use std::time::Duration;

impl Hub {
    /// A client greets.
    pub(super) fn on_hello(&mut self, id: SessionId, hello: Hello, now: Timestamp) {
        let Some(session) = self.slab.get_mut(id) else { return };
        let Phase::Opened { .. } = session.phase else {
            let message = "a connection greets once; open another to greet again";
            return self.close(id, Some(PeerFault::new(FaultCode::Malformed, message)), now);
        };
        let hello = Hello { token: None, ..hello };
        session.phase = Phase::Greeted(Box::new(Greeted { hello, step: Step::TakingEpoch }));
        self.take_epoch(id, now);
    }

    /// Asks for the epoch of a greeting.
    pub(super) fn take_epoch(&mut self, id: SessionId, now: Timestamp) {
        let Some(Phase::Greeted(greeted)) = self.slab.get(id).map(|session| &session.phase) else { return };
        let Step::TakingEpoch = greeted.step else { return };
        let hello = &greeted.hello;
        let question = TakeEpoch {
            client: hello.client.clone(),
            instance: hello.instance,
            attempt: hello.attempt,
            position: match hello.resume {
                Resume::Nothing => StoredPosition::Clear,
                Resume::Stored => StoredPosition::Keep,
                Resume::At(waypoint) => StoredPosition::Set(waypoint),
            },
            ttl: self.desk.config.registration_ttl,
            apart: self.desk.holds(Safeguard::OwnId),
        };
        let ask = self.desk.epochs.ask(&mut self.desk.asker, question, (id, now));
        self.desk.outputs.push_back(Output::TakeEpoch(ask));
    }

    pub(super) fn on_epoch_taken(&mut self, answer: Answer<TakeEpoch>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some(((id, asked_at), reply)) = self.desk.epochs.take(&mut self.desk.asker, safeguards, answer) else {
            return;
        };
        match reply {
            Ok(EpochTaken::Taken { epoch, stored }) => {
                self.desk.patience.succeeded(Kind::Epoch);
                let expires_at = asked_at + self.desk.config.registration_ttl;
                self.on_registered(id, epoch, stored, expires_at, now);
            }
            Ok(EpochTaken::Stale) => {
                let message = "a later greeting of this client came first; greet again with a higher attempt";
                self.close(id, Some(PeerFault::new(FaultCode::Stale, message)), now);
            }
            Ok(EpochTaken::Apart) => self.set_apart(id, now),
            Err(Failure::Unavailable(_)) => self.desk.retry_failed(Kind::Epoch, Retry::TakeEpoch(id), now),
            Err(Failure::Refused(_)) => self.close(id, Some(refused()), now),
        }
    }

    /// Two stores live under one client id, one a copy of the other. The one that was replaced goes on under an id of its own, which
    /// its welcome tells it: else the two would take the epoch from each other for ever.
    fn set_apart(&mut self, id: SessionId, now: Timestamp) {
        let Some(Phase::Greeted(greeted)) = self.slab.get_mut(id).map(|session| &mut session.phase) else { return };
        let hello = &mut greeted.hello;
        if let Some(instance) = hello.instance {
            hello.client = hello.client.beside(instance);
        }
        self.take_epoch(id, now);
    }

    /// The epoch is this session's: older sessions of its client end here.
    fn on_registered(
        &mut self,
        id: SessionId,
        epoch: Epoch,
        stored: Option<Waypoint>,
        expires_at: Timestamp,
        now: Timestamp,
    ) {
        let Some(session) = self.slab.get_mut(id) else { return }; // It left while the epoch was taken.
        let Phase::Greeted(greeted) = &mut session.phase else { return };
        let claim = match greeted.hello.resume {
            Resume::Nothing => None,
            Resume::Stored => stored,
            Resume::At(waypoint) => Some(waypoint),
        };
        let client = greeted.hello.client.clone();
        greeted.step = Step::Judging { epoch, expires_at, claim, ahead_since: None };
        if let Some(&other) = self.clients.get(&client) {
            let newer = self.slab.get(other).and_then(super::session::Session::epoch).is_some_and(|e| e > epoch);
            self.close(if newer { id } else { other }, Some(replaced()), now);
            if newer {
                return;
            }
        }
        if self.desk.holds(Safeguard::EpochFence) {
            self.desk.saves.forget_before(&client, epoch);
        }
        self.clients.insert(client, id);
        self.judge_position(id);
    }

    /// Asks for the judgement of a greeting.
    pub(super) fn judge_position(&mut self, id: SessionId) {
        let Some(Phase::Greeted(greeted)) = self.slab.get(id).map(|session| &session.phase) else { return };
        let Step::Judging { claim, .. } = greeted.step else { return };
        let question = JudgePosition { claim, scope: greeted.hello.scope.clone() };
        let ask = self.desk.judgements.ask(&mut self.desk.asker, question, Judging::Greeting(id));
        self.desk.outputs.push_back(Output::JudgePosition(ask));
    }

    /// Asks for a mark for sessions that have none.
    pub(super) fn read_marks(&mut self) {
        if self.desk.markless.is_empty() {
            return;
        }
        let sessions = std::mem::take(&mut self.desk.markless);
        let question = JudgePosition { claim: None, scope: Scope::All };
        let ask = self.desk.judgements.ask(&mut self.desk.asker, question, Judging::Marks(sessions));
        self.desk.outputs.push_back(Output::JudgePosition(ask));
    }

    pub(super) fn on_position_judged(&mut self, answer: Answer<JudgePosition>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some((memo, reply)) = self.desk.judgements.take(&mut self.desk.asker, safeguards, answer) else { return };
        match (reply, memo) {
            (Ok(judged), memo) => {
                self.desk.patience.succeeded(Kind::Judge);
                let present =
                    self.learn(&judged.head, now) && self.desk.head.is_some_and(|head| head.era() == judged.head.era());
                match memo {
                    Judging::Greeting(id) if present => self.on_judged(id, &judged, now),
                    Judging::Marks(ids) if present => self.on_marked(&ids, &judged, now),
                    Judging::Greeting(id) => self.judge_later(id, self.desk.config.snapshot_retry, now),
                    Judging::Marks(ids) => {
                        self.desk.retry_at(now + self.desk.config.snapshot_retry, Retry::Marks(ids));
                    }
                }
            }
            (Err(Failure::Refused(_)), Judging::Greeting(id)) => self.close(id, Some(refused()), now),
            (Err(_), Judging::Greeting(id)) => self.desk.retry_failed(Kind::Judge, Retry::Judge(id), now),
            (Err(_), Judging::Marks(ids)) => self.desk.retry_failed(Kind::Judge, Retry::Marks(ids), now),
        }
    }

    fn judge_later(&mut self, id: SessionId, wait: Duration, now: Timestamp) {
        self.desk.retry_at(now + wait.max(Duration::from_millis(1)), Retry::Judge(id));
    }

    /// W was read for sessions that had none.
    fn on_marked(&mut self, ids: &[SessionId], judged: &Judged, now: Timestamp) {
        for &id in ids {
            self.serve(id, now, |served, desk| {
                if served.peer.fresh == Fresh::NoMark && served.peer.era == judged.head.era() {
                    served.peer.fresh = Fresh::Waiting(judged.mark);
                    desk.want_covered(judged.mark);
                    served.check_fresh(desk, now);
                }
            });
        }
    }

    /// What the client claims was compared with history.
    fn on_judged(&mut self, id: SessionId, judged: &Judged, now: Timestamp) {
        let Some(head) = self.desk.head else { return };
        let config = &self.desk.config;
        let Some(Phase::Greeted(greeted)) = self.slab.get_mut(id).map(|session| &mut session.phase) else { return };
        let Step::Judging { claim, ahead_since, .. } = &mut greeted.step else { return };
        if !judged.unknown_tables.is_empty() {
            let message = format!("no published table is called {}", judged.unknown_tables.join(", "));
            return self.close(id, Some(PeerFault::new(FaultCode::UnknownScope, message)), now);
        }
        let exact = config.safeguards.holds(Safeguard::KnownPosition);
        let judgement = claim.map(|claim| judge(&claim, &head, judged.horizon, judged.named, exact));
        let serve = match judgement {
            None => Welcome::Backfill(None),
            Some(Judgement::Honoured(claim)) => Welcome::From(claim),
            Some(Judgement::Unusable(reason)) => Welcome::Backfill(Some(reason)),
            Some(Judgement::Ahead) => {
                let since = *ahead_since.get_or_insert(now);
                if now.since(since) < config.ahead_wait {
                    return self.judge_later(id, config.ahead_wait / 5, now);
                }
                Welcome::Backfill(Some(ResyncReason::UnknownPosition))
            }
        };
        self.welcome(id, serve, &head, judged, now);
    }

    /// The greeting was good.
    fn welcome(&mut self, id: SessionId, welcome: Welcome, head: &Head, judged: &Judged, now: Timestamp) {
        let Some(session) = self.slab.get_mut(id) else { return };
        let Phase::Greeted(greeted) = &session.phase else { return };
        let Step::Judging { epoch, expires_at, .. } = greeted.step else { return };
        let desk = &mut self.desk;
        let client = greeted.hello.client.clone();
        let peer = Peer {
            id,
            epoch,
            credential_until: session.credential_until,
            scope: desk.scopes.take(&greeted.hello.scope),
            era: head.era(),
            schema: head.schema(),
            expires_at,
            renew_at: renew_at(&desk.config, &client, expires_at),
            fresh: Fresh::Waiting(judged.mark),
            told: Told::default(),
            woken: false,
            noted: false,
            client: client.clone(),
        };
        desk.timers.set_at_latest(super::desk::Timer::Renew, peer.renew_at);
        let from = if let Welcome::From(claim) = welcome { Some(claim) } else { None };
        let (era, schema, head) = (head.era(), head.schema(), head.position());
        let credential_expires_in_ms = expires_in_ms(session.credential_until, now);
        desk.send(id, ServerMessage::Welcome { client, era, schema, head, from, credential_expires_in_ms });
        desk.want_covered(judged.mark);
        let serve = match from {
            Some(claim) => Serve::CatchUp { flow: Flow::at(claim), reading: None },
            None => Serve::Backfill(Box::new(Backfill::new(desk.next_backfill(), now))),
        };
        session.phase = Phase::Served(Served { peer, serve });
        self.serve(id, now, |served, desk| match welcome {
            Welcome::Backfill(Some(reason)) => served.resync(reason, desk, now),
            Welcome::Backfill(None) | Welcome::From(_) => served.begin(desk, now),
        });
    }
}

impl Served {
    /// Begins what the phase says.
    fn begin(&mut self, desk: &mut Desk, now: Timestamp) {
        desk.attach(self);
        self.drive(desk, now);
    }
}

/// What a greeting leads to.
#[derive(Clone, Copy)]
enum Welcome {
    From(Waypoint),
    Backfill(Option<ResyncReason>),
}

/// What becomes of a position that a client claims.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    /// Its client goes on from there.
    Honoured(Waypoint),
    /// It lies above the head: wait a little.
    Ahead,
    /// Its client must have everything again.
    Unusable(ResyncReason),
}

/// A position is honoured only if history, the era's start or the horizon holds exactly what it names.
fn judge(claim: &Waypoint, head: &Head, horizon: Position, named: Option<Named>, exact: bool) -> Judgement {
    let Position { index, .. } = claim.position;
    let fits = |named: Named| {
        let inside = claim.position.is_boundary() || index < named.changes;
        inside && (named.xid, named.committed_at) == (claim.xid, claim.committed_at)
    };
    if claim.era != head.era() {
        Judgement::Unusable(ResyncReason::OtherEra)
    } else if claim.schema != head.schema() {
        Judgement::Unusable(ResyncReason::SchemaChanged)
    } else if claim.position < horizon {
        Judgement::Unusable(ResyncReason::Pruned)
    } else if claim.position > head.position() {
        Judgement::Ahead
    } else if !exact || named.is_some_and(fits) {
        Judgement::Honoured(*claim)
    } else {
        Judgement::Unusable(ResyncReason::UnknownPosition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{CommitTime, Era, Lsn, SchemaVersion};
    use crate::xid::Xid;

    #[test]
    fn a_position_is_honoured_only_if_history_holds_exactly_that() {
        let at = |lsn, index, xid| Waypoint {
            era: Era { counter: 1, id: 7 },
            schema: SchemaVersion(1),
            position: Position { commit_lsn: Lsn(lsn), index },
            xid: Xid(xid),
            committed_at: CommitTime(xid.cast_signed()),
        };
        let head = Head { waypoint: at(40, Position::WHOLE, 4), covered: Lsn(41) };
        let horizon = Position::after(Lsn(10));
        let named = Some(Named { xid: Xid(2), committed_at: CommitTime(2), changes: 5 });
        let judge = |claim: &Waypoint| judge(claim, &head, horizon, named, true);
        let unusable = Judgement::Unusable;
        let whole = at(20, Position::WHOLE, 2);
        assert_eq!(judge(&whole), Judgement::Honoured(whole));
        assert_eq!(judge(&at(20, 4, 2)), Judgement::Honoured(at(20, 4, 2)));
        assert_eq!(judge(&at(20, 5, 2)), unusable(ResyncReason::UnknownPosition));
        assert_eq!(judge(&at(20, Position::WHOLE, 3)), unusable(ResyncReason::UnknownPosition));
        assert_eq!(judge(&at(9, Position::WHOLE, 1)), unusable(ResyncReason::Pruned));
        assert_eq!(judge(&at(50, Position::WHOLE, 5)), Judgement::Ahead);
        let other = Waypoint { era: Era { counter: 1, id: 8 }, ..whole };
        assert_eq!(judge(&other), unusable(ResyncReason::OtherEra));
        let older = Waypoint { schema: SchemaVersion(0), ..whole };
        assert_eq!(judge(&older), unusable(ResyncReason::SchemaChanged));
    }
}
