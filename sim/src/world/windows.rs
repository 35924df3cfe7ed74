//! Where the windows of races are seen: each probe is hit at the place where its situation is visible, and nowhere else.

use super::workload::HUGE;
use super::{Event, World};
use crate::entity::{Entity, HUBS};
use crate::postgres::{Committed, TxId};
use crate::probe::Probe;
use dormouse_core::ask::Answer;
use dormouse_core::change::{Change, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::HistoryRead;
use dormouse_core::hub::{self, SnapshotTaken, Spool};
use dormouse_core::position::Lsn;
use dormouse_core::replication::{self, RecordPage};
use dormouse_core::row::Value;
use dormouse_core::source::SourceItem;
use dormouse_core::wire::{ClientMessage, Hello, Resume};
use dormouse_core::xid::Xid;

/// How many later transactions one must outlast to be called long.
const LONG: usize = 5;

impl World {
    /// A node is about to crash.
    pub(super) fn saw_crash(&mut self) {
        if self.is_mid_transaction() {
            self.hit(Probe::CrashedBetweenPieces);
        }
        if self.lags() {
            self.hit(Probe::CrashedUnrecorded);
        }
    }

    /// A transaction has written its commit record.
    pub(super) fn saw_commit(&mut self, tx: TxId, committed: &Committed) {
        if self.postgres.has_older_open(tx) {
            self.hit(Probe::Interleaved);
        }
        let outlasted = self.postgres.commits().iter().rev().skip(1).take_while(|commit| commit.xid > committed.xid);
        if outlasted.count() >= LONG {
            self.hit(Probe::LongTransaction);
        }
        if self.copies() {
            self.hit(Probe::CommitWhileCopying);
        }
        let before = self.postgres.commits().iter().rev().nth(1).map_or(0, |commit| commit.xid.0 >> 32);
        let open = (0..HUBS).any(|hub| self.sockets_of(Entity::Hub(hub)) > 0);
        if before != 0 || open && committed.xid.0 >> 32 > before {
            self.hit(Probe::XidWrapped);
        }
        self.saw_changes(committed);
    }

    fn saw_changes(&mut self, committed: &Committed) {
        let Some(commit) = self.postgres.commit_at(committed.commit_lsn) else { return };
        let changes = || commit.changes.iter().map(|decoded| &decoded.change);
        let unchanged = |change: &Change| match change {
            Change::Update { row, .. } => row.values().any(|value| value == Value::Unchanged),
            _ => false,
        };
        let truncated = changes().count() > 1 && changes().any(|change| matches!(change, Change::Truncate { .. }));
        let (unchanged, moved) =
            (changes().any(unchanged), changes().any(|change| matches!(change, Change::Move { .. })));
        let staging = (0..self.plan.size.clients()).any(|client| self.stages_backfill(Entity::Client(client)));
        for (probe, seen) in [
            (Probe::Truncated, truncated),
            (Probe::LeftUnchanged, unchanged),
            (Probe::KeyMoved, moved),
            (Probe::KeyMovedBetweenChunks, moved && staging),
        ] {
            if seen {
                self.hit(probe);
            }
        }
    }

    /// The stream delivered something, or failed.
    pub(super) fn saw_stream(&mut self, reply: &Result<Vec<SourceItem>, Failure>) {
        let again = |item: &SourceItem| matches!(item, SourceItem::Begin { commit_lsn, .. } if self.postgres.in_history(*commit_lsn));
        if reply.as_ref().is_ok_and(|items| items.iter().any(again)) {
            self.hit(Probe::Replayed);
        }
    }

    /// A replicator's question fails before its effect.
    pub(super) fn saw_failure(&mut self, question: &replication::Output) {
        match question {
            replication::Output::RecordPage(_) => self.hit(Probe::AppendFailed),
            replication::Output::SaveCovered(_) => self.hit(Probe::SaveCoveredFailed),
            _ => {}
        }
    }

    /// A hub's question has taken effect.
    pub(super) fn saw_effect(&mut self, answer: &hub::Input) {
        if let hub::Input::EpochTaken(Answer { reply: Ok(hub::EpochTaken::Stale), .. }) = answer {
            self.hit(Probe::GreetingOvertaken);
        }
        if let hub::Input::EpochTaken(Answer { reply: Ok(hub::EpochTaken::Apart), .. }) = answer {
            self.hit(Probe::SetApart);
        }
    }

    /// The copy of a snapshot has ended, well or not.
    pub(super) fn saw_copied(&mut self, reply: &Result<SnapshotTaken, Failure>) {
        match reply {
            Ok(SnapshotTaken::Spooled(spool)) => self.saw_snapshot(spool),
            Ok(SnapshotTaken::EraStarting | SnapshotTaken::OtherEra { .. }) => {}
            Err(_) => self.hit(Probe::SnapshotLost),
        }
    }

    /// A snapshot was copied, and its fence read.
    fn saw_snapshot(&mut self, spool: &Spool) {
        let unseen = |xid: Xid| !spool.snapshot.sees(xid);
        let recorded = self.postgres.unrecorded_below(Lsn(u64::MAX)).map_or(Lsn(u64::MAX), |commit| commit.commit_lsn);
        // All that history holds before its start it sees.
        let commits = self.postgres.commits_after(spool.start.position.commit_lsn).iter();
        let seam = commits.filter(|commit| commit.commit_lsn < spool.fence && unseen(commit.xid));
        let (mut beyond, mut past, mut decoded) = (false, false, false);
        for commit in seam {
            past |= beyond && commit.xid < spool.snapshot.xmax;
            beyond |= commit.xid >= spool.snapshot.xmax;
            decoded |= commit.commit_lsn < recorded && commit.xid < spool.snapshot.xmax;
        }
        if past {
            self.hit(Probe::SeamPastXmax);
        }
        if decoded {
            self.hit(Probe::SnapshotBeforeVisible);
        }
        if recorded < spool.fence {
            self.hit(Probe::SnapshotAheadOfHistory);
        }
    }

    /// A client greets.
    pub(super) fn saw_hello(&mut self, hello: &Hello) {
        let newest = self.postgres.newest_visible();
        if self.postgres.unrecorded_below(Lsn(newest.0 + 1)).is_some() {
            self.hit(Probe::GreetedAhead);
        }
        if let (Resume::At(at), Some(head)) = (&hello.resume, self.postgres.head())
            && at.era == head.era()
            && at.schema < head.schema()
        {
            self.hit(Probe::GreetedOldSchema);
        }
        if let Resume::At(at) = &hello.resume
            && !at.position.is_boundary()
        {
            self.hit(Probe::GreetedInside);
        }
    }

    /// A page reaches history.
    pub(super) fn saw_append(&mut self, ask: &RecordPage, answered: bool) {
        if ask.page.is_piece() && !answered {
            self.hit(Probe::PieceAnswerLost);
        }
        let full = ask.page.transactions.iter().any(|transaction| {
            let end = transaction.first as usize + transaction.changes.len();
            transaction.complete && transaction.first > 0 && end.is_multiple_of(self.plan.limits().changes as usize)
        });
        if full {
            self.hit(Probe::PageExactlyFull);
        }
        let limits = self.plan.limits();
        if ask.page.is_piece() && ask.page.changes() < limits.changes as usize {
            self.hit(Probe::CutByBytes);
        }
        let huge = |transaction: &Transaction| u64::from(transaction.first) + transaction.changes.len() as u64 >= HUGE;
        if ask.page.transactions.iter().any(huge) {
            self.hit(Probe::HugeTransaction);
        }
        if ask.page.weight() > limits.recorded_bytes as usize {
            self.hit(Probe::LargerThanPage);
        }
    }

    /// A hub is about to be evicted.
    pub(super) fn saw_eviction(&mut self, hub: u8) {
        if self.doing == "Page" {
            self.hit(Probe::HubEvictedAtPage);
        }
        if self.doing == "Attach" {
            self.hit(Probe::HubEvictedAtAttach);
        }
        if self.has_untold(Entity::Hub(hub)) {
            self.hit(Probe::HubEvictedUntold);
        }
    }

    /// A frame of a client reaches the server.
    pub(super) fn saw_frame(&mut self, id: u64, message: &ClientMessage) {
        let ClientMessage::Ack { .. } = message else { return };
        let Some((client, hub)) = self.network.connections.get(id).map(|c| (c.client, c.hub)) else { return };
        if self.hubs[hub as usize].machine.as_ref().is_none_or(|machine| machine.head().is_none()) {
            self.hit(Probe::EarlyAck);
        }
        if self.has_newer(client, id) {
            self.hit(Probe::AckFromOldSocket);
        }
    }

    /// Whether the server holds a newer connection of a client.
    fn has_newer(&self, client: u8, id: u64) -> bool {
        self.network.connections.of(client).any(|(other, connection)| other > id && connection.server_open)
    }

    /// The server hears that a connection has ended.
    pub(super) fn saw_close(&mut self, id: u64) {
        let Some(client) = self.network.connections.get(id).map(|c| c.client) else { return };
        if self.has_newer(client, id) {
            self.hit(Probe::LateClose);
        }
    }

    /// A connection is about to be cut.
    pub(super) fn saw_cut(&mut self, client: u8) {
        if self.owes_ack(Entity::Client(client)) {
            self.hit(Probe::CutBeforeAck);
        }
    }

    /// A hub is about to wake.
    pub(super) fn saw_waking(&mut self, hub: u8) {
        let end = self.postgres.head().map(|head| head.position()).unwrap_or_default();
        if end > self.hubs[hub as usize].slept_at && self.network.at_hub(hub).next().is_some() {
            self.hit(Probe::GrewWhileAsleep);
        }
    }

    /// A hub asks the database.
    pub(super) fn saw_asking(&mut self, hub: u8, question: &hub::Output) {
        match question {
            hub::Output::ReadHistory(ask) => {
                self.hubs[hub as usize].reads.insert(ask.id.n, self.now);
            }
            hub::Output::TakeEpoch(ask) => {
                let client = &ask.question.client;
                let theirs = |event: &Event| match event {
                    Event::HubAsks { question, .. } => {
                        matches!(&**question, hub::Output::TakeEpoch(other) if other.question.client == *client)
                    }
                    _ => false,
                };
                if !self.postgres.registrations().contains_key(client) && self.queue.any(theirs) {
                    self.hit(Probe::TwoFirstWrites);
                }
            }
            _ => {}
        }
    }

    /// A hub's question is about to take effect.
    pub(super) fn saw_asked(&mut self, question: &hub::Output) {
        let rows = self.postgres.registrations();
        match question {
            hub::Output::SavePositions(ask) => {
                let is_late = ask.question.entries.iter().any(|(client, epoch, position)| {
                    let row = rows.get(client).filter(|row| row.epoch == *epoch);
                    let stored = row.and_then(|row| row.position);
                    matches!((stored, position), (Some(stored), Some(new)) if stored.era == new.era && stored.position > new.position)
                });
                if is_late {
                    self.hit(Probe::PositionLate);
                }
            }
            hub::Output::Unregister(ask)
                if rows.get(&ask.question.client).is_some_and(|row| row.epoch > ask.question.epoch) =>
            {
                self.hit(Probe::LateUnregister);
            }
            hub::Output::RenewRegistrations(_) => self.hit(Probe::Renewed),
            _ => {}
        }
    }

    /// An answer reaches a hub.
    pub(super) fn saw_answer(&mut self, hub: u8, life: u64, input: &hub::Input) {
        let host = &mut self.hubs[hub as usize];
        let hub::Input::HistoryRead(Answer { id, reply }) = input else { return };
        if life != host.life {
            return;
        }
        let asked = host.reads.remove(&id.n);
        if asked.is_some_and(|asked| asked < host.resynced) {
            self.hit(Probe::LatePage);
        }
        if let Ok(HistoryRead::Pruned { .. }) = reply {
            self.hit(Probe::ReadPruned);
        }
    }

    /// A client is about to start.
    pub(super) fn saw_start(&mut self, client: u8) {
        if self.network.connections.of(client).any(|(_, connection)| connection.server_open) {
            self.hit(Probe::StartedAgainAtOnce);
        }
    }

    /// A session is being opened.
    pub(super) fn saw_dial(&mut self) {
        const MANY: u64 = 6;
        let sessions = (0..HUBS).map(|hub| self.sessions_of(Entity::Hub(hub)));
        if sessions.map(|sessions| sessions.greeted + sessions.backfill + sessions.catch_up).sum::<u64>() >= MANY {
            self.hit(Probe::Storm);
        }
    }
}
