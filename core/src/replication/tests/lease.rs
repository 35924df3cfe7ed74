//! Standing by, renewing, losing, releasing.

use super::rig::*;
use crate::replication::*;
use expect_test::expect;
use std::time::Duration;

fn check_from_start(facts: &[Fact], expected: &expect_test::Expect) {
    let mut rig = Rig::new(small());
    rig.run(facts);
    rig.expect(expected);
}

#[test]
fn a_standby_tries_until_the_lease_is_free() {
    let held = Fact::Taken(Ok(LeaseTaken::Held { holder: "b".into(), remaining: Duration::from_secs(9) }));
    let facts = [Fact::Started, held, ms(99), Fact::Taken(unavailable()), ms(200), taken(4, true)];
    check_from_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Held { holder: "b", remaining: 9s }))
        Later(99ms)
          take lease as a
          read head
        Taken(Err(Unavailable("gone")))
        Later(200ms)
          take lease as a
        Taken(Ok(Taken { token: Token(4), clean: true }))
          inspect source under 4
    "#]],
    );
}

#[test]
fn who_stands_by_tells_what_another_records_and_of_covered_only_where_it_is_waited_for() {
    let held = Fact::Taken(Ok(LeaseTaken::Held { holder: "b".into(), remaining: Duration::from_secs(60) }));
    let facts = [
        Fact::Started,
        held,
        ms(1),
        Fact::Head(unavailable()),
        ms(4_998),
        ms(3),
        Fact::Head(Ok(head(0x20, 1, 0x28))),
        ms(100),
        Fact::Head(Ok(head(0x20, 1, 0x30))),
        Fact::Wanted(0x28),
        Fact::Wanted(0x38),
        ms(100),
        taken(4, true),
        Fact::Head(Ok(head(0x50, 1, 0x58))),
    ];
    check_from_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Held { holder: "b", remaining: 60s }))
        Later(1ms)
          read head
        Head(Err(Unavailable("gone")))
        Later(4.998s)
          take lease as a
        Later(3ms)
          read head
        Head: 0/20 covered 0/28
          announce 0/20 xid 1 schema 1 covered 0/28
        Later(100ms)
          read head
        Head: 0/20 covered 0/30
        Wanted(40)
          announce 0/20 xid 1 schema 1 covered 0/28
        Wanted(56)
          nudge source
        Later(100ms)
          nudge source
          read head
        Taken(Ok(Taken { token: Token(4), clean: true }))
          inspect source under 4
        Head: 0/50 covered 0/58
    "#]],
    );
}

#[test]
fn the_lease_is_renewed_and_history_pruned_while_it_is_held() {
    let facts = [
        ms(5_000),
        Fact::Renewed(unavailable()),
        same_tables(),
        ms(1_250),
        Fact::Renewed(done(())),
        ms(54_000),
        Fact::Pruned(done(crate::position::Position::ZERO)),
    ];
    check(
        &facts,
        &expect![[r#"
            Later(5s)
              renew lease 1
              inspect tables
            Renewed(Err(Unavailable("gone")))
            Tables
            Later(1.25s)
              renew lease 1
            Renewed(Ok(Done(())))
            Later(54s)
              renew lease 1
              inspect tables
              prune
              nudge source
            Pruned(Ok(Done(0/0)))
        "#]],
    );
}

#[test]
fn a_superseded_holder_stops_and_stands_by() {
    let facts = vec![read(&[transaction(0x20, 1)]), Fact::Recorded(Ok(Recorded::Superseded)), ms(200), taken(3, true)];
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
        Recorded(Ok(Superseded))
          stop stream
        Later(200ms)
          take lease as a
          read head
        Taken(Ok(Taken { token: Token(3), clean: true }))
          inspect source under 3
    "#]],
    );
    check(
        &[ms(5_000), Fact::Renewed(Ok(Fenced::Superseded))],
        &expect![[r#"
        Later(5s)
          renew lease 1
          inspect tables
        Renewed(Ok(Superseded))
          stop stream
    "#]],
    );
}

#[test]
fn stopping_finishes_the_append_under_way() {
    let facts =
        vec![read(&[transaction(0x20, 1), transaction(0x30, 4)]), Fact::Stopping, recorded(), Fact::Released(done(()))];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/20, change, commit 0/28, begin 0/30, change, change, change, change, commit 0/38
          record [0/8..0/20: 0/20(1)]
          read source
        Stopping
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
          stop stream
          release lease 1
        Released(Ok(Done(())))
          stopped
    "#]],
    );
}

#[test]
fn stopping_waits_for_nothing_else() {
    check(
        &[Fact::Stopping, Fact::Released(unavailable())],
        &expect![[r#"
        Stopping
          stop stream
          release lease 1
        Released(Err(Unavailable("gone")))
          stopped
    "#]],
    );
    check_from_start(
        &[Fact::Stopping],
        &expect![[r#"
        Stopping
          stopped
    "#]],
    );
    let facts = [Fact::Started, Fact::Stopping, taken(4, true), Fact::Released(done(()))];
    check_from_start(
        &facts,
        &expect![[r#"
        Started
          take lease as a
        Stopping
        Taken(Ok(Taken { token: Token(4), clean: true }))
          release lease 4
        Released(Ok(Done(())))
          stopped
    "#]],
    );
    check_from_start(
        &[Fact::Started, taken(4, true), Fact::Stopping],
        &expect![[r#"
        Started
          take lease as a
        Taken(Ok(Taken { token: Token(4), clean: true }))
          inspect source under 4
        Stopping
          release lease 4
    "#]],
    );
}
