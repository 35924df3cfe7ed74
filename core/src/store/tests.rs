//! The store in memory against a naive model: a list of rows that is searched from end to end.

use super::*;
use crate::change::{Change, Column, Transaction};
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion};
use crate::row::{Row, Value};
use crate::sum::row_hash;
use crate::xid::Xid;
use proptest::prelude::*;

fn column(name: &str, key: bool) -> Column {
    Column { name: name.into(), type_oid: 25, type_name: "text".into(), key }
}

/// Two tables; the first in two shapes, with its columns in another order and one more.
fn relations() -> [Arc<Relation>; 3] {
    [
        Relation::new("public", "t", vec![column("id", true), column("v", false)]),
        Relation::new("public", "t", vec![column("w", false), column("v", false), column("id", true)]),
        Relation::new("other", "u", vec![column("id", true), column("v", false)]),
    ]
    .map(Arc::new)
}

fn at(lsn: u64) -> Waypoint {
    let position = Position::after(Lsn(lsn));
    let (era, schema, xid, committed_at) = (Era::default(), SchemaVersion(1), Xid(lsn), CommitTime(0));
    Waypoint { era, schema, position, xid, committed_at }
}

/// A row of a shape: `id` is the key, the rest is `value`.
fn row(relation: &Relation, id: u8, value: Value<'_>) -> Row {
    let id = id.to_string();
    Row::of(relation.columns.iter().map(|column| if column.key { Value::Text(&id) } else { value }))
}

fn key(id: u8) -> Row {
    Row::of([Value::Text(&id.to_string())])
}

fn transaction(lsn: u64, first: u32, complete: bool, changes: &[Change]) -> Transaction {
    let (commit_lsn, end_lsn, xid, committed_at) = (Lsn(lsn), Lsn(lsn + 1), Xid(lsn), CommitTime(0));
    Transaction { commit_lsn, end_lsn, xid, committed_at, first, complete, changes: changes.into() }
}

fn page(lsn: u64, first: u32, complete: bool, changes: &[Change]) -> Arc<Page> {
    let mut through = at(lsn);
    if !complete {
        through.position.index = first + u32::try_from(changes.len()).expect("few") - 1;
    }
    let after = match first {
        0 => at(lsn - 1).position,
        first => Position { commit_lsn: Lsn(lsn), index: first - 1 },
    };
    let transactions = vec![transaction(lsn, first, complete, changes)];
    Arc::new(Page { after, through, relations: relations().into(), transactions })
}

#[derive(Default, Clone)]
struct Naive {
    rows: Vec<(Arc<Relation>, Row)>,
    anomalies: u64,
}

impl Naive {
    fn take(&mut self, name: &str, key: &Row) -> Option<(Arc<Relation>, Row)> {
        let found = self.rows.iter().position(|(shape, row)| shape.full_name() == name && shape.key_of(row) == *key)?;
        Some(self.rows.remove(found))
    }

    fn write(&mut self, shape: &Arc<Relation>, old: Option<&(Arc<Relation>, Row)>, new: &Row, expect_old: bool) {
        self.anomalies += u64::from(expect_old != old.is_some());
        let merged = shape.columns.iter().zip(new.values()).map(|(column, value)| {
            let Some((old_shape, old_row)) = old.filter(|_| value == Value::Unchanged) else { return value };
            let place = old_shape.columns.iter().position(|old| old.name == column.name);
            place.and_then(|place| old_row.values().nth(place)).unwrap_or(Value::Unchanged)
        });
        self.rows.push((Arc::clone(shape), Row::of(merged)));
    }

    fn change(&mut self, change: &Change) {
        let shapes = relations();
        let shape = shapes.iter().find(|shape| shape.id == change.relation()).expect("known");
        let name = shape.full_name();
        match change {
            Change::Insert { row, .. } => {
                let old = self.take(&name, &shape.key_of(row));
                self.anomalies += u64::from(old.is_some());
                self.rows.push((Arc::clone(shape), row.clone()));
            }
            Change::Update { row, .. } => {
                let old = self.take(&name, &shape.key_of(row));
                self.write(shape, old.as_ref(), row, true);
            }
            Change::Move { old_key, row, .. } => {
                let old = self.take(&name, old_key);
                let in_the_way = self.take(&name, &shape.key_of(row));
                self.anomalies += u64::from(in_the_way.is_some());
                self.write(shape, old.as_ref(), row, true);
            }
            Change::Delete { key, .. } => {
                let old = self.take(&name, key);
                self.anomalies += u64::from(old.is_none());
            }
            Change::Truncate { .. } => self.rows.retain(|(shape, _)| shape.full_name() != name),
        }
    }

    fn sorted(&self) -> Vec<(String, Row, Row)> {
        let rows = self.rows.iter().map(|(shape, row)| (shape.full_name(), shape.key_of(row), row.clone()));
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        rows
    }
}

