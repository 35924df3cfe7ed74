//! How history is appended: compare-and-set, pieces, leftovers.

use super::*;

fn five() -> Vec<Write> {
    (1..=5).map(insert).collect()
}

#[test]
fn a_retry_whose_answer_was_lost_appends_nothing() {
    let mut rig = Rig::new();
    let committed = rig.pg.run(rig.now, &five()).expect("a commit");
    let page = rig.pages(100).remove(0);
    assert!(matches!(rig.record_page(&page, true, true), Recorded::Recorded { .. }));
    let Recorded::AlreadyAt { position, .. } = rig.record_page(&page, true, true) else { panic!("appended twice") };
    assert_eq!(position, Position::after(committed.commit_lsn));
    assert_eq!(rig.pg.history_changes(), 5);
    assert!(matches!(rig.record_page(&page, false, true), Recorded::Recorded { .. }));
    assert_eq!(rig.pg.history_changes(), 10, "without comparing, every change is there twice");
    let doubled = rig.read_all(rig.pg.horizon().expect("an era").position, None, 100);
    assert_eq!(doubled[0].changes(), 10);
}

#[test]
fn a_retry_of_a_piece_appends_nothing() {
    let mut rig = Rig::new();
    let committed = rig.pg.run(rig.now, &five()).expect("a commit");
    let pages = rig.pages(2);
    for (page, index) in pages.iter().zip([1, 3, Position::WHOLE]) {
        assert!(matches!(rig.record_page(page, true, true), Recorded::Recorded { .. }));
        let Recorded::AlreadyAt { position, .. } = rig.record_page(page, true, true) else { panic!("appended twice") };
        assert_eq!(position, Position { commit_lsn: committed.commit_lsn, index });
        assert_eq!(rig.pg.last_appended(), Some(position));
    }
    assert_eq!(rig.pg.history_changes(), 5);
}

#[test]
fn half_a_transaction_does_not_exist_until_its_last_piece() {
    let mut rig = Rig::new();
    let before = rig.pg.head().expect("an era");
    let committed = rig.pg.run(rig.now, &five()).expect("a commit");
    let pages = rig.pages(2);
    rig.record_page(&pages[0], true, true);
    assert_eq!(rig.pg.head(), Some(before));
    assert!(matches!(rig.read(before.position(), None, 100), HistoryRead::End { .. }));
    assert!(!rig.pg.in_history(committed.commit_lsn));
    rig.record_page(&pages[1], true, true);
    assert_eq!(rig.pg.unrecorded_below(Lsn(u64::MAX)).map(|commit| commit.xid), Some(committed.xid));
    rig.record_page(&pages[2], true, true);
    assert!(rig.pg.unrecorded_below(Lsn(u64::MAX)).is_none());
    let head = rig.pg.head().expect("an era");
    assert_eq!((head.position(), head.covered), (Position::after(committed.commit_lsn), committed.end_lsn));
    assert_eq!((head.waypoint.xid, head.waypoint.schema), (committed.xid, before.waypoint.schema));
}

#[test]
fn leftover_pieces_go_at_the_next_start() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &five());
    let pages = rig.pages(2);
    rig.record_page(&pages[0], true, true);
    rig.start_stream();
    assert_eq!((rig.pg.history_changes(), rig.pg.last_appended()), (0, Some(rig.expect)));
    rig.record(100);
    assert_eq!(rig.pg.history_changes(), 5);
    assert!(rig.pg.unrecorded_below(Lsn(u64::MAX)).is_none());
}

/// Without the rule, a piece is read as if it were the whole, and taken for recorded after a restart.
#[test]
fn a_row_that_comes_first_shows_half_a_transaction() {
    let mut rig = Rig::new();
    let before = rig.pg.head().expect("an era").position();
    let committed = rig.pg.run(rig.now, &five()).expect("a commit");
    let pages = rig.pages(2);
    rig.record_page(&pages[0], true, false);
    let half = rig.read_all(before, None, 100);
    assert_eq!((half[0].changes(), half[0].through.position), (2, Position::after(committed.commit_lsn)));
    assert!(matches!(rig.record_page(&pages[1], true, false), Recorded::Recorded { .. }), "more pieces may follow");
    rig.start_stream();
    assert_eq!(rig.expect, Position::after(committed.commit_lsn));
    assert!(rig.pg.unrecorded_below(Lsn(u64::MAX)).is_some());
}

#[test]
fn a_page_of_another_place_or_token_or_era_is_refused() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1)]);
    rig.pg.run(rig.now, &[insert(2)]);
    let pages = rig.pages(100);
    assert!(
        matches!(rig.record_page(&pages[1], true, true), Recorded::AlreadyAt { position, .. } if position == rig.expect)
    );
    let old = rig.token;
    rig.take_lease("a");
    let new = std::mem::replace(&mut rig.token, old);
    assert_eq!(rig.record_page(&pages[0], true, true), Recorded::Superseded);
    rig.token = new;
    let mut foreign = (*pages[0]).clone();
    foreign.through.era.counter += 1;
    assert_eq!(rig.record_page(&Arc::new(foreign), true, true), Recorded::Superseded);
    assert!(matches!(rig.record_page(&pages[0], true, true), Recorded::Recorded { .. }));
}

#[test]
fn a_change_without_its_shape_is_refused() {
    let mut rig = Rig::new();
    rig.pg.run(rig.now, &[insert(1)]);
    let mut page = (*rig.pages(100)[0]).clone();
    page.relations = Arc::new([]);
    let (token, era, expect) = (rig.token, page.through.era, page.after);
    let ask = RecordPage { token, era, expect, page: Arc::new(page), compare: true, row_last: true };
    assert!(matches!(rig.pg.ask_record_page(&ask), Err(Failure::Refused(_))));
}
