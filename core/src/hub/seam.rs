//! The seam's filter: what joins a snapshot to the stream.
//!
//! A commit is decoded, and can be in history, before it is visible to new snapshots; so no LSN labels a snapshot. The
//! seam is every transaction after P0 and below F that the snapshot does not see.

use super::Spool;
use crate::change::Page;
use crate::safeguard::{Safeguard, Safeguards};
use std::sync::Arc;

/// The transactions of a page that the snapshot does not see. `None` when it sees all of them.
///
/// `filtering` stays true to the seam's end: commits do not become visible in the order of their xids.
pub(super) fn filter(
    page: &Arc<Page>,
    spool: &Spool,
    filtering: &mut bool,
    safeguards: Safeguards,
) -> Option<Arc<Page>> {
    let mut kept = page.transactions.clone();
    kept.retain(|transaction| {
        if !safeguards.holds(Safeguard::SeamEndsAtF) && transaction.xid >= spool.snapshot.xmax {
            *filtering = false;
        }
        !safeguards.holds(Safeguard::SeamFilter) || !*filtering || !spool.snapshot.sees(transaction.xid)
    });
    let all = kept.len() == page.transactions.len();
    let some = !kept.is_empty();
    some.then(|| if all { Arc::clone(page) } else { Arc::new(Page { transactions: kept, ..Page::clone(page) }) })
}
