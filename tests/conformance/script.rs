//! Plays a script on a subject: keeps what a replicator and its hubs keep, and makes of each step the question that they ask.

mod replicator;

use super::op::{Fault, Op, Place, Saved, Step, Whose};
use super::reply::{Answered, Reply};
use super::subject::{Question, Subject};
use dormouse_core::change::{Page, Relation, Scope, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, ReadHead, ReadHistory};
use dormouse_core::hub::{
    EpochTaken, JudgePosition, RenewRegistrations, SavePositions, StoredPosition, TakeEpoch, TakeSnapshot, Unregister,
};
use dormouse_core::position::{Era, Lsn, Position, Waypoint};
use dormouse_core::replication::{RaiseSchema, SourceState, Token};
use dormouse_core::session::{ClientId, Epoch};
use dormouse_core::source::Fingerprints;
use dormouse_core::xid::Xid;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long leases and registrations last. Scripts pass whole hours.
const TTL: Duration = Duration::from_secs(90 * 60);

/// A script at work.
pub struct Player<S> {
    pub subject: S,
    token: Token,
    source: Option<SourceState>,
    /// The tables at the last look.
    seen: Fingerprints,
    /// Where the slot that was created begins.
    slot: Option<Lsn>,
    head: Option<Head>,
    /// The era's start.
    start: Option<Waypoint>,
    /// The last appended position, as far as this replicator knows.
    expect: Position,
    /// Whole transactions that the stream told and that are not recorded.
    pending: VecDeque<Transaction>,
    /// How many changes of the first of them are appended.
    appended: u32,
    relations: Vec<Arc<Relation>>,
    /// Up to where the stream told everything.
    told: Lsn,
    /// Where this stream began, and how many transactions it has told.
    stream: (Lsn, usize),
    /// The most that was confirmed of this slot, and whether the server restarted since.
    confirmed: Lsn,
    restarted: bool,
    /// What this script recorded, in order.
    recorded: Vec<(Waypoint, Lsn)>,
    last_page: Option<(Position, Arc<Page>, bool)>,
    raises: Vec<RaiseSchema>,
    /// What is noted of the tables, as far as this replicator knows.
    noted: Fingerprints,
    epochs: BTreeMap<&'static str, Vec<Epoch>>,
}

impl<S: Subject> Player<S> {
    pub fn new(subject: S) -> Self {
        Self {
            subject,
            token: Token(0),
            source: None,
            seen: Fingerprints::new(),
            slot: None,
            head: None,
            start: None,
            expect: Position::ZERO,
            pending: VecDeque::new(),
            appended: 0,
            relations: Vec::new(),
            told: Lsn::ZERO,
            stream: (Lsn::ZERO, 0),
            confirmed: Lsn::ZERO,
            restarted: false,
            recorded: Vec::new(),
            last_page: None,
            raises: Vec::new(),
            noted: Fingerprints::new(),
            epochs: BTreeMap::new(),
        }
    }

    /// Carries out one step.
    pub async fn play(&mut self, op: &Op) -> Reply {
        match op {
            Op::Act(act) => Reply::Did(self.subject.act(act).await),
            Op::Fault(fault) => {
                self.subject.befall(*fault).await;
                self.restarted |= matches!(fault, Fault::Restart | Fault::Crash);
                Reply::Did(super::reply::Did::Done)
            }
            Op::Ask(step) => self.step(step, false).await,
            Op::Lost(step) => self.step(step, true).await,
        }
    }

    async fn step(&mut self, step: &Step, lost: bool) -> Reply {
        match step {
            Step::TakeLease(_)
            | Step::RenewLease(_)
            | Step::ReleaseLease(_)
            | Step::Inspect(_)
            | Step::LoadProgress(_)
            | Step::CreateSlot(_)
            | Step::SettleSlot(_)
            | Step::BeginEra(_)
            | Step::StartStream { .. }
            | Step::Read
            | Step::Confirm
            | Step::Record(..)
            | Step::RecordAgain(_)
            | Step::RecordRowFirst
            | Step::NoteAttempt(_)
            | Step::SaveCovered(_)
            | Step::Tables(_)
            | Step::RaiseSchema { .. }
            | Step::RaiseAgain(_)
            | Step::Prune(_) => self.replicate(step, lost).await,
            Step::ReadHead
            | Step::ReadHistory { .. }
            | Step::ReadOtherEra
            | Step::Judge { .. }
            | Step::TakeSnapshot { .. }
            | Step::TakeEpoch { .. }
            | Step::SavePosition { .. }
            | Step::RenewRegistration { .. }
            | Step::Unregister { .. }
            | Step::Registrations
            | Step::Renewals => self.serve(step, lost).await,
        }
    }

