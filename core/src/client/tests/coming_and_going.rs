//! Dialling, back-off, silence, faults, failures of the store, and the end.

use super::*;
use crate::fault::ResyncReason;
use expect_test::expect;

#[test]
fn it_gives_up_a_dial_and_a_greeting_and_waits_longer_each_time() {
    let mut run = Run::new();
    run.start();
    run.pass(Duration::from_secs(17));
    run.connect();
    run.pass(Duration::from_secs(62));
    let waits = run.client.backoff.failures();
    assert_eq!(waits, 2);
    run.check(&expect![[r#"
        > started
          dial 1
          tell phase Connecting
        > a timer
          close 1
          tell phase Offline
        > a timer
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c with nothing
          tell phase Greeting
        > a timer
          close 2
          tell phase Offline
        > a timer
          dial 3
          tell phase Connecting
    "#]]);
}

#[test]
fn a_quiet_server_is_pinged_and_a_silent_one_is_left() {
    let times = Config { ping_every: Duration::from_secs(20), silence_timeout: Duration::from_secs(50), ..config() };
    let mut run = Run::resumed(times, 0x10);
    run.pass(Duration::from_secs(25));
    let socket = run.socket;
    run.input("heard", Input::Heard { socket });
    run.pass(Duration::from_secs(21));
    run.log.push_str("and then nothing\n");
    run.pass(Duration::from_secs(31));
    run.check(&expect![[r#"
        > a timer
          ping 1
        > heard
        > a timer
          ping 1
        and then nothing
        > a timer
          ping 1
        > a timer
          close 1
          tell phase Offline
        > a timer
          dial 2
          tell phase Connecting
    "#]]);
}

#[test]
fn whoever_is_replaced_comes_back_and_hears_it_on_the_current_socket_only() {
    let mut run = Run::resumed(config(), 0x10);
    run.closed();
    run.pass(Duration::from_millis(300));
    run.connect();
    let fault = ServerMessage::Fault(PeerFault::new(FaultCode::Replaced, "…"));
    run.input("replaced, on the old socket", Input::Received { socket: SocketId(1), message: Ok(fault) });
    run.fault(FaultCode::Replaced);
    run.pass(Duration::from_secs(1));
    run.check(&expect![[r#"
        > closed
          tell phase Offline
        > a timer
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c from 0/10
          tell phase Greeting
        > replaced, on the old socket
        > fault replaced
          tell fault replaced
          close 2
          tell phase Offline
        > a timer
          dial 3
          tell phase Connecting
    "#]]);
}

#[test]
fn a_thin_client_that_is_replaced_ends() {
    let mut run = Run::with(Config { mode: crate::client::Mode::Thin, ..config() });
    run.start();
    run.connect();
    run.fault(FaultCode::Replaced);
    assert!(run.client.has_ended());
}

#[test]
fn it_comes_back_after_a_fault_that_is_worth_it_and_never_with_an_old_attempt() {
    for code in [FaultCode::Stale, FaultCode::GoingAway, FaultCode::Unavailable, FaultCode::TooSlow] {
        let mut run = Run::new();
        run.start();
        run.connect();
        let attempt = run.client.attempt;
        run.fault(code);
        run.pass(Duration::from_secs(2));
        run.connect();
        assert!(run.client.attempt > attempt, "{code:?}");
    }
    for code in [FaultCode::Unauthorized, FaultCode::Malformed, FaultCode::UnknownScope] {
        let mut run = Run::new();
        run.start();
        run.connect();
        run.fault(code);
        assert!(run.client.has_ended(), "{code:?}");
    }
}

#[test]
fn those_sent_away_come_back_at_different_times() {
    let waits: std::collections::BTreeSet<_> = (0..100)
        .map(|seed| {
            let mut run = Run::resumed(Config { seed, ..config() }, 0x10);
            run.fault(FaultCode::GoingAway);
            run.client.poll_timeout().expect("it comes back").since(run.now).as_millis()
        })
        .collect();
    assert!(waits.len() > 80, "{waits:?}");
    assert!(waits.first() >= Some(&125) && waits.last() <= Some(&1_125), "{waits:?}");
}

#[test]
fn a_failed_store_may_have_stored_so_the_client_asks_before_it_greets() {
    let mut run = Run::resumed(config(), 0x10);
    run.prompt = false;
    run.page(whole(0x10, &[0x20]));
    let (question, ticket) = run.asked.remove(0).split();
    run.store.apply(&question.request);
    let lost = Failure::Unavailable("its answer was lost".into());
    run.input("store unavailable", Input::Stored(ticket.answer(Err(lost))));
    run.pass(Duration::from_secs(1));
    run.stored();
    run.connect();
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
        > store unavailable
          tell store failed: unavailable: its answer was lost
          close 1
          tell phase Offline
        > a timer
          store nothing, and say what is held
        > stored
          tell applied 0/20
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c from 0/20
          tell phase Greeting
    "#]]);
}

#[test]
fn a_cut_while_the_store_works_waits_for_its_answer_before_dialling() {
    let mut run = Run::resumed(config(), 0x10);
    run.prompt = false;
    run.page(whole(0x10, &[0x20]));
    run.closed();
    run.pass(Duration::from_secs(1));
    run.stored();
    run.connect();
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
        > closed
          tell phase Offline
        > stored
          tell applied 0/20
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c from 0/20
          tell phase Greeting
    "#]]);
}

#[test]
fn an_answer_to_an_earlier_life_is_ignored() {
    let mut run = Run::resumed(config(), 0x10);
    run.prompt = false;
    run.page(whole(0x10, &[0x20]));
    run.start();
    let old = run.late.remove(0);
    let held = run.store.held();
    run.connect();
    run.welcome(Some(boundary(0x10)));
    run.page(whole(0x10, &[0x20]));
    assert_eq!(run.asked[0].id.n, old.id.n, "only the incarnation tells them apart");
    run.log.clear();
    let forged = crate::store::Held { staged: Some(boundary(0x20)), shown: Some(boundary(0x20)), ..held };
    run.input("stored, says an earlier life", Input::Stored(Answer { id: old.id, reply: Ok(forged) }));
    run.pass(Duration::from_secs(2));
    run.check(&expect![[r#"
        > stored, says an earlier life
    "#]]);
}

#[test]
fn more_than_the_servers_window_is_its_defect() {
    let mut run = Run::resumed(Config { queue_messages_max: 2, ..config() }, 0x10);
    run.prompt = false;
    for at in [0x10, 0x20, 0x30, 0x40] {
        run.page(whole(at, &[at + 0x10]));
    }
    assert_eq!(run.client.phase(), crate::client::ClientPhase::Offline);
}

#[test]
fn garbage_and_words_before_the_welcome_end_the_connection() {
    let mut run = Run::resumed(config(), 0x10);
    let socket = run.socket;
    let malformed = Malformed { why: "not JSON".into() };
    run.input("garbage", Input::Received { socket, message: Err(malformed) });
    run.pass(Duration::from_millis(300));
    run.connect();
    run.receive(ServerMessage::Live);
    run.check(&expect![[r#"
        > garbage
          close 1
          tell phase Offline
        > a timer
          dial 2
          tell phase Connecting
        > connected
          send 2 hello c from 0/10
          tell phase Greeting
        > live
          close 2
          tell phase Offline
    "#]]);
}

#[test]
fn the_welcome_may_give_another_name() {
    let mut run = Run::new();
    run.start();
    run.connect();
    let client = ClientId::new("c-2").expect("valid");
    let head = Position::ZERO;
    run.receive(ServerMessage::Welcome {
        client,
        era: ERA,
        schema: SchemaVersion(1),
        head,
        from: None,
        credential_expires_in_ms: None,
    });
    run.closed();
    run.pass(Duration::from_millis(300));
    run.connect();
    assert!(run.log.contains("hello c-2 with nothing"), "{}", run.log);
}

#[test]
fn it_says_what_is_stored_before_it_goes_and_asks_to_be_forgotten() {
    let mut run = Run::resumed(config(), 0x10);
    run.page(whole(0x10, &[0x20]));
    run.input("stopping", Input::Stopping { forget: true });
    run.pass(Duration::from_secs(100));
    run.check(&expect![[r#"
        > page 0/10..0/20 with 1
          store page 0/10..0/20 with 1
          tell applied 0/20
        > stopping
          send 1 ack 0/20
          send 1 bye
          close 1
          tell stopped as wished
          tell phase Offline
    "#]]);
}

#[test]
fn a_credential_is_neither_printed_nor_written_down() {
    let mut run = Run::with(Config { token: Some("secret".into()), ..config() });
    run.start();
    let socket = run.socket;
    run.client.handle(run.now, Input::Connected { socket });
    assert!(!format!("{:?}", run.client).contains("secret"));
    assert!(!serde_json::to_string(&run.client).expect("plain data").contains("secret"));
    let output = run.client.poll_output().expect("the greeting");
    assert!(!format!("{output:?}").contains("secret"));
    assert!(!serde_json::to_string(&output).expect("plain data").contains("secret"));
    assert!(
        matches!(output, Output::Send { message: ClientMessage::Hello(hello), .. } if hello.token.as_deref() == Some("secret"))
    );
}

#[test]
fn its_state_can_be_written_down_and_read_again_in_the_middle_of_anything() {
    let mut run = Run::resumed(config(), 0x10);
    run.prompt = false;
    run.page(whole(0x10, &[0x20]));
    run.receive(ServerMessage::Resync { reason: ResyncReason::Pruned });
    run.receive(chunk(1, 0, &[1]));
    let text = serde_json::to_string(&run.client).expect("plain data");
    let again: Client = serde_json::from_str(&text).expect("the same");
    assert_eq!(again, run.client);
}
