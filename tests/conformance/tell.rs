//! Replies in words, with every number told by rank.
//!
//! No two databases give out the same LSNs and ids, and neither is there a rule for what lies between two commits: a database
//! writes WAL of its own. What all must agree on is which of the run's transactions a number lies before, at or behind. So a
//! commit is told as `#3`, an end of WAL as `behind #3`, and an id by its rank among the ids that the application's
//! transactions got.

use super::reply::{Anchors, Answered, Did, Reply, Streamed};
use dormouse_core::change::{Change, Chunk, Transaction};
use dormouse_core::fault::Failure;
use dormouse_core::history::{Head, HistoryRead};
use dormouse_core::hub::{EpochTaken, Judged, SnapshotTaken};
use dormouse_core::position::{CommitTime, Lsn, Position, Waypoint};
use dormouse_core::replication::{Fenced, LeaseTaken, Progress, Recorded, SourceState};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::Epoch;
use dormouse_core::source::{Fingerprints, alters_existing_rows};
use dormouse_core::xid::{Snapshot, Xid};
use std::sync::Arc;

/// By what the numbers of one run are told.
pub struct Ranks {
    anchors: Anchors,
    epochs: Vec<Epoch>,
}

impl Ranks {
    pub fn new(anchors: Anchors, replies: &[Reply]) -> Self {
        let answers = replies.iter().flat_map(|reply| match reply {
            Reply::Answers(answers) => answers.as_slice(),
            Reply::Did(_) | Reply::Nothing => &[],
        });
        let mut epochs: Vec<Epoch> = answers
            .flat_map(|answer| match answer {
                Ok(Answered::Epoch(EpochTaken::Taken { epoch, .. })) => vec![*epoch],
                Ok(Answered::Registrations(rows)) => rows.iter().map(|(_, epoch, _)| *epoch).collect(),
                _ => Vec::new(),
            })
            .collect();
        epochs.sort_unstable();
        epochs.dedup();
        Self { anchors, epochs }
    }

    /// A reply in words.
    pub fn tell(&self, reply: &Reply) -> String {
        match reply {
            Reply::Nothing => "nothing to do".into(),
            Reply::Did(did) => self.did(did),
            Reply::Answers(answers) => {
                let answers: Vec<_> = answers.iter().map(|answer| self.answer(answer)).collect();
                answers.join("; ")
            }
        }
    }

    fn did(&self, did: &Did) -> String {
        match did {
            Did::Done => "done".into(),
            Did::Impossible => "impossible".into(),
            Did::Xid(xid) => self.xid(*xid),
            Did::Wrote(Ok(())) => "wrote".into(),
            Did::Wrote(Err(why)) => format!("wrote nothing: {why:?}"),
            Did::Rows(tables) => {
                let told = tables.iter().map(|(name, rows)| format!("{name} {}", self::rows(rows)));
                told.collect::<Vec<_>>().join(", ")
            }
            Did::Snapshot(snapshot) => self.snapshot(snapshot),
        }
    }

