//! A hub with a hundred thousand sessions: an input, a page that goes to all, and a life built again from what is kept.
#![expect(clippy::disallowed_types, reason = "a benchmark reads the clock")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dormouse_core::ask::{Answer, Ask, Incarnation};
use dormouse_core::change::{Change, Column, Page, Relation, Scope, Transaction};
use dormouse_core::history::{Announcement, Head, ReadHead};
use dormouse_core::hub::{Config, Hub, Input, Output};
use dormouse_core::machine::Machine;
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::row::{Row, Value};
use dormouse_core::session::{Attachment, ClientId, Epoch, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::ClientMessage;
use dormouse_core::xid::Xid;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SESSIONS: u32 = 100_000;
/// A stride without a common factor with the count: every session once, none near the one before.
const STRIDE: u32 = 61_803;
const ERA: Era = Era { counter: 1, id: 0xe1 };

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn id(slot: u32) -> SessionId {
    SessionId { slot, serial: u64::from(slot) + 1 }
}

fn waypoint(lsn: u64) -> Waypoint {
    let position = Position::after(Lsn(lsn));
    Waypoint { era: ERA, schema: SchemaVersion(1), position, xid: Xid(lsn), committed_at: CommitTime(0) }
}

fn kept(count: u32) -> Vec<(SessionId, Option<Attachment>)> {
    let attachment = |n: u32| Attachment {
        client: ClientId::new(&format!("client-{n}")).expect("valid"),
        epoch: Epoch(u64::from(n) + 1),
        era: ERA,
        schema: SchemaVersion(1),
        scope: Scope::All,
        expires_at: now() + Duration::from_secs(86_400),
        credential_until: None,
        told_live: true,
        position: Some(waypoint(0x10)),
    };
    (0..count).map(|n| (id(n), Some(attachment(n)))).collect()
}

/// A hub that was woken with all its sessions, and has read the head: they are live.
fn woken(sessions: Vec<(SessionId, Option<Attachment>)>) -> Hub {
    let mut hub = Hub::new(Config::default());
    hub.handle(now(), Input::Woke { incarnation: Incarnation(1), sessions });
    let mut asked: Option<Ask<ReadHead>> = None;
    while let Some(output) = hub.poll_output() {
        if let Output::ReadHead(ask) = output {
            asked = Some(ask);
        }
    }
    let head = Head { waypoint: waypoint(0x10), covered: Lsn(0x11) };
    let ask = asked.expect("a woken hub reads the head");
    hub.handle(now(), Input::HeadRead(Answer { id: ask.id, reply: Ok(head) }));
    drain(&mut hub);
    hub
}

fn drain(hub: &mut Hub) -> usize {
    std::iter::from_fn(|| hub.poll_output()).map(black_box).count()
}

fn announcement(after: u64, lsn: u64) -> Input {
    let column = Column { name: "id".into(), type_oid: 23, type_name: "int4".into(), key: true };
    let relation = Arc::new(Relation::new("public", "bench", vec![column]));
    let transaction = Transaction {
        commit_lsn: Lsn(lsn),
        end_lsn: Lsn(lsn + 1),
        xid: Xid(lsn),
        committed_at: CommitTime(0),
        first: 0,
        complete: true,
        changes: [Change::Insert { relation: relation.id, row: Row::of([Value::Text("1")]) }].into(),
    };
    let page = Page {
        after: Position::after(Lsn(after)),
        through: waypoint(lsn),
        relations: [relation].into(),
        transactions: vec![transaction],
    };
    let head = Head { waypoint: waypoint(lsn), covered: Lsn(lsn + 1) };
    let after = Position::after(Lsn(after));
    Input::Announced(Arc::new(Announcement { after, head, page: Some(Arc::new(page)) }))
}

fn acknowledge(hub: &mut Hub, lsn: u64) -> Duration {
    let through = waypoint(lsn);
    let started = Instant::now();
    let mut slot = 0;
    for _ in 0..SESSIONS {
        slot = (slot + STRIDE) % SESSIONS;
        hub.handle(now(), Input::Received { session: id(slot), message: Ok(ClientMessage::Ack { through }) });
        hub.check().expect("sound");
        drain(hub);
    }
    started.elapsed()
}

fn hub(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hub of 100,000 sessions");
    group.sample_size(10).throughput(Throughput::Elements(u64::from(SESSIONS)));
    let mut hub = woken(kept(SESSIONS));
    assert_eq!(hub.sessions().live, u64::from(SESSIONS), "all are live, or nothing is measured");
    let mut head = 0x10;
    group.bench_function("a page to all, per session", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let input = announcement(head, head + 0x10);
                head += 0x10;
                let started = Instant::now();
                hub.handle(now(), input);
                assert!(drain(&mut hub) >= 1, "it goes out");
                spent += started.elapsed();
                acknowledge(&mut hub, head);
            }
            spent
        });
    });
    group.bench_function("an acknowledgement", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                hub.handle(now(), announcement(head, head + 0x10));
                head += 0x10;
                drain(&mut hub);
                spent += acknowledge(&mut hub, head);
            }
            spent
        });
    });
    assert_eq!(hub.sessions().live, u64::from(SESSIONS), "none fell behind");
    group.finish();

    let mut group = criterion.benchmark_group("hub of 50,000 sessions");
    group.sample_size(10).throughput(Throughput::Elements(50_000));
    group.bench_function("built again from attachments", |bencher| {
        bencher.iter_batched(|| kept(50_000), woken, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, hub);
criterion_main!(benches);
