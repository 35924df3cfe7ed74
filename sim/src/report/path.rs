//! What led to what: each event of a run was brought about by one other, and the way back is a single path.

use super::Entry;
use std::collections::BTreeMap;

/// The longest path that is told.
const STEPS_MAX: usize = 40;

/// The entries that lead to this one, oldest first, itself included.
pub(super) fn to(entries: &[Entry], end: usize) -> Vec<usize> {
    let senders: BTreeMap<u32, usize> =
        entries.iter().enumerate().flat_map(|(n, entry)| entry.s.iter().map(move |link| (*link, n))).collect();
    let mut path = vec![end];
    let mut at = end;
    while path.len() < STEPS_MAX {
        // Within one event, what arrived first brought the rest about.
        let event = entries[at].e;
        let same = (0..=at).rev().take_while(|n| entries[*n].e == event);
        let heard =
            same.filter(|n| entries[*n].g.is_some() && senders.contains_key(&entries[*n].g.unwrap_or(0))).last();
        let Some(heard) = heard else {
            // A timer, a writer or a fault: the event's first entry is where it begins.
            let first =
                (0..=at).rev().take_while(|n| entries[*n].e == event).filter(|n| entries[*n].k != "choice").last();
            path.extend(first.filter(|first| !path.contains(first)));
            break;
        };
        if heard != at {
            path.push(heard);
        }
        let Some(sender) = entries[heard].g.and_then(|link| senders.get(&link)) else { break };
        if *sender >= heard {
            break;
        }
        path.push(*sender);
        at = *sender;
    }
    path.reverse();
    path
}

/// What a choice fell upon: the last thing before it in the same event.
pub(super) fn when(entries: &[Entry], choice: usize) -> Option<usize> {
    let (event, lane) = (entries[choice].e, entries[choice].l);
    let same = || (0..choice).rev().take_while(|n| entries[*n].e == event).filter(|n| entries[*n].k != "choice");
    same().find(|n| entries[*n].l == lane).or_else(|| same().next())
}
