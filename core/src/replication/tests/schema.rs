//! The tables' shape.

use super::rig::*;
use crate::position::SchemaVersion;
use crate::source::SourceItem;
use expect_test::expect;

#[test]
fn a_new_shape_is_looked_into_before_its_changes_are_recorded() {
    let facts = vec![
        read(&[transaction(0x20, 1)]),
        read(&[vec![SourceItem::Relation(shape(2))], transaction(0x30, 1)]),
        recorded(),
        Fact::Tables(done(tables(&["id", "new"]))),
        Fact::Raised(done(SchemaVersion(2))),
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
        Read: shape t/2, begin 0/30, change, commit 0/38
          inspect tables
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 1 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
        Tables
          raise schema: the columns of public.t changed
        Raised(Ok(Done(SchemaVersion(2))))
          announce 0/20 xid 12884901988 schema 2 covered 0/28
          record [0/20..0/30: 0/30(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/20..0/30 xid 12884901988 schema 2 covered 0/38 with [0/20..0/30: 0/30(1)]
          confirm 0/38
    "#]],
    );
}

#[test]
fn a_shape_that_comes_back_is_looked_into_again() {
    let facts = vec![
        read(&[vec![SourceItem::Relation(shape(2))]]),
        Fact::Tables(done(tables(&["id", "new"]))),
        Fact::Raised(done(SchemaVersion(2))),
        read(&[vec![SourceItem::Relation(shape(1))], transaction(0x20, 1)]),
        same_tables(),
        Fact::Raised(done(SchemaVersion(3))),
        recorded(),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: shape t/2
          inspect tables
          read source
        Tables
          raise schema: the columns of public.t changed
        Raised(Ok(Done(SchemaVersion(2))))
          announce 0/8 xid 90 schema 2 covered 0/10
        Read: shape t/1, begin 0/20, change, commit 0/28
          inspect tables
          read source
        Tables
          raise schema: the columns of public.t changed
        Raised(Ok(Done(SchemaVersion(3))))
          announce 0/8 xid 90 schema 3 covered 0/10
          record [0/8..0/20: 0/20(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/20 xid 12884901988 schema 3 covered 0/28 with [0/8..0/20: 0/20(1)]
          confirm 0/28
    "#]],
    );
}

#[test]
fn a_silent_change_is_found_by_looking_now_and_then() {
    let facts = [
        ms(5_000),
        Fact::Tables(done(tables(&["id", "new"]))),
        Fact::Raised(unavailable()),
        ms(200),
        Fact::Raised(done(SchemaVersion(2))),
    ];
    check(
        &facts,
        &expect![[r#"
        Later(5s)
          renew lease 1
          inspect tables
        Tables
          raise schema: the columns of public.t changed
        Raised(Err(Unavailable("gone")))
        Later(200ms)
          raise schema: the columns of public.t changed
        Raised(Ok(Done(SchemaVersion(2))))
          announce 0/8 xid 90 schema 2 covered 0/10
    "#]],
    );
}

#[test]
fn a_new_default_is_noted_and_nothing_else() {
    let mut later = tables(&["id"]);
    later.get_mut("public.t").expect("it is there").defaults.push("1".into());
    let facts = [ms(5_000), Fact::Tables(done(later)), Fact::Raised(done(SchemaVersion(1)))];
    check(
        &facts,
        &expect![[r#"
        Later(5s)
          renew lease 1
          inspect tables
        Tables
          note tables
        Raised(Ok(Done(SchemaVersion(1))))
    "#]],
    );
}

#[test]
fn a_shape_that_comes_while_the_tables_are_looked_at_is_looked_into_again() {
    let facts = [
        ms(5_000),
        read(&[vec![SourceItem::Relation(shape(1))], transaction(0x20, 1)]),
        same_tables(),
        Fact::Tables(unavailable()),
        ms(200),
        same_tables(),
    ];
    check(
        &facts,
        &expect![[r#"
        Later(5s)
          renew lease 1
          inspect tables
        Read: shape t/1, begin 0/20, change, commit 0/28
          read source
        Tables
          inspect tables
        Tables(Err(Unavailable("gone")))
        Later(200ms)
          inspect tables
        Tables
          record [0/8..0/20: 0/20(1)]
    "#]],
    );
}

#[test]
fn a_change_during_a_raise_is_raised_after_it() {
    let facts = [
        ms(5_000),
        Fact::Tables(done(tables(&["id", "new"]))),
        Fact::Renewed(done(())),
        ms(5_000),
        Fact::Tables(done(tables(&["id", "new", "newer"]))),
        Fact::Raised(done(SchemaVersion(2))),
        Fact::Raised(done(SchemaVersion(3))),
    ];
    check(
        &facts,
        &expect![[r#"
        Later(5s)
          renew lease 1
          inspect tables
        Tables
          raise schema: the columns of public.t changed
        Renewed(Ok(Done(())))
        Later(5s)
          renew lease 1
          inspect tables
        Tables
        Raised(Ok(Done(SchemaVersion(2))))
          announce 0/8 xid 90 schema 2 covered 0/10
          raise schema: the columns of public.t changed
        Raised(Ok(Done(SchemaVersion(3))))
          announce 0/8 xid 90 schema 3 covered 0/10
    "#]],
    );
}
