//! What befalls a server.

use super::Postgres;
use super::outdated::Catalogue;
use dormouse_core::position::Lsn;

impl Postgres {
    /// The slot is written to disk, as Postgres does at moments of its own: what it has confirmed will survive.
    pub const fn checkpoint(&mut self) {
        self.wal.flush();
        if let Some(slot) = &mut self.slot {
            slot.saved = slot.confirmed;
        }
    }

    /// The walsender ends; the slot stays.
    pub fn end_stream(&mut self) {
        self.stream = None;
    }

    /// A restart: what is committed becomes visible, what is open is rolled back, all connections end, and confirmations since
    /// the slot was written last are forgotten.
    ///
    /// An orderly restart forgets them too: before version 17 a confirmation alone does not make Postgres write the slot at the
    /// checkpoint of its shutdown.
    pub fn restart(&mut self) {
        self.wal.flush();
        self.crash();
    }

    /// A crash and its recovery. To all who ask it is a restart.
    pub fn crash(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.confirmed = slot.saved;
        }
        self.recover();
    }

    /// Somebody drops the slot, or a failover loses it.
    pub fn drop_slot(&mut self) {
        self.stream = None;
        self.slot = None;
    }

    /// Postgres gives the slot up because it held back too much WAL.
    pub fn invalidate_slot(&mut self) {
        self.stream = None;
        if let Some(slot) = &mut self.slot {
            slot.usable = false;
        }
    }

    /// Somebody else reads from our slot, or moves it: what commits below `lsn` will not be sent.
    pub fn advance_slot(&mut self, lsn: Lsn) {
        self.stream = None;
        let flushed = self.flushed_lsn();
        if let Some(slot) = &mut self.slot {
            slot.confirmed = slot.confirmed.max(lsn.min(flushed));
            slot.saved = slot.confirmed;
        }
    }

    /// The slot was dropped, and somebody made one of the same name: it begins where the WAL ends now.
    pub fn create_slot_again(&mut self) {
        self.drop_slot();
        let confirmed = self.flushed_lsn();
        self.slot = Some(super::Slot {
            confirmed,
            saved: confirmed,
            usable: true,
            catalogue: Catalogue::Current,
            undecoded: 0,
        });
    }

    /// A standby takes over with everything intact: a new timeline, the same continuity.
    pub fn promote(&mut self) {
        self.timeline += 1;
        self.restart();
    }

    /// It becomes again what it was when the copy was made, as after a crash. Returns what it was.
    ///
    /// Numbers by which the world names its transactions, streams and spools go on: they are the world's. So does what somebody who
    /// goes on may have been told before.
    pub fn restore(&mut self, copy: &Self) -> Self {
        let lost = std::mem::replace(self, copy.clone());
        (self.restores, self.started) = (lost.restores + 1, lost.started);
        self.transactions_begun = lost.transactions_begun;
        self.streams_started = lost.streams_started;
        self.unclean_ends_most = self.unclean_ends_most.max(lost.unclean_ends_most);
        self.replaced_rows |= lost.replaced_rows;
        self.spools().collect::<Vec<_>>().into_iter().for_each(|id| self.drop_spool(id));
        self.spools.taken = lost.spools.taken;
        self.crash();
        lost
    }

    /// How often it was restored.
    #[must_use]
    pub const fn restores(&self) -> u64 {
        self.restores
    }

    /// Copies of snapshots lie on the disks of those who took them, and stay where these go on.
    pub fn keep_spools_of(&mut self, lost: &Self) {
        self.spools.keep_finished(&lost.spools);
    }

    fn recover(&mut self) {
        self.started += 1;
        self.stream = None;
        self.abandon_snapshots();
        for tx in self.open().collect::<Vec<_>>() {
            self.abort(tx);
        }
        for tx in self.invisible().collect::<Vec<_>>() {
            self.make_visible(tx);
        }
        self.wal.flush();
    }
}
