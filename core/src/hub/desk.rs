//! What all sessions of a hub share: the head, recent pages, open questions, timers, and the way out.

use super::pool::{Pool, ReadKey};
use super::registry::{Renewals, Saves};
use super::retry::{Kind, Patience, Retries, Retry};
use super::ring::{Parcel, Ring};
use super::session::{Flow, Peer};
use super::shapes::{Scopes, Shapes};
use super::spools::Spools;
use super::{Config, JudgePosition, Output, ReadChunk, Recipients, SpoolId, TakeEpoch, Unregister};
use crate::ask::{Asker, Incarnation, Open};
use crate::change::Relation;
use crate::history::{Head, ReadHead, ReadHistory};
use crate::position::{Lsn, Position};
use crate::rng::mix;
use crate::safeguard::Safeguard;
use crate::session::{Attachment, BackfillId, SessionId};
use crate::time::Timestamp;
use crate::timers::Timers;
use crate::wire::ServerMessage;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Reasons to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Timer {
    /// A question is tried again.
    Retry,
    /// Reads of history are tried again.
    Histories,
    /// Reads of spools are tried again.
    Chunks,
    /// Snapshots are tried again.
    Snapshots,
    /// Acknowledged positions are stored.
    Save,
    /// Registrations are renewed.
    Renew,
    /// Sessions are looked over for timeouts.
    Scan,
    /// It is said again up to where covered is waited for.
    Want,
    /// The head is read.
    Poll,
    /// Live sessions that are still behind what the head was read to be catch up.
    Lag,
    /// Spools that nobody uses are dropped.
    Spools,
    /// The first credential runs out.
    Credential,
    /// The hub may hibernate.
    Idle,
}

/// For whom a position is judged, or a mark read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Judging {
    /// One greeting.
    Greeting(SessionId),
    /// Sessions that a woken hub, or a new era, left without a mark.
    Marks(Vec<SessionId>),
}

/// The desk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Desk {
    pub config: Config,
    pub outputs: VecDeque<Output>,
    pub asker: Asker,
    pub timers: Timers<Timer>,
    pub retries: Retries,
    pub patience: Patience,
    pub head: Option<Head>,
    pub ring: Ring,
    pub scopes: Scopes,
    pub shapes: Shapes,
    pub epochs: Open<TakeEpoch, (SessionId, Timestamp)>,
    pub judgements: Open<JudgePosition, Judging>,
    pub heads: Open<ReadHead, Option<Head>>,
    pub unregisters: Open<Unregister, Unregister>,
    pub histories: Pool<ReadHistory, ReadKey>,
    pub chunks: Pool<ReadChunk, (SpoolId, u32)>,
    pub spools: Spools,
    pub saves: Saves,
    pub renewals: Renewals,
    /// Who waits for covered, and until where.
    pub waiting: BTreeSet<(Lsn, SessionId)>,
    /// The furthest that covered was asked for.
    pub wanted: Lsn,
    /// Sessions for which a mark must be read.
    pub markless: Vec<SessionId>,
    /// Where the head was last read to be; live sessions that stay behind it have missed something.
    pub suspect: Option<Position>,
    /// What was announced before the head was known, until a look that was begun later is answered.
    pub announced_early: Option<Head>,
    pub last_activity: Timestamp,
    pub draining: bool,
    /// When the sessions' credentials run out.
    pub expiries: BTreeSet<(Timestamp, SessionId)>,
    backfills: u64,
}

impl Desk {
    pub fn new(config: Config, incarnation: Incarnation) -> Self {
        let seed = mix(config.seed ^ mix(incarnation.0));
        Self {
            config,
            outputs: VecDeque::new(),
            asker: Asker::new(incarnation),
            timers: Timers::default(),
            retries: Retries::default(),
            patience: Patience::new(seed),
            head: None,
            ring: Ring::default(),
            scopes: Scopes::default(),
            shapes: Shapes::default(),
            epochs: Open::default(),
            judgements: Open::default(),
            heads: Open::default(),
            unregisters: Open::default(),
            histories: Pool::default(),
            chunks: Pool::default(),
            spools: Spools::default(),
            saves: Saves::default(),
            renewals: Renewals::default(),
            waiting: BTreeSet::new(),
            wanted: Lsn::ZERO,
            markless: Vec::new(),
            suspect: None,
            announced_early: None,
            last_activity: Timestamp::ZERO,
            draining: false,
            expiries: BTreeSet::new(),
            backfills: 0,
        }
    }

    pub fn holds(&self, safeguard: Safeguard) -> bool {
        self.config.safeguards.holds(safeguard)
    }

