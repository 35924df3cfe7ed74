//! The stream: commit order, replay, limits, keepalives, and what befalls a slot.

use super::*;

fn shape(items: &[SourceItem]) -> Vec<&'static str> {
    let name = |item: &SourceItem| match item {
        SourceItem::Begin { .. } => "begin",
        SourceItem::Relation(_) => "relation",
        SourceItem::Change(_) => "change",
        SourceItem::Commit { .. } => "commit",
        SourceItem::Keepalive { .. } => "keepalive",
    };
    items.iter().map(name).collect()
}

#[test]
fn interleaved_transactions_come_whole_in_commit_order() {
    let mut rig = Rig::new();
    let (a, b) = (rig.pg.begin(), rig.pg.begin());
    for (tx, key) in [(a, 1), (b, 2), (a, 3), (b, 4)] {
        rig.pg.write(tx, insert(key)).expect("no lock");
    }
    let b = rig.pg.commit(rig.now, b).expect("a commit");
    let a = rig.pg.commit(rig.now, a).expect("a commit");
    assert!(a.xid < b.xid && b.commit_lsn < a.commit_lsn);
    assert_eq!(a.xid.0 >> 32, 0, "the example stands before the wrap");
    let pages = rig.pages(100);
    let told: Vec<_> = pages.iter().map(|page| keys(&page.transactions[0])).collect();
    assert!(told[0][0].starts_with("insert (2,") && told[0][1].starts_with("insert (4,"));
    assert!(told[1][0].starts_with("insert (1,") && told[1][1].starts_with("insert (3,"));
}

#[test]
fn nothing_open_or_rolled_back_is_sent() {
    let mut rig = Rig::new();
    let (open, aborted) = (rig.pg.begin(), rig.pg.begin());
    rig.pg.write(open, insert(1)).expect("no lock");
    rig.pg.write(aborted, insert(2)).expect("no lock");
    assert!(rig.pg.abort(aborted));
    assert!(!rig.pg.stream_ready(rig.stream));
    assert_eq!(rig.read_source(), []);
    assert_eq!(rig.pg.write(aborted, insert(3)), Err(WriteError::Ended));
    assert_eq!(rig.pg.write(open, insert(2)), Ok(()), "the lock is free");
}

#[test]
fn what_is_not_confirmed_comes_again() {
    let mut rig = Rig::new();
    let first = rig.pg.run(rig.now, &[insert(1)]).expect("a commit");
    let second = rig.pg.run(rig.now, &[insert(2)]).expect("a commit");
    assert_eq!(rig.read_source().len(), 7);
    rig.pg.confirm(rig.stream, first.end_lsn);
    let old = rig.stream;
    rig.start_stream();
    assert!(rig.pg.ask_read_source(old, &ReadSource { changes_max: 1, bytes_max: 1 }).is_err());
    rig.pg.confirm(old, second.end_lsn);
    assert_eq!(rig.pg.confirmed(), Some(first.end_lsn), "an ended stream confirms nothing");
    assert_eq!(shape(&rig.read_source()), ["begin", "relation", "change", "commit"]);
    rig.pg.confirm(rig.stream, Lsn(u64::MAX));
    assert_eq!(rig.pg.confirmed(), Some(rig.pg.flushed_lsn()), "nothing beyond the end of the WAL is confirmed");
}

#[test]
fn a_restart_forgets_confirmations_since_the_slot_was_written() {
    let mut rig = Rig::new();
    let start = rig.pg.confirmed().expect("a slot");
    let first = rig.pg.run(rig.now, &[insert(1)]).expect("a commit");
    rig.pg.confirm(rig.stream, first.end_lsn);
    rig.pg.crash();
    assert_eq!(rig.pg.confirmed(), Some(start));
    rig.start_stream();
    assert_eq!(rig.read_source().len(), 4);
    rig.pg.confirm(rig.stream, first.end_lsn);
    rig.pg.restart();
    assert_eq!(rig.pg.confirmed(), Some(start), "an orderly one forgets as well");
    rig.start_stream();
    rig.pg.confirm(rig.stream, first.end_lsn);
    rig.pg.checkpoint();
    rig.pg.restart();
    assert_eq!(rig.pg.confirmed(), Some(first.end_lsn));
}

