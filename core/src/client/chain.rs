//! Pages chain: whether one follows what a client holds, and what of it is new.

use crate::change::{Page, Transaction};
use crate::position::{Position, Waypoint};
use std::sync::Arc;

/// How a page stands to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// It follows; this is the part that is new.
    New(Arc<Page>),
    /// All of it is held.
    Held,
    /// Something is missing between the two, or they cannot be compared.
    Hole,
}

/// Judges a page: it is applied if `after` ≤ position < `through`, and what is held of it is cut off.
///
/// `unscoped` says that no changes were left out, so that a piece can be cut at an index.
pub(super) fn fit(position: &Waypoint, page: &Arc<Page>, unscoped: bool) -> Fit {
    let at = position.position;
    if page.through.era != position.era || page.through.schema != position.schema || page.after > at {
        return Fit::Hole;
    }
    if page.through.position <= at {
        return Fit::Held;
    }
    match page.transactions.first() {
        Some(piece) if piece.is_piece() => fit_piece(at, page, piece, unscoped),
        _ => fit_whole(at, page),
    }
}

/// A run of whole transactions. One whose pieces were staged comes again from its start, or has nothing in scope.
fn fit_whole(at: Position, page: &Arc<Page>) -> Fit {
    if !page.after.is_boundary() || page.transactions.iter().any(Transaction::is_piece) {
        return Fit::Hole; // A page that begins inside a transaction must be a piece of it.
    }
    let is_held = |transaction: &Transaction| Position::after(transaction.commit_lsn) <= at;
    if !page.transactions.iter().any(is_held) {
        return Fit::New(Arc::clone(page));
    }
    let transactions = page.transactions.iter().filter(|transaction| !is_held(transaction)).cloned().collect();
    Fit::New(Arc::new(Page { transactions, ..Page::clone(page) }))
}

/// A piece of a large transaction, which stands alone in its page.
fn fit_piece(at: Position, page: &Arc<Page>, piece: &Transaction, unscoped: bool) -> Fit {
    let follows = |held: Position| match held.commit_lsn == piece.commit_lsn && !held.is_boundary() {
        true => held.index + 1,
        false => 0,
    };
    let begins = page.after.is_boundary() || page.after.commit_lsn == piece.commit_lsn;
    if !begins || page.transactions.len() != 1 || piece.first != follows(page.after) {
        return Fit::Hole;
    }
    match follows(at) {
        next if piece.first == 0 || next == piece.first => Fit::New(Arc::clone(page)),
        next if unscoped => {
            let held = ((next - piece.first) as usize).min(piece.changes.len());
            let rest = Transaction { first: next, changes: piece.changes[held..].into(), ..piece.clone() };
            Fit::New(Arc::new(Page { transactions: vec![rest], ..Page::clone(page) }))
        }
        _ => Fit::Hole, // Which of its changes are held cannot be told: the greeting names the index exactly.
    }
}
