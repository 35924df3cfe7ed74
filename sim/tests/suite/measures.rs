//! What worlds are measured with measures: the store that counts what cannot be, time, and the bounds that the documents promise.

use dormouse_core::change::{Change, Chunk, Column, Page, Relation, Transaction};
use dormouse_core::limits::{
    CHUNK_BYTES_MAX, CHUNK_ROWS_MAX, CLIENT_FRAME_BYTES_MAX, CLIENT_ID_BYTES_MAX, PAGE_BYTES_MAX, PAGE_CHANGES_MAX,
    SCOPE_TABLES_MAX, SERVER_FRAME_BYTES_MAX, VALUE_BYTES_MAX, WINDOW_BYTES_MAX, WINDOW_CHUNKS_MAX, WINDOW_PAGES_MAX,
};
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::BackfillId;
use dormouse_core::store::{MemoryStore, StoreRequest};
use dormouse_core::time::Timestamp;
use dormouse_core::xid::Xid;
use std::sync::Arc;
use std::time::Duration;

fn relation() -> Arc<Relation> {
    let column = Column { name: "id".into(), type_oid: 25, type_name: "text".into(), key: true };
    Arc::new(Relation::new("public", "t", vec![column]))
}

fn row(key: &str) -> Row {
    Row::of([Value::Text(key)])
}

fn at(lsn: u64, index: u32) -> Waypoint {
    let position = Position { commit_lsn: Lsn(lsn), index };
    let era = Era { counter: 1, id: 7 };
    Waypoint { era, schema: SchemaVersion(1), position, xid: Xid(5), committed_at: CommitTime(9) }
}

/// A page that inserts these rows.
fn inserts(keys: &[&str], complete: bool) -> Arc<Page> {
    let relation = relation();
    let change = |key: &&str| Change::Insert { relation: relation.id, row: row(key) };
    let transaction = Transaction {
        commit_lsn: Lsn(20),
        end_lsn: Lsn(30),
        xid: Xid(5),
        committed_at: CommitTime(9),
        first: 0,
        complete,
        changes: keys.iter().map(change).collect(),
    };
    let index = if complete { Position::WHOLE } else { 0 };
    let (after, through) = (at(10, Position::WHOLE).position, at(20, index));
    Arc::new(Page { after, through, relations: Arc::new([relation]), transactions: vec![transaction] })
}

#[test]
fn a_store_counts_rows_that_come_twice() {
    let backfill = BackfillId(3);
    let chunk = |n, keys: &[&str]| StoreRequest::StageChunk {
        backfill,
        n,
        chunk: Arc::new(Chunk { relation: relation(), rows: keys.iter().map(|key| row(key)).collect() }),
    };
    let mut store = MemoryStore::new();
    assert_eq!(store.apply(&chunk(0, &["a", "b"])).anomalies, 0);
    assert_eq!(store.apply(&chunk(1, &["b", "c"])).anomalies, 1, "of a snapshot");
    let seam =
        |complete| StoreRequest::StageSeam { backfill, n: 2, page: Some(inserts(&["c", "d", "a"], true)), complete };
    assert_eq!(store.apply(&seam(Some(at(20, Position::WHOLE)))).anomalies, 3, "of its seam");
    assert_eq!(store.apply(&StoreRequest::ApplyPage { page: inserts(&["d", "e"], true) }).anomalies, 4, "of a page");
}

#[test]
fn a_store_tells_what_it_stages() {
    let mut store = MemoryStore::new();
    assert_eq!(store.staged(), (0, 0));
    store.apply(&StoreRequest::ApplyPage { page: inserts(&["a"], false) });
    assert_eq!(store.staged(), (1, 0), "a piece");
    let chunk = Arc::new(Chunk { relation: relation(), rows: vec![row("b")] });
    store.apply(&StoreRequest::StageChunk { backfill: BackfillId(3), n: 0, chunk });
    assert_eq!(store.staged(), (1, 1), "and a part of a backfill");
}

#[test]
fn a_millisecond_is_as_long_for_clocks_as_for_waits() {
    for ms in [0, 1, 1_500, 1_000_000] {
        assert_eq!(Timestamp::from_millis(ms), Timestamp::ZERO + Duration::from_millis(ms));
    }
}

#[test]
fn the_bounds_are_those_that_the_documents_promise() {
    let (protocol, client) = (include_str!("../../../docs/PROTOCOL.md"), include_str!("../../../docs/CLIENT.md"));
    let thousands = |n: usize| format!("{},{:03}", n / 1_000, n % 1_000);
    let kib = |n: usize| if n.is_multiple_of(1_024) { format!("{} KiB", n / 1_024) } else { format!("{n} bytes") };
    let mib = |n: usize| if n.is_multiple_of(1 << 20) { format!("{} MiB", n >> 20) } else { kib(n) };
    let promised = [
        format!("A client's message is at most {}", kib(CLIENT_FRAME_BYTES_MAX)),
        format!("a client id 1 to {CLIENT_ID_BYTES_MAX} printable"),
        format!("a scope 1 to {SCOPE_TABLES_MAX} tables"),
        format!("message is at most {}", mib(SERVER_FRAME_BYTES_MAX)),
        format!("a page holds at most {} changes and about {}", thousands(PAGE_CHANGES_MAX), kib(PAGE_BYTES_MAX)),
        format!("a chunk at most {} rows and about {}", thousands(CHUNK_ROWS_MAX), kib(CHUNK_BYTES_MAX)),
        format!("at most {WINDOW_PAGES_MAX} pages or {}", mib(WINDOW_BYTES_MAX)),
        format!("or {WINDOW_CHUNKS_MAX} messages of a"),
    ];
    for sentence in promised {
        assert!(protocol.contains(&sentence), "{sentence}");
    }
    let sentence = format!("left out for its size (over {})", mib(VALUE_BYTES_MAX));
    assert!(client.contains(&sentence), "{sentence}");
}