    /// An id that no backfill had before: 53 bits that follow from this life and a count.
    pub fn next_backfill(&mut self) -> BackfillId {
        self.backfills += 1;
        BackfillId(mix(mix(self.asker.incarnation().0) ^ self.backfills) >> 11)
    }

    pub fn send(&mut self, to: SessionId, message: ServerMessage) {
        self.outputs.push_back(Output::Send { to: Recipients::One(to), message: Arc::new(message) });
    }

    /// Tells a session of shapes that it was not told of yet.
    pub fn introduce<'a>(&mut self, peer: &mut Peer, relations: impl IntoIterator<Item = &'a Arc<Relation>>) {
        for relation in relations {
            if peer.told.insert(self.shapes.number(relation.id)) {
                self.send(peer.id, ServerMessage::Schema(Arc::clone(relation)));
            }
        }
    }

    /// Sends a page to one session.
    pub fn send_parcel(&mut self, peer: &mut Peer, flow: &mut Flow, parcel: &Parcel, now: Timestamp) {
        self.introduce(peer, parcel.relations.iter());
        self.outputs.push_back(Output::Send { to: Recipients::One(peer.id), message: Arc::clone(&parcel.message) });
        self.count_parcel(flow, parcel, now);
    }

    /// Counts a page as sent.
    pub fn count_parcel(&mut self, flow: &mut Flow, parcel: &Parcel, now: Timestamp) {
        flow.sent = parcel.through.position;
        flow.window.add(flow.sent, parcel.bytes, now, &self.config);
    }

    /// Keeps what a woken hub needs with the socket.
    pub fn attach(&mut self, served: &super::session::Served) {
        let peer = &served.peer;
        let attachment = Attachment {
            client: peer.client.clone(),
            epoch: peer.epoch,
            era: peer.era,
            schema: peer.schema,
            scope: self.scopes.get(peer.scope),
            expires_at: peer.expires_at,
            credential_until: peer.credential_until,
            told_live: peer.fresh == super::session::Fresh::Told,
            position: served.flow().map(|flow| flow.acked),
        };
        self.outputs.push_back(Output::Attach { session: peer.id, attachment: Arc::new(attachment) });
    }

    /// Sees to it that covered comes to `lsn` soon.
    pub fn want_covered(&mut self, lsn: Lsn) {
        let covered = self.head.map_or(Lsn::ZERO, |head| head.covered);
        if lsn > covered && lsn > self.wanted {
            self.wanted = lsn;
            self.outputs.push_back(Output::WantCovered { lsn });
        }
    }

    /// The same, and the session is driven on when covered is there.
    pub fn await_covered(&mut self, lsn: Lsn, session: SessionId, now: Timestamp) {
        self.want_covered(lsn);
        self.waiting.insert((lsn, session));
        self.set_after(Timer::Want, self.config.want_covered_every, now);
    }

    /// Sets a timer, unless it is set for earlier, strictly into the future.
    pub fn set_after(&mut self, timer: Timer, wait: Duration, now: Timestamp) {
        self.timers.set_at_latest(timer, now + wait.max(Duration::from_millis(1)));
    }

    /// Tries something again at a time.
    pub fn retry_at(&mut self, at: Timestamp, retry: Retry) {
        self.retries.add(at, retry);
        self.timers.set_at_latest(Timer::Retry, at);
    }

    /// Tries something again after a failure.
    pub fn retry_failed(&mut self, kind: Kind, retry: Retry, now: Timestamp) {
        let at = self.patience.failed(kind, now, &self.config);
        self.retry_at(at, retry);
    }

    /// Reads the head, unless that is under way.
    pub fn ask_head(&mut self) {
        if self.heads.is_empty() {
            let ask = self.heads.ask(&mut self.asker, ReadHead, self.head);
            self.outputs.push_back(Output::ReadHead(ask));
        }
    }

    /// Asks what may be asked now of what sessions want to read.
    pub fn pump(&mut self, now: Timestamp) {
        let (changes_max, bytes_max) = (self.config.page_changes_max, self.config.page_bytes_max);
        let history =
            |key: &ReadKey| ReadHistory { era: key.era, after: key.after, until: key.until, changes_max, bytes_max };
        while let Some(ask) = self.histories.next(&mut self.asker, self.config.reads_max, history) {
            self.outputs.push_back(Output::ReadHistory(ask));
        }
        let chunk = |&(spool, n): &(SpoolId, u32)| ReadChunk { spool, n };
        while let Some(ask) = self.chunks.next(&mut self.asker, self.config.reads_max, chunk) {
            self.outputs.push_back(Output::ReadChunk(ask));
        }
        self.pump_snapshots(now);
    }
}
