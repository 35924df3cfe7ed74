//! Transcripts: what goes in, and what comes out.
//!
//! In these tests the transaction that commits at LSN `n` has xid `n` and one change, an insert of row `n` into `public.a`; an
//! LSN of 0x1n goes to `public.b` as well, when `n` is odd.

mod backfill;
mod credential;
mod greeting;
mod hibernation;
mod live;
mod registry;

use super::*;
use crate::ask::{Answer, Ask, Question};
use crate::change::{Change, Chunk, Column, Page, Relation, Scope, Transaction};
use crate::fault::{Failure, Malformed};
use crate::history::{Announcement, HistoryRead, ReadHead, ReadHistory};
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion};
use crate::row::{Row, Value};
use crate::session::{Attachment, BackfillId, Epoch};
use crate::wire::{ClientMessage, Hello, Resume, ServerMessage};
use crate::xid::{Snapshot, Xid};
use expect_test::Expect;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// A hub under test, the questions that it has open, and what it said.
struct Script {
    hub: Hub,
    now: Timestamp,
    era: Era,
    schema: SchemaVersion,
    incarnation: u64,
    epochs: VecDeque<Ask<TakeEpoch>>,
    judgements: VecDeque<Ask<JudgePosition>>,
    snapshots: VecDeque<Ask<TakeSnapshot>>,
    chunks: VecDeque<Ask<ReadChunk>>,
    histories: VecDeque<Ask<ReadHistory>>,
    heads: VecDeque<Ask<ReadHead>>,
    saves: VecDeque<Ask<SavePositions>>,
    renewals: VecDeque<Ask<RenewRegistrations>>,
    unregisters: VecDeque<Ask<Unregister>>,
    attachments: Vec<(SessionId, Arc<Attachment>)>,
    backfills: Vec<BackfillId>,
    said: String,
}

fn script() -> Script {
    script_with(Config::default())
}

fn script_with(config: Config) -> Script {
    let mut script = Script {
        hub: Hub::new(config),
        now: Timestamp::from_millis(1_000_000),
        era: Era { counter: 1, id: 0xe1 },
        schema: SchemaVersion(1),
        incarnation: 0,
        epochs: VecDeque::new(),
        judgements: VecDeque::new(),
        snapshots: VecDeque::new(),
        chunks: VecDeque::new(),
        histories: VecDeque::new(),
        heads: VecDeque::new(),
        saves: VecDeque::new(),
        renewals: VecDeque::new(),
        unregisters: VecDeque::new(),
        attachments: Vec::new(),
        backfills: Vec::new(),
        said: String::new(),
    };
    script.wake();
    script
}

const fn id(serial: u64) -> SessionId {
    SessionId { slot: serial as u32, serial }
}

fn relation(name: &str) -> Arc<Relation> {
    let column = Column { name: "id".into(), type_oid: 23, type_name: "int4".into(), key: true };
    Arc::new(Relation::new("public", name, vec![column]))
}

fn row(n: u64) -> Row {
    Row::of([Value::Text(&n.to_string())])
}

impl Script {
    fn waypoint(&self, lsn: u64) -> Waypoint {
        let xid = lsn;
        Waypoint {
            era: self.era,
            schema: self.schema,
            position: Position::after(Lsn(lsn)),
            xid: Xid(xid),
            committed_at: CommitTime(xid.cast_signed()),
        }
    }

    fn head_at(&self, lsn: u64, covered: u64) -> Head {
        Head { waypoint: self.waypoint(lsn), covered: Lsn(covered) }
    }

    /// The page of these transactions.
    fn page(&self, after: u64, lsns: &[u64]) -> Arc<Page> {
        let (a, b) = (relation("a"), relation("b"));
        let transactions = lsns.iter().map(|&lsn| Transaction {
            commit_lsn: Lsn(lsn),
            end_lsn: Lsn(lsn + 1),
            xid: Xid(lsn),
            committed_at: CommitTime(lsn.cast_signed()),
            first: 0,
            complete: true,
            changes: [&a, &b][..if lsn % 2 == 1 { 2 } else { 1 }]
                .iter()
                .map(|relation| Change::Insert { relation: relation.id, row: row(lsn) })
                .collect(),
        });
        let transactions: Vec<_> = transactions.collect();
        let relations = if lsns.iter().any(|lsn| lsn % 2 == 1) { vec![a, b] } else { vec![a] };
        let last = *lsns.last().expect("a page has transactions");
        let through = self.waypoint(last);
        Arc::new(Page { after: Position::after(Lsn(after)), through, relations: relations.into(), transactions })
    }

