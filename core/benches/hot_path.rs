//! The core's hot paths: WAL bytes to changes, a page to text, text to a page, a page into a store.

use bytes::{BufMut, Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dormouse_core::change::{Change, Column, Page, Relation, Transaction};
use dormouse_core::pgoutput::Translator;
use dormouse_core::position::{CommitTime, Lsn, Position, Waypoint};
use dormouse_core::row::{Row, Value};
use dormouse_core::store::{MemoryStore, StoreRequest};
use dormouse_core::wire::ServerMessage;
use dormouse_core::wire::json::{ServerDecoder, encode_server};
use dormouse_core::xid::Xid;
use std::hint::black_box;
use std::sync::Arc;

const CHANGES: usize = 1_000;

fn relation() -> Arc<Relation> {
    let column = |name: &str, type_oid, key| Column { name: name.into(), type_oid, type_name: "any".into(), key };
    Arc::new(Relation::new(
        "public",
        "bench",
        vec![column("id", 20, true), column("number", 23, false), column("filler", 25, false)],
    ))
}

fn row(n: usize) -> Row {
    let (id, filler) = (n.to_string(), "x".repeat(220));
    Row::of([Value::Text(&id), Value::Text(&id), Value::Text(&filler)])
}

fn page() -> Arc<Page> {
    let relation = relation();
    let changes = (0..CHANGES).map(|n| Change::Insert { relation: relation.id, row: row(n) }).collect();
    let transaction = Transaction {
        commit_lsn: Lsn(10),
        end_lsn: Lsn(20),
        xid: Xid(7),
        committed_at: CommitTime(0),
        first: 0,
        complete: true,
        changes,
    };
    let through = Waypoint { position: Position::after(Lsn(10)), xid: Xid(7), ..Waypoint::default() };
    Arc::new(Page { after: Position::ZERO, through, relations: [relation].into(), transactions: vec![transaction] })
}

/// As the server sends them: the relation, then an insert.
fn messages() -> (Bytes, Bytes) {
    let mut relation = BytesMut::from(&b"R\0\0\0\x01public\0bench\0d\0\x03"[..]);
    for (name, oid, key) in [("id", 20, 1), ("number", 23, 0), ("filler", 25, 0)] {
        relation.put_u8(key);
        relation.put_slice(name.as_bytes());
        relation.put_u8(0);
        relation.put_u32(oid);
        relation.put_u32(u32::MAX);
    }
    let mut insert = BytesMut::from(&b"I\0\0\0\x01N\0\x03"[..]);
    insert.put_slice(row(1).bytes());
    (relation.freeze(), insert.freeze())
}

fn hot_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("changes");
    group.throughput(Throughput::Elements(CHANGES as u64));
    group.bench_function("decode pgoutput", |bencher| {
        let (relation, insert) = messages();
        let mut translator = Translator::default();
        translator.translate(&relation, &mut Vec::new()).expect("valid");
        bencher.iter(|| {
            let mut items = Vec::with_capacity(CHANGES);
            for _ in 0..CHANGES {
                translator.translate(black_box(&insert), &mut items).expect("valid");
            }
            items
        });
    });
    let message = ServerMessage::Page(page());
    group.bench_function("encode a page", |bencher| bencher.iter(|| encode_server(black_box(&message))));
    group.bench_function("decode a page", |bencher| {
        let mut decoder = ServerDecoder::default();
        decoder.decode(&encode_server(&ServerMessage::Schema(relation()))).expect("valid");
        let text = encode_server(&message);
        bencher.iter(|| decoder.decode(black_box(&text)).expect("valid"));
    });
    group.bench_function("apply a page in memory", |bencher| {
        let request = StoreRequest::ApplyPage { page: page() };
        bencher.iter_with_large_drop(|| {
            let mut store = MemoryStore::default();
            store.apply(black_box(&request));
            store
        });
    });
    group.finish();
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