fn listed(store: &MemoryStore) -> Vec<(String, Row, Row)> {
    let rows = store.tables().iter().flat_map(|(name, table)| {
        table.rows().map(move |(key, stored)| (name.to_owned(), key.clone(), stored.row.clone()))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    rows
}

fn change() -> impl Strategy<Value = Change> + Clone {
    let value = prop_oneof![3 => Just("a"), 3 => Just("b"), 2 => Just("unchanged")];
    (0usize..3, 0u8..10, 0u8..6, 0u8..6, value).prop_map(|(shape, kind, id, other, value)| {
        let shape = &relations()[shape];
        let relation = shape.id;
        let text = Value::Text(if value == "unchanged" { "c" } else { value });
        let toasted = if value == "unchanged" { Value::Unchanged } else { text };
        match kind {
            0..4 => Change::Insert { relation, row: row(shape, id, text) },
            4..6 => Change::Update { relation, row: row(shape, id, toasted) },
            6 | 7 if id != other => Change::Move { relation, old_key: key(id), row: row(shape, other, toasted) },
            6..9 => Change::Delete { relation, key: key(id) },
            _ => Change::Truncate { relation },
        }
    })
}

#[derive(Debug, Clone)]
enum Step {
    /// A whole transaction, in pieces that end at these fractions, perhaps started over once.
    Transaction { changes: Vec<Change>, pieces: usize, again: bool },
    /// A snapshot of these rows and a seam; complete, or cut after some messages.
    Backfill { rows: Vec<(usize, u8)>, seam: Vec<Change>, complete: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let changes = prop::collection::vec(change(), 1..12);
    let rows = prop::collection::vec((0usize..3, 0u8..6), 0..8);
    prop_oneof![
        4 => (changes.clone(), 1usize..4, any::<bool>())
            .prop_map(|(changes, pieces, again)| Step::Transaction { changes, pieces, again }),
        1 => (rows, changes, any::<bool>()).prop_map(|(rows, seam, complete)| Step::Backfill { rows, seam, complete }),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_naive_replay_holds(steps in prop::collection::vec(step(), 1..12)) {
        let (mut store, mut naive) = (MemoryStore::new(), Naive::default());
        for (lsn, step) in (10..).zip(steps) {
            match step {
                Step::Transaction { changes, pieces, again } => {
                    apply_in_pieces(&mut store, lsn, &changes, pieces, again);
                    changes.iter().for_each(|change| naive.change(change));
                    prop_assert_eq!(store.held().shown, Some(at(lsn)));
                }
                Step::Backfill { rows, seam, complete } => backfill(&mut store, &mut naive, lsn, &rows, &seam, complete),
            }
            let held = store.held();
            let sum = naive.rows.iter().fold(0u128, |sum, (shape, row)| sum.wrapping_add(row_hash(shape, row)));
            prop_assert_eq!(listed(&store), naive.sorted());
            prop_assert_eq!((held.sum, held.anomalies), (sum, naive.anomalies));
            prop_assert_eq!(held.staged, held.shown);
            let text = serde_json::to_string(&store).expect("plain data");
            prop_assert_eq!(&serde_json::from_str::<MemoryStore>(&text).expect("the same"), &store);
        }
    }
}

fn apply_in_pieces(store: &mut MemoryStore, lsn: u64, changes: &[Change], pieces: usize, again: bool) {
    let size = changes.len().div_ceil(pieces);
    let mut all: Vec<_> = changes.chunks(size).collect();
    let mut first = 0;
    if again && all.len() > 1 {
        store.apply(&StoreRequest::ApplyPage { page: page(lsn, 0, false, all[0]) });
    }
    let last = all.pop().expect("one at least");
    for piece in all {
        let before = store.held();
        let held = store.apply(&StoreRequest::ApplyPage { page: page(lsn, first, false, piece) });
        assert_eq!((held.shown, held.sum), (before.shown, before.sum), "nothing of it is shown");
        first += u32::try_from(piece.len()).expect("few");
        assert_eq!(held.staged.map(|at| at.position.index), Some(first - 1));
    }
    store.apply(&StoreRequest::ApplyPage { page: page(lsn, first, true, last) });
}

fn backfill(
    store: &mut MemoryStore,
    naive: &mut Naive,
    lsn: u64,
    rows: &[(usize, u8)],
    seam: &[Change],
    complete: bool,
) {
    let backfill = BackfillId(lsn);
    let mut staged = Naive { anomalies: naive.anomalies, ..Naive::default() };
    let mut n = 0;
    for (shape, id) in rows {
        let relation = Arc::clone(&relations()[*shape]);
        let row = row(&relation, *id, Value::Text("s"));
        staged.change(&Change::Insert { relation: relation.id, row: row.clone() });
        store.apply(&StoreRequest::StageChunk { backfill, n, chunk: Arc::new(Chunk { relation, rows: vec![row] }) });
        n += 1;
    }
    seam.iter().for_each(|change| staged.change(change));
    let through = complete.then(|| at(lsn));
    let shown = store.held().shown;
    let held =
        store.apply(&StoreRequest::StageSeam { backfill, n, page: Some(page(lsn, 0, true, seam)), complete: through });
    naive.anomalies = staged.anomalies;
    if complete {
        *naive = staged;
    }
    assert_eq!(held.shown, through.or(shown));
}

#[test]
fn a_message_of_a_backfill_that_is_not_here_is_refused_and_counted() {
    let mut store = MemoryStore::new();
    let seam =
        |backfill, n, complete| StoreRequest::StageSeam { backfill: BackfillId(backfill), n, page: None, complete };
    store.apply(&seam(1, 0, None));
    for request in [seam(1, 2, Some(at(1))), seam(2, 1, Some(at(1)))] {
        let before = store.held().anomalies;
        let held = store.apply(&request);
        assert_eq!((held.shown, held.anomalies), (None, before + 1));
    }
    assert_eq!(store.apply(&seam(1, 1, Some(at(1)))).shown, Some(at(1)));
}

#[test]
fn a_completed_backfill_drops_staged_pieces() {
    let mut store = MemoryStore::new();
    let insert = |id| Change::Insert { relation: relations()[0].id, row: row(&relations()[0], id, Value::Null) };
    store.apply(&StoreRequest::ApplyPage { page: page(5, 0, false, &[insert(1)]) });
    assert_eq!(store.staged(), (1, 0));
    let seam = StoreRequest::StageSeam { backfill: BackfillId(1), n: 0, page: None, complete: Some(at(9)) };
    let held = store.apply(&seam);
    assert_eq!((held.staged, held.sum, store.staged()), (Some(at(9)), 0, (0, 0)));
}