    /// Feeds one fact; says what comes out.
    fn feed(&mut self, input: Input) -> &mut Self {
        self.hub.handle(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> &mut Self {
        self.hub.check().expect("sound");
        while let Some(output) = self.hub.poll_output() {
            if let Some(line) = self.note(output) {
                writeln!(self.said, "    {line}").expect("a string takes all");
            }
        }
        self.hub.check_all().expect("sound throughout");
        self
    }

    fn title(&mut self, title: &str) -> &mut Self {
        writeln!(self.said, "{title}").expect("a string takes all");
        self
    }

    /// Compares all that was said, and checks that the state can be stored.
    fn expect(&mut self, expect: &Expect) {
        expect.assert_eq(&self.said);
        let text = serde_json::to_string(&self.hub).expect("a hub is plain data");
        let again: Hub = serde_json::from_str(&text).expect("and comes back");
        assert!(again == self.hub, "a hub comes back as it was");
    }

    /// Time passes; timers fire one by one.
    fn pass(&mut self, time: Duration) -> &mut Self {
        self.title(&format!("after {time:?}"));
        let until = self.now + time;
        while let Some(at) = self.hub.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.hub.handle_timeout(self.now);
            assert!(self.hub.poll_timeout().is_none_or(|next| next > self.now), "a timer moves into the future");
            self.drain();
        }
        self.now = until;
        self
    }

    fn wake(&mut self) -> &mut Self {
        self.incarnation += 1;
        let incarnation = Incarnation(self.incarnation);
        let mut sessions: Vec<(SessionId, Option<Attachment>)> = Vec::new();
        for (id, attachment) in std::mem::take(&mut self.attachments) {
            sessions.retain(|(other, _)| *other != id);
            sessions.push((id, Some(Attachment::clone(&attachment))));
        }
        self.attachments = sessions.iter().filter_map(|(id, a)| Some((*id, Arc::new(a.clone()?)))).collect();
        self.heads.clear();
        self.chunks.clear();
        self.histories.clear();
        self.feed(Input::Woke { incarnation, sessions })
    }

    fn evicted(&mut self) -> &mut Self {
        self.title("evicted, and woken");
        self.wake()
    }

    fn opened(&mut self, session: u64) -> &mut Self {
        self.title(&format!("#{session} opens"));
        self.feed(Input::Opened { session: id(session), credential_until: None })
    }

    fn received(&mut self, session: u64, message: ClientMessage) -> &mut Self {
        self.feed(Input::Received { session: id(session), message: Ok(message) })
    }

    fn hello(&mut self, session: u64, client: &str, resume: Resume, scope: Scope) -> &mut Self {
        self.title(&format!("#{session} greets as {client}"));
        let client = ClientId::new(client).expect("valid");
        let hello = Hello { client, instance: Some(1), attempt: session, token: None, scope, resume };
        self.received(session, ClientMessage::Hello(hello))
    }

    fn acks(&mut self, session: u64, lsn: u64) -> &mut Self {
        self.title(&format!("#{session} acknowledges {}", Lsn(lsn)));
        let through = self.waypoint(lsn);
        self.received(session, ClientMessage::Ack { through })
    }

    fn staged(&mut self, session: u64, n: u32) -> &mut Self {
        self.title(&format!("#{session} has staged {n}"));
        let backfill = *self.backfills.last().expect("one was begun");
        self.received(session, ClientMessage::Staged { backfill, n })
    }

    fn closed(&mut self, session: u64, reason: ClosedReason) -> &mut Self {
        self.title(&format!("#{session} is gone: {reason:?}"));
        self.attachments.retain(|(other, _)| *other != id(session));
        self.feed(Input::Closed { session: id(session), reason })
    }

    fn announced(&mut self, after: u64, lsns: &[u64], covered: u64) -> &mut Self {
        let head = self.head_at(lsns.last().copied().unwrap_or(after), covered);
        self.title(&format!("announced {}, covered {}", head.position(), head.covered));
        let page = (!lsns.is_empty()).then(|| self.page(after, lsns));
        self.feed(Input::Announced(Arc::new(Announcement { after: Position::after(Lsn(after)), head, page })))
    }

    fn epoch_taken(&mut self, epoch: u64) -> &mut Self {
        self.title(&format!("epoch {epoch} is taken"));
        let ask = self.epochs.pop_front().expect("an epoch is asked for");
        let stored = match ask.question.position {
            StoredPosition::Set(at) => Some(at),
            StoredPosition::Keep | StoredPosition::Clear => None,
        };
        let answer = answer(ask, Ok(EpochTaken::Taken { epoch: Epoch(epoch), stored }));
        self.feed(Input::EpochTaken(answer))
    }

    /// The instance was replaced before.
    fn set_apart(&mut self) -> &mut Self {
        self.title("another instance replaced it");
        let ask = self.epochs.pop_front().expect("an epoch is asked for");
        self.feed(Input::EpochTaken(answer(ask, Ok(EpochTaken::Apart))))
    }

    /// The position is judged against a history from 0/5 to `head`.
    fn judged(&mut self, head: u64, covered: u64, mark: u64) -> &mut Self {
        let head = self.head_at(head, covered);
        self.title(&format!("judged: head {}, covered {}, W {}", head.position(), head.covered, Lsn(mark)));
        let ask = self.judgements.pop_front().expect("a judgement is asked for");
        let claim = ask.question.claim.filter(|claim| claim.position <= head.position());
        let named = claim.map(|claim| {
            let lsn = claim.position.commit_lsn.0;
            Named { xid: Xid(lsn), committed_at: CommitTime(lsn.cast_signed()), changes: 1 }
        });
        let judged =
            Judged { head, mark: Lsn(mark), horizon: Position::after(Lsn(5)), named, unknown_tables: Vec::new() };
        self.feed(Input::PositionJudged(answer(ask, Ok(judged))))
    }

    fn history(&mut self, read: HistoryRead) -> &mut Self {
        let what = match &read {
            HistoryRead::Page { page, .. } => format!("a page through {}", page.through.position),
            HistoryRead::End { .. } => "the end".into(),
            HistoryRead::Pruned { .. } => "pruned".into(),
            HistoryRead::OtherEra { .. } => "another era".into(),
        };
        self.title(&format!("history is read: {what}"));
        let ask = self.histories.pop_front().expect("history is asked for");
        self.feed(Input::HistoryRead(answer(ask, Ok(read))))
    }

    fn history_page(&mut self, after: u64, lsns: &[u64], head: u64) -> &mut Self {
        let (page, head) = (self.page(after, lsns), self.head_at(head, head + 1));
        self.history(HistoryRead::Page { page, head })
    }

    fn history_end(&mut self, head: u64) -> &mut Self {
        let head = self.head_at(head, head + 1);
        self.history(HistoryRead::End { head })
    }

    fn head_read(&mut self, head: u64, covered: u64) -> &mut Self {
        let head = self.head_at(head, covered);
        self.title(&format!("the head is read: {}, covered {}", head.position(), head.covered));
        let ask = self.heads.pop_front().expect("the head is asked for");
        self.feed(Input::HeadRead(answer(ask, Ok(head))))
    }

    /// A spool of two chunks: S sees xids below `xmax` but `running`, the seam is in (start, fence).
    fn snapshot(&mut self, start: u64, fence: u64, running: &[u64], xmax: u64) -> &mut Self {
        self.title(&format!("a snapshot is spooled: P0 {}, F {}", Lsn(start), Lsn(fence)));
        let ask = self.snapshots.pop_front().expect("a snapshot is asked for");
        let running: Vec<_> = running.iter().copied().map(Xid).collect();
        let spool = Spool {
            id: SpoolId(ask.id.n),
            snapshot: Snapshot { xmin: running.first().copied().unwrap_or(Xid(xmax)), xmax: Xid(xmax), running },
            start: self.waypoint(start),
            fence: Lsn(fence),
            chunks: 2,
            rows: 4,
            relations: vec![relation("a"), relation("b")],
            schema: self.schema,
        };
        self.feed(Input::SnapshotTaken(answer(ask, Ok(SnapshotTaken::Spooled(Arc::new(spool))))))
    }

    fn chunk(&mut self) -> &mut Self {
        let ask = self.chunks.pop_front().expect("a chunk is asked for");
        self.title(&format!("chunk {} is read", ask.question.n));
        let n = u64::from(ask.question.n);
        let chunk = Chunk { relation: relation("a"), rows: vec![row(2 * n), row(2 * n + 1)] };
        self.feed(Input::ChunkRead(answer(ask, Ok(Some(Arc::new(chunk))))))
    }

    fn saved(&mut self) -> &mut Self {
        self.title("positions are saved");
        let ask = self.saves.pop_front().expect("positions are being saved");
        self.feed(Input::PositionsSaved(answer(ask, Ok(()))))
    }

    /// A client that comes with a position, all the way to live at the head.
    fn live(&mut self, session: u64, client: &str, at: u64) -> &mut Self {
        let resume = Resume::At(self.waypoint(at));
        self.opened(session).hello(session, client, resume, Scope::All);
        self.epoch_taken(session).judged(at, at + 1, at + 1)
    }

    /// Forgets what was said so far.
    fn quietly(&mut self) -> &mut Self {
        self.said.clear();
        self
    }

    /// Keeps a question, and tells the output in words.
    fn note(&mut self, output: Output) -> Option<String> {
        Some(match output {
            Output::Send { to, message } => format!("send {} {}", recipients(&to), self.message(&message)),
            Output::Close { session, fault } => {
                self.attachments.retain(|(other, _)| *other != session);
                let why =
                    fault.map_or_else(String::new, |fault| format!(" {}: {}", fault.code.as_str(), fault.message));
                format!("close {session}{why}")
            }
            Output::Attach { session, attachment } => {
                let at = attachment.position.map_or_else(|| "nothing".into(), |at| at.position.to_string());
                let live = if attachment.told_live { ", live" } else { "" };
                self.attachments.push((session, attachment));
                format!("attach {session} {at}{live}")
            }
            Output::Hibernate { alarm } => {
                format!("hibernate, alarm in {:?}", alarm.map(|alarm| alarm.since(self.now).as_secs()))
            }
            Output::WantCovered { lsn } => format!("want covered {lsn}"),
            Output::TakeEpoch(ask) => note(&mut self.epochs, ask, |q| format!("take an epoch for {}", q.client)),
            Output::JudgePosition(ask) => note(&mut self.judgements, ask, |q| match q.claim {
                Some(claim) => format!("judge {}", claim.position),
                None => "read W".into(),
            }),
            Output::TakeSnapshot(ask) => note(&mut self.snapshots, ask, |q| format!("take a snapshot of {}", q.scope)),
            Output::ReadChunk(ask) => note(&mut self.chunks, ask, |q| format!("read chunk {}", q.n)),
            Output::ReadHistory(ask) => note(&mut self.histories, ask, |q| match q.until {
                None => format!("read history after {}", q.after),
                Some(until) => format!("read history after {} until {until}", q.after),
            }),
            Output::ReadHead(ask) => note(&mut self.heads, ask, |_| "read the head".into()),
            Output::SavePositions(ask) => note(&mut self.saves, ask, |q| {
                let entries = q.entries.iter().map(|(client, _, at)| {
                    format!(" {client} at {}", at.map_or_else(|| "nothing".into(), |at| at.position.to_string()))
                });
                format!("save{}", entries.collect::<String>())
            }),
            Output::RenewRegistrations(ask) => {
                note(&mut self.renewals, ask, |q| format!("renew {} registrations", q.entries.len()))
            }
            Output::Unregister(ask) => {
                note(&mut self.unregisters, ask, |q| format!("unregister {} of epoch {}", q.client, q.epoch.0))
            }
            Output::DropSpool { .. } => "drop the spool".into(),
        })
    }

    fn message(&mut self, message: &ServerMessage) -> String {
        let mut backfill = |id: BackfillId| {
            if !self.backfills.contains(&id) {
                self.backfills.push(id);
            }
            self.backfills.iter().position(|known| *known == id).map_or(0, |n| n + 1)
        };
        match message {
            ServerMessage::Welcome { head, from, .. } => {
                let from = from.map_or_else(|| "a backfill".into(), |from| from.position.to_string());
                format!("welcome: head {head}, from {from}")
            }
            ServerMessage::Schema(relation) => format!("schema of {}", relation.full_name()),
            ServerMessage::Chunk { backfill: id, n, chunk, .. } => {
                format!("chunk {n} of backfill {}: {} rows", backfill(*id), chunk.rows.len())
            }
            ServerMessage::Seam { backfill: id, n, page, complete } => {
                let page = page.as_ref().map_or_else(String::new, |page| format!(": {}", transactions(page)));
                let complete = complete.map_or_else(String::new, |at| format!(", complete at {}", at.position));
                format!("seam {n} of backfill {}{page}{complete}", backfill(*id))
            }
            ServerMessage::Page(page) => {
                format!("page {}..{}: {}", page.after, page.through.position, transactions(page))
            }
            ServerMessage::Credential { expires_in_ms } => format!("the credential is good for {expires_in_ms:?} ms"),
            ServerMessage::Live => "live".into(),
            ServerMessage::Resync { reason } => format!("resync: {reason:?}"),
            ServerMessage::Fault(fault) => format!("fault {}", fault.code.as_str()),
        }
    }
}

fn answer<Q: Question>(ask: Ask<Q>, reply: Result<Q::Reply, Failure>) -> Answer<Q> {
    ask.split().1.answer(reply)
}

fn note<Q>(asks: &mut VecDeque<Ask<Q>>, ask: Ask<Q>, say: impl FnOnce(&Q) -> String) -> String {
    let said = say(&ask.question);
    asks.push_back(ask);
    said
}

fn recipients(to: &Recipients) -> String {
    match to {
        Recipients::One(id) => id.to_string(),
        Recipients::Many(ids) => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    }
}

fn transactions(page: &Page) -> String {
    let lsns = page.transactions.iter().map(|t| format!("{}({})", t.commit_lsn, t.changes.len()));
    lsns.collect::<Vec<_>>().join(" ")
}