    fn answer(&self, answer: &Result<Answered, Failure>) -> String {
        let answered = match answer {
            Ok(answered) => answered,
            Err(Failure::Unavailable(_)) => return "unavailable".into(),
            Err(Failure::Refused(_)) => return "refused".into(),
        };
        match answered {
            Answered::Unit => "answered".into(),
            Answered::Fenced(fenced) => self::fenced(fenced, |()| "done".into()),
            Answered::Lease(LeaseTaken::Taken { token, clean }) => format!("taken, token {}, clean {clean}", token.0),
            Answered::Lease(LeaseTaken::Held { holder, remaining }) => {
                format!("held by {holder} for {} minutes", (remaining.as_secs() + 30) / 60)
            }
            Answered::Source(source) => self::fenced(source, |source| self.source(source)),
            Answered::Progress(progress) => self::fenced(progress, |progress| self.progress(progress.as_ref())),
            Answered::Slot(slot) => self::fenced(slot, |slot| format!("a slot {}", self.end(*slot))),
            Answered::Era(head) => self::fenced(head, |head| self.head(head)),
            Answered::Attempts(attempts) => self::fenced(attempts, |attempts| format!("attempt {attempts}")),
            Answered::Recorded(recorded) => self.recorded(recorded),
            Answered::Tables(tables) => self::fenced(tables, |_| "looked".into()),
            Answered::Schema(schema) => self::fenced(schema, |schema| format!("schema {}", schema.0)),
            Answered::Horizon(horizon) => self::fenced(horizon, |horizon| self.position(*horizon)),
            Answered::Head(head) => self.head(head),
            Answered::History(read) => self.history(read),
            Answered::Judged(judged) => self.judged(judged),
            Answered::Snapshot(taken, chunks) => self.taken(taken, chunks),
            Answered::Epoch(EpochTaken::Stale) => "stale".into(),
            Answered::Epoch(EpochTaken::Apart) => "apart".into(),
            Answered::Epoch(EpochTaken::Taken { epoch, stored }) => {
                format!("{}, stored {}", self.epoch(*epoch), self.stored(stored.as_ref()))
            }
            Answered::Clients(clients) => format!("fenced {clients:?}"),
            Answered::Renewals(renewals) => format!("renewed {renewals} times"),
            Answered::Registrations(rows) => {
                let told = rows.iter().map(|(client, epoch, position)| {
                    format!("{client} in {} at {}", self.epoch(*epoch), self.stored(position.as_ref()))
                });
                format!("[{}]", told.collect::<Vec<_>>().join(", "))
            }
            Answered::Streamed(streamed) => self.streamed(streamed),
            Answered::Compared(words) => words.clone(),
        }
    }

    /// Which commits lie below.
    fn end(&self, lsn: Lsn) -> String {
        let below = self.anchors.commits.partition_point(|(commit_lsn, _)| *commit_lsn < lsn);
        match below.checked_sub(1).map(|last| self.anchors.commits[last]) {
            Some((_, end_lsn)) if lsn < end_lsn => format!("inside of the record of #{below}"),
            _ => format!("behind #{below}"),
        }
    }

    fn commit(&self, lsn: Lsn) -> String {
        match self.anchors.commits.binary_search_by_key(&lsn, |(commit_lsn, _)| *commit_lsn) {
            Ok(n) => format!("#{}", n + 1),
            Err(_) => self.end(lsn),
        }
    }

    fn position(&self, position: Position) -> String {
        let commit = self.commit(position.commit_lsn);
        if position.is_boundary() { commit } else { format!("{commit}+{}", position.index) }
    }

    fn xid(&self, xid: Xid) -> String {
        let below = self.anchors.xids.partition_point(|anchor| *anchor < xid);
        match self.anchors.xids.get(below) {
            _ if xid == Xid(0) => "no id".into(),
            Some(anchor) if *anchor == xid => format!("id {}", below + 1),
            _ => format!("an id behind {below}"),
        }
    }

    /// How many of the ids lie below.
    fn ids_below(&self, xid: Xid) -> usize {
        self.anchors.xids.partition_point(|anchor| *anchor < xid)
    }

    fn snapshot(&self, snapshot: &Snapshot) -> String {
        // Our own transactions are short, and none of a script's steps leaves one open.
        let running = snapshot.running.iter().filter(|xid| self.anchors.xids.contains(xid));
        let running: Vec<_> = running.map(|xid| self.xid(*xid)).collect();
        let (below, to) = (self.ids_below(snapshot.xmin), self.ids_below(snapshot.xmax));
        format!("{below} ids below xmin, {to} below xmax, running {running:?}")
    }

    fn epoch(&self, epoch: Epoch) -> String {
        format!("epoch {}", self.epochs.partition_point(|other| *other < epoch) + 1)
    }

    fn waypoint(&self, waypoint: &Waypoint) -> String {
        let named = if waypoint.committed_at == CommitTime(0) { ", without a time" } else { "" };
        let (era, schema) = (waypoint.era.counter, waypoint.schema.0);
        let (position, xid) = (self.position(waypoint.position), self.xid(waypoint.xid));
        format!("{position} ({xid}{named}) of era {era}, schema {schema}")
    }

    fn stored(&self, waypoint: Option<&Waypoint>) -> String {
        waypoint.map_or_else(|| "nowhere".into(), |waypoint| self.waypoint(waypoint))
    }

