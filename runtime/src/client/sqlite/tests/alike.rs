//! Whatever is asked of it, the store on disk holds what the store in memory holds.

use super::{at, column, open, page_of, transaction};
use crate::client::{Replica, Store};
use dormouse_core::change::{Change, Chunk, Page, Relation};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::BackfillId;
use dormouse_core::store::{MemoryStore, StoreRequest};
use proptest::prelude::*;
use std::sync::Arc;

/// One table in five shapes (columns more, fewer, in another order, of other types, with another key), and three whose names are alike.
fn relations() -> Vec<Arc<Relation>> {
    let (int, text, float, bytes, boolean) = (23, 25, 701, 17, 16);
    let shapes = [
        ("public", "t", vec![("id", int, true), ("v", text, false)]),
        ("public", "t", vec![("w", float, false), ("v", text, false), ("id", int, true), ("V", bytes, false)]),
        ("public", "t", vec![("id", text, true), ("v", int, false), ("w", boolean, false)]),
        ("public", "t", vec![("v", text, true), ("id", int, false)]),
        ("public", "t", vec![("id", int, true), ("v", text, true)]),
        ("public", "T", vec![("select", text, true), ("w", float, true)]),
        ("a", "b.c", vec![("id", bytes, true), ("v", text, false)]),
        ("a.b", "c", vec![("id", float, true)]),
    ];
    let relation = |(schema, name, columns): (&str, &str, Vec<(&str, u32, bool)>)| {
        let columns = columns.into_iter().map(|(name, type_oid, key)| column(name, type_oid, key)).collect();
        Arc::new(Relation::new(schema, name, columns))
    };
    shapes.into_iter().map(relation).collect()
}

const TEXTS: [&str; 14] =
    ["1", "2", "0", "01", "t", "f", "-0", "1e+20", "0.5", "\\x01", "NaN", "", "Infinity", "'\";--"];

/// Values that fit some columns and not others; most of the time few keys, so that rows meet.
fn value(key: bool) -> impl Strategy<Value = Row> + Clone {
    let text = prop::sample::select(&TEXTS[..]).prop_map(|text| Row::of([Value::Text(text)]));
    let others = [Value::Null, Value::Unchanged, Value::Omitted(7)].map(|value| Row::of([value]));
    let other = prop::sample::select(others.to_vec());
    let few = prop::sample::select(&TEXTS[..3]).prop_map(|text| Row::of([Value::Text(text)]));
    // Postgres leaves no key's value out; NULL is as odd.
    let odd = prop::sample::select(others[..1].to_vec());
    if key { prop_oneof![8 => few, 2 => text, 1 => odd] } else { prop_oneof![2 => few, 4 => text, 3 => other] }
}

#[derive(Debug, Clone)]
struct Draft {
    shape: usize,
    kind: u8,
    key: Vec<Row>,
    old_key: Vec<Row>,
    rest: Vec<Row>,
}

fn draft() -> impl Strategy<Value = Draft> + Clone {
    let shape = prop_oneof![3 => Just(0usize), 1 => 0usize..8];
    let (key, old_key) = (prop::collection::vec(value(true), 2), prop::collection::vec(value(true), 2));
    (shape, 0u8..20, key, old_key, prop::collection::vec(value(false), 4))
        .prop_map(|(shape, kind, key, old_key, rest)| Draft { shape, kind, key, old_key, rest })
}

impl Draft {
    fn relation(&self) -> Arc<Relation> {
        Arc::clone(&relations()[self.shape])
    }

    fn row(&self) -> Row {
        let (mut keys, mut rest) = (self.key.iter(), self.rest.iter());
        let relation = self.relation();
        let values = relation.columns.iter().map(|column| if column.key { keys.next() } else { rest.next() });
        Row::of(values.flatten().flat_map(Row::values))
    }

    fn key_of(&self, key: &[Row]) -> Row {
        let count = self.relation().columns.iter().filter(|column| column.key).count();
        Row::of(key.iter().take(count).flat_map(Row::values))
    }

