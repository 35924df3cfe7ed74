//! The queue alone: whatever comes in comes out, once, in order, within the limits.

use super::rig::{begin, changes, commit, keepalive, shape};
use crate::change::Page;
use crate::position::{Lsn, Position, Waypoint};
use crate::replication::queue::{PageLimits, Queue};
use crate::source::SourceItem;
use proptest::prelude::*;

const LIMITS: PageLimits = PageLimits { changes_max: 4, bytes_max: 2_000 };

/// What each step of a run does: takes a page, or reads one item of a stream of transactions with these many changes.
fn runs() -> impl Strategy<Value = (Vec<usize>, Vec<bool>)> {
    (prop::collection::vec(0_usize..12, 1..12), prop::collection::vec(any::<bool>(), 200))
}

fn stream(sizes: &[usize]) -> Vec<SourceItem> {
    let mut items = vec![SourceItem::Relation(shape(1))];
    for (n, size) in sizes.iter().enumerate() {
        let at = 100 * (n as u64 + 1);
        items.push(begin(at, 7));
        items.extend(changes(*size));
        items.push(commit(at + 8));
        if size % 3 == 0 {
            items.push(keepalive(at + 50));
        }
    }
    items
}

proptest! {
    #[test]
    fn pages_chain_and_lose_nothing((sizes, steps) in runs()) {
        let mut queue = Queue::new(LIMITS, Lsn::ZERO);
        let mut items = stream(&sizes).into_iter();
        let mut got: Vec<(u64, u32)> = Vec::new();
        let mut position = Position::ZERO;
        let steps = steps.into_iter().chain([true, false].into_iter().cycle().take(4_000));
        for take in steps {
            if take {
                while queue.take_covered().is_some() {}
                let Some(taken) = queue.take_page(usize::MAX) else { continue };
                let index = taken.last_index().unwrap_or(Position::WHOLE);
                let last = taken.transactions.last().expect("a page is not empty");
                let through = Position { commit_lsn: last.commit_lsn, index };
                prop_assert!(position < through);
                let waypoint = Waypoint { position: through, ..Waypoint::default() };
                let page = Page { after: position, through: waypoint, relations: taken.relations, transactions: taken.transactions };
                prop_assert!(page.changes() <= LIMITS.changes_max && page.weight() <= LIMITS.bytes_max);
                prop_assert!(!page.is_piece() || page.transactions.len() == 1);
                for transaction in &page.transactions {
                    prop_assert!(!transaction.changes.is_empty());
                    prop_assert_eq!(transaction.complete, transaction.end_lsn != Lsn::ZERO);
                    for n in 0..transaction.changes.len() {
                        got.push((transaction.commit_lsn.0, transaction.first + n as u32));
                    }
                }
                position = through;
            } else if let Some(item) = items.next() {
                queue.push(item).expect("the stream is coherent");
            }
            prop_assert!(queue.adds_up());
        }
        let all = sizes.iter().enumerate().flat_map(|(n, size)| (0..*size).map(move |i| (100 * (n as u64 + 1), i as u32)));
        prop_assert_eq!(got, all.collect::<Vec<_>>());
    }
}
