//! A hub that was dropped is built again from what is kept with its sockets.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dormouse_core::ask::Incarnation;
use dormouse_core::change::Scope;
use dormouse_core::hub::{Config, Hub, Input};
use dormouse_core::machine::Machine;
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::session::{Attachment, ClientId, Epoch, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::xid::Xid;
use std::hint::black_box;

const SESSIONS: u32 = 50_000;
const NOW: Timestamp = Timestamp(1_763_866_800_000_000);
const DAY_US: u64 = 24 * 3_600 * 1_000_000;

fn attachments() -> Vec<(SessionId, Option<Attachment>)> {
    let era = Era { counter: 1, id: 7 };
    let position = Waypoint {
        era,
        schema: SchemaVersion(1),
        position: Position::after(Lsn(1_000)),
        xid: Xid(9),
        committed_at: CommitTime(1),
    };
    let one = |slot: u32| {
        let serial = u64::from(slot) + 1;
        let attachment = Attachment {
            client: ClientId::new(&format!("device-{:016x}", serial.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .expect("valid"),
            epoch: Epoch(serial),
            era,
            schema: SchemaVersion(1),
            scope: Scope::All,
            expires_at: Timestamp(NOW.0 + DAY_US),
            credential_until: Some(Timestamp(NOW.0 + DAY_US + serial)),
            told_live: true,
            position: Some(position),
        };
        (SessionId { slot, serial }, Some(attachment))
    };
    (0..SESSIONS).map(one).collect()
}

fn woken(sessions: Vec<(SessionId, Option<Attachment>)>) -> Hub {
    let mut hub = Hub::new(Config::default());
    hub.handle(NOW, Input::Woke { incarnation: Incarnation(1), sessions });
    while let Some(output) = hub.poll_output() {
        black_box(output);
    }
    hub
}

fn wake(c: &mut Criterion) {
    let kept = attachments();
    let mut group = c.benchmark_group("wake");
    group.throughput(Throughput::Elements(SESSIONS.into())).sample_size(20);
    group.bench_function("attachments copied", |b| b.iter_with_large_drop(|| black_box(kept.clone())));
    group.bench_function("hub built", |b| b.iter_batched(|| kept.clone(), woken, BatchSize::LargeInput));
    let hub = woken(kept.clone());
    group.bench_function("invariants checked", |b| b.iter(|| black_box(hub.check_all())));
    group.finish();
}

criterion_group!(benches, wake);
criterion_main!(benches);
