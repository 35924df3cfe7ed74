//! One line for each transaction at each stage of its way, on request: `RUST_LOG=info,dormouse::transaction=trace`.

use crate::clock::Clock;
use dormouse_core::change::Page;
use dormouse_core::position::Lsn;
use dormouse_core::time::Timestamp;
use std::time::Duration;
use tracing::Level;

const TARGET: &str = "dormouse::transaction";

fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// The transactions of a page, or the piece of one, are in history; the append took so long.
pub(crate) fn recorded(page: &Page, took: Duration) {
    if is_wanted() {
        each(page, |xid, commit_lsn, changes, age_us| {
            let append_us = took.as_micros();
            tracing::trace!(target: TARGET, xid, %commit_lsn, changes, append_us, age_us, "recorded");
        });
    }
}

/// They were announced to a hub that has so many sockets, which are sent them in the same batch when they are live.
pub(crate) fn announced(page: &Page, sockets: usize) {
    if is_wanted() {
        each(page, |xid, commit_lsn, changes, age_us| {
            tracing::trace!(target: TARGET, xid, %commit_lsn, changes, sockets, age_us, "announced to a hub");
        });
    }
}

/// Each with its xid, commit LSN, number of changes and time since its commit in µs.
fn each(page: &Page, tell: impl Fn(u64, Lsn, usize, u128)) {
    let now = Clock::wall();
    for transaction in &page.transactions {
        let committed = Timestamp(u64::try_from(transaction.committed_at.0).unwrap_or(0));
        tell(transaction.xid.0, transaction.commit_lsn, transaction.changes.len(), now.since(committed).as_micros());
    }
}
