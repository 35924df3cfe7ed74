//! A request that fails at any of its steps has stored nothing, and works when it is made again.

use super::{at, column, open, page_of, transaction};
use crate::client::sqlite::SqliteStore;
use crate::client::{Replica, Store};
use dormouse_core::change::{Change, Chunk, Relation};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::BackfillId;
use dormouse_core::store::{MemoryStore, StoreRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lets the store do so many steps of SQLite's machine, then fails every one.
fn allow(store: &mut SqliteStore, steps: Option<u64>) {
    let left = AtomicU64::new(steps.unwrap_or_default());
    let handler = steps
        .map(|_| move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err());
    store.connection.progress_handler(1, handler).expect("a handler");
}

fn shape(extra: bool) -> Arc<Relation> {
    let mut columns = vec![column("id", 23, true), column("v", 25, false)];
    columns.extend(extra.then(|| column("w", 701, false)));
    Arc::new(Relation::new("public", "t", columns))
}

fn row(relation: &Relation, id: u32) -> Row {
    let id = id.to_string();
    Row::of(relation.columns.iter().map(|column| if column.key { Value::Text(&id) } else { Value::Text("-0") }))
}

/// One of each kind, with all that can happen in it: first sync, change of columns, pieces, resync.
fn requests() -> Vec<StoreRequest> {
    let (old, new) = (shape(false), shape(true));
    let insert = |relation: &Arc<Relation>, id| Change::Insert { relation: relation.id, row: row(relation, id) };
    let chunk = |backfill, relation: &Arc<Relation>| StoreRequest::StageChunk {
        backfill: BackfillId(backfill),
        n: 0,
        chunk: Arc::new(Chunk { relation: Arc::clone(relation), rows: (0..3).map(|id| row(relation, id)).collect() }),
    };
    let seam = |backfill, complete| StoreRequest::StageSeam {
        backfill: BackfillId(backfill),
        n: 1,
        page: Some(page_of(vec![Arc::clone(&old)], transaction(1, 0, true, &[insert(&old, 7)]))),
        complete: Some(at(complete)),
    };
    let page = |lsn, first, complete, changes: &[Change]| StoreRequest::ApplyPage {
        page: page_of(vec![Arc::clone(&old), Arc::clone(&new)], transaction(lsn, first, complete, changes)),
    };
    let unchanged = Change::Move {
        relation: new.id,
        old_key: Row::of([Value::Text("1")]),
        row: Row::of([Value::Text("21"), Value::Unchanged, Value::Unchanged]),
    };
    let delete = Change::Delete { relation: new.id, key: Row::of([Value::Text("0")]) };
    vec![
        chunk(1, &old),
        seam(1, 10),
        page(11, 0, true, &[insert(&new, 20), unchanged, delete]),
        page(12, 0, false, &[insert(&new, 30)]),
        page(12, 1, true, &[insert(&new, 31), insert(&old, 32)]),
        chunk(2, &new),
        seam(2, 20),
        page(21, 0, true, &[Change::Truncate { relation: old.id }]),
    ]
}

#[test]
fn a_failure_at_any_step_leaves_all_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, mut memory) = (open(&folder), MemoryStore::new());
    let mut failures = 0;
    for request in requests() {
        let mut steps = 0;
        loop {
            let before = (store.held(), store.contents().expect("readable"));
            allow(&mut store, Some(steps));
            let outcome = store.apply(&request);
            allow(&mut store, None);
            let failure = match outcome {
                Ok(held) => {
                    assert_eq!(held, memory.apply(&request));
                    break;
                }
                Err(failure) => failure,
            };
            assert!(steps < 10_000_000, "that is no failure of ours: {failure}");
            failures += 1;
            assert_eq!(store.apply(&StoreRequest::ReadHeld), Ok(before.0));
            assert_eq!(store.contents().expect("readable"), before.1, "after {steps} steps of {request:?}");
            // Every early step, then ever fewer: the later ones are much alike.
            steps += 1 + steps / 24;
        }
        assert_eq!(store.verify_sum().expect("readable"), Ok(()));
        drop(store);
        store = open(&folder);
        assert_eq!(store.held(), memory.held(), "as it is on disk");
    }
    assert!(failures > 300, "only {failures} failures were tried");
}
