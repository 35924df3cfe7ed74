//! Recording, announcing, confirming; marks and idle advances.

use super::rig::*;
use expect_test::expect;

#[test]
fn a_transaction_is_recorded_then_announced_then_confirmed() {
    check(
        &with_shape(vec![read(&[transaction(0x20, 1)]), recorded()]),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28
          record [0/8..0/20: 0/20(1)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
    "#]],
    );
}

#[test]
fn what_queues_up_meanwhile_goes_in_one_page() {
    let facts = vec![
        read(&[transaction(0x20, 1)]),
        read(&[transaction(0x30, 1), transaction(0x40, 2)]),
        read(&[vec![keepalive(0x48)], transaction(0x50, 1), transaction(0x60, 1)]),
        recorded(),
        recorded(),
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
        Read: begin 0/30, change, commit 0/38, begin 0/40, change, change, commit 0/48
          read source
        Read: keepalive 0/48, begin 0/50, change, commit 0/58, begin 0/60, change, commit 0/68
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
          record [0/20..0/50: 0/30(1) 0/40(2) 0/50(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/20..0/50 xid 12884901988 schema 1 covered 0/58 with [0/20..0/50: 0/30(1) 0/40(2) 0/50(1)]
          confirm 0/58
          record [0/50..0/60: 0/60(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/50..0/60 xid 12884901988 schema 1 covered 0/68 with [0/50..0/60: 0/60(1)]
          confirm 0/68
    "#]],
    );
}

#[test]
fn a_transaction_without_changes_of_ours_only_advances_covered() {
    let facts = vec![Fact::Wanted(0x28), read(&[transaction(0x20, 0)])];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Wanted(40)
          nudge source
        Read: begin 0/20, commit 0/28
          read source
          announce 0/8 xid 90 schema 1 covered 0/28
    "#]],
    );
}

#[test]
fn a_keepalive_counts_once_all_before_it_is_recorded() {
    let facts = vec![
        read(&[transaction(0x20, 1), vec![keepalive(0x60)]]),
        Fact::Wanted(0x50),
        read(&[vec![keepalive(0x70)]]),
        recorded(),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28, keepalive 0/60
          record [0/8..0/20: 0/20(1)]
          read source
        Wanted(80)
          nudge source
        Read: keepalive 0/70
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
          announce 0/20 xid 12884901988 schema 1 covered 0/70
    "#]],
    );
}

#[test]
fn who_waits_is_told_at_once_if_covered_is_there_else_the_source_is_nudged() {
    let facts = [
        Fact::Wanted(0x10),
        Fact::Wanted(0x30),
        Fact::Wanted(0x40),
        ms(50),
        read(&[vec![keepalive(0x38)]]),
        ms(50),
        read(&[vec![keepalive(0x48)]]),
        ms(50),
        read(&[vec![keepalive(0x58)]]),
    ];
    check(
        &facts,
        &expect![[r#"
        Wanted(16)
          announce 0/8 xid 90 schema 1 covered 0/10
        Wanted(48)
          nudge source
        Wanted(64)
        Later(50ms)
          nudge source
        Read: keepalive 0/38
          read source
          announce 0/8 xid 90 schema 1 covered 0/38
        Later(50ms)
          nudge source
        Read: keepalive 0/48
          read source
          announce 0/8 xid 90 schema 1 covered 0/48
        Later(50ms)
        Read: keepalive 0/58
          read source
    "#]],
    );
}

#[test]
fn an_idle_advance_is_saved_late_and_then_confirmed() {
    let facts = [
        read(&[vec![keepalive(0x100)]]),
        read(&[vec![keepalive(0x200)]]),
        ms(1_000),
        ms(299_000),
        Fact::Saved(done(())),
        read(&[vec![keepalive(0x208)]]),
    ];
    check_quietly(
        &facts,
        &expect![[r#"
        Read: keepalive 0/100
          read source
        Read: keepalive 0/200
          read source
        Later(1s)
        Later(299s)
          save covered 0/200
        Saved(Ok(Done(())))
          confirm 0/200
        Read: keepalive 0/208
          read source
    "#]],
    );
}

#[test]
fn a_large_idle_advance_is_saved_at_once() {
    let facts = [
        read(&[vec![keepalive(0x100_0100)]]),
        read(&[vec![keepalive(0x200_0300)]]),
        Fact::Saved(done(())),
        Fact::Saved(unavailable()),
        ms(200),
        Fact::Saved(done(())),
    ];
    check(
        &facts,
        &expect![[r#"
        Read: keepalive 0/1000100
          read source
          save covered 0/1000100
        Read: keepalive 0/2000300
          read source
        Saved(Ok(Done(())))
          confirm 0/1000100
          save covered 0/2000300
        Saved(Err(Unavailable("gone")))
        Later(200ms)
          save covered 0/2000300
        Saved(Ok(Done(())))
          confirm 0/2000300
    "#]],
    );
}

#[test]
fn a_recorded_transaction_makes_saving_needless() {
    let facts = [
        read(&[vec![keepalive(0x100)]]),
        read(&[vec![crate::source::SourceItem::Relation(shape(1))], transaction(0x110, 1)]),
        same_tables(),
        recorded(),
        ms(300_000),
    ];
    check_quietly(
        &facts,
        &expect![[r#"
        Read: keepalive 0/100
          read source
        Read: shape t/1, begin 0/110, change, commit 0/118
          inspect tables
          read source
        Tables
          record [0/8..0/110: 0/110(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/110 xid 12884901988 schema 1 covered 0/118 with [0/8..0/110: 0/110(1)]
          confirm 0/118
        Later(300s)
    "#]],
    );
}

/// Without the periodic questions.
fn check_quietly(facts: &[Fact], expected: &expect_test::Expect) {
    let never = std::time::Duration::from_secs(1 << 20);
    let mut config = small();
    (config.lease_renew_every, config.prune_every) = (never, never);
    (config.inspect_every, config.silence_after) = (never, never);
    let mut rig = Rig::streaming(config);
    rig.run(facts);
    rig.expect(expected);
}
