//! What a replicator asks, and what it keeps of the answers.

use super::{Player, TTL};
use crate::conformance::op::{Parts, Step, Whose};
use crate::conformance::reply::{Answered, Reply, Streamed};
use crate::conformance::subject::{Question, Subject};
use crate::conformance::tell;
use dormouse_core::change::{Page, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::position::{Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::replication::{
    BeginEra, CreateSlot, Fenced, InspectSource, InspectTables, LeaseTaken, LoadProgress, NoteAttempt, Prune,
    RaiseSchema, RecordPage, Recorded, ReleaseLease, RenewLease, SaveCovered, SettleSlot, SourceState, StartStream,
    TakeLease,
};
use dormouse_core::source::{Fingerprints, SourceItem};
use dormouse_core::xid::Xid;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

impl<S: Subject> Player<S> {
    pub(super) async fn replicate(&mut self, step: &Step, lost: bool) -> Reply {
        match step {
            Step::StartStream { anew } => self.start_stream(*anew).await,
            Step::Read => Reply::Answers(vec![self.read().await]),
            Step::Confirm => self.confirm().await,
            Step::Record(whose, Parts::All(piece)) => {
                let mut answers = Vec::new();
                while let Some(answer) = self.record_next(*whose, *piece, true, false).await {
                    let goes_on = matches!(answer, Ok(Answered::Recorded(Recorded::Recorded { .. })));
                    answers.push(answer);
                    if !goes_on {
                        break;
                    }
                }
                if answers.is_empty() { Reply::Nothing } else { Reply::Answers(answers) }
            }
            Step::Record(whose, Parts::One(piece)) => one(self.record_next(*whose, *piece, true, lost).await),
            Step::RecordRowFirst => one(self.record_next(Whose::Newest, 1, false, lost).await),
            Step::RecordAgain(whose) => one(self.record_again(*whose, lost).await),
            other => {
                let Some(question) = self.question(other) else { return Reply::Nothing };
                if let (Step::RaiseSchema { .. }, Question::RaiseSchema(raise)) = (step, &question) {
                    self.raises.push(raise.clone());
                }
                let notes = match &question {
                    Question::RaiseSchema(RaiseSchema { fingerprints, .. })
                    | Question::BeginEra(BeginEra { fingerprints, .. }) => Some(fingerprints.clone()),
                    _ => None,
                };
                let mut answer = self.ask(question, lost).await;
                if let Ok(Answered::Schema(Fenced::Done(_)) | Answered::Era(Fenced::Done(_))) = &answer {
                    self.noted = notes.unwrap_or_default();
                }
                // How much of what was confirmed a restart forgets is Postgres' own affair, so it is told as what it was.
                if let Ok(Answered::Source(Fenced::Done(SourceState { slot: Some(slot), .. }))) = &mut answer {
                    slot.confirmed = slot.confirmed.max(self.forgettable());
                }
                self.learn(&answer);
                let mut answers = vec![answer];
                answers.extend(self.compared(&answers[0]).map(|words| Ok(Answered::Compared(words))));
                Reply::Answers(answers)
            }
        }
    }

    fn question(&self, step: &Step) -> Option<Question> {
        Some(match step {
            Step::TakeLease(holder) => Question::TakeLease(TakeLease { holder: (*holder).into(), ttl: TTL }),
            Step::RenewLease(whose) => Question::RenewLease(RenewLease { token: self.token(*whose), ttl: TTL }),
            Step::ReleaseLease(whose) => Question::ReleaseLease(ReleaseLease { token: self.token(*whose) }),
            Step::Inspect(whose) => Question::InspectSource(InspectSource { token: self.token(*whose) }),
            Step::LoadProgress(whose) => Question::LoadProgress(LoadProgress { token: self.token(*whose) }),
            Step::CreateSlot(whose) => Question::CreateSlot(CreateSlot { token: self.token(*whose) }),
            Step::SettleSlot(whose) => Question::SettleSlot(SettleSlot { token: self.token(*whose) }),
            Step::BeginEra(whose) => {
                let source = self.source.clone()?;
                Question::BeginEra(BeginEra {
                    token: self.token(*whose),
                    start: self.slot.or(source.slot.filter(|slot| slot.usable).map(|slot| slot.confirmed))?,
                    evidence: source.evidence,
                    fingerprints: source.fingerprints,
                    reason: "a script".into(),
                })
            }
            Step::NoteAttempt(whose) => {
                let commit_lsn = self.pending.front()?.commit_lsn;
                Question::NoteAttempt(NoteAttempt { token: self.token(*whose), commit_lsn })
            }
            Step::SaveCovered(whose) => {
                let covered = if self.pending.is_empty() { self.told } else { self.pending.front()?.commit_lsn };
                Question::SaveCovered(SaveCovered { token: self.token(*whose), era: self.head?.era(), covered })
            }
            Step::Tables(whose) => Question::InspectTables(InspectTables { token: self.token(*whose) }),
            Step::RaiseSchema { whose, alters } => Question::RaiseSchema(RaiseSchema {
                token: self.token(*whose),
                era: self.head.map_or_else(Era::default, |head| head.era()),
                from: self.head.map_or_else(SchemaVersion::default, |head| head.schema()),
                noted: self.noted.clone(),
                fingerprints: self.seen.clone(),
                reason: alters.then(|| "a script".into()),
            }),
            Step::RaiseAgain(nth) => {
                let raise = self.raises.get(self.raises.len().checked_sub(*nth)?)?;
                Question::RaiseSchema(RaiseSchema { token: self.token, ..raise.clone() })
            }
            Step::Prune(whose) => {
                Question::Prune(Prune { token: self.token(*whose), keep_min: HOUR, keep_max: 10 * HOUR })
            }
            other => unreachable!("a hub asks {other:?}"),
        })
    }

    fn learn(&mut self, answer: &Result<Answered, Failure>) {
        match answer {
            Ok(Answered::Lease(LeaseTaken::Taken { token, .. })) => self.token = *token,
            Ok(Answered::Source(Fenced::Done(source))) => self.source = Some(source.clone()),
            Ok(Answered::Slot(Fenced::Done(slot))) => {
                self.slot = Some(*slot);
                (self.confirmed, self.restarted) = (Lsn::ZERO, false);
            }
            Ok(Answered::Era(Fenced::Done(head))) => {
                (self.head, self.start, self.slot) = (Some(*head), Some(head.waypoint), None);
                self.resume(head.position());
            }
            Ok(Answered::Progress(Fenced::Done(Some(progress)))) => {
                self.head = Some(progress.head);
                self.noted = progress.fingerprints.clone();
                self.resume(progress.head.position());
            }
            Ok(Answered::Schema(Fenced::Done(schema))) => {
                if let Some(head) = &mut self.head {
                    head.waypoint.schema = *schema;
                }
            }
            _ => {}
        }
    }

    fn forgettable(&self) -> Lsn {
        if self.restarted { self.confirmed } else { Lsn::ZERO }
    }

    fn resume(&mut self, expect: Position) {
        (self.expect, self.appended) = (expect, 0);
        // What is in history already is told from what is not by its place in commit order alone.
        self.pending.retain(|transaction| transaction.commit_lsn > expect.commit_lsn);
    }

    /// How the tables differ from the last look at them.
    fn compared(&mut self, answer: &Result<Answered, Failure>) -> Option<String> {
        let tables: &Fingerprints = match answer {
            Ok(Answered::Source(Fenced::Done(source))) => &source.fingerprints,
            Ok(Answered::Tables(Fenced::Done(tables))) => tables,
            _ => return None,
        };
        let words = tell::compared(&self.seen, tables);
        self.seen = tables.clone();
        Some(words)
    }

    async fn start_stream(&mut self, anew: bool) -> Reply {
        let question = Question::InspectSource(InspectSource { token: self.token });
        let confirmed = match self.ask(question, false).await {
            Ok(Answered::Source(Fenced::Done(source))) => source.slot.map_or(Lsn::ZERO, |slot| slot.confirmed),
            _ => Lsn::ZERO,
        };
        let from = self.head.filter(|_| !anew).map_or(Lsn::ZERO, |head| head.covered);
        let answer = self.ask(Question::StartStream(StartStream { token: self.token, from }), false).await;
        self.pending.clear();
        self.relations.clear();
        (self.stream, self.appended) = ((from.max(confirmed), 0), 0);
        Reply::Answers(vec![answer])
    }

    async fn read(&mut self) -> Result<Answered, Failure> {
        let items = self.subject.read().await?;
        let (from, before, forgettable) = (self.stream.0, self.stream.1, self.forgettable());
        let mut streamed = Streamed { from, before, forgettable, introduced: true, ..Streamed::default() };
        let mut open = None;
        for item in items {
            match item {
                SourceItem::Begin { commit_lsn, committed_at, xid } => {
                    open = Some((commit_lsn, committed_at, Xid(u64::from(xid)), Vec::new()));
                }
                SourceItem::Relation(relation) => self.relations.push(relation),
                SourceItem::Change(change) => {
                    streamed.introduced &= self.relations.iter().any(|relation| relation.id == change.relation());
                    open.as_mut().expect("a change stands in a transaction").3.push(change);
                }
                SourceItem::Commit { end_lsn } => {
                    let (commit_lsn, committed_at, xid, changes) = open.take().expect("it began before it ended");
                    self.told = self.told.max(end_lsn);
                    if changes.is_empty() {
                        continue; // Before version 15 Postgres tells of transactions that publish nothing.
                    }
                    let (first, complete, changes) = (0, true, changes.into());
                    let told = Transaction { commit_lsn, end_lsn, xid, committed_at, first, complete, changes };
                    streamed.transactions.push(told);
                }
                SourceItem::Keepalive { wal_end } => {
                    streamed.keepalives.push((streamed.transactions.len(), wal_end));
                    self.told = self.told.max(wal_end);
                }
            }
        }
        self.stream.1 += streamed.transactions.len();
        let new = streamed.transactions.iter().filter(|told| told.commit_lsn > self.expect.commit_lsn);
        self.pending.extend(new.cloned());
        Ok(Answered::Streamed(streamed))
    }

    /// Confirms what is durable: all that was told, or what was recorded last.
    async fn confirm(&mut self) -> Reply {
        let recorded = self.recorded.last().map_or(Lsn::ZERO, |(_, end_lsn)| *end_lsn);
        let lsn = if self.pending.is_empty() { self.told.max(recorded) } else { recorded };
        if lsn == Lsn::ZERO {
            return Reply::Nothing;
        }
        self.subject.confirm(lsn).await;
        (self.confirmed, self.restarted) = (self.confirmed.max(lsn), false);
        Reply::Did(crate::conformance::reply::Did::Done)
    }

    /// Appends the next piece. `None` when there is none.
    async fn record_next(
        &mut self,
        whose: Whose,
        piece: u32,
        row_last: bool,
        lost: bool,
    ) -> Option<Result<Answered, Failure>> {
        let (head, whole) = (self.head?, self.pending.front()?.clone());
        let (first, all) = (self.appended as usize, whole.changes.len());
        let end = (first + piece.max(1) as usize).min(all);
        let complete = end == all;
        let transaction = Transaction {
            first: self.appended,
            complete,
            end_lsn: if complete { whole.end_lsn } else { Lsn::ZERO },
            changes: whole.changes[first..end].into(),
            ..whole
        };
        let index = if complete { Position::WHOLE } else { u32::try_from(end).expect("few") - 1 };
        let (commit_lsn, xid, committed_at) = (transaction.commit_lsn, transaction.xid, transaction.committed_at);
        let through = Waypoint { position: Position { commit_lsn, index }, xid, committed_at, ..head.waypoint };
        let (relations, end_lsn) = (self.relations.clone().into(), transaction.end_lsn);
        let page = Arc::new(Page { after: self.expect, through, relations, transactions: vec![transaction] });
        self.last_page = Some((self.expect, Arc::clone(&page), row_last));
        let answer = self.append(whose, self.expect, page, row_last, lost).await;
        let reference = match &answer {
            Ok(Answered::Recorded(Recorded::Recorded { reference })) => Some(*reference),
            // An earlier try had its effect, and its answer was lost.
            Ok(Answered::Recorded(Recorded::AlreadyAt { position, reference })) if *position == through.position => {
                Some(*reference)
            }
            _ => None,
        };
        if let Some(reference) = reference {
            self.expect = through.position;
            self.appended = u32::try_from(end).expect("few");
            if complete {
                self.appended = 0;
                self.pending.pop_front();
                #[expect(clippy::cast_possible_truncation, reason = "the stream tells the low half")]
                let xid = Xid::widen(xid.0 as u32, reference);
                self.recorded.push((Waypoint { xid, ..through }, end_lsn));
            }
        }
        Some(answer)
    }

    async fn record_again(&mut self, whose: Whose, lost: bool) -> Option<Result<Answered, Failure>> {
        let (expect, page, row_last) = self.last_page.clone()?;
        Some(self.append(whose, expect, page, row_last, lost).await)
    }

    async fn append(
        &mut self,
        whose: Whose,
        expect: Position,
        page: Arc<Page>,
        row_last: bool,
        lost: bool,
    ) -> Result<Answered, Failure> {
        let era = page.through.era;
        let q = RecordPage { token: self.token(whose), era, expect, page, compare: true, row_last };
        self.ask(Question::RecordPage(q), lost).await
    }
}

fn one(answer: Option<Result<Answered, Failure>>) -> Reply {
    answer.map_or(Reply::Nothing, |answer| Reply::Answers(vec![answer]))
}