    fn head(&self, head: &Head) -> String {
        format!("head {}, covered {}", self.waypoint(&head.waypoint), self.end(head.covered))
    }

    fn source(&self, source: &SourceState) -> String {
        let slot = match &source.slot {
            None => "no slot".into(),
            Some(slot) if slot.usable => format!("a slot confirmed {}", self.end(slot.confirmed)),
            Some(_) => "an unusable slot".into(),
        };
        format!("timeline {}, {slot}, tables {:?}", source.evidence.timeline, source.fingerprints.keys())
    }

    fn progress(&self, progress: Option<&Progress>) -> String {
        progress.map_or_else(
            || "no era yet".into(),
            |progress| format!("{}, begun on timeline {}", self.head(&progress.head), progress.evidence.timeline),
        )
    }

    fn recorded(&self, recorded: &Recorded) -> String {
        match recorded {
            Recorded::Recorded { reference } => {
                format!("recorded, {} ids below the reference", self.ids_below(*reference))
            }
            Recorded::AlreadyAt { position, .. } => format!("already at {}", self.position(*position)),
            Recorded::Superseded => "superseded".into(),
        }
    }

    fn judged(&self, judged: &Judged) -> String {
        let named = judged.named.as_ref().map_or_else(
            || "nothing".into(),
            |named| format!("{} with {} changes", self.xid(named.xid), named.changes),
        );
        let (head, mark, horizon) = (self.head(&judged.head), self.end(judged.mark), self.position(judged.horizon));
        format!("{head}; mark {mark}; horizon {horizon}; named {named}; unknown {:?}", judged.unknown_tables)
    }

    fn history(&self, read: &HistoryRead) -> String {
        let (what, head) = match read {
            HistoryRead::Page { page, head } => {
                let mut relations: Vec<_> = page.relations.iter().map(|relation| relation.full_name()).collect();
                relations.sort_unstable();
                let transactions: Vec<_> = page.transactions.iter().map(|told| self.transaction(told)).collect();
                let (after, through) = (self.position(page.after), self.waypoint(&page.through));
                (format!("after {after} through {through}, shapes {relations:?}: {}", transactions.join(", ")), head)
            }
            HistoryRead::End { head } => ("the end".into(), head),
            HistoryRead::Pruned { head } => ("pruned".into(), head),
            HistoryRead::OtherEra { head } => ("another era".into(), head),
        };
        format!("{what}; {}", self.head(head))
    }

    fn transaction(&self, told: &Transaction) -> String {
        let changes: Vec<_> = told.changes.iter().map(change).collect();
        let first = if told.first == 0 { String::new() } else { format!("from {} ", told.first) };
        let rest = if told.complete { "" } else { " …" };
        let end = if told.end_lsn == Lsn::ZERO { "not ended".into() } else { self.end(told.end_lsn) };
        format!(
            "{} ({}, ends {end}) {first}[{}{rest}]",
            self.commit(told.commit_lsn),
            self.low(told.xid),
            changes.join(", ")
        )
    }

    /// The stream tells the low half of an id.
    fn low(&self, xid: Xid) -> String {
        let low = |xid: Xid| xid.0 & 0xffff_ffff;
        let found = self.anchors.xids.iter().position(|anchor| low(*anchor) == low(xid));
        found.map_or_else(|| "an unknown id".into(), |n| format!("id {}", n + 1))
    }

    fn streamed(&self, streamed: &Streamed) -> String {
        let new = streamed.transactions.iter().filter(|told| told.end_lsn > streamed.forgettable);
        let told: Vec<_> = new.map(|told| self.transaction(told)).collect();
        let introduced = if streamed.introduced { "each table introduced" } else { "a table not introduced" };
        format!("{}; {introduced}; keepalives {}", told.join(", "), self.keepalives(streamed))
    }

    /// A keepalive says that all commits below it were sent. How many there are, and when, is the server's own affair.
    fn keepalives(&self, streamed: &Streamed) -> String {
        let due = self.anchors.commits.iter().filter(|(commit_lsn, _)| *commit_lsn >= streamed.from);
        let due: Vec<Lsn> = due.map(|(commit_lsn, _)| *commit_lsn).collect();
        for (told, wal_end) in &streamed.keepalives {
            let claimed = due.iter().filter(|commit_lsn| **commit_lsn < *wal_end).count();
            if claimed > streamed.before + told {
                return format!("claim {claimed} transactions when {} were told", streamed.before + told);
            }
        }
        "claim no more than was told".into()
    }

