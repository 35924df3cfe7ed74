//! Replays, lost answers, failing streams, poison.

use super::rig::*;
use crate::fault::Failure;
use crate::position::{Lsn, Position};
use crate::replication::*;
use crate::source::SourceItem;
use crate::xid::Xid;
use expect_test::expect;

#[test]
fn what_history_has_is_recognised_by_position() {
    let facts = vec![read(&[transaction(4, 2), transaction(8, 9), transaction(0x20, 1)])];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/4, change, change, commit 0/C, begin 0/8, change, change, change, change, change, change, change, change, change, commit 0/10, begin 0/20, change, commit 0/28
          record [0/8..0/20: 0/20(1)]
          read source
    "#]],
    );
}

#[test]
fn a_page_whose_answer_was_lost_is_asked_for_as_it_was() {
    let facts = vec![
        read(&[transaction(0x20, 1)]),
        Fact::Recorded(unavailable()),
        read(&[transaction(0x30, 1)]),
        ms(200),
        Fact::Recorded(Ok(Recorded::AlreadyAt { position: Position::after(Lsn(0x20)), reference: Xid(100) })),
        recorded(),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28
          record [0/8..0/20: 0/20(1)]
          read source
        Recorded(Err(Unavailable("gone")))
        Read: begin 0/30, change, commit 0/38
          read source
        Later(200ms)
          record [0/8..0/20: 0/20(1)]
        Recorded(Ok(AlreadyAt { position: 0/20, reference: Xid(100) }))
          announce 0/8..0/20 xid 100 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
          record [0/20..0/30: 0/30(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/20..0/30 xid 12884901988 schema 1 covered 0/38 with [0/20..0/30: 0/30(1)]
          confirm 0/38
    "#]],
    );
}

#[test]
fn history_that_stands_elsewhere_is_loaded_anew_and_told() {
    let facts = vec![
        read(&[transaction(0x20, 1)]),
        Fact::Recorded(Ok(Recorded::AlreadyAt { position: Position::after(Lsn(0x30)), reference: Xid(100) })),
        ms(200),
        inspected(Some(0x10)),
        loaded(head(0x30, 101, 0x38)),
        stream_started(),
        inspected(Some(0x10)),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28
          record [0/8..0/20: 0/20(1)]
          read source
        Recorded(Ok(AlreadyAt { position: 0/30, reference: Xid(100) }))
          stop stream
        Later(200ms)
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded: 0/30 covered 0/38
          announce 0/8..0/30 xid 101 schema 1 covered 0/38
          start stream from 0/10
        StreamStarted(Ok(()))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          read source
    "#]],
    );
}

#[test]
fn an_answer_to_an_earlier_life_is_ignored() {
    let mut rig = Rig::streaming(small());
    rig.run(&with_shape(vec![read(&[transaction(0x20, 1)])]));
    rig.forget();
    let stale = rig.stale_recorded();
    rig.handle(stale);
    rig.expect(&expect![[r#""#]]);
    assert_eq!(rig.machine.stale_answers(), 1);
}

#[test]
fn bytes_that_cannot_be_decoded_halt() {
    let refused = Failure::Refused("the stream has a message of kind 'Z', which pgoutput 1 does not know".into());
    check(
        &[Fact::Read(Err(refused))],
        &expect![[r#"
        Read(Err(Refused("the stream has a message of kind 'Z', which pgoutput 1 does not know")))
          stop stream
          halt refused: the stream has a message of kind 'Z', which pgoutput 1 does not know
    "#]],
    );
}

#[test]
fn a_stream_that_contradicts_itself_is_started_anew() {
    check(
        &[read(&[vec![commit(0x28)]]), ms(200)],
        &expect![[r#"
        Read: commit 0/28
          stop stream
        Later(200ms)
          inspect source under 1
    "#]],
    );
}

#[test]
fn after_an_unclean_end_the_first_transaction_is_counted() {
    let mut rig = Rig::new(small());
    rig.run(&start(false));
    rig.forget();
    rig.run(&with_shape(vec![read(&[transaction(0x20, 1), transaction(0x30, 1)]), Fact::Noted(done(2)), recorded()]));
    rig.expect(&expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28, begin 0/30, change, commit 0/38
          note attempt at 0/20
          read source
        Noted(Ok(Done(2)))
          record [0/8..0/20: 0/20(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
          record [0/20..0/30: 0/30(1)]
    "#]]);
}

/// A replicator whose forerunner ended uncleanly: how the count of its first attempt is answered.
fn after_an_unclean_end(count: Result<Fenced<u32>, Failure>) -> Rig {
    let mut rig = Rig::new(small());
    rig.run(&start(false));
    rig.forget();
    rig.run(&with_shape(vec![read(&[transaction(0x20, 1)]), Fact::Noted(count)]));
    rig
}

#[test]
fn an_attempt_whose_count_is_unknown_goes_on() {
    let mut rig = after_an_unclean_end(unavailable());
    rig.expect(&expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28
          note attempt at 0/20
          read source
        Noted(Err(Unavailable("gone")))
          record [0/8..0/20: 0/20(1)]
    "#]]);
}

#[test]
fn a_transaction_that_ended_the_process_before_halts_by_name() {
    let mut rig = after_an_unclean_end(done(3));
    rig.expect(&expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28
          note attempt at 0/20
          read source
        Noted(Ok(Done(3)))
          stop stream
          halt poison_transaction: replication ended 3 times in a row at the transaction that commits at 0/20 (xid 100): look at the log of those ends and mend their cause, then start again; or give up continuity and synchronize every client anew with SELECT pg_drop_replication_slot('dormouse_5')
    "#]]);
    assert_eq!(rig.machine.status().halt.expect("it halted").code, "poison_transaction");
}

#[test]
fn a_start_after_such_a_halt_tries_the_transaction_again() {
    let mut rig = after_an_unclean_end(done(4));
    rig.expect(&expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28
          note attempt at 0/20
          read source
        Noted(Ok(Done(4)))
          record [0/8..0/20: 0/20(1)]
    "#]]);
}

#[test]
fn an_attempt_is_counted_once_in_a_life() {
    let mut rig = Rig::new(small());
    rig.run(&start(false));
    rig.run(&with_shape(vec![read(&[transaction(0x20, 1)]), Fact::Noted(done(1)), Fact::Read(unavailable()), ms(200)]));
    rig.run(&[inspected(Some(0x10)), loaded(head(8, 90, 0x10)), stream_started(), inspected(Some(0x10))]);
    rig.forget();
    rig.run(&[read(&[vec![SourceItem::Relation(shape(1))], transaction(0x20, 1)]), same_tables()]);
    rig.expect(&expect![[r#"
        Read: shape t/1, begin 0/20, change, commit 0/28
          inspect tables
          read source
        Tables
          record [0/8..0/20: 0/20(1)]
    "#]]);
}

#[test]
fn a_silent_stream_is_nudged_and_then_taken_for_dead() {
    let never = std::time::Duration::from_secs(1 << 20);
    let mut rig =
        Rig::streaming(Config { lease_renew_every: never, prune_every: never, inspect_every: never, ..small() });
    rig.run(&[ms(60_000), read(&[vec![keepalive(0x20)]]), ms(60_000), ms(60_000)]);
    rig.expect(&expect![[r#"
        Later(60s)
          nudge source
        Read: keepalive 0/20
          read source
        Later(60s)
          nudge source
        Later(60s)
          stop stream
    "#]]);
    assert!(rig.machine.trouble().is_some());
}

#[test]
fn who_asks_while_the_stream_is_started_is_told() {
    let mut rig = Rig::new(small());
    let mut facts = start(true);
    facts.truncate(4);
    rig.run(&facts);
    rig.forget();
    rig.run(&[Fact::Wanted(0x10), Fact::Wanted(0x20), stream_started(), inspected(Some(0x10))]);
    rig.expect(&expect![[r#"
        Wanted(16)
          announce 0/8 xid 90 schema 1 covered 0/10
        Wanted(32)
        StreamStarted(Ok(()))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          read source
          nudge source
    "#]]);
}