    /// What a hub asks.
    async fn serve(&mut self, step: &Step, lost: bool) -> Reply {
        let Some(question) = self.hub_question(step) else { return Reply::Nothing };
        let answer = self.subject.ask(question, lost).await;
        if let (Step::TakeEpoch { client, .. }, Ok(Answered::Epoch(EpochTaken::Taken { epoch, .. }))) = (step, &answer)
        {
            self.epochs.entry(client).or_default().push(*epoch);
        }
        Reply::Answers(vec![answer])
    }

    fn hub_question(&self, step: &Step) -> Option<Question> {
        let era = self.head.map_or_else(Era::default, |head| head.era());
        let epoch = |client: &str, nth: usize| self.epochs.get(client)?.get(nth.checked_sub(1)?).copied();
        Some(match step {
            Step::ReadHead => Question::ReadHead(ReadHead),
            Step::ReadHistory { after, until, changes_max, bytes_max } => Question::ReadHistory(ReadHistory {
                era,
                after: self.place(*after)?.position,
                until: match until {
                    Some(place) => Some(self.place(*place)?.position.commit_lsn),
                    None => None,
                },
                changes_max: *changes_max,
                bytes_max: *bytes_max,
            }),
            Step::ReadOtherEra => {
                let era = Era { counter: era.counter + 1, id: era.id };
                let after = self.place(Place::Start)?.position;
                Question::ReadHistory(ReadHistory { era, after, until: None, changes_max: 9, bytes_max: 9 })
            }
            Step::Judge { claim, tables } => {
                let claim = match claim {
                    Some(place) => Some(self.place(*place)?),
                    None => None,
                };
                let scope = match tables {
                    [] => Scope::All,
                    some => Scope::tables(some.iter().map(|table| (*table).to_owned())),
                };
                Question::JudgePosition(JudgePosition { claim, scope })
            }
            Step::TakeSnapshot { await_era_start } => {
                Question::TakeSnapshot(TakeSnapshot { era, scope: Scope::All, await_era_start: *await_era_start })
            }
            Step::TakeEpoch { client, instance, attempt, position } => Question::TakeEpoch(TakeEpoch {
                client: id(client),
                instance: *instance,
                attempt: *attempt,
                position: match position {
                    Saved::Keep => StoredPosition::Keep,
                    Saved::Set(place) => StoredPosition::Set(self.place(*place)?),
                    Saved::Clear => StoredPosition::Clear,
                },
                ttl: TTL,
                apart: true,
            }),
            Step::SavePosition { client, epoch: nth, at, fenced, monotonic } => {
                let at = match at {
                    Some(place) => Some(self.place(*place)?),
                    None => None,
                };
                let entries = vec![(id(client), epoch(client, *nth)?, at)];
                Question::SavePositions(SavePositions { entries, fenced: *fenced, monotonic: *monotonic })
            }
            Step::RenewRegistration { client, epoch: nth } => Question::RenewRegistrations(RenewRegistrations {
                entries: vec![(id(client), epoch(client, *nth)?)],
                ttl: TTL,
            }),
            Step::Unregister { client, epoch: nth, fenced } => {
                Question::Unregister(Unregister { client: id(client), epoch: epoch(client, *nth)?, fenced: *fenced })
            }
            Step::Registrations => Question::Registrations,
            Step::Renewals => Question::Renewals,
            other => unreachable!("a replicator asks {other:?}"),
        })
    }

    /// `None` when there is no such place yet.
    fn place(&self, place: Place) -> Option<Waypoint> {
        let nth = |n: usize| self.recorded.get(n.checked_sub(1)?).map(|(waypoint, _)| *waypoint);
        Some(match place {
            Place::Zero => Waypoint { position: Position::ZERO, xid: Xid(0), ..self.start? },
            Place::Start => self.start?,
            Place::After(n) => nth(n)?,
            Place::Inside(n, index) => {
                let whole = nth(n)?;
                Waypoint { position: Position { index, ..whole.position }, ..whole }
            }
            Place::Future => Waypoint { position: Position::after(Lsn(u64::MAX / 2)), ..self.start? },
        })
    }

    const fn token(&self, whose: Whose) -> Token {
        match whose {
            Whose::Newest => self.token,
            Whose::Earlier => Token(self.token.0.wrapping_sub(1)),
        }
    }

    async fn ask(&mut self, question: Question, lost: bool) -> Result<Answered, Failure> {
        self.subject.ask(question, lost).await
    }
}

fn id(client: &str) -> ClientId {
    ClientId::new(client).expect("the names of scripts are printable")
}
