use super::*;
use expect_test::expect;

#[test]
fn a_hub_with_nothing_outstanding_sleeps_and_goes_on_where_it_was() {
    let mut s = script();
    s.live(1, "ann", 0x10).quietly();
    s.pass(Duration::from_secs(7)).head_read(0x10, 0x11).pass(Duration::from_secs(4));
    s.evicted().head_read(0x10, 0x11).announced(0x10, &[0x20], 0x21);
    s.expect(&expect![[r#"
        after 7s
            read the head
        the head is read: 0/10, covered 0/11
        after 4s
            read the head
            hibernate, alarm in Some(36784)
        evicted, and woken
            read the head
        the head is read: 0/10, covered 0/11
        announced 0/20, covered 0/21
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
    "#]]);
}

#[test]
fn what_was_missed_while_asleep_is_read_once_for_all() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).evicted().quietly();
    s.announced(0x20, &[0x30], 0x31).head_read(0x30, 0x31).history_page(0x10, &[0x20, 0x30], 0x30);
    s.expect(&expect![[r#"
        announced 0/30, covered 0/31
        the head is read: 0/30, covered 0/31
            read history after 0/10
        history is read: a page through 0/30
            send #1 schema of public.a
            send #1 page 0/10..0/30: 0/20(1) 0/30(1)
            send #2 schema of public.a
            send #2 page 0/10..0/30: 0/20(1) 0/30(1)
    "#]]);
}

#[test]
fn what_is_recorded_while_a_woken_hub_looks_at_the_head_is_not_slept_through() {
    let mut s = script();
    s.live(1, "ann", 0x10).evicted().quietly();
    s.announced(0x10, &[0x20], 0x21).head_read(0x10, 0x11).pass(Duration::from_secs(20)).head_read(0x20, 0x21);
    s.history_page(0x10, &[0x20], 0x20);
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
        the head is read: 0/10, covered 0/11
            read the head
        after 20s
        the head is read: 0/20, covered 0/21
            read history after 0/10
        history is read: a page through 0/20
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
    "#]]);
}

#[test]
fn what_was_announced_and_is_gone_is_looked_for_once_more() {
    let mut s = script();
    s.live(1, "ann", 0x10).evicted().quietly();
    s.announced(0x10, &[0x20], 0x21).head_read(0x10, 0x11).head_read(0x10, 0x11).pass(Duration::from_secs(11));
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
        the head is read: 0/10, covered 0/11
            read the head
        the head is read: 0/10, covered 0/11
        after 11s
            read the head
            hibernate, alarm in Some(36784)
    "#]]);
}

#[test]
fn a_session_that_was_not_told_live_needs_a_new_mark() {
    let mut s = script();
    let resume = Resume::At(s.waypoint(0x10));
    s.opened(1).hello(1, "ann", resume, Scope::All).epoch_taken(1).judged(0x10, 0x11, 0x28).evicted().quietly();
    s.head_read(0x10, 0x28).judged(0x10, 0x28, 0x30).announced(0x10, &[], 0x30);
    s.expect(&expect![[r#"
        the head is read: 0/10, covered 0/28
        judged: head 0/10, covered 0/28, W 0/30
            want covered 0/30
        announced 0/10, covered 0/30
            send #1 live
            attach #1 0/10, live
    "#]]);
}

#[test]
fn a_woken_session_may_acknowledge_what_the_earlier_life_sent() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).live(3, "eve", 0x10);
    s.announced(0x10, &[0x20], 0x21).evicted().quietly();
    s.acks(1, 0x20).acks(2, 0x99).head_read(0x20, 0x21).history_page(0x10, &[0x20], 0x20);
    s.expect(&expect![[r#"
        #1 acknowledges 0/20
        #2 acknowledges 0/99
        the head is read: 0/20, covered 0/21
            close #2 from_the_future: `ack` names 0/99, but history ends before; connect again
            read history after 0/10
        history is read: a page through 0/20
            send #3 schema of public.a
            send #3 page 0/10..0/20: 0/20(1)
    "#]]);
}

#[test]
fn a_place_that_was_made_up_is_read_from_once() {
    let mut s = script();
    s.live(1, "ann", 0x10).announced(0x10, &[0x20], 0x21).evicted().quietly();
    s.acks(1, 0x18).head_read(0x20, 0x21).history_end(0x20);
    s.expect(&expect![[r#"
        #1 acknowledges 0/18
        the head is read: 0/20, covered 0/21
            read history after 0/18
        history is read: the end
            send #1 resync: Pruned
            attach #1 nothing, live
            take a snapshot of all
    "#]]);
}

#[test]
fn a_woken_backfill_begins_anew_and_a_session_without_an_attachment_comes_again() {
    let mut s = script();
    s.opened(1).hello(1, "ann", Resume::Nothing, Scope::All).epoch_taken(1).judged(0x10, 0x11, 0x11);
    s.snapshot(0x10, 0x11, &[], 0x20).chunk().evicted().quietly();
    s.head_read(0x10, 0x11).snapshot(0x10, 0x11, &[], 0x20).chunk();
    s.title("woken with a socket that had not greeted");
    let incarnation = Incarnation(99);
    s.feed(Input::Woke { incarnation, sessions: vec![(id(7), None)] });
    s.expect(&expect![[r#"
        the head is read: 0/10, covered 0/11
            take a snapshot of all
        a snapshot is spooled: P0 0/10, F 0/11
            send #1 schema of public.a
            send #1 schema of public.b
            read chunk 0
        chunk 0 is read
            send #1 chunk 0 of backfill 2: 2 rows
            read chunk 1
        woken with a socket that had not greeted
            close #7 unavailable: the server moved this session before it was ready; connect again
    "#]]);
}

#[test]
fn what_is_outstanding_keeps_a_hub_awake() {
    let mut s = script();
    s.live(1, "ann", 0x10).announced(0x10, &[0x20], 0x21);
    assert!(!s.hub.could_hibernate(), "a page is not acknowledged");
    s.acks(1, 0x20);
    assert!(!s.hub.could_hibernate(), "a position is not saved");
    s.pass(Duration::from_secs(1));
    assert!(!s.hub.could_hibernate(), "it is being saved");
    s.saved();
    assert!(s.hub.could_hibernate());
}
