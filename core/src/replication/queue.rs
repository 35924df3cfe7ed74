//! From the items of the stream to pages: a bounded queue of what waits to be recorded.

use crate::change::{Change, Relation, RelationId, Transaction};
use crate::position::{CommitTime, Lsn};
use crate::source::SourceItem;
use crate::xid::Xid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What [`crate::change::Page::weight`] adds for the page, and for each transaction.
const OVERHEAD: usize = 128;

/// The size of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageLimits {
    pub changes_max: usize,
    pub bytes_max: usize,
}

/// The queue holds so many pages: one can fill while another is recorded.
pub(super) const QUEUE_PAGES: usize = 4;

/// What was read and is not yet being recorded, in the order of the stream, which is commit order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queue {
    limits: PageLimits,
    /// The shapes that this stream has told.
    relations: BTreeMap<RelationId, Arc<Relation>>,
    entries: VecDeque<Entry>,
    reading: Reading,
    /// The last transaction that is recorded or queued: what does not come after it is a replay.
    last: Lsn,
    changes: usize,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    /// Its last one may still lack changes and its end.
    Transaction(Gathering),
    /// All commits below were sent.
    Covered(Lsn),
}

/// Where in the stream the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Reading {
    Between,
    /// In a transaction that history has.
    Replay,
    /// In the transaction at the back of the queue.
    Back,
}

/// A transaction, or what is left of it after its first pieces were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Gathering {
    commit_lsn: Lsn,
    committed_at: CommitTime,
    xid: u32,
    /// `None` until its commit was read.
    end_lsn: Option<Lsn>,
    /// The index of the first change that is still here.
    first: u32,
    changes: VecDeque<Change>,
    bytes: usize,
}

/// The stream contradicted itself: a defect of the source.
#[derive(Debug)]
pub(super) struct Incoherent(pub &'static str);

/// What one item meant beyond having been queued.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pushed {
    /// A shape. Be it one that was told before: it is told again when the table may have been altered since, perhaps twice.
    pub shape: bool,
    /// What the item said to be sent: the end of a commit, or a keepalive.
    pub sent: Option<Lsn>,
}

/// The body of the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    pub relations: Arc<[Arc<Relation>]>,
    pub transactions: Vec<Transaction>,
}

impl Queue {
    /// An empty queue for a stream whose transactions up to `recorded` are in history.
    pub fn new(limits: PageLimits, recorded: Lsn) -> Self {
        Self {
            limits,
            relations: BTreeMap::new(),
            entries: VecDeque::new(),
            reading: Reading::Between,
            last: recorded,
            changes: 0,
            bytes: 0,
        }
    }

    /// Whether one more read fits.
    pub fn has_room(&self) -> bool {
        let pages = QUEUE_PAGES - 1;
        self.changes <= pages * self.limits.changes_max && self.bytes <= pages * self.limits.bytes_max
    }

    /// About how many bytes wait here.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it holds no more than it may: a read is asked for while it fits, or while nothing can be taken. One message may name
    /// any number of tables that are truncated, so those do not count.
    pub fn is_bounded(&self) -> bool {
        let most = QUEUE_PAGES * self.limits.changes_max;
        self.changes <= most || self.changes - self.truncations() <= most
    }

    fn truncations(&self) -> usize {
        let truncates = |change: &&Change| matches!(change, Change::Truncate { .. });
        self.gathering().map(|gathering| gathering.changes.iter().filter(truncates).count()).sum()
    }

