//! Any fact in any state: no panic, no broken invariant.

use super::*;
use proptest::prelude::*;

fn message() -> impl Strategy<Value = ServerMessage> {
    let place = prop_oneof![Just(None), (1u64..5).prop_map(Some)];
    prop_oneof![
        2 => place.clone().prop_map(|at| ServerMessage::Welcome {
            client: client_id(),
            era: ERA,
            schema: SchemaVersion(1),
            head: Position::after(Lsn(0x100)),
            from: at.map(|at| boundary(at * 0x10)),
            credential_expires_in_ms: None,
        }),
        1 => Just(ServerMessage::Schema(relation())),
        4 => (1u64..3, 0u32..3).prop_map(|(backfill, n)| chunk(backfill, n, &[1, 2])),
        4 => (1u64..3, 0u32..3, place).prop_map(|(backfill, n, at)| seam(backfill, n, None, at.map(|at| at * 0x10))),
        6 => (1u64..5, 1u64..4).prop_map(|(after, more)| {
            let commits: Vec<_> = (1..=more).map(|n| (after + n) * 0x10).collect();
            ServerMessage::Page(Arc::new(whole(after * 0x10, &commits)))
        }),
        4 => (1u64..5, 0u32..4, 0u32..4, any::<bool>()).prop_map(|(at, first, more, complete)| {
            let after = match first {
                0 => boundary((at - 1) * 0x10).position,
                first => at_index(at * 0x10, first - 1).position,
            };
            ServerMessage::Page(Arc::new(piece(after, at * 0x10, first, first + more, complete)))
        }),
        2 => Just(ServerMessage::Live),
        1 => Just(ServerMessage::Resync { reason: crate::fault::ResyncReason::Pruned }),
        1 => prop::sample::select(vec![FaultCode::Stale, FaultCode::GoingAway, FaultCode::Replaced])
            .prop_map(|code| ServerMessage::Fault(PeerFault::new(code, "…"))),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop(bool),
    Connect,
    Close,
    Receive(ServerMessage),
    ReceiveOnAnOldSocket(ServerMessage),
    Garbage,
    Store,
    FailStore(bool),
    AnswerLate,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Start),
        1 => any::<bool>().prop_map(Step::Stop),
        6 => Just(Step::Connect),
        2 => Just(Step::Close),
        20 => message().prop_map(Step::Receive),
        1 => message().prop_map(Step::ReceiveOnAnOldSocket),
        1 => Just(Step::Garbage),
        12 => Just(Step::Store),
        2 => any::<bool>().prop_map(Step::FailStore),
        2 => Just(Step::AnswerLate),
        6 => (0u64..20_000).prop_map(Step::Pass),
    ]
}

impl Run {
    fn step(&mut self, step: Step) {
        let socket = self.socket;
        match step {
            Step::Start => self.start(),
            Step::Stop(forget) => self.input("stopping", Input::Stopping { forget }),
            Step::Connect => self.connect(),
            Step::Close => self.closed(),
            Step::Receive(message) => self.receive(message),
            Step::ReceiveOnAnOldSocket(message) => {
                let socket = SocketId(socket.0.wrapping_sub(1));
                self.input("late", Input::Received { socket, message: Ok(message) });
            }
            Step::Garbage => {
                let message = Err(Malformed { why: "not JSON".into() });
                self.input("garbage", Input::Received { socket, message });
            }
            Step::Store if !self.asked.is_empty() => self.stored(),
            Step::FailStore(hidden) if !self.asked.is_empty() => {
                let (question, ticket) = self.asked.remove(0).split();
                if hidden {
                    self.store.apply(&question.request);
                }
                let failure = Failure::Unavailable("no answer".into());
                self.input("store failed", Input::Stored(ticket.answer(Err(failure))));
            }
            Step::AnswerLate => {
                if let Some(ask) = self.late.pop() {
                    let held = crate::store::Held::default();
                    self.input("stored, late", Input::Stored(Answer { id: ask.id, reply: Ok(held) }));
                }
            }
            Step::Store | Step::FailStore(_) => {}
            Step::Pass(ms) => self.pass(Duration::from_millis(ms)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_fact_is_legal_in_any_state(steps in prop::collection::vec(step(), 1..80), thin in any::<bool>()) {
        let mode = if thin { crate::client::Mode::Thin } else { crate::client::Mode::Replica };
        let mut run = Run::with(Config { mode, queue_messages_max: 8, window_pages: 4, window_chunks: 2, ..config() });
        run.prompt = false;
        run.start();
        for step in steps {
            run.step(step);
        }
    }
}
