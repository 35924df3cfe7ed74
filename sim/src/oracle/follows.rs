//! Complete, whatever a server says: what a client asks its store for follows what the store holds.

use super::{Checked, Promise, broken};
use dormouse_core::change::{Page, Transaction};
use dormouse_core::position::{Position, Waypoint};
use dormouse_core::store::StoreRequest;

/// A store that holds `held` is asked for something.
///
/// # Errors
/// When it does not follow.
pub fn follows(request: &StoreRequest, held: Option<&Waypoint>) -> Checked {
    let (StoreRequest::ApplyPage { page }, Some(held)) = (request, held) else { return Ok(()) };
    match why_not(page, held) {
        None => Ok(()),
        Some(why) => {
            let event =
                format!("a store at {} is asked for {}..{}: {why}", held.position, page.after, page.through.position);
            broken(Promise::Complete, "follows", event)
        }
    }
}

fn why_not(page: &Page, held: &Waypoint) -> Option<&'static str> {
    if page.through.era != held.era {
        return Some("that is of another era");
    }
    if page.through.schema != held.schema {
        return Some("that is of another schema");
    }
    if page.after > held.position || page.through.position <= held.position {
        return Some("that does not follow");
    }
    let Some(piece) = page.transactions.first().filter(|_| page.transactions.iter().any(Transaction::is_piece)) else {
        return (!page.after.is_boundary()).then_some("that begins inside a transaction, and is no piece of it");
    };
    let inside = |at: Position| at.commit_lsn == piece.commit_lsn && !at.is_boundary();
    if page.transactions.len() > 1 {
        return Some("a piece stands alone");
    }
    if !page.after.is_boundary() && !inside(page.after) {
        return Some("that begins inside another transaction");
    }
    let due = if inside(held.position) { held.position.index + 1 } else { 0 };
    (piece.first != 0 && piece.first != due).then_some("another piece is due")
}
