//! Pages against positions.

use super::*;
use crate::client::chain::{Fit, fit};

fn check(position: Waypoint, page: Page, unscoped: bool, expected: &str) {
    let page = Arc::new(page);
    let said = match fit(&position, &page, unscoped) {
        Fit::New(new) => {
            let runs = new.transactions.iter().map(|transaction| {
                let index = if transaction.is_piece() { format!("+{}", transaction.first) } else { String::new() };
                format!("{}{index}x{}", transaction.commit_lsn, transaction.changes.len())
            });
            format!("new {}", runs.collect::<Vec<_>>().join(" "))
        }
        Fit::Held => "held".into(),
        Fit::Hole => "hole".into(),
    };
    assert_eq!(said.trim_end(), expected, "{position:?} and {page:?}");
}

#[test]
fn whole_transactions() {
    let page = || whole(0x10, &[0x20, 0x30]);
    check(boundary(0x08), page(), true, "hole");
    check(boundary(0x10), page(), true, "new 0/20x1 0/30x1");
    check(boundary(0x18), page(), true, "new 0/20x1 0/30x1");
    check(boundary(0x20), page(), true, "new 0/30x1");
    check(boundary(0x30), page(), true, "held");
    check(boundary(0x40), page(), true, "held");
    check(at_index(0x10, 3), page(), true, "hole");
    // Its pieces were staged: it comes again from its start, or had nothing in scope.
    check(at_index(0x20, 3), page(), true, "new 0/20x1 0/30x1");
    check(at_index(0x28, 3), page(), false, "new 0/30x1");
    check(at_index(0x30, 3), page(), false, "new 0/30x1");
}

#[test]
fn pieces() {
    let start = Position::after(Lsn(0x10));
    let middle = at_index(0x20, 4).position;
    check(boundary(0x10), piece(start, 0x20, 0, 4, false), true, "new 0/20+0x5");
    check(boundary(0x10), piece(middle, 0x20, 5, 9, true), true, "hole");
    check(at_index(0x20, 4), piece(start, 0x20, 0, 4, false), true, "held");
    check(at_index(0x20, 4), piece(middle, 0x20, 5, 9, true), true, "new 0/20+5x5");
    check(at_index(0x20, 4), piece(middle, 0x20, 5, 9, true), false, "new 0/20+5x5");
    check(boundary(0x20), piece(middle, 0x20, 5, 9, true), true, "held");
    // Cut elsewhere than before.
    check(at_index(0x20, 6), piece(middle, 0x20, 5, 9, false), true, "new 0/20+7x3");
    check(at_index(0x20, 6), piece(middle, 0x20, 5, 9, false), false, "hole");
    check(at_index(0x20, 6), piece(start, 0x20, 0, 9, false), false, "new 0/20+0x10");
    check(at_index(0x20, 2), piece(middle, 0x20, 5, 9, false), true, "hole");
}

#[test]
fn what_contradicts_itself_is_a_hole() {
    let middle = at_index(0x20, 4).position;
    check(at_index(0x20, 4), piece(middle, 0x20, 4, 9, true), true, "hole");
    check(at_index(0x20, 4), piece(middle, 0x30, 0, 9, true), true, "hole");
    check(at_index(0x20, 4), piece(middle, 0x30, 0, 9, false), true, "hole");
    check(at_index(0x20, 4), Page { after: middle, ..whole(0x20, &[0x30]) }, true, "hole");
    let mut two = piece(Position::after(Lsn(0x10)), 0x20, 0, 4, false);
    two.transactions.push(transaction(0x30, [1]));
    check(boundary(0x10), two, true, "hole");
}
