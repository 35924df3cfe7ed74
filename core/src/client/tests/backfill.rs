//! Snapshot and seam are staged beside what is shown, without a gap, and become visible at once.

use super::*;
use expect_test::expect;

#[test]
fn a_first_sync_shows_nothing_before_the_seam_is_complete() {
    let mut run = Run::with(Config { window_chunks: 4, ..config() });
    run.start();
    run.connect();
    run.welcome(None);
    run.receive(ServerMessage::Schema(relation()));
    run.receive(chunk(1, 0, &[1, 2]));
    run.receive(chunk(1, 1, &[3]));
    run.receive(seam(1, 2, Some(whole(0x10, &[0x20])), None));
    assert_eq!(run.client.held(), crate::store::Held::default());
    run.receive(seam(1, 3, None, Some(0x20)));
    run.page(whole(0x20, &[0x30]));
    run.receive(ServerMessage::Live);
    assert_eq!(run.store.table("public.t").map(crate::store::Table::len), Some(5));
    assert_eq!(run.client.held().anomalies, 0);
    run.check(&expect![[r#"
        > started
          dial 1
          tell phase Connecting
        > connected
          send 1 hello c with nothing
          tell phase Greeting
        > welcome to a backfill
          tell phase Backfill
        > schema public.t
        > chunk 1.0 with 2
          store chunk 1.0 with 2
        > chunk 1.1 with 1
          store chunk 1.1 with 1
          send 1 staged 1.1
        > seam 1.2 with 1
          store seam 1.2 with 1
        > seam 1.3 with 0, complete at 0/20
          store seam 1.3 with 0, complete at 0/20
          tell applied 0/20
          send 1 ack 0/20
          tell phase CatchUp
        > page 0/20..0/30 with 1
          store page 0/20..0/30 with 1
          tell applied 0/30
        > live
          tell live 0/30
          tell phase Live
    "#]]);
}

#[test]
fn a_backfill_that_was_cut_starts_over_under_a_new_id() {
    let mut run = Run::new();
    run.start();
    run.connect();
    run.welcome(None);
    run.receive(chunk(1, 0, &[1, 2]));
    run.receive(chunk(2, 0, &[1, 2, 3]));
    run.receive(seam(2, 1, None, Some(0x20)));
    assert_eq!(run.store.table("public.t").map(crate::store::Table::len), Some(3));
    assert_eq!(run.client.held().anomalies, 0);
}

#[test]
fn a_gap_or_an_unknown_backfill_means_greeting_again() {
    for message in [chunk(1, 2, &[9]), chunk(2, 1, &[9]), seam(1, 2, None, Some(0x20)), seam(2, 1, None, Some(0x20))] {
        let mut run = Run::new();
        run.start();
        run.connect();
        run.welcome(None);
        run.receive(chunk(1, 0, &[1]));
        run.log.clear();
        run.receive(message);
        run.pass(Duration::from_millis(300));
        run.connect();
        assert!(
            run.log.ends_with("> connected\n  send 2 hello c with nothing\n  tell phase Greeting\n"),
            "{}",
            run.log
        );
        assert_eq!(run.client.counts().holes, 1);
    }
}

#[test]
fn pages_in_the_middle_of_a_backfill_are_a_hole() {
    let mut run = Run::new();
    run.start();
    run.connect();
    run.welcome(None);
    run.receive(chunk(1, 0, &[1]));
    run.page(whole(0x10, &[0x20]));
    assert_eq!(run.client.counts().holes, 1);
}

#[test]
fn live_is_told_once_the_backfill_is_complete() {
    let mut run = Run::new();
    run.start();
    run.connect();
    run.welcome(None);
    run.receive(chunk(1, 0, &[1]));
    run.log.clear();
    run.receive(ServerMessage::Live);
    run.receive(seam(1, 1, None, Some(0x20)));
    run.check(&expect![[r#"
        > live
        > seam 1.1 with 0, complete at 0/20
          store seam 1.1 with 0, complete at 0/20
          tell applied 0/20
          send 1 ack 0/20
          tell live 0/20
          tell phase Live
    "#]]);
}
