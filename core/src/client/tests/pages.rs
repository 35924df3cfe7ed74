//! Catch-up and live: pages are applied once, in order, and acknowledged when they are stored.

use super::*;
use crate::fault::ResyncReason;
use expect_test::expect;

#[test]
fn it_resumes_from_what_it_holds_and_is_told_that_it_is_live() {
    let mut run = Run::new();
    let complete =
        StoreRequest::StageSeam { backfill: BackfillId(1), n: 0, page: None, complete: Some(boundary(0x10)) };
    run.store.apply(&complete);
    run.start();
    run.connect();
    run.welcome(Some(boundary(0x10)));
    run.page(whole(0x10, &[0x20, 0x30]));
    run.receive(ServerMessage::Live);
    run.page(whole(0x30, &[0x40]));
    run.pass(Duration::from_secs(2));
    run.check(&expect![[r#"
        > started
          dial 1
          tell phase Connecting
        > connected
          send 1 hello c from 0/10
          tell phase Greeting
        > welcome from 0/10
          tell phase CatchUp
        > page 0/10..0/30 with 2
          store page 0/10..0/30 with 2
          tell applied 0/30
        > live
          tell live 0/30
          tell phase Live
        > page 0/30..0/40 with 1
          store page 0/30..0/40 with 1
          tell applied 0/40
        > a timer
          send 1 ack 0/40
    "#]]);
}

#[test]
fn the_store_carries_out_one_page_at_a_time_and_only_what_is_stored_is_acknowledged() {
    let mut run = Run::resumed(Config { window_pages: 4, ..config() }, 0x10);
    run.prompt = false;
    run.page(whole(0x10, &[0x20]));
    run.page(whole(0x20, &[0x30]));
    run.page(whole(0x30, &[0x40]));
    run.receive(ServerMessage::Live);
    run.pass(Duration::from_secs(5));
    run.stored();
    run.stored();
    run.stored();
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
        > page 0/20..0/30 with 1
        > page 0/30..0/40 with 1
        > live
        > stored
          tell applied 0/20
          store page 0/20..0/30 with 1
        > stored
          tell applied 0/30
          send 1 ack 0/30
          store page 0/30..0/40 with 1
        > stored
          tell applied 0/40
          tell live 0/40
          tell phase Live
    "#]]);
}

#[test]
fn it_drops_what_it_holds_cuts_what_overlaps_and_greets_again_at_a_hole() {
    let mut run = Run::resumed(config(), 0x30);
    run.page(whole(0x10, &[0x20, 0x30]));
    run.page(whole(0x20, &[0x30, 0x40]));
    run.page(whole(0x50, &[0x60]));
    run.pass(Duration::from_millis(300));
    run.connect();
    run.check(&expect![[r#"
        > page 0/10..0/30 with 2
        > page 0/20..0/40 with 2
          store page 0/20..0/40 with 1
          tell applied 0/40
        > page 0/50..0/60 with 1
          close 1
          tell phase Offline
        > a timer
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c from 0/40
          tell phase Greeting
    "#]]);
}

#[test]
fn the_position_moves_too_when_nothing_was_in_scope() {
    let mut run = Run::resumed(config(), 0x10);
    run.page(Page { through: boundary(0x20), ..whole(0x10, &[]) });
    run.pass(Duration::from_secs(1));
    run.check(&expect![[r#"
        > page 0/10..0/20 with 0
          store page 0/10..0/20 with 0
          tell applied 0/20
        > a timer
          send 1 ack 0/20
    "#]]);
}

#[test]
fn pieces_are_staged_and_shown_with_the_last_and_the_greeting_names_the_middle() {
    let mut run = Run::resumed(Config { window_pages: 2, ..config() }, 0x10);
    run.page(piece(Position::after(Lsn(0x10)), 0x20, 0, 4, false));
    assert!(run.store.tables().iter().next().is_none(), "nothing of it is shown yet");
    run.closed();
    run.pass(Duration::from_millis(300));
    run.connect();
    run.welcome(Some(at_index(0x20, 4)));
    run.page(piece(at_index(0x20, 4).position, 0x20, 5, 9, true));
    assert_eq!(run.store.table("public.t").map(crate::store::Table::len), Some(10));
    run.check(&expect![[r#"
        > page 0/10..0/20+4 with 5
          store page 0/10..0/20+4 with 5
          send 1 ack 0/20+4
        > closed
          tell phase Offline
        > a timer
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c from 0/20+4
          tell phase Greeting
        > welcome from 0/20+4
          tell phase CatchUp
        > page 0/20+4..0/20 with 5
          store page 0/20+4..0/20 with 5
          tell applied 0/20
          send 2 ack 0/20
    "#]]);
}

#[test]
fn a_hub_that_woke_sends_again_what_is_held_and_its_window_is_acknowledged_all_the_same() {
    let mut run = Run::resumed(Config { window_pages: 8, ..config() }, 0x40);
    run.page(whole(0x10, &[0x20]));
    run.page(whole(0x20, &[0x30]));
    run.page(whole(0x30, &[0x40]));
    run.page(whole(0x40, &[0x50]));
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
        > page 0/20..0/30 with 1
        > page 0/30..0/40 with 1
        > page 0/40..0/50 with 1
          store page 0/40..0/50 with 1
          tell applied 0/50
          send 1 ack 0/50
    "#]]);
}

#[test]
fn a_page_of_another_schema_or_era_is_not_applied() {
    let schema = Waypoint { schema: SchemaVersion(2), ..boundary(0x20) };
    let era = Waypoint { era: Era { counter: 2, id: 8 }, ..boundary(0x20) };
    for through in [schema, era] {
        let mut run = Run::resumed(config(), 0x10);
        run.page(Page { through, ..whole(0x10, &[0x20]) });
        run.check(&expect![[r#"
            > page 0/10..0/20 with 1
              close 1
              tell phase Offline
        "#]]);
    }
}

#[test]
fn a_thin_client_resumes_from_what_the_server_remembers_and_acknowledges_what_it_handed_on() {
    let mut run = Run::with(Config { mode: crate::client::Mode::Thin, ..config() });
    run.start();
    run.connect();
    run.welcome(Some(boundary(0x10)));
    run.page(whole(0x10, &[0x20]));
    run.page(piece(Position::after(Lsn(0x20)), 0x30, 0, 4, false));
    run.receive(ServerMessage::Live);
    run.pass(Duration::from_secs(1));
    run.page(whole(0x40, &[0x50]));
    run.check(&expect![[r#"
        > started
          dial 1
          tell phase Connecting
        > connected
          send 1 hello c from what is stored
          tell phase Greeting
        > welcome from 0/10
          tell phase CatchUp
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
          tell applied 0/20
        > page 0/20..0/30+4 with 5
          store page 0/20..0/30+4 with 5
        > live
          tell live 0/30+4
          tell phase Live
        > a timer
          send 1 ack 0/30+4
        > page 0/40..0/50 with 1
          close 1
          tell phase Offline
    "#]]);
}

#[test]
fn a_resync_keeps_what_is_shown_and_voids_what_is_owed() {
    let mut run = Run::resumed(config(), 0x10);
    run.page(whole(0x10, &[0x20]));
    run.receive(ServerMessage::Resync { reason: ResyncReason::SchemaChanged });
    run.pass(Duration::from_secs(2));
    assert_eq!(run.client.held().shown, Some(boundary(0x20)));
    run.receive(chunk(5, 0, &[1]));
    run.receive(seam(5, 1, None, Some(0x30)));
    assert_eq!(run.store.table("public.t").map(crate::store::Table::len), Some(1));
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
          tell applied 0/20
        > resync SchemaChanged
          tell resync SchemaChanged
          tell phase Backfill
        > chunk 5.0 with 1
          store chunk 5.0 with 1
        > seam 5.1 with 0, complete at 0/30
          store seam 5.1 with 0, complete at 0/30
          tell applied 0/30
          send 1 ack 0/30
          tell phase CatchUp
    "#]]);
}

#[test]
fn a_thin_client_is_handed_again_what_it_did_not_acknowledge() {
    let mut run = Run::with(Config { mode: crate::client::Mode::Thin, ..config() });
    run.start();
    run.connect();
    run.welcome(Some(boundary(0x10)));
    run.page(whole(0x10, &[0x20]));
    run.page(whole(0x20, &[0x30]));
    run.closed();
    run.pass(Duration::from_millis(300));
    run.connect();
    run.welcome(Some(boundary(0x10)));
    run.log.clear();
    run.page(whole(0x10, &[0x20]));
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
          tell applied 0/20
    "#]]);
}
