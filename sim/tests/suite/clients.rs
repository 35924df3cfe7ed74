//! What hosts of the simulator never do to a client, and what its contract allows: every input is legal in every state.

use dormouse_core::ask::{Answer, AskId, Incarnation};
use dormouse_core::change::Page;
use dormouse_core::client::{Client, Config, Input, Output, SocketId};
use dormouse_core::fault::Failure;
use dormouse_core::machine::Machine;
use dormouse_core::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use dormouse_core::session::ClientId;
use dormouse_core::store::Held;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::ServerMessage;
use dormouse_core::xid::Xid;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000_000_000);

fn at(lsn: u64) -> Waypoint {
    let position = Position { commit_lsn: Lsn(lsn), index: Position::WHOLE };
    let era = Era { counter: 1, id: 7 };
    Waypoint { era, schema: SchemaVersion(1), position, xid: Xid(5), committed_at: CommitTime(9) }
}

fn held() -> Held {
    Held { shown: Some(at(100)), staged: Some(at(100)), ..Held::default() }
}

fn outputs(client: &mut Client) -> Vec<Output> {
    std::iter::from_fn(|| client.poll_output()).collect()
}

fn dialled(client: &mut Client) -> Option<SocketId> {
    outputs(client)
        .into_iter()
        .find_map(|output| if let Output::Dial { socket } = output { Some(socket) } else { None })
}

fn start(client: &mut Client, life: u64) -> Option<SocketId> {
    client.handle(NOW, Input::Started { incarnation: Incarnation(life), instance: life, held: held() });
    dialled(client)
}

/// A client that waits for its store, and what it asked.
fn storing() -> (Client, AskId) {
    let id = ClientId::new("tablet").expect("a name");
    let mut client = Client::new(Config::new(id.clone()));
    let socket = start(&mut client, 1).expect("it dials");
    client.handle(NOW, Input::Connected { socket });
    let Waypoint { era, schema, position, .. } = at(200);
    let (client_id, head) = (id, position);
    let welcome = ServerMessage::Welcome {
        client: client_id,
        era,
        schema,
        head,
        from: Some(at(100)),
        credential_expires_in_ms: None,
    };
    let page = Page { after: at(100).position, through: at(200), relations: Arc::new([]), transactions: Vec::new() };
    for message in [welcome, ServerMessage::Page(Arc::new(page))] {
        client.handle(NOW, Input::Received { socket, message: Ok(message) });
    }
    let asked = outputs(&mut client).into_iter().find_map(|output| match output {
        Output::Store(ask) => Some(ask.id),
        _ => None,
    });
    (client, asked.expect("it stores the page"))
}

#[test]
fn one_that_was_stopped_never_dials_again() {
    let (mut client, asked) = storing();
    client.handle(NOW, Input::Stopping { forget: false });
    let reply = Err(Failure::Unavailable("the disk is gone".into()));
    client.handle(NOW, Input::Stored(Answer { id: asked, reply }));
    assert_eq!(dialled(&mut client), None);
    assert_eq!(client.poll_timeout(), None, "nor waits for anything");
}

#[test]
fn one_that_starts_anew_waits_for_nothing_that_an_earlier_life_asked() {
    let (mut client, asked) = storing();
    let socket = start(&mut client, 2).expect("it dials, though the store never answered");
    client.handle(NOW, Input::Stored(Answer { id: asked, reply: Ok(held()) }));
    client.handle(NOW, Input::Connected { socket });
    assert!(outputs(&mut client).iter().any(|output| matches!(output, Output::Send { .. })), "and greets");
}