#[test]
fn a_crash_shows_what_is_committed_and_rolls_back_the_rest() {
    let mut rig = Rig::new();
    let (waiting, open) = (rig.pg.begin(), rig.pg.begin());
    rig.pg.write(waiting, insert(1)).expect("no lock");
    rig.pg.write(open, insert(2)).expect("no lock");
    rig.pg.commit(rig.now, waiting).expect("a commit");
    rig.pg.crash();
    assert_eq!(rig.pg.visible_rows(0).expect("t0").keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(rig.pg.commit(rig.now, open), None);
    let snapshot = rig.pg.current_snapshot();
    assert_eq!(snapshot.running, []);
}

#[test]
fn a_read_may_end_inside_a_transaction() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1), insert(2), insert(3)]);
    let mut read = |changes_max| {
        let ask = ReadSource { changes_max, bytes_max: 1 << 20 };
        rig.pg.ask_read_source(rig.stream, &ask).expect("an open stream")
    };
    assert_eq!(shape(&read(2)), ["begin", "relation", "change", "change"]);
    assert_eq!(shape(&read(1)), ["change", "commit"]);
    assert_eq!(read(1), []);
    rig.pg.run(rig.now, &[insert(4), insert(5)]);
    let few = ReadSource { changes_max: 9, bytes_max: 1 };
    let items = rig.pg.ask_read_source(rig.stream, &few).expect("an open stream");
    assert_eq!(shape(&items), ["begin", "change"]);
}

#[test]
fn a_keepalive_tells_what_was_sent() {
    let mut rig = Rig::new();
    rig.pg.advance_wal(500);
    let idle = rig.pg.keepalive(rig.stream).expect("an open stream");
    assert_eq!(idle, SourceItem::Keepalive { wal_end: rig.pg.insert_lsn() });
    let unsent = rig.pg.run(rig.now, &[insert(1)]).expect("a commit");
    rig.pg.nudge();
    let behind = rig.pg.keepalive(rig.stream).expect("an open stream");
    assert_eq!(behind, SourceItem::Keepalive { wal_end: unsent.commit_lsn });
    let open = rig.pg.begin();
    rig.pg.write(open, insert(2)).expect("no lock");
    rig.read_source();
    assert!(rig.pg.insert_lsn() > rig.pg.flushed_lsn());
    let flushed = rig.pg.keepalive(rig.stream).expect("an open stream");
    assert_eq!(flushed, SourceItem::Keepalive { wal_end: rig.pg.flushed_lsn() });
}

/// A commit record may begin exactly where the slot's confirmed LSN stands; it belongs to the era and follows its start.
#[test]
fn the_first_commit_may_stand_at_the_confirmed_lsn() {
    let mut rig = Rig::before_the_era();
    let tx = rig.pg.begin();
    rig.pg.write(tx, insert(1)).expect("no lock");
    let start = done(rig.pg.ask_create_slot(&CreateSlot { token: rig.token }));
    let committed = rig.pg.commit(rig.now, tx).expect("a commit");
    rig.pg.make_visible(tx);
    assert_eq!(committed.commit_lsn, start);
    rig.begin_era_at(start);
    assert!(rig.expect < Position::after(committed.commit_lsn));
    assert_eq!(rig.pg.head().expect("an era").covered, start);
    rig.record(100);
    assert!(rig.pg.in_history(committed.commit_lsn));
    assert!(rig.pg.unrecorded_below(Lsn(u64::MAX)).is_none());
}

#[test]
fn a_slot_that_is_lost_streams_no_more() {
    let mut rig = Rig::new();
    rig.pg.invalidate_slot();
    let state = done(rig.pg.ask_inspect_source(&InspectSource { token: rig.token }));
    assert!(state.slot.is_some_and(|slot| !slot.usable));
    assert!(rig.pg.ask_start_stream(&StartStream { token: rig.token, from: Lsn::ZERO }).is_err());
    let lost = rig.pg.run(rig.now, &[insert(1)]).expect("a commit");
    rig.pg.drop_slot();
    assert_eq!(rig.pg.confirmed(), None);
    rig.begin_era();
    assert_eq!(rig.read_source(), [], "the new slot begins later");
    assert!(rig.pg.confirmed() > Some(lost.commit_lsn));
}

#[test]
fn xids_wrap_and_are_widened_when_they_are_appended() {
    let mut rig = Rig::new();
    for key in 0..40 {
        rig.pg.run(rig.now, &[insert(key)]);
        if key % 7 == 0 {
            rig.record(100);
        }
    }
    rig.record(100);
    let told: Vec<_> = rig
        .read_all(Position::ZERO.max(rig.pg.horizon().expect("an era").position), None, 100)
        .iter()
        .flat_map(|page| page.transactions.iter().map(|transaction| transaction.xid))
        .collect();
    assert!(told.iter().copied().eq(rig.pg.commits().iter().map(|commit| commit.xid)));
    assert!(told.is_sorted() && told[0].0 < 1 << 32 && told[39].0 > 1 << 32);
    assert!(told.iter().all(|xid| xid.0 & 0xffff_ffff >= 3));
}
