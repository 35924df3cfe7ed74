//! What is visible when, and the seam that joins a snapshot to history.

use super::*;

#[test]
fn a_commit_is_decoded_before_it_is_visible() {
    let mut rig = Rig::new();
    let tx = rig.pg.begin();
    rig.pg.write(tx, insert(1)).expect("no lock");
    let committed = rig.pg.commit(rig.now, tx).expect("a commit");
    rig.record(100);
    assert!(rig.pg.in_history(committed.commit_lsn));
    let spool = rig.spool();
    assert!(!spool.snapshot.sees(committed.xid));
    assert_eq!(spool.rows, 0);
    assert!(spool.start.position < Position::after(committed.commit_lsn), "P0 is before L");
    assert!(committed.commit_lsn < spool.fence);
    assert!(rig.pg.make_visible(tx));
    let store = rig.backfill(&spool, |transaction| !spool.snapshot.sees(transaction.xid));
    assert_eq!(rig.judge(store.held()), Verdict::Right);
    assert_eq!(rig.spool().rows, 1);
}

/// T2 is open, T1 (younger) writes its commit record and waits, T2 commits: the snapshot sees T2 and not T1, and T1 comes first.
#[test]
fn the_filter_ends_at_f_and_not_at_the_first_xid_beyond() {
    let mut rig = Rig::new();
    let (t2, t1) = (rig.pg.begin(), rig.pg.begin());
    rig.pg.write(t2, insert(2)).expect("no lock");
    rig.pg.write(t1, insert(1)).expect("no lock");
    let first = rig.pg.commit(rig.now, t1).expect("a commit");
    let second = rig.pg.commit(rig.now, t2).expect("a commit");
    rig.pg.make_visible(t2);
    assert!(second.xid < first.xid && first.commit_lsn < second.commit_lsn);
    let spool = rig.spool(); // An append of ours in between would end with a higher xid, and raise xmax beyond T1.
    rig.record(100);
    let snapshot = spool.snapshot.clone();
    assert!(snapshot.sees(second.xid) && !snapshot.sees(first.xid) && first.xid >= snapshot.xmax);
    assert!(spool.start.position < Position::after(first.commit_lsn));

    let right = rig.backfill(&spool, |transaction| !snapshot.sees(transaction.xid)).held();
    assert_eq!((right.anomalies, rig.judge(right)), (0, Verdict::Right));
    let mut beyond = false;
    let wrong = rig.backfill(&spool, |transaction| {
        let keep = beyond || !snapshot.sees(transaction.xid);
        beyond |= transaction.xid >= snapshot.xmax;
        keep
    });
    assert_eq!(wrong.held().anomalies, 1, "T2 was applied twice");
    let unfiltered = rig.backfill(&spool, |_| true);
    assert_eq!(unfiltered.held().anomalies, 1);
}

/// A transaction that wrote its commit record before the slot's first LSN and becomes visible later is in no stream.
#[test]
fn no_snapshot_before_all_that_ran_at_the_era_start_has_ended() {
    let mut rig = Rig::before_the_era();
    let tx = rig.pg.begin();
    rig.pg.write(tx, insert(1)).expect("no lock");
    rig.pg.commit(rig.now, tx).expect("a commit");
    rig.begin_era();
    assert_eq!(rig.snapshot(true), SnapshotBegun::Answered(SnapshotTaken::EraStarting));
    let SnapshotBegun::Begun(ablated) = rig.snapshot(false) else { panic!("it does not wait") };
    let Ok(SnapshotTaken::Spooled(ablated)) = rig.pg.snapshot_finish(ablated) else { panic!("it was begun") };
    rig.pg.make_visible(tx);
    let right = rig.spool();
    rig.pg.run(rig.now, &[insert(2)]);
    rig.record(100);
    let judge = |spool: &Spool| {
        let mut store = rig.backfill(spool, |transaction| !spool.snapshot.sees(transaction.xid));
        let held = rig.follow(&mut store);
        rig.judge(held)
    };
    assert_eq!(judge(&right), Verdict::Right);
    assert!(matches!(judge(&ablated), Verdict::Wrong { .. }));
}

/// X0 is no snapshot's xmax: that follows the latest xid that ended, and would lie below the one that runs.
#[test]
fn a_running_transaction_may_stand_at_xmax() {
    let mut rig = Rig::before_the_era();
    let tx = rig.pg.begin();
    let xid = rig.pg.assign_xid(tx).expect("it runs");
    let snapshot = rig.pg.current_snapshot();
    assert_eq!((snapshot.xmin, snapshot.xmax), (xid, xid));
    rig.begin_era();
    assert_eq!(rig.snapshot(true), SnapshotBegun::Answered(SnapshotTaken::EraStarting));
}

#[test]
fn our_tables_may_live_in_another_cluster() {
    let mut rig = Rig::new();
    rig.pg.config.own_xids = false;
    let before = rig.pg.current_snapshot();
    rig.pg.nudge();
    rig.take_lease("a");
    assert_eq!(rig.pg.current_snapshot(), before);
    let tx = rig.pg.begin();
    rig.pg.write(tx, insert(1)).expect("no lock");
    rig.begin_era();
    assert_eq!(rig.snapshot(true), SnapshotBegun::Answered(SnapshotTaken::EraStarting));
    rig.pg.commit(rig.now, tx).expect("a commit");
    rig.pg.make_visible(tx);
    rig.record(100);
    let spool = rig.spool();
    assert_eq!((spool.rows, rig.pg.commits()[0].xid), (1, before.xmax));
}

#[test]
fn a_snapshot_sees_rows_of_its_moment_and_f_is_later() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1)]);
    rig.record(100);
    let SnapshotBegun::Begun(id) = rig.snapshot(true) else { panic!("the era has begun") };
    let late = rig.pg.run(rig.now, &[insert(2), update(1, 5)]).expect("a commit");
    rig.record(100);
    let Ok(SnapshotTaken::Spooled(spool)) = rig.pg.snapshot_finish(id) else { panic!("it was begun") };
    assert_eq!(spool.rows, 1);
    assert!(late.commit_lsn < spool.fence);
    let store = rig.backfill(&spool, |transaction| !spool.snapshot.sees(transaction.xid));
    assert_eq!(store.held().shown.expect("shown").position, Position::after(late.commit_lsn));
    assert_eq!(rig.judge(store.held()), Verdict::Right);
    assert_eq!(rig.pg.spool_effects(spool.id), Some(rig.pg.commits()[0].expected.effects));
}

#[test]
fn a_snapshot_in_the_making_ends_with_its_connection() {
    let mut rig = Rig::new();
    let SnapshotBegun::Begun(id) = rig.snapshot(true) else { panic!("the era has begun") };
    assert_eq!(rig.pg.alter_table(0, true), Err(WriteError::Locked));
    rig.pg.crash();
    assert!(rig.pg.snapshot_finish(id).is_err());
    assert_eq!(rig.pg.alter_table(0, true), Ok(()));
    let spool = rig.spool();
    rig.pg.crash();
    assert_eq!(rig.pg.spools().collect::<Vec<_>>(), [spool.id], "a finished spool is on our disk");
    rig.pg.drop_spool(spool.id);
    assert_eq!(rig.pg.ask_read_chunk(&ReadChunk { spool: spool.id, n: 0 }), Ok(None));
}
