//! Transactions larger than a page.

use super::rig::*;
use crate::position::{Lsn, Position};
use crate::replication::Recorded;
use crate::xid::Xid;
use expect_test::expect;

#[test]
fn a_large_transaction_is_recorded_in_pieces_and_announced_without_its_body() {
    let facts = vec![
        read(&[vec![begin(0x90, 100)], changes(3)]),
        read(&[changes(4)]),
        recorded(),
        read(&[changes(2)]),
        recorded(),
        read(&[vec![commit(0x98)], transaction(0xa0, 1)]),
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
        Read: begin 0/90, change, change, change
          read source
        Read: change, change, change, change
          record [0/8..0/90+3: 0/90(0..4..)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
        Read: change, change
          record [0/90+3..0/90+7: 0/90(4..8..)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
        Read: commit 0/98, begin 0/A0, change, commit 0/A8
          record [0/90+7..0/90: 0/90(8..9)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/90 xid 12884901988 schema 1 covered 0/98
          confirm 0/98
          record [0/90..0/A0: 0/A0(1)]
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/90..0/A0 xid 12884901988 schema 1 covered 0/A8 with [0/90..0/A0: 0/A0(1)]
          confirm 0/A8
    "#]],
    );
}

#[test]
fn a_transaction_of_exactly_a_page_is_no_piece() {
    let facts = vec![read(&[vec![begin(0x90, 100)], changes(4)]), read(&[vec![commit(0x98)]]), recorded()];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/90, change, change, change, change
          read source
        Read: commit 0/98
          record [0/8..0/90: 0/90(4)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/90 xid 12884901988 schema 1 covered 0/98 with [0/8..0/90: 0/90(4)]
          confirm 0/98
    "#]],
    );
}

#[test]
fn the_last_piece_is_never_empty() {
    let facts = vec![
        read(&[vec![begin(0x90, 100)], changes(5)]),
        recorded(),
        read(&[changes(3)]),
        read(&[vec![commit(0x98)]]),
        recorded(),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/90, change, change, change, change, change
          record [0/8..0/90+3: 0/90(0..4..)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
        Read: change, change, change
          read source
        Read: commit 0/98
          record [0/90+3..0/90: 0/90(4..8)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
          announce 0/8..0/90 xid 12884901988 schema 1 covered 0/98
          confirm 0/98
    "#]],
    );
}

#[test]
fn who_waits_for_less_than_a_large_transaction_is_told_when_it_begins() {
    let facts = vec![Fact::Wanted(0x80), read(&[vec![begin(0x90, 100)], changes(5)])];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Wanted(128)
          nudge source
        Read: begin 0/90, change, change, change, change, change
          record [0/8..0/90+3: 0/90(0..4..)]
          read source
          announce 0/8 xid 90 schema 1 covered 0/90
    "#]],
    );
}

#[test]
fn a_piece_whose_answer_was_lost_is_asked_for_as_it_was() {
    let already = |position| Fact::Recorded(Ok(Recorded::AlreadyAt { position, reference: Xid(100) }));
    let facts = vec![
        read(&[transaction(0x90, 6)]),
        Fact::Recorded(unavailable()),
        ms(200),
        already(Position { commit_lsn: Lsn(0x90), index: 3 }),
        already(Position::after(Lsn(0x90))),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/90, change, change, change, change, change, change, commit 0/98
          record [0/8..0/90+3: 0/90(0..4..)]
          read source
        Recorded(Err(Unavailable("gone")))
        Later(200ms)
          record [0/8..0/90+3: 0/90(0..4..)]
        Recorded(Ok(AlreadyAt { position: 0/90+3, reference: Xid(100) }))
          record [0/90+3..0/90: 0/90(4..6)]
        Recorded(Ok(AlreadyAt { position: 0/90, reference: Xid(100) }))
          announce 0/8..0/90 xid 100 schema 1 covered 0/98
          confirm 0/98
    "#]],
    );
}

#[test]
fn a_transaction_cut_off_by_the_end_of_the_stream_begins_again_from_its_first_change() {
    let facts = vec![
        read(&[vec![begin(0x90, 100)], changes(5)]),
        recorded(),
        Fact::Read(unavailable()),
        ms(200),
        inspected(Some(0x10)),
        loaded(head(8, 90, 0x10)),
        stream_started(),
        inspected(Some(0x10)),
        read(&[vec![crate::source::SourceItem::Relation(shape(1))], transaction(0x90, 5)]),
        same_tables(),
    ];
    check(
        &with_shape(facts),
        &expect![[r#"
        Read: shape t/1
          inspect tables
          read source
        Tables
        Read: begin 0/90, change, change, change, change, change
          record [0/8..0/90+3: 0/90(0..4..)]
          read source
        Recorded(Ok(Recorded { reference: Xid(12884901988) }))
        Read(Err(Unavailable("gone")))
          stop stream
        Later(200ms)
          inspect source under 1
        Inspected: slot at 0/10 usable true
          load progress under 1
        Loaded: 0/8 covered 0/10
          announce 0/8 xid 90 schema 1 covered 0/10
          start stream from 0/10
        StreamStarted(Ok(()))
          inspect source under 1
        Inspected: slot at 0/10 usable true
          read source
        Read: shape t/1, begin 0/90, change, change, change, change, change, commit 0/98
          inspect tables
          read source
        Tables
          record [0/8..0/90+3: 0/90(0..4..)]
    "#]],
    );
}
