use super::*;
use expect_test::expect;

#[test]
fn a_page_goes_out_once_for_all_who_follow() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "bob", 0x10);
    let (resume, scope) = (Resume::At(s.waypoint(0x10)), Scope::tables(["public.b".into()]));
    s.opened(3).hello(3, "eve", resume, scope).epoch_taken(3).judged(0x10, 0x11, 0x11).quietly();
    s.announced(0x10, &[0x20], 0x21).announced(0x20, &[0x21], 0x22).announced(0x21, &[0x23], 0x24);
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
            send #1 #2 schema of public.a
            send #1 #2 page 0/10..0/20: 0/20(1)
            send #3 page 0/10..0/20: 
        announced 0/21, covered 0/22
            send #1 #2 #3 schema of public.b
            send #1 #2 page 0/20..0/21: 0/21(2)
            send #3 page 0/20..0/21: 0/21(1)
        announced 0/23, covered 0/24
            send #1 #2 page 0/21..0/23: 0/23(2)
            send #3 page 0/21..0/23: 0/23(1)
    "#]]);
}

#[test]
fn nobody_is_live_before_covered_has_passed_w() {
    let mut s = script();
    let resume = Resume::At(s.waypoint(0x10));
    s.opened(1).hello(1, "ann", resume, Scope::All).epoch_taken(1).judged(0x10, 0x11, 0x28).quietly();
    s.announced(0x10, &[0x20], 0x21).pass(Duration::from_millis(2_500)).announced(0x20, &[], 0x28);
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
        after 2.5s
            want covered 0/28
            want covered 0/28
        announced 0/20, covered 0/28
            send #1 live
            attach #1 0/10, live
    "#]]);
}

#[test]
fn a_full_window_falls_back_and_comes_up_again_from_recent_pages() {
    let mut s = script_with(Config { window_pages: 2, ..Config::default() });
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).quietly();
    s.announced(0x10, &[0x20], 0x21).announced(0x20, &[0x30], 0x31).acks(1, 0x30).announced(0x30, &[0x40], 0x41);
    assert_eq!(s.hub.sessions(), Sessions { catch_up: 1, live: 1, ..Sessions::default() });
    s.acks(2, 0x20);
    assert_eq!(s.hub.sessions(), Sessions { live: 2, ..Sessions::default() });
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
            send #1 #2 schema of public.a
            send #1 #2 page 0/10..0/20: 0/20(1)
        announced 0/30, covered 0/31
            send #1 #2 page 0/20..0/30: 0/30(1)
        #1 acknowledges 0/30
        announced 0/40, covered 0/41
            send #1 page 0/30..0/40: 0/40(1)
        #2 acknowledges 0/20
            send #2 page 0/30..0/40: 0/40(1)
    "#]]);
}

#[test]
fn a_hole_or_a_large_transaction_is_read_from_history_once_for_all() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).quietly();
    s.announced(0x20, &[0x30], 0x31).history_page(0x10, &[0x20], 0x30);
    s.title("a transaction larger than a page");
    let head = s.head_at(0x40, 0x41);
    let announcement = Announcement { after: Position::after(Lsn(0x30)), head, page: None };
    s.feed(Input::Announced(Arc::new(announcement)));
    s.history_page(0x30, &[0x40], 0x40);
    s.expect(&expect![[r#"
        announced 0/30, covered 0/31
            read history after 0/10
        history is read: a page through 0/20
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
            send #1 page 0/20..0/30: 0/30(1)
            send #2 schema of public.a
            send #2 page 0/10..0/20: 0/20(1)
            send #2 page 0/20..0/30: 0/30(1)
        a transaction larger than a page
            read history after 0/30
        history is read: a page through 0/40
            send #1 page 0/30..0/40: 0/40(1)
            send #2 page 0/30..0/40: 0/40(1)
    "#]]);
}

#[test]
fn a_lost_announcement_is_found_by_reading_the_head() {
    let mut s = script();
    s.live(1, "ann", 0x10).quietly();
    s.pass(Duration::from_secs(5)).head_read(0x20, 0x21).pass(Duration::from_secs(1));
    s.history_page(0x10, &[0x20], 0x20);
    s.expect(&expect![[r#"
        after 5s
            read the head
        the head is read: 0/20, covered 0/21
        after 1s
            read history after 0/10
        history is read: a page through 0/20
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
    "#]]);
}

#[test]
fn a_client_that_never_acknowledges_is_closed() {
    let mut s = script_with(Config { poll_head_every: Duration::from_secs(600), ..Config::default() });
    s.live(1, "ann", 0x10).quietly().announced(0x10, &[0x20], 0x21).pass(Duration::from_secs(62));
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
        after 62s
            close #1 too_slow: nothing was acknowledged for too long; connect again when there is time to read
            hibernate, alarm in None
    "#]]);
}

#[test]
fn an_acknowledgement_is_never_ahead_of_what_was_sent_and_never_goes_back() {
    let mut s = script();
    s.live(1, "ann", 0x10).announced(0x10, &[0x20], 0x21).quietly();
    s.acks(1, 0x20).acks(1, 0x10).pass(Duration::from_secs(1)).acks(1, 0x30);
    s.expect(&expect![[r#"
        #1 acknowledges 0/20
        #1 acknowledges 0/10
        after 1s
            attach #1 0/20, live
            save ann at 0/20
        #1 acknowledges 0/30
            close #1 malformed: `ack` names 0/30, but that place was not sent to this session
    "#]]);
}

#[test]
fn another_era_sends_everything_again_and_an_older_one_is_checked_first() {
    let mut s = script();
    s.live(1, "ann", 0x10).quietly();
    let before = s.era;
    s.era = Era { counter: 2, id: 0xe2 };
    s.announced(0x5, &[], 0x5);
    s.title("a replicator that was fenced long ago still speaks");
    s.era = before;
    s.announced(0x10, &[], 0x12);
    s.era = Era { counter: 2, id: 0xe2 };
    s.head_read(0x5, 0x5);
    s.expect(&expect![[r#"
        announced 0/5, covered 0/5
            send #1 resync: OtherEra
            attach #1 nothing, live
            take a snapshot of all
        a replicator that was fenced long ago still speaks
        announced 0/10, covered 0/12
            read the head
        the head is read: 0/5, covered 0/5
    "#]]);
}

#[test]
fn history_that_lost_its_end_sends_everything_again_to_those_who_were_sent_it() {
    let mut s = script();
    s.live(1, "ann", 0x10).announced(0x10, &[0x20], 0x21).acks(1, 0x20).quietly();
    s.pass(Duration::from_secs(5)).head_read(0x10, 0x11);
    s.expect(&expect![[r#"
        after 5s
            attach #1 0/20, live
            save ann at 0/20
            read the head
        the head is read: 0/10, covered 0/11
            send #1 resync: UnknownPosition
            attach #1 nothing, live
            take a snapshot of all
    "#]]);
}
