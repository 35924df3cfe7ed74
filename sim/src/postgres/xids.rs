//! Transaction ids and snapshots.

use dormouse_core::xid::{Snapshot, Xid};

/// Who runs, as `pg_current_snapshot()` sees it.
#[derive(Debug, Clone)]
pub(super) struct Xids {
    next: u64,
    latest_completed: u64,
    /// Ascending.
    running: Vec<Xid>,
}

impl Xids {
    pub(super) fn new(first: Xid) -> Self {
        let next = normal(first.0.max(3));
        Self { next, latest_completed: next - 1, running: Vec::new() }
    }

    /// A new id, running until it is completed.
    pub(super) fn allot(&mut self) -> Xid {
        let xid = Xid(self.next);
        self.next = normal(self.next + 1);
        self.running.push(xid);
        xid
    }

    /// The next new id.
    pub(super) const fn next(&self) -> Xid {
        Xid(self.next)
    }

    /// The oldest that runs.
    pub(super) fn oldest_running(&self) -> Option<Xid> {
        self.running.first().copied()
    }

    /// It has ended, visibly or by an abort.
    pub(super) fn complete(&mut self, xid: Xid) {
        self.running.retain(|other| *other != xid);
        self.latest_completed = self.latest_completed.max(xid.0);
    }

    /// What a statement sees now. As in Postgres, xmax follows the latest id that *ended*: younger ones that run are at or above it.
    pub(super) fn snapshot(&self) -> Snapshot {
        let xmax = Xid(normal(self.latest_completed + 1));
        let running: Vec<_> = self.running.iter().copied().take_while(|xid| *xid < xmax).collect();
        Snapshot { xmin: running.first().copied().unwrap_or(xmax), xmax, running }
    }
}

/// The low half of an id, which stands for what its transaction made in the catalogue: Postgres' rows and files have such numbers.
pub(super) const fn low_half(xid: Xid) -> i64 {
    (xid.0 & 0xffff_ffff).cast_signed()
}

/// Postgres gives out no id whose low half is 0, 1 or 2.
const fn normal(xid: u64) -> u64 {
    if xid & 0xffff_ffff < 3 { xid & !0xffff_ffff | 3 } else { xid }
}
