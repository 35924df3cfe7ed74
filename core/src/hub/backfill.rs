//! Backfill: a spooled snapshot and its seam, in acknowledged chunks that the client stages.

use super::desk::Desk;
use super::pool::ReadKey;
use super::seam;
use super::session::{Flow, Peer, Serve, Served};
use super::spools::SpoolNo;
use super::{Spool, SpoolId};
use crate::change::{Chunk, Page};
use crate::fault::{FaultCode, PeerFault, ResyncReason};
use crate::history::Head;
use crate::position::Waypoint;
use crate::safeguard::Safeguard;
use crate::session::BackfillId;
use crate::time::Timestamp;
use crate::wire::ServerMessage;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One backfill of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Backfill {
    pub id: BackfillId,
    /// How many messages were sent: the number of the next.
    pub sent: u32,
    /// How many of them are staged.
    pub staged: u32,
    /// How many messages of those that it replaced may be on their way still: none once its own are staged.
    pub void: u32,
    /// When it last went on.
    pub since: Timestamp,
    pub step: Step,
}

/// How far a backfill is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// The head must be known first.
    Unstarted,
    /// The spool must be on disk.
    Snapshot { spool: SpoolNo },
    /// Its chunks are sent.
    Chunks { spool: SpoolNo, reading: bool },
    /// Covered must reach F.
    Covered { spool: SpoolNo },
    /// The seam is sent.
    Seam { spool: SpoolNo, after: Waypoint, filtering: bool, reading: bool },
    /// All is sent; the client must make it visible.
    Complete { at: Waypoint },
}

impl Backfill {
    pub fn new(id: BackfillId, now: Timestamp) -> Self {
        Self { id, sent: 0, staged: 0, void: 0, since: now, step: Step::Unstarted }
    }

    /// The spool that it uses.
    pub const fn spool(&self) -> Option<SpoolNo> {
        match self.step {
            Step::Unstarted | Step::Complete { .. } => None,
            Step::Snapshot { spool }
            | Step::Chunks { spool, .. }
            | Step::Covered { spool }
            | Step::Seam { spool, .. } => Some(spool),
        }
    }

    /// How many messages are on their way.
    pub const fn in_flight(&self) -> u32 {
        self.sent - self.staged
    }

    /// Whether one more message may be sent. One may in any case: what is void is never acknowledged, but by what follows it.
    fn has_room(&self, desk: &Desk) -> bool {
        self.in_flight() == 0 || self.in_flight() + self.void < desk.config.window_chunks
    }

    /// Whether it waits for this chunk.
    fn awaits_chunk(&self, spool: SpoolId, n: u32, desk: &Desk) -> bool {
        let Step::Chunks { spool: no, reading } = self.step else { return false };
        reading && self.sent == n && desk.spools.ready(no).is_some_and(|ready| ready.id == spool)
    }

    /// Whether it waits for this part of history.
    pub fn awaits(&self, key: &ReadKey, desk: &Desk) -> bool {
        let Step::Seam { spool: no, after, reading, .. } = self.step else { return false };
        let Some(spool) = desk.spools.ready(no) else { return false };
        reading && after.position == key.after && Some(spool.fence) == key.until
    }

    /// The read that it waits for has ended.
    pub fn stop_reading(&mut self) {
        if let Step::Chunks { reading, .. } | Step::Seam { reading, .. } = &mut self.step {
            *reading = false;
        }
    }

    /// The number of the message to be sent now.
    fn next_n(&mut self, now: Timestamp) -> u32 {
        if self.in_flight() == 0 {
            self.since = now;
        }
        self.sent += 1;
        self.sent - 1
    }

    /// The client has staged all through `n`. False when that was never sent.
    pub fn on_staged(&mut self, n: u32, now: Timestamp) -> bool {
        if n >= self.sent {
            return false;
        }
        if n >= self.staged {
            self.staged = n + 1;
            self.void = 0;
            self.since = now;
        }
        true
    }
}

