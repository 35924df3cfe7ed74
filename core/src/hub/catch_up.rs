//! Catch-up: what a session lacks, from the recent pages or from history, until it has been sent the last.

use super::desk::Desk;
use super::pool::ReadKey;
use super::ring::{Cuts, Parcel};
use super::session::{Fresh, Peer, Serve, Served};
use crate::fault::ResyncReason;
use crate::position::Position;
use crate::safeguard::Safeguard;
use crate::time::Timestamp;
use crate::wire::ServerMessage;

impl Served {
    /// Sends what can be sent and reads what must be read; live when nothing is left.
    pub fn drive_catch_up(&mut self, desk: &mut Desk, now: Timestamp) {
        let Some(head) = desk.head else { return };
        while let Serve::CatchUp { flow, reading } = &mut self.serve {
            if flow.sent >= head.position() {
                self.switch(Serve::Live);
                self.check_fresh(desk, now);
                return;
            }
            if !flow.window.has_room(&desk.config) {
                desk.arm_scan(now);
                return;
            }
            let Some(parcel) = recent(&self.peer, flow.sent, desk) else {
                if *reading != Some(flow.sent) {
                    *reading = Some(flow.sent);
                    let key = ReadKey { era: self.peer.era, after: flow.sent, until: None };
                    desk.histories.want(key, self.peer.id);
                }
                return;
            };
            *reading = None;
            desk.send_parcel(&mut self.peer, flow, &parcel, now);
            desk.arm_scan(now);
        }
    }

    /// History was read: one page, or nothing (`None`).
    pub fn on_history(&mut self, key: &ReadKey, cuts: Option<&mut Cuts>, desk: &mut Desk, now: Timestamp) {
        if !self.awaits(key, desk) {
            return; // It was read for an earlier position of this session.
        }
        self.stop_reading();
        if let Some(cuts) = cuts
            && let Serve::CatchUp { flow, .. } = &mut self.serve
            && flow.sent == key.after
        {
            let parcel = cuts.parcel(self.peer.scope, &desk.scopes).clone();
            let same = (parcel.through.era, parcel.through.schema) == (self.peer.era, self.peer.schema);
            if same {
                desk.send_parcel(&mut self.peer, flow, &parcel, now);
                desk.arm_scan(now);
            } // Else it was read before what this session has been told since.
        }
        self.drive_catch_up(desk, now);
    }

    /// Whether this read was asked for by what the session does now.
    pub fn awaits(&self, key: &ReadKey, desk: &Desk) -> bool {
        let reads = match &self.serve {
            Serve::CatchUp { reading, .. } => key.until.is_none() && *reading == Some(key.after),
            Serve::Backfill(backfill) => backfill.awaits(key, desk),
            Serve::Live(_) => false,
        };
        reads && self.peer.era == key.era
    }

    /// The read that the session waits for has ended.
    pub fn stop_reading(&mut self) {
        match &mut self.serve {
            Serve::CatchUp { reading, .. } => *reading = None,
            Serve::Backfill(backfill) => backfill.stop_reading(),
            Serve::Live(_) => {}
        }
    }

    /// Goes as far as it goes, whatever the phase.
    pub fn drive(&mut self, desk: &mut Desk, now: Timestamp) {
        match self.serve {
            Serve::Backfill(_) => self.drive_backfill(desk, now),
            Serve::CatchUp { .. } => self.drive_catch_up(desk, now),
            Serve::Live(_) => self.check_fresh(desk, now),
        }
    }

    /// History no longer has what the session reads: everything comes again.
    pub fn on_pruned(&mut self, key: &ReadKey, desk: &mut Desk, now: Timestamp) {
        if !self.awaits(key, desk) {
            return;
        }
        match &self.serve {
            Serve::Backfill(backfill) => {
                let spool = backfill.spool().and_then(|no| desk.spools.ready(no));
                if let Some(spool) = spool {
                    desk.spools.kill(spool.id);
                }
                self.restart_backfill(desk, now);
            }
            Serve::CatchUp { .. } | Serve::Live(_) => self.resync(ResyncReason::Pruned, desk, now),
        }
    }

    /// A live session that cannot be sent what was announced reads on from where it is.
    pub fn fall_back(&mut self, desk: &mut Desk, now: Timestamp) {
        if let Serve::Live(_) = self.serve {
            self.switch(|flow| Serve::CatchUp { flow, reading: None });
            self.drive_catch_up(desk, now);
        }
    }

    /// Tells a live session so, once, when what was committed before it greeted has been sent.
    pub fn check_fresh(&mut self, desk: &mut Desk, now: Timestamp) {
        let (Serve::Live(flow), Some(head)) = (&self.serve, desk.head) else { return };
        let told = match self.peer.fresh {
            Fresh::Told => return,
            Fresh::NoMark | Fresh::Waiting(_) if !desk.holds(Safeguard::Fresh) => true,
            Fresh::NoMark => false,
            Fresh::Waiting(mark) if head.covered < mark => {
                desk.await_covered(mark, self.peer.id, now);
                false
            }
            Fresh::Waiting(_) => {
                // What was committed below W is in history now, at or before the head.
                self.peer.fresh = Fresh::Until(head.position());
                flow.sent >= head.position()
            }
            Fresh::Until(position) => flow.sent >= position,
        };
        if told {
            self.peer.fresh = Fresh::Told;
            desk.send(self.peer.id, ServerMessage::Live);
            desk.attach(self);
        }
    }
}

/// The next page for a session, if it is among the recent ones.
fn recent(peer: &Peer, sent: Position, desk: &mut Desk) -> Option<Parcel> {
    let sequence = desk.ring.after(sent)?;
    desk.ring.parcel(sequence, peer.scope, &desk.scopes).cloned()
}