    fn gathering(&self) -> impl Iterator<Item = &Gathering> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Transaction(gathering) => Some(gathering),
            Entry::Covered(_) => None,
        })
    }

    /// Takes one item of the stream.
    pub fn push(&mut self, item: SourceItem) -> Result<Pushed, Incoherent> {
        match item {
            SourceItem::Begin { commit_lsn, committed_at, xid } => self.begin(commit_lsn, committed_at, xid),
            SourceItem::Relation(relation) => {
                self.relations.insert(relation.id, relation);
                Ok(Pushed { shape: true, sent: None })
            }
            SourceItem::Change(change) => self.change(change),
            SourceItem::Commit { end_lsn } => self.commit(end_lsn),
            SourceItem::Keepalive { wal_end } => {
                // Inside a transaction it says nothing that the transaction's end will not say.
                if self.reading == Reading::Between {
                    self.cover(wal_end);
                }
                Ok(Pushed { shape: false, sent: Some(wal_end) })
            }
        }
    }

    fn begin(&mut self, commit_lsn: Lsn, committed_at: CommitTime, xid: u32) -> Result<Pushed, Incoherent> {
        if self.reading != Reading::Between {
            return Err(Incoherent("a transaction began inside another"));
        }
        if commit_lsn <= self.last {
            self.reading = Reading::Replay;
            return Ok(Pushed::default());
        }
        self.last = commit_lsn;
        self.reading = Reading::Back;
        self.bytes += OVERHEAD;
        let (changes, bytes) = (VecDeque::new(), OVERHEAD);
        let gathering = Gathering { commit_lsn, committed_at, xid, end_lsn: None, first: 0, changes, bytes };
        self.entries.push_back(Entry::Transaction(gathering));
        Ok(Pushed::default())
    }

    fn change(&mut self, change: Change) -> Result<Pushed, Incoherent> {
        match self.reading {
            Reading::Between => return Err(Incoherent("a change came outside a transaction")),
            Reading::Replay => return Ok(Pushed::default()),
            Reading::Back => {}
        }
        if !self.relations.contains_key(&change.relation()) {
            return Err(Incoherent("a change came before its relation"));
        }
        let Some(Entry::Transaction(back)) = self.entries.back_mut() else {
            return Err(Incoherent("a change came without its transaction"));
        };
        let weight = change.weight();
        back.bytes += weight;
        back.changes.push_back(change);
        self.bytes += weight;
        self.changes += 1;
        Ok(Pushed::default())
    }

    fn commit(&mut self, end_lsn: Lsn) -> Result<Pushed, Incoherent> {
        match std::mem::replace(&mut self.reading, Reading::Between) {
            Reading::Between => return Err(Incoherent("a commit came outside a transaction")),
            Reading::Replay => self.cover(end_lsn),
            Reading::Back => {
                let Some(Entry::Transaction(back)) = self.entries.back_mut() else {
                    return Err(Incoherent("a commit came without its transaction"));
                };
                back.end_lsn = Some(end_lsn);
                if back.changes.is_empty() {
                    self.bytes -= back.bytes;
                    self.entries.pop_back();
                    self.cover(end_lsn);
                }
            }
        }
        Ok(Pushed { shape: false, sent: Some(end_lsn) })
    }

    fn cover(&mut self, lsn: Lsn) {
        match self.entries.back_mut() {
            Some(Entry::Covered(last)) => *last = lsn.max(*last),
            Some(Entry::Transaction(_)) | None => self.entries.push_back(Entry::Covered(lsn)),
        }
    }

    /// Takes the mark at the front: it counts once everything that was taken before is recorded.
    pub fn take_covered(&mut self) -> Option<Lsn> {
        let Some(Entry::Covered(lsn)) = self.entries.front() else { return None };
        let lsn = *lsn;
        self.entries.pop_front();
        Some(lsn)
    }

    /// Takes the next page: whole transactions as they fit, `most` of them at most, or one piece of a transaction that does not.
    /// `None` while there is nothing, or less than a page of a transaction that has not ended.
    pub fn take_page(&mut self, most: usize) -> Option<Taken> {
        let Some(Entry::Transaction(front)) = self.entries.front() else { return None };
        let whole = front.first == 0 && front.end_lsn.is_some() && front.fits(self.limits);
        let transactions = if whole { self.take_whole(most) } else { vec![self.take_piece()?] };
        Some(Taken { relations: self.relations_of(&transactions), transactions })
    }

    fn take_whole(&mut self, most: usize) -> Vec<Transaction> {
        let mut transactions = Vec::new();
        let mut room = PageLimits { bytes_max: self.limits.bytes_max.saturating_sub(OVERHEAD), ..self.limits };
        while transactions.len() < most {
            // A mark between two transactions of one page says less than the end of the later one.
            let at = usize::from(!transactions.is_empty() && matches!(self.entries.front(), Some(Entry::Covered(_))));
            let Some(Entry::Transaction(next)) = self.entries.get(at) else { break };
            let fits = next.changes.len() <= room.changes_max && next.bytes <= room.bytes_max;
            if next.end_lsn.is_none() || !(fits || transactions.is_empty()) {
                break;
            }
            room.changes_max = room.changes_max.saturating_sub(next.changes.len());
            room.bytes_max = room.bytes_max.saturating_sub(next.bytes);
            let Some(Entry::Transaction(next)) = self.entries.drain(..=at).next_back() else { break };
            self.changes -= next.changes.len();
            self.bytes -= next.bytes;
            transactions.push(next.into_transaction());
        }
        transactions
    }

    fn take_piece(&mut self) -> Option<Transaction> {
        let Some(Entry::Transaction(front)) = self.entries.front_mut() else { return None };
        let (count, weight) = front.prefix(self.limits);
        if count == front.changes.len() {
            // The last piece has at least one change, so nothing is flushed that could turn out to be it.
            front.end_lsn?;
            let Some(Entry::Transaction(last)) = self.entries.pop_front() else { return None };
            self.changes -= last.changes.len();
            self.bytes -= last.bytes;
            return Some(last.into_transaction());
        }
        self.changes -= count;
        self.bytes -= weight;
        Some(front.split(count, weight))
    }

    fn relations_of(&self, transactions: &[Transaction]) -> Arc<[Arc<Relation>]> {
        let mut used = BTreeMap::new();
        let mut last = None;
        for change in transactions.iter().flat_map(|transaction| transaction.changes.iter()) {
            let id = change.relation();
            if last != Some(id) {
                last = Some(id);
                used.entry(id).or_insert_with(|| self.relations.get(&id));
            }
        }
        used.into_values().flatten().cloned().collect()
    }

    /// Whether the counts are those of the entries.
    pub fn adds_up(&self) -> bool {
        let sums =
            self.gathering().fold((0, 0), |(changes, bytes), next| (changes + next.changes.len(), bytes + next.bytes));
        sums == (self.changes, self.bytes)
    }
}

