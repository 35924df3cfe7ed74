use super::*;
use expect_test::expect;

impl Script {
    /// A client without a position, up to the moment when its snapshot is asked for.
    fn newcomer(&mut self, session: u64, client: &str, head: u64) -> &mut Self {
        self.opened(session).hello(session, client, Resume::Nothing, Scope::All);
        self.epoch_taken(session).judged(head, head + 1, head + 1)
    }
}

#[test]
fn a_snapshot_that_is_refused_leaves_nothing_behind() {
    let mut s = script();
    s.newcomer(1, "ann", 0x30).quietly();
    let ask = s.snapshots.pop_front().expect("a snapshot is asked for");
    s.title("the database refuses");
    s.feed(Input::SnapshotTaken(answer(ask, Err(Failure::Refused("no grant".into())))));
    s.pass(Duration::from_secs(3));
    s.expect(&expect![[r#"
        the database refuses
            close #1 unavailable: the server's database refuses what this session needs; its operator finds the reason in the log
        after 3s
    "#]]);
    assert!(!s.hub.desk.timers.is_set(super::super::desk::Timer::Spools), "nobody looks for what is gone");
}

#[test]
fn a_first_sync_sends_a_snapshot_and_the_seam_and_then_what_follows() {
    let mut s = script();
    s.newcomer(1, "ann", 0x30).snapshot(0x20, 0x48, &[0x28, 0x32], 0x40);
    s.chunk().chunk().staged(1, 1);
    s.announced(0x30, &[0x32, 0x40], 0x41).announced(0x40, &[0x50], 0x51);
    s.history_page(0x20, &[0x28, 0x30, 0x32, 0x40], 0x50).history_end(0x50);
    s.acks(1, 0x40).pass(Duration::from_secs(1)).saved();
    s.expect(&expect![[r#"
        #1 opens
        #1 greets as ann
            take an epoch for ann
        epoch 1 is taken
            read W
        judged: head 0/30, covered 0/31, W 0/31
            send #1 welcome: head 0/30, from a backfill
            attach #1 nothing
            take a snapshot of all
        a snapshot is spooled: P0 0/20, F 0/48
            send #1 schema of public.a
            send #1 schema of public.b
            read chunk 0
        chunk 0 is read
            send #1 chunk 0 of backfill 1: 2 rows
            read chunk 1
        chunk 1 is read
            send #1 chunk 1 of backfill 1: 2 rows
            want covered 0/48
        #1 has staged 1
        announced 0/40, covered 0/41
        announced 0/50, covered 0/51
            read history after 0/20 until 0/48
        history is read: a page through 0/40
            send #1 seam 2 of backfill 1: 0/28(1) 0/32(1) 0/40(1)
            read history after 0/40 until 0/48
        history is read: the end
            send #1 seam 3 of backfill 1, complete at 0/40
        #1 acknowledges 0/40
            attach #1 0/40
            send #1 page 0/40..0/50: 0/50(1)
            send #1 live
            attach #1 0/40, live
        after 1s
            attach #1 0/40, live
            save ann at 0/40
        positions are saved
    "#]]);
}

#[test]
fn a_seam_with_nothing_in_it_stands_at_its_start() {
    let mut s = script();
    s.newcomer(1, "ann", 0x30).snapshot(0x30, 0x31, &[], 0x40).chunk().chunk().history_end(0x30).quietly();
    s.acks(1, 0x30);
    s.expect(&expect![[r#"
        #1 acknowledges 0/30
            attach #1 0/30
            send #1 live
            attach #1 0/30, live
    "#]]);
}

#[test]
fn chunks_wait_for_the_window() {
    let mut s = script_with(Config { window_chunks: 1, ..Config::default() });
    s.newcomer(1, "ann", 0x30).snapshot(0x30, 0x31, &[], 0x40).chunk().quietly();
    s.staged(1, 0).chunk().staged(1, 1).history_end(0x30).quietly();
    s.title("a number that was never sent").staged(1, 9);
    s.expect(&expect![[r#"
        a number that was never sent
        #1 has staged 9
            close #1 malformed: `staged` names message 9 of the backfill, but only 3 were sent
    "#]]);
}

#[test]
fn sessions_of_one_scope_share_a_fresh_spool_and_it_is_dropped_when_old() {
    let mut s = script();
    s.newcomer(1, "ann", 0x30).newcomer(2, "bob", 0x30).snapshot(0x30, 0x31, &[], 0x40).quietly();
    s.newcomer(3, "eve", 0x30).chunk().closed(1, ClosedReason::Peer).closed(2, ClosedReason::Peer);
    s.closed(3, ClosedReason::Peer).pass(Duration::from_secs(32));
    s.expect(&expect![[r#"
        #3 opens
        #3 greets as eve
            take an epoch for eve
        epoch 3 is taken
            read W
        judged: head 0/30, covered 0/31, W 0/31
            send #3 welcome: head 0/30, from a backfill
            attach #3 nothing
            send #3 schema of public.a
            send #3 schema of public.b
        chunk 0 is read
            send #1 chunk 0 of backfill 1: 2 rows
            send #2 chunk 0 of backfill 2: 2 rows
            send #3 chunk 0 of backfill 3: 2 rows
            read chunk 1
        #1 is gone: Peer
        #2 is gone: Peer
        #3 is gone: Peer
        after 32s
            drop the spool
    "#]]);
}

#[test]
fn a_snapshot_waits_for_the_start_of_the_era() {
    let mut s = script();
    s.newcomer(1, "ann", 0x30).quietly().title("something that ran when the era began still runs");
    let ask = s.snapshots.pop_front().expect("asked");
    s.feed(Input::SnapshotTaken(answer(ask, Ok(SnapshotTaken::EraStarting)))).pass(Duration::from_millis(250));
    s.expect(&expect![[r#"
        something that ran when the era began still runs
        after 250ms
            take a snapshot of all
    "#]]);
}

#[test]
fn a_seam_that_was_pruned_begins_anew_with_another_snapshot() {
    let mut s = script();
    s.newcomer(1, "ann", 0x30).snapshot(0x30, 0x31, &[], 0x40).chunk().chunk().quietly();
    let head = s.head_at(0x50, 0x51);
    s.history(HistoryRead::Pruned { head }).snapshot(0x50, 0x51, &[], 0x60).chunk();
    s.expect(&expect![[r#"
        history is read: pruned
            attach #1 nothing
            take a snapshot of all
        a snapshot is spooled: P0 0/50, F 0/51
            drop the spool
            read chunk 0
        chunk 0 is read
            send #1 chunk 0 of backfill 2: 2 rows
            read chunk 1
    "#]]);
}

#[test]
fn a_change_of_the_schema_sends_everything_again() {
    let mut s = script();
    s.live(1, "ann", 0x10).newcomer(2, "bob", 0x10).quietly();
    s.schema = SchemaVersion(2);
    s.announced(0x10, &[], 0x12).pass(Duration::from_secs(1)).saved();
    s.title("the snapshot that was asked for before is out of date");
    s.schema = SchemaVersion(1);
    s.snapshot(0x10, 0x11, &[], 0x20);
    s.schema = SchemaVersion(2);
    s.snapshot(0x10, 0x11, &[], 0x20);
    s.expect(&expect![[r#"
        announced 0/10, covered 0/12
            send #1 resync: SchemaChanged
            attach #1 nothing, live
            send #2 resync: SchemaChanged
            attach #2 nothing
            take a snapshot of all
        after 1s
            save ann at nothing bob at nothing
        positions are saved
        the snapshot that was asked for before is out of date
        a snapshot is spooled: P0 0/10, F 0/11
            drop the spool
        a snapshot is spooled: P0 0/10, F 0/11
            send #1 schema of public.a
            send #1 schema of public.b
            send #2 schema of public.a
            send #2 schema of public.b
            read chunk 0
    "#]]);
}