    fn taken(&self, taken: &SnapshotTaken, chunks: &[Arc<Chunk>]) -> String {
        let spool = match taken {
            SnapshotTaken::Spooled(spool) => spool,
            SnapshotTaken::EraStarting => return "the era is starting".into(),
            SnapshotTaken::OtherEra { head } => return format!("another era: {}", self.head(head)),
        };
        let mut tables = Vec::new();
        for relation in &spool.relations {
            let own = chunks.iter().filter(|chunk| chunk.relation.id == relation.id);
            let own: Vec<Row> = own.flat_map(|chunk| chunk.rows.iter().cloned()).collect();
            let columns: Vec<_> = relation.columns.iter().map(|c| format!("{} {}", c.name, c.type_name)).collect();
            tables.push(format!("{} {columns:?} {}", relation.full_name(), rows(&own)));
        }
        let (start, fence, seen) = (self.waypoint(&spool.start), self.end(spool.fence), self.snapshot(&spool.snapshot));
        let (count, schema) = (spool.rows, spool.schema.0);
        format!("from {start} to {fence}, {seen}, {count} rows of schema {schema}: {}", tables.join(", "))
    }
}

/// How tables differ from what they were, as far as a replicator may draw conclusions from it.
pub fn compared(old: &Fingerprints, new: &Fingerprints) -> String {
    let tables = new.iter().map(|(name, new)| {
        let Some(old) = old.get(name) else { return format!("{name} is new, with {} columns", new.columns.len()) };
        let marks = [
            (old.oid != new.oid, "another table"),
            (old.relfilenode != new.relfilenode, "another storage"),
            (old.definitions != new.definitions, "other definitions"),
            (old.membership != new.membership, "published anew"),
            (old.columns != new.columns, "other columns"),
            (old.key != new.key, "another key"),
            (old.shape != new.shape, "another shape"),
        ];
        let marks: Vec<_> = marks.iter().filter(|(differs, _)| *differs).map(|(_, mark)| *mark).collect();
        format!("{name} {}", if marks.is_empty() { "as it was".into() } else { marks.join(" and ") })
    });
    let tables: Vec<_> = tables.collect();
    let alters = alters_existing_rows(old, new).unwrap_or_else(|| "no row is altered in silence".into());
    format!("{}: {alters}", tables.join(", "))
}

fn fenced<T>(fenced: &Fenced<T>, tell: impl FnOnce(&T) -> String) -> String {
    match fenced {
        Fenced::Done(done) => tell(done),
        Fenced::Superseded => "superseded".into(),
    }
}

fn change(change: &Change) -> String {
    match change {
        Change::Insert { relation, row } => format!("insert {} {}", relation.0, self::row(row)),
        Change::Update { relation, row } => format!("update {} {}", relation.0, self::row(row)),
        Change::Move { relation, old_key, row } => {
            format!("move {} {} to {}", relation.0, self::row(old_key), self::row(row))
        }
        Change::Delete { relation, key } => format!("delete {} {}", relation.0, self::row(key)),
        Change::Truncate { relation } => format!("truncate {}", relation.0),
    }
}

/// In whatever order they were read, rows are told in one.
fn rows(rows: &[Row]) -> String {
    let mut rows: Vec<_> = rows.iter().map(row).collect();
    rows.sort_unstable();
    format!("[{}]", rows.join(", "))
}

/// Large values are told by their first characters and their length.
fn row(row: &Row) -> String {
    let value = |value: Value<'_>| match value {
        Value::Null => "null".to_owned(),
        Value::Unchanged => "unchanged".to_owned(),
        Value::Omitted(size) => format!("omitted {size}"),
        Value::Text(text) if text.len() > 40 => format!("{}… of {}", text.trim_end_matches('~'), text.len()),
        Value::Text(text) => text.to_owned(),
    };
    format!("({})", row.values().map(value).collect::<Vec<_>>().join(" "))
}