impl Gathering {
    fn fits(&self, limits: PageLimits) -> bool {
        self.changes.len() == 1
            || (self.changes.len() <= limits.changes_max && OVERHEAD + self.bytes <= limits.bytes_max)
    }

    /// How many changes make one piece, at least one, and what they weigh.
    fn prefix(&self, limits: PageLimits) -> (usize, usize) {
        let mut weight = 0;
        for (count, change) in self.changes.iter().enumerate() {
            let more = weight + change.weight();
            if count > 0 && (count == limits.changes_max || 2 * OVERHEAD + more > limits.bytes_max) {
                return (count, weight);
            }
            weight = more;
        }
        (self.changes.len(), weight)
    }

    fn split(&mut self, count: usize, weight: usize) -> Transaction {
        let first = self.first;
        let changes: Arc<[Change]> = self.changes.drain(..count).collect();
        self.first = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.bytes -= weight;
        let (commit_lsn, committed_at, xid) = (self.commit_lsn, self.committed_at, Xid(u64::from(self.xid)));
        Transaction { commit_lsn, end_lsn: Lsn::ZERO, xid, committed_at, first, complete: false, changes }
    }

    fn into_transaction(self) -> Transaction {
        Transaction {
            commit_lsn: self.commit_lsn,
            end_lsn: self.end_lsn.unwrap_or(Lsn::ZERO),
            xid: Xid(u64::from(self.xid)),
            committed_at: self.committed_at,
            first: self.first,
            complete: true,
            changes: self.changes.into_iter().collect(),
        }
    }
}

impl Taken {
    /// Where in its transaction the page ends; the boundary unless it is a piece before the last.
    pub fn last_index(&self) -> Option<u32> {
        let last = self.transactions.last()?;
        let count = u32::try_from(last.changes.len()).unwrap_or(u32::MAX);
        (!last.complete).then(|| last.first.saturating_add(count).saturating_sub(1))
    }
}
