//! What the hub knows of the end of history, and what a new era or schema means for its sessions.

use super::Hub;
use super::desk::{Desk, Timer};
use super::retry::Kind;
use super::session::{Fresh, Serve, Served, Session};
use crate::ask::Answer;
use crate::fault::ResyncReason;
use crate::history::{Head, ReadHead};
use crate::position::Lsn;
use crate::session::SessionId;
use crate::time::Timestamp;

impl Hub {
    /// Takes in what an answer or an announcement says of the head. False when it is of an era that may be past: then the
    /// head is read, and what was said is not to be used.
    pub(super) fn learn(&mut self, head: &Head, now: Timestamp) -> bool {
        let Some(known) = self.desk.head else {
            self.adopt(head, now);
            return true;
        };
        if head.era() != known.era() {
            let later = head.era().counter > known.era().counter;
            if later {
                self.adopt(head, now);
            } else {
                self.desk.ask_head();
            }
            return later;
        }
        let mut merged = if head.position() > known.position() { *head } else { known };
        merged.waypoint.schema = head.schema().max(known.schema());
        merged.covered = head.covered.max(known.covered);
        self.desk.head = Some(merged);
        if merged.schema() != known.schema() {
            self.begin_anew(&merged, now);
        }
        true
    }

    /// Goes over to another era, or to the first head that this life hears of.
    fn adopt(&mut self, head: &Head, now: Timestamp) {
        let first = self.desk.head.is_none();
        self.desk.head = Some(*head);
        self.desk.wanted = Lsn::ZERO;
        self.desk.waiting.clear();
        self.begin_anew(head, now);
        if first {
            self.look_for_early(head);
            self.resync_beyond(head, now);
            for id in self.slab.ids_where(|session| session.served().is_some()) {
                self.settle_early_ack(id, now);
                self.serve(id, now, |served, desk| served.drive(desk, now));
            }
        }
    }

    /// What was announced before the head was known may have been recorded after what an answer says: then the head is read
    /// once more.
    fn look_for_early(&mut self, head: &Head) {
        self.desk.announced_early.take_if(|early| head.includes(early));
        if self.desk.announced_early.is_some() {
            self.desk.ask_head();
        }
    }

    /// Nothing of another era or schema is used any more; sessions that stand in one get everything again.
    fn begin_anew(&mut self, head: &Head, now: Timestamp) {
        self.desk.ring.restart(None);
        self.desk.spools.kill_others(head);
        self.desk.shapes.clear();
        let mut strangers = Vec::new();
        for served in self.slab.iter_mut().filter_map(Session::served_mut) {
            served.peer.told = super::shapes::Told::default();
            if (served.peer.era, served.peer.schema) != (head.era(), head.schema()) {
                strangers.push(served.peer.id);
            }
        }
        for id in strangers {
            self.serve(id, now, |served, desk| {
                let same_era = served.peer.era == head.era();
                let reason = if same_era { ResyncReason::SchemaChanged } else { ResyncReason::OtherEra };
                if !same_era {
                    served.forget_mark(desk);
                }
                (served.peer.era, served.peer.schema) = (head.era(), head.schema());
                served.resync(reason, desk, now);
            });
        }
    }

    /// The head was read. When it was asked for later than what is known was learned, it is right.
    pub(super) fn on_head_read(&mut self, answer: Answer<ReadHead>, now: Timestamp) {
        let safeguards = self.desk.config.safeguards;
        let Some((before, reply)) = self.desk.heads.take(&mut self.desk.asker, safeguards, answer) else { return };
        let Ok(head) = reply else {
            let at = self.desk.patience.failed(Kind::Head, now, &self.desk.config);
            self.desk.timers.set_at_latest(Timer::Poll, at);
            return;
        };
        self.desk.patience.succeeded(Kind::Head);
        match before {
            Some(before) if Some(before.era()) == self.desk.head.map(|known| known.era()) => {
                if head.era() != before.era() {
                    self.adopt(&head, now);
                } else if head.position() < before.position() {
                    self.go_back(&head, now);
                } else {
                    self.learn(&head, now);
                }
            }
            _ => {
                self.learn(&head, now);
            }
        }
        if before.is_none() {
            self.look_for_early(&head);
        } else if let Some(early) = self.desk.announced_early.take() {
            self.let_fall_back(early.position(), now); // Nobody else tells of it.
        }
        if self.desk.ring.end() < Some(head.position()) {
            self.desk.suspect = Some(head.position());
            self.desk.set_after(Timer::Lag, self.desk.config.scan_every, now);
        }
    }

    /// History has lost its end: the database was restored. Whoever was sent what is gone gets everything again.
    fn go_back(&mut self, head: &Head, now: Timestamp) {
        self.desk.head = Some(*head);
        self.desk.wanted = Lsn::ZERO;
        self.desk.ring.restart(None);
        self.desk.spools.kill_all();
        for id in self.slab.ids_where(|session| session.served().is_some_and(|served| served.flow().is_none())) {
            self.serve(id, now, |served, desk| served.restart_backfill(desk, now));
        }
        self.resync_beyond(head, now);
    }

    /// Whoever was sent more than there is gets everything again.
    fn resync_beyond(&mut self, head: &Head, now: Timestamp) {
        let beyond = |session: &Session| session.served()?.flow().map(|flow| flow.sent > head.position());
        for id in self.slab.ids_where(|session| beyond(session) == Some(true)) {
            self.serve(id, now, |served, desk| {
                served.forget_mark(desk);
                served.resync(ResyncReason::UnknownPosition, desk, now);
            });
        }
    }

    /// Live sessions that still lack what the head was read to be have missed an announcement.
    pub(super) fn on_lag(&mut self, now: Timestamp) {
        if let Some(suspect) = self.desk.suspect.take() {
            self.let_fall_back(suspect, now);
        }
    }

    /// Covered has grown, perhaps: whoever waited for it goes on.
    pub(super) fn settle_covered(&mut self, now: Timestamp) {
        let Some(head) = self.desk.head else { return };
        let first_waiting = (Lsn(head.covered.0 + 1), SessionId { slot: 0, serial: 0 });
        let waiting = self.desk.waiting.split_off(&first_waiting);
        for (_, id) in std::mem::replace(&mut self.desk.waiting, waiting) {
            self.serve(id, now, |served, desk| served.drive(desk, now));
        }
    }

    /// Says again up to where covered is waited for, in case it was not heard.
    pub(super) fn on_want(&mut self, now: Timestamp) {
        let slab = &self.slab;
        let waits = |id: SessionId, lsn: Lsn| {
            slab.get(id).and_then(Session::served).is_some_and(|served| match &served.serve {
                Serve::Backfill(_) => true,
                Serve::CatchUp { .. } => false,
                Serve::Live(_) => served.peer.fresh == Fresh::Waiting(lsn),
            })
        };
        self.desk.waiting.retain(|(lsn, id)| waits(*id, *lsn));
        if let Some((lsn, _)) = self.desk.waiting.first() {
            self.desk.outputs.push_back(super::Output::WantCovered { lsn: *lsn });
            self.desk.set_after(Timer::Want, self.desk.config.want_covered_every, now);
        }
    }
}

impl Served {
    /// What W, or a place to be reached, meant is gone: a session that was not told yet needs another mark.
    fn forget_mark(&mut self, desk: &mut Desk) {
        if self.peer.fresh != Fresh::Told {
            self.peer.fresh = Fresh::NoMark;
            desk.markless.push(self.peer.id);
        }
    }
}