impl Served {
    /// Everything comes again, with a reason: what is stored and attached must not outlive it.
    pub fn resync(&mut self, reason: ResyncReason, desk: &mut Desk, now: Timestamp) {
        desk.send(self.peer.id, ServerMessage::Resync { reason });
        desk.saves.drop_acked(&mut self.peer);
        desk.saves.note(&self.peer.client, self.peer.epoch, None, desk.config.safeguards);
        desk.arm_save(now);
        self.restart_backfill(desk, now);
    }

    /// Starts a backfill, under a new id, whatever was before.
    pub fn restart_backfill(&mut self, desk: &mut Desk, now: Timestamp) {
        self.settle_acked(desk);
        let mut next = Backfill::new(desk.next_backfill(), now);
        if let Serve::Backfill(backfill) = &self.serve {
            next.void = backfill.in_flight() + backfill.void;
            if let Some(no) = backfill.spool() {
                desk.leave_spool(no, now);
            }
        }
        self.serve = Serve::Backfill(Box::new(next));
        desk.attach(self);
        self.drive_backfill(desk, now);
    }

    /// Goes as far as it goes without an answer or an acknowledgement.
    pub fn drive_backfill(&mut self, desk: &mut Desk, now: Timestamp) {
        let Serve::Backfill(backfill) = &mut self.serve else { return };
        while advance(backfill, &mut self.peer, desk, now) {}
    }

    /// A chunk was read, or its spool is gone (`None`).
    pub fn on_chunk(&mut self, spool: SpoolId, n: u32, chunk: Option<&Arc<Chunk>>, desk: &mut Desk, now: Timestamp) {
        let Serve::Backfill(backfill) = &mut self.serve else { return };
        if !backfill.awaits_chunk(spool, n, desk) {
            return; // It was read for an earlier backfill of this session.
        }
        let Some(chunk) = chunk else { return self.restart_backfill(desk, now) };
        backfill.stop_reading();
        let of = backfill.spool().and_then(|no| desk.spools.ready(no)).map_or(0, |spool| spool.rows);
        desk.introduce(&mut self.peer, [&chunk.relation]);
        let n = backfill.next_n(now);
        let message = ServerMessage::Chunk { backfill: backfill.id, n, of, chunk: Arc::clone(chunk) };
        desk.send(self.peer.id, message);
        self.drive_backfill(desk, now);
    }

    /// A page of the seam was read, or its end (`None`).
    pub fn on_seam(&mut self, key: &ReadKey, page: Option<&Arc<Page>>, desk: &mut Desk, now: Timestamp) {
        let Serve::Backfill(backfill) = &mut self.serve else { return };
        if !backfill.awaits(key, desk) {
            return; // It was read for an earlier backfill of this session.
        }
        let Step::Seam { spool: no, after, filtering, reading } = &mut backfill.step else { return };
        let Some(spool) = desk.spools.ready(*no) else { return };
        *reading = false;
        match page {
            Some(page) => {
                *after = page.through;
                let kept = seam::filter(page, &spool, filtering, desk.config.safeguards);
                let kept = kept.map(|page| desk.scopes.get(self.peer.scope).cut(&page));
                if let Some(page) = kept.filter(|page| page.changes() > 0) {
                    desk.introduce(&mut self.peer, page.relations.iter());
                    let n = backfill.next_n(now);
                    let message = ServerMessage::Seam { backfill: backfill.id, n, page: Some(page), complete: None };
                    desk.send(self.peer.id, message);
                }
            }
            None => {
                let at = Waypoint { era: self.peer.era, schema: self.peer.schema, ..*after };
                let no = *no;
                let n = backfill.next_n(now);
                let message = ServerMessage::Seam { backfill: backfill.id, n, page: None, complete: Some(at) };
                desk.send(self.peer.id, message);
                backfill.step = Step::Complete { at };
                desk.leave_spool(no, now);
            }
        }
        desk.arm_scan(now);
        self.drive_backfill(desk, now);
    }

