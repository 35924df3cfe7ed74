//! Alterations that the stream is silent about, and the locks of the application.

use super::*;
use dormouse_core::replication::{InspectTables, RaiseSchema};
use dormouse_core::source::alters_existing_rows;

impl Rig {
    /// Notes the tables' shapes as Replication does; the reason, when rows may have been altered.
    fn inspect(&mut self) -> Option<String> {
        let token = self.token;
        let old = done(self.pg.ask_load_progress(&LoadProgress { token })).expect("an era");
        let (era, from) = (old.head.era(), old.head.schema());
        let fingerprints = done(self.pg.ask_inspect_tables(&InspectTables { token }));
        let reason = alters_existing_rows(&old.fingerprints, &fingerprints);
        let raise = RaiseSchema { token, era, from, noted: old.fingerprints, fingerprints, reason: reason.clone() };
        done(self.pg.ask_raise_schema(&raise));
        reason
    }
}

#[test]
fn an_added_column_changes_rows_and_the_stream_is_silent() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1), insert(2)]);
    rig.record(100);
    let spool = rig.spool();
    let mut store = rig.backfill(&spool, |_| panic!("all is in the snapshot"));
    assert_eq!(rig.judge(store.held()), Verdict::Right);

    let schema = rig.pg.head().expect("an era").schema();
    rig.pg.alter_table(0, false).expect("no lock");
    assert!(rig.pg.alteration_unnoted());
    assert_eq!(rig.read_source(), []);
    assert_eq!(rig.judge(store.held()), Verdict::Right, "as of before the alteration");
    rig.pg.run(rig.now, &[insert(3)]);
    let items = rig.read_source();
    assert!(matches!(&items[1], SourceItem::Relation(relation) if relation.columns.len() == 4));

    rig.start_stream();
    rig.record(100);
    let held = rig.follow(&mut store);
    assert_eq!(rig.judge(held), Verdict::Altered, "it is to be told to take everything again");
    assert_eq!(rig.inspect().as_deref(), Some("the columns of public.t0 changed"));
    let head = rig.pg.head().expect("an era");
    assert_eq!(head.schema().0, schema.0 + 1);
    let claimed = Held { shown: Some(head.waypoint), ..held };
    assert!(matches!(rig.judge(claimed), Verdict::Wrong { .. }), "with the new number it has no excuse");
    let spool = rig.spool();
    assert_eq!((spool.schema, spool.start.schema), (head.schema(), head.schema()));
    let again = rig.backfill(&spool, |transaction| !spool.snapshot.sees(transaction.xid));
    assert_eq!((again.held().anomalies, rig.judge(again.held())), (0, Verdict::Right));
}

#[test]
fn a_snapshot_after_an_alteration_may_stand_before_the_next_commit() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1)]);
    rig.record(100);
    rig.pg.alter_table(0, true).expect("no lock");
    rig.inspect();
    let spool = rig.spool();
    let store = rig.backfill(&spool, |_| false);
    assert_eq!(rig.judge(store.held()), Verdict::Right);
    assert_eq!(rig.inspect(), None, "nothing changed since");
}

#[test]
fn rows_are_locked_until_their_transaction_is_visible() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1)]);
    let (a, b) = (rig.pg.begin(), rig.pg.begin());
    assert_eq!(rig.pg.write(a, update(1, 2)), Ok(()));
    assert_eq!(rig.pg.write(b, update(1, 3)), Err(WriteError::Locked));
    assert_eq!(rig.pg.write(a, insert(2)), Ok(()));
    assert_eq!(rig.pg.write(b, insert(2)), Err(WriteError::Locked));
    assert_eq!(rig.pg.write(b, Write::Truncate { table: 0 }), Err(WriteError::Locked));
    rig.pg.commit(rig.now, a).expect("a commit");
    assert_eq!(rig.pg.write(a, update(1, 4)), Err(WriteError::Ended));
    assert_eq!(rig.pg.write(b, update(1, 3)), Err(WriteError::Locked), "the commit record is written, and no more");
    assert_eq!(rig.pg.alter_table(0, false), Err(WriteError::Locked));
    rig.pg.make_visible(a);
    assert_eq!(rig.pg.write(b, update(1, 3)), Ok(()));
    assert_eq!(rig.pg.write(b, insert(2)), Err(WriteError::RowExists));
    assert_eq!(rig.pg.write(b, update(9, 1)), Err(WriteError::NoSuchRow));
    assert_eq!(rig.pg.write(b, Write::Move { table: 0, key: 1, to: 2, value: 1 }), Err(WriteError::RowExists));
    assert_eq!(rig.pg.write(b, Write::Delete { table: 7, key: 1 }), Err(WriteError::NoSuchTable));
}

#[test]
fn a_truncate_locks_out_writers_and_snapshots() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1)]);
    let (a, b) = (rig.pg.begin(), rig.pg.begin());
    let SnapshotBegun::Begun(id) = rig.snapshot(true) else { panic!("the era has begun") };
    assert_eq!(rig.pg.write(a, Write::Truncate { table: 0 }), Err(WriteError::Locked));
    rig.pg.snapshot_finish(id).expect("it was begun");
    assert_eq!(rig.pg.write(a, Write::Truncate { table: 0 }), Ok(()));
    assert_eq!(rig.pg.write(b, insert(2)), Err(WriteError::Locked));
    let era = rig.pg.era().expect("an era");
    let ask = TakeSnapshot { era, scope: Scope::All, await_era_start: true };
    assert!(matches!(rig.pg.snapshot_begin(&ask), Err(Failure::Unavailable(_))));
    assert!(rig.pg.abort(a));
    assert_eq!(rig.pg.visible_rows(0).expect("t0").len(), 1);
}

#[test]
fn sums_follow_commit_order_whatever_becomes_visible_first() {
    let mut rig = Rig::new();
    let (a, b) = (rig.pg.begin(), rig.pg.begin());
    rig.pg.write(a, insert(1)).expect("no lock");
    rig.pg.write(b, insert(2)).expect("no lock");
    let b_at = rig.pg.commit(rig.now, b).expect("a commit");
    let a_at = rig.pg.commit(rig.now, a).expect("a commit");
    rig.pg.make_visible(a);
    let (first, second) = (rig.pg.expected_at(b_at.commit_lsn), rig.pg.expected_at(a_at.commit_lsn));
    assert_ne!(first.sums, second.sums);
    assert_eq!(rig.pg.expected_at(Lsn(a_at.commit_lsn.0 - 1)).commit_lsn, b_at.commit_lsn);
    assert_eq!(rig.pg.newest_visible(), a_at.commit_lsn);
    assert!(rig.pg.commit_at(a_at.commit_lsn).is_some() && rig.pg.commit_at(a_at.end_lsn).is_none());
    assert_eq!(rig.pg.expected_at(Lsn(1)).sums.total(), 0);
}
