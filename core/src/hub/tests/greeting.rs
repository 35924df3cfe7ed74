use super::*;
use expect_test::expect;

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    let mut s = script();
    let resume = Resume::At(s.waypoint(0x10));
    s.opened(1).hello(1, "ann", resume, Scope::All).epoch_taken(1).judged(0x30, 0x31, 0x38);
    s.history_page(0x10, &[0x20, 0x30], 0x30).announced(0x30, &[], 0x40);
    s.expect(&expect![[r#"
        #1 opens
        #1 greets as ann
            take an epoch for ann
        epoch 1 is taken
            judge 0/10
        judged: head 0/30, covered 0/31, W 0/38
            send #1 welcome: head 0/30, from 0/10
            want covered 0/38
            attach #1 0/10
            read history after 0/10
        history is read: a page through 0/30
            send #1 schema of public.a
            send #1 page 0/10..0/30: 0/20(1) 0/30(1)
        announced 0/30, covered 0/40
            send #1 live
            attach #1 0/10, live
    "#]]);
}

#[test]
fn what_is_recorded_while_the_first_position_is_judged_is_not_missed() {
    let mut s = script();
    let resume = Resume::At(s.waypoint(0x10));
    s.opened(1).hello(1, "ann", resume, Scope::All).epoch_taken(1).quietly();
    s.announced(0x10, &[0x20], 0x21).judged(0x10, 0x11, 0x11).head_read(0x20, 0x21).history_page(0x10, &[0x20], 0x20);
    s.expect(&expect![[r#"
        announced 0/20, covered 0/21
        judged: head 0/10, covered 0/11, W 0/11
            read the head
            send #1 welcome: head 0/10, from 0/10
            attach #1 0/10
            send #1 live
            attach #1 0/10, live
        the head is read: 0/20, covered 0/21
            read history after 0/10
        history is read: a page through 0/20
            send #1 schema of public.a
            send #1 page 0/10..0/20: 0/20(1)
    "#]]);
}

#[test]
fn a_position_above_the_head_is_waited_for_and_then_everything_is_sent_again() {
    let mut s = script();
    let resume = Resume::At(s.waypoint(0x90));
    s.opened(1).hello(1, "ann", resume, Scope::All).epoch_taken(1).judged(0x30, 0x31, 0x31);
    for _ in 0..5 {
        s.pass(Duration::from_secs(1)).judged(0x30, 0x31, 0x31);
    }
    s.expect(&expect![[r#"
        #1 opens
        #1 greets as ann
            take an epoch for ann
        epoch 1 is taken
            judge 0/90
        judged: head 0/30, covered 0/31, W 0/31
        after 1s
            judge 0/90
        judged: head 0/30, covered 0/31, W 0/31
        after 1s
            judge 0/90
        judged: head 0/30, covered 0/31, W 0/31
        after 1s
            judge 0/90
        judged: head 0/30, covered 0/31, W 0/31
        after 1s
            judge 0/90
        judged: head 0/30, covered 0/31, W 0/31
        after 1s
            judge 0/90
            read the head
        judged: head 0/30, covered 0/31, W 0/31
            send #1 welcome: head 0/30, from a backfill
            send #1 resync: UnknownPosition
            attach #1 nothing
            take a snapshot of all
    "#]]);
}

#[test]
fn a_newer_session_replaces_the_older_one_and_never_the_other_way_round() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "ann", 0x10).quietly();
    let resume = Resume::At(s.waypoint(0x10));
    s.opened(3).hello(3, "ann", resume.clone(), Scope::All).opened(4).hello(4, "ann", resume, Scope::All);
    let late = s.epochs.pop_front().expect("asked");
    s.epoch_taken(4);
    s.epochs.push_back(late);
    s.epoch_taken(3);
    s.expect(&expect![[r#"
        #3 opens
        #3 greets as ann
            take an epoch for ann
        #4 opens
        #4 greets as ann
            take an epoch for ann
        epoch 4 is taken
            close #2 replaced: a newer session of this client has taken over; to run two thin clients at once, give each its own client id
            judge 0/10
        epoch 3 is taken
            close #3 replaced: a newer session of this client has taken over; to run two thin clients at once, give each its own client id
    "#]]);
}

#[test]
fn what_is_no_greeting_closes_the_session_and_no_other() {
    let mut s = script();
    s.live(9, "bob", 0x10).quietly();
    s.opened(1).acks(1, 0x10);
    s.opened(2).title("#2 sends garbage");
    s.feed(Input::Received { session: id(2), message: Err(Malformed { why: "this is no JSON".into() }) });
    s.opened(3).pass(Duration::from_secs(11));
    s.live(4, "ann", 0x10).hello(4, "ann", Resume::Nothing, Scope::All);
    s.title("nobody acknowledges what was never opened").acks(77, 0x10);
    s.expect(&expect![[r#"
        #1 opens
        #1 acknowledges 0/10
            close #1 malformed: the first message of a connection is `hello`; wait for `welcome` before others
        #2 opens
        #2 sends garbage
            close #2 malformed: this is no JSON
        #3 opens
        after 11s
            read the head
            close #3 too_slow: no `hello` came in time; send it when the connection opens
            hibernate, alarm in Some(36940)
        #4 opens
        #4 greets as ann
            take an epoch for ann
        epoch 4 is taken
            judge 0/10
        judged: head 0/10, covered 0/11, W 0/11
            send #4 welcome: head 0/10, from 0/10
            attach #4 0/10
            send #4 live
            attach #4 0/10, live
        #4 greets as ann
            close #4 malformed: a connection greets once; open another to greet again
        nobody acknowledges what was never opened
        #77 acknowledges 0/10
    "#]]);
}

#[test]
fn an_answer_to_an_earlier_life_is_ignored() {
    let mut s = script();
    s.opened(1).hello(1, "ann", Resume::Nothing, Scope::All);
    s.evicted().opened(2).hello(2, "bob", Resume::Nothing, Scope::All).epoch_taken(7);
    assert_eq!(s.hub.stale_answers(), 1);
    s.epoch_taken(8);
    s.expect(&expect![[r#"
        #1 opens
        #1 greets as ann
            take an epoch for ann
        evicted, and woken
        #2 opens
        #2 greets as bob
            take an epoch for bob
        epoch 7 is taken
        epoch 8 is taken
            read W
    "#]]);
}

#[test]
fn passing_trouble_is_waited_out_and_a_refusal_closes() {
    let mut s = script();
    s.opened(1).hello(1, "ann", Resume::Nothing, Scope::All);
    let ask = s.epochs.pop_front().expect("asked");
    s.title("the database is away");
    s.feed(Input::EpochTaken(answer(ask, Err(Failure::Unavailable("away".into())))));
    s.pass(Duration::from_millis(200)).epoch_taken(1);
    let ask = s.judgements.pop_front().expect("asked");
    s.title("the database refuses");
    s.feed(Input::PositionJudged(answer(ask, Err(Failure::Refused("no grant".into())))));
    s.expect(&expect![[r#"
        #1 opens
        #1 greets as ann
            take an epoch for ann
        the database is away
        after 200ms
            take an epoch for ann
        epoch 1 is taken
            read W
        the database refuses
            close #1 unavailable: the server's database refuses what this session needs; its operator finds the reason in the log
    "#]]);
}

#[test]
fn an_instance_that_was_replaced_is_served_under_an_id_of_its_own() {
    let mut s = script();
    let resume = Resume::At(s.waypoint(0x10));
    s.opened(1).hello(1, "ann", resume, Scope::All).set_apart().epoch_taken(1).judged(0x10, 0x11, 0x11);
    let own = s.attachments.last().map(|(_, attachment)| attachment.client.clone()).expect("it is served");
    assert_eq!(own.base(), "ann");
    s.expect(&expect![[r#"
        #1 opens
        #1 greets as ann
            take an epoch for ann
        another instance replaced it
            take an epoch for ann~910a2dec89025cc1
        epoch 1 is taken
            judge 0/10
        judged: head 0/10, covered 0/11, W 0/11
            send #1 welcome: head 0/10, from 0/10
            attach #1 0/10
            send #1 live
            attach #1 0/10, live
    "#]]);
}
