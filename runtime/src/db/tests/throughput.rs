//! Rates, printed. Run with `cargo test --release -p dormouse-runtime --lib throughput -- --ignored --nocapture`.

use super::support::{World, insert, page, record, relation, transaction};
use dormouse_core::change::{Change, Scope, Transaction};
use dormouse_core::history::HistoryRead;
use dormouse_core::hub::{ReadChunk, SnapshotTaken, TakeSnapshot};
use dormouse_core::position::Position;
use dormouse_core::replication::Recorded;
use dormouse_core::row::{Row, Value};
use tokio::time::Instant;

const CHANGES: u32 = 200_000;

fn wide(n: u32) -> Change {
    let text = format!("{n:-<250}");
    Change::Insert { relation: relation().id, row: Row::of([Value::Text(&n.to_string()), Value::Text(&text)]) }
}

fn rate(what: &str, rows: u32, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what}: {:.0} rows/s ({rows} in {seconds:.2} s)", f64::from(rows) / seconds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn appends_and_reads_of_history() {
    let world = World::new("").await;
    let (token, head) = world.era().await;
    let mut last = head.position();
    let mut nth = 0;
    for (what, per_page, per_transaction) in [
        ("pages of 500 single rows", 500, 1),
        ("pages of 2,000 single rows", 2_000, 1),
        ("pages of 2,000 rows", 2_000, 2_000),
    ] {
        let pages: Vec<_> = (0..CHANGES / per_page)
            .map(|_| {
                let transactions: Vec<Transaction> = (0..per_page / per_transaction)
                    .map(|_| {
                        nth += 1;
                        let changes = (0..per_transaction).map(wide).collect();
                        Transaction { changes, ..transaction(head, nth, 0, 1, true) }
                    })
                    .collect();
                let after = last;
                last = Position::after(transactions[transactions.len() - 1].commit_lsn);
                record(token, head, after, page(head, after, &[relation()], transactions))
            })
            .collect();
        let started = Instant::now();
        for q in pages {
            let recorded = world.database.record_page(q).await.expect("answers");
            assert!(matches!(recorded, Recorded::Recorded { .. }));
        }
        rate(&format!("append, {what} of 250 bytes"), CHANGES, started);
    }
    let (mut after, mut read, started) = (head.position(), 0, Instant::now());
    while let HistoryRead::Page { page, .. } = world.read(head, after, 4_096).await {
        after = page.through.position;
        read += u32::try_from(page.changes()).expect("few");
    }
    assert_eq!(read, 3 * CHANGES);
    rate("read of history", read, started);
    assert!(insert(1).weight() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_snapshot_of_a_million_rows() {
    let world = World::new("create table t (id int primary key, a int, v text)").await;
    world.sql("insert into t select n, n, repeat('x', 84) from generate_series(1, 1000000) n").await;
    world.sql("vacuum analyze t").await;
    let (_, head) = world.era().await;
    let (before, started) = (rss(), Instant::now());
    let q = TakeSnapshot { era: head.era(), scope: Scope::All, await_era_start: true };
    let Ok(SnapshotTaken::Spooled(spool)) = world.database.take_snapshot(q).await else { panic!("no spool") };
    rate("spooling a snapshot", 1_000_000, started);
    let started = Instant::now();
    for n in 0..spool.chunks {
        let chunk = world.database.read_chunk(ReadChunk { spool: spool.id, n }).await.expect("answers");
        assert!(chunk.is_some());
    }
    rate("reading a spool", 1_000_000, started);
    println!("resident: {} MB before, {} MB after", before >> 20, rss() >> 20);
    assert_eq!(spool.rows, 1_000_000);
    assert!(rss() < before + (20 << 20), "a snapshot is never whole in memory");
}

fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kb| kb * 1_024)
}