    /// The client acknowledged a place. When that is the completed backfill's, all of it is visible there.
    pub fn on_backfill_acked(&mut self, through: &Waypoint, desk: &mut Desk, now: Timestamp) {
        let Serve::Backfill(backfill) = &self.serve else { return };
        let Step::Complete { at } = backfill.step else { return };
        if (at.era, at.schema, at.position) != (through.era, through.schema, through.position) {
            return; // It acknowledges a page from before the backfill, which may have ended at the same position.
        }
        self.serve = Serve::CatchUp { flow: Flow::at(at), reading: None };
        desk.saves.note(&self.peer.client, self.peer.epoch, Some(at), desk.config.safeguards);
        desk.arm_save(now);
        desk.attach(self);
        self.drive_catch_up(desk, now);
    }

    /// The client has staged what a number names.
    ///
    /// # Errors
    /// When that was never sent.
    pub fn on_staged(&mut self, id: BackfillId, n: u32, desk: &mut Desk, now: Timestamp) -> Result<(), PeerFault> {
        let Serve::Backfill(backfill) = &mut self.serve else { return Ok(()) };
        if backfill.id != id {
            return Ok(()); // An earlier backfill's; this one has replaced it.
        }
        if !backfill.on_staged(n, now) {
            let message = format!("`staged` names message {n} of the backfill, but only {} were sent", backfill.sent);
            return Err(PeerFault::new(FaultCode::Malformed, message));
        }
        self.drive_backfill(desk, now);
        Ok(())
    }
}

/// One step further. False when the backfill must wait.
fn advance(backfill: &mut Backfill, peer: &mut Peer, desk: &mut Desk, now: Timestamp) -> bool {
    match backfill.step {
        Step::Unstarted => {
            let Some(head) = desk.head else { return false };
            let scope = desk.scopes.get(peer.scope);
            backfill.step = Step::Snapshot { spool: desk.join_spool(&scope, &head, peer.id, now) };
        }
        Step::Snapshot { spool: no } => {
            let Some(spool) = desk.spools.ready(no) else { return false };
            desk.introduce(peer, spool.relations.iter());
            backfill.step = Step::Chunks { spool: no, reading: false };
        }
        Step::Chunks { spool: no, reading } => {
            let Some(spool) = desk.spools.ready(no) else { return false };
            desk.arm_scan(now);
            if backfill.sent == spool.chunks {
                backfill.step = Step::Covered { spool: no };
                return true;
            }
            if !reading && backfill.has_room(desk) {
                desk.chunks.want((spool.id, backfill.sent), peer.id);
                backfill.step = Step::Chunks { spool: no, reading: true };
            }
            return false;
        }
        Step::Covered { spool: no } => {
            let (Some(spool), Some(head)) = (desk.spools.ready(no), desk.head) else { return false };
            if desk.holds(Safeguard::SeamAwaitsCovered) && !is_covered(&spool, &head) {
                desk.await_covered(spool.fence, peer.id, now);
                return false;
            }
            backfill.step = Step::Seam { spool: no, after: spool.start, filtering: true, reading: false };
        }
        Step::Seam { spool: no, after, filtering, reading: false } if backfill.has_room(desk) => {
            let Some(spool) = desk.spools.ready(no) else { return false };
            let key = ReadKey { era: peer.era, after: after.position, until: Some(spool.fence) };
            desk.histories.want(key, peer.id);
            backfill.step = Step::Seam { spool: no, after, filtering, reading: true };
            return false;
        }
        Step::Seam { .. } | Step::Complete { .. } => return false,
    }
    true
}

/// Whether no transaction below F is on its way into history any more.
fn is_covered(spool: &Spool, head: &Head) -> bool {
    spool.start.era == head.era() && head.covered >= spool.fence
}

impl Served {
    /// Whether it waits for what follows from this spool.
    pub fn waits_for_spool(&self, id: SpoolId, desk: &Desk) -> bool {
        let Serve::Backfill(backfill) = &self.serve else { return false };
        backfill.spool().and_then(|no| desk.spools.ready(no)).is_some_and(|spool| spool.id == id)
    }
}