    fn change(&self) -> Change {
        let relation = self.relation().id;
        match self.kind {
            0..8 => Change::Insert { relation, row: self.row() },
            8..12 => Change::Update { relation, row: self.row() },
            12..15 => Change::Move { relation, old_key: self.key_of(&self.old_key), row: self.row() },
            15..19 => Change::Delete { relation, key: self.key_of(&self.key) },
            _ => Change::Truncate { relation },
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A transaction in pieces of this size; the first may come twice.
    Transaction { drafts: Vec<Draft>, size: usize, again: bool },
    /// A piece after which something else comes.
    CutOff(Vec<Draft>),
    /// Rows and seam of a backfill; complete, or cut after some messages; with a wrong number somewhere.
    Backfill { rows: Vec<Draft>, seam: Vec<Draft>, complete: bool, wrong: bool },
    /// The process ends and comes back.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let drafts = prop::collection::vec(draft(), 1..10);
    let rows = prop::collection::vec(draft(), 0..8);
    prop_oneof![
        6 => (drafts.clone(), 1usize..10, any::<bool>())
            .prop_map(|(drafts, size, again)| Step::Transaction { drafts, size, again }),
        1 => drafts.clone().prop_map(Step::CutOff),
        2 => (rows, drafts, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(rows, seam, complete, wrong)| Step::Backfill { rows, seam, complete, wrong }),
        1 => Just(Step::Reopen),
    ]
}

fn page(lsn: u64, first: usize, complete: bool, drafts: &[Draft]) -> Arc<Page> {
    let changes: Vec<_> = drafts.iter().map(Draft::change).collect();
    page_of(relations(), transaction(lsn, first, complete, &changes))
}

fn requests(lsn: u64, step: &Step) -> Vec<StoreRequest> {
    match step {
        Step::Transaction { drafts, size, again } => {
            let count = drafts.len().div_ceil(*size);
            let piece = |n: usize| {
                let changes = &drafts[n * size..drafts.len().min((n + 1) * size)];
                StoreRequest::ApplyPage { page: page(lsn, n * size, n + 1 == count, changes) }
            };
            let twice = (*again && count > 1).then(|| piece(0));
            twice.into_iter().chain((0..count).map(piece)).collect()
        }
        Step::CutOff(drafts) => vec![StoreRequest::ApplyPage { page: page(lsn, 0, false, drafts) }],
        Step::Backfill { rows, seam, complete, wrong } => {
            let backfill = BackfillId(lsn);
            let chunk = |draft: &Draft| Chunk { relation: draft.relation(), rows: vec![draft.row()] };
            let chunks = rows.iter().map(|draft| Arc::new(chunk(draft)));
            let mut requests: Vec<_> = (0..)
                .zip(chunks)
                .map(|(n, chunk)| StoreRequest::StageChunk { backfill, n: n + u32::from(*wrong && n == 2), chunk })
                .collect();
            let n = u32::try_from(requests.len()).expect("few");
            let complete = complete.then(|| at(lsn));
            requests.push(StoreRequest::StageSeam { backfill, n, page: Some(page(lsn, 0, true, seam)), complete });
            requests
        }
        Step::Reopen => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_the_store_in_memory_holds(steps in prop::collection::vec(step(), 1..12)) {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut disk, mut memory) = (open(&folder), MemoryStore::new());
        for (lsn, step) in (10..).zip(&steps) {
            for request in requests(lsn, step) {
                let held = disk.apply(&request).expect("it works");
                prop_assert_eq!(held, memory.apply(&request));
            }
            if matches!(step, Step::Reopen) {
                drop(disk);
                disk = open(&folder);
                prop_assert_eq!(disk.held(), memory.held());
            }
            let contents = disk.contents().expect("readable");
            for (name, table) in memory.tables().iter().filter(|(_, table)| !table.is_empty()) {
                prop_assert_eq!(contents.table(name), Some(table));
            }
            let count = |store: &MemoryStore| store.tables().iter().map(|(_, table)| table.len()).sum::<usize>();
            prop_assert_eq!(count(&contents), count(&memory));
            prop_assert_eq!(disk.verify_sum().expect("readable"), Ok(()));
        }
    }
}
