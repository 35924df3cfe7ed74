use super::*;
use expect_test::expect;

#[test]
fn registrations_are_renewed_long_before_they_end_and_a_fenced_session_is_closed() {
    let never = Duration::from_secs(1 << 30);
    let mut s = script_with(Config { poll_head_every: never, hibernate_after: never, ..Config::default() });
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).quietly();
    s.pass(Duration::from_secs(12 * 3600)).title("a newer session of ann lives elsewhere");
    while let Some(ask) = s.renewals.pop_front() {
        let fenced = ask.question.entries.iter().map(|(client, _)| client.clone()).filter(|c| c.as_str() == "ann");
        let fenced = fenced.collect();
        s.feed(Input::RegistrationsRenewed(answer(ask, Ok(fenced))));
    }
    s.expect(&expect![[r#"
        after 43200s
            renew 2 registrations
        a newer session of ann lives elsewhere
            close #1 replaced: a newer session of this client has taken over; to run two thin clients at once, give each its own client id
            attach #2 0/10, live
    "#]]);
}

#[test]
fn a_client_that_says_bye_is_forgotten_and_one_that_leaves_is_not() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).quietly();
    s.title("#1 says bye").received(1, ClientMessage::Bye).closed(2, ClosedReason::Broken);
    let ask = s.unregisters.pop_front().expect("asked");
    s.title("the database is away");
    s.feed(Input::Unregistered(answer(ask, Err(Failure::Unavailable("away".into())))));
    s.pass(Duration::from_millis(200));
    s.expect(&expect![[r#"
        #1 says bye
            unregister ann of epoch 1
            close #1
        #2 is gone: Broken
        the database is away
        after 200ms
            unregister ann of epoch 1
    "#]]);
}

#[test]
fn positions_are_saved_in_batches_and_again_after_trouble() {
    let mut s = script();
    s.live(1, "ann", 0x10).live(2, "bob", 0x10).announced(0x10, &[0x20, 0x30], 0x31).quietly();
    s.acks(1, 0x20).acks(2, 0x30).pass(Duration::from_secs(1)).acks(1, 0x30);
    let ask = s.saves.pop_front().expect("asked");
    s.title("the database is away");
    s.feed(Input::PositionsSaved(answer(ask, Err(Failure::Unavailable("away".into())))));
    s.pass(Duration::from_millis(200)).saved();
    s.expect(&expect![[r#"
        #1 acknowledges 0/20
        #2 acknowledges 0/30
        after 1s
            attach #1 0/20, live
            attach #2 0/30, live
            save ann at 0/20 bob at 0/30
        #1 acknowledges 0/30
        the database is away
        after 200ms
            attach #1 0/30, live
            attach #2 0/30, live
            save ann at 0/30 bob at 0/30
        positions are saved
    "#]]);
}

#[test]
fn what_failed_to_be_stored_does_not_outlive_that_everything_comes_again() {
    let mut s = script();
    s.live(1, "ann", 0x10).announced(0x10, &[0x20], 0x21).acks(1, 0x20).pass(Duration::from_secs(1));
    let ask = s.saves.pop_front().expect("the place is being stored");
    s.schema = SchemaVersion(s.schema.0 + 1);
    s.announced(0x20, &[0x30], 0x31);
    s.feed(Input::PositionsSaved(answer(ask, Err(Failure::Unavailable("away".into())))));
    let mut stored = Vec::new();
    for _ in 0..5 {
        s.pass(Duration::from_secs(1));
        while let Some(ask) = s.saves.pop_front() {
            stored.extend(ask.question.entries.iter().map(|(_, _, position)| *position));
            s.feed(Input::PositionsSaved(answer(ask, Ok(()))));
        }
    }
    assert_eq!(stored, [None]);
}

#[test]
fn draining_says_so_to_everybody() {
    let mut s = script();
    s.live(1, "ann", 0x10).opened(2).announced(0x10, &[0x20], 0x21).acks(1, 0x20).quietly();
    s.title("the host is shutting down").feed(Input::Draining).opened(3).saved();
    s.expect(&expect![[r#"
        the host is shutting down
            close #1 going_away: this server is going away; connect again, and another will serve you
            close #2 going_away: this server is going away; connect again, and another will serve you
            save ann at 0/20
        #3 opens
            close #3 going_away: this server is going away; connect again, and another will serve you
        positions are saved
    "#]]);
}
