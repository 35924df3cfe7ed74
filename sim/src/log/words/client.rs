//! A client's facts and commands.

use super::message::{client_message, resync, server_message};
use super::{at, chunk, failure, held, page, reply};
use crate::entity::Entity;
use crate::log::{Draft, Link, What};
use dormouse_core::client::{ClientPhase, Input, Notice, Output};
use dormouse_core::store::StoreRequest;

/// What a client is told.
#[must_use]
pub fn client_input(client: u8, input: &Input) -> Draft {
    let lane = Entity::Client(client);
    let draft = |what, words: String| Draft::new(lane, what, words).raw(input);
    match input {
        Input::Started { held: holds, .. } => draft(What::Start, format!("starts; its store {}", held(holds))),
        Input::Stopping { forget: true } => draft(What::Input, "is told to stop and to be forgotten".into()),
        Input::Stopping { forget: false } => draft(What::Input, "is told to stop".into()),
        Input::Connected { socket } => draft(What::Input, format!("is connected (dial {})", socket.0)),
        Input::Received { message: Ok(message), .. } => {
            draft(What::Received, format!("hears {}", server_message(message)))
        }
        Input::Received { message: Err(why), .. } => draft(What::Received, format!("hears garbage: {}", why.why)),
        Input::Heard { .. } => draft(What::Received, "hears a pong".into()).minor(),
        Input::Closed { socket, why } => draft(What::Input, format!("loses its connection (dial {}): {why}", socket.0)),
        Input::Stored(answer) => {
            let words =
                format!("hears from its store: {}", reply(&answer.reply, |holds| format!("done, it {}", held(holds))));
            draft(What::Answer, words).receives(Link::answer(answer.id))
        }
        Input::CredentialProvided { .. } => draft(What::Input, "is given a new credential".into()),
    }
}

/// What a client commands.
#[must_use]
pub fn client_output(client: u8, output: &Output) -> Draft {
    let lane = Entity::Client(client);
    let draft = |what, words: String| Draft::new(lane, what, words).raw(output);
    match output {
        Output::Dial { socket } => draft(What::Sent, format!("dials (dial {})", socket.0)),
        Output::Send { message, .. } => draft(What::Sent, format!("sends {}", client_message(message))),
        Output::Ping { .. } => draft(What::Sent, "sends a ping".into()).minor(),
        Output::Close { socket } => draft(What::Sent, format!("closes its connection (dial {})", socket.0)),
        Output::SendCredential { .. } => draft(What::Sent, "sends its newest credential".into()),
        Output::Store(ask) => {
            let words = format!("asks its store: {}", store_request(&ask.question.request));
            let draft = draft(What::Question, words).sends(Link::question(ask.id));
            if ask.question.request == StoreRequest::ReadHeld { draft.minor() } else { draft }
        }
        Output::Notify(notice) => notified(draft, notice),
    }
}

fn notified(draft: impl Fn(What, String) -> Draft, notice: &Notice) -> Draft {
    let tells = |words: String| draft(What::Output, words);
    match notice {
        Notice::Phase(phase) => {
            let phase = match phase {
                ClientPhase::Offline => "is offline, and waits before it dials again",
                ClientPhase::Connecting => "is connecting",
                ClientPhase::Greeting => "is greeting",
                ClientPhase::Backfill => "is getting a backfill",
                ClientPhase::CatchUp => "is catching up",
                ClientPhase::Live => "is live",
            };
            tells(phase.into()).minor()
        }
        Notice::Applied { shown } => {
            tells(format!("tells its application: what is shown stands at {}", shown.position))
        }
        Notice::Live { shown } => tells(format!("tells its application: live at {}", at(shown.as_ref()))),
        Notice::Resync { reason } => {
            tells(format!("tells its application: everything comes again, {}", resync(*reason)))
        }
        Notice::CredentialGood { .. } => tells("tells its application: the credential is good".into()).minor(),
        Notice::CredentialWanted => tells("asks its application for another credential".into()),
        Notice::Fault(fault) => tells(format!("tells its application: closed by the server, {}", fault.code.as_str())),
        Notice::StoreFailed(why) => tells(format!("tells its application: the store failed, {}", failure(why))),
        Notice::Stopped { fault: None } => tells("has stopped".into()),
        Notice::Stopped { fault: Some(fault) } => tells(format!("has stopped for good: {}", fault.code.as_str())),
    }
}

/// What a store is asked.
#[must_use]
pub fn store_request(request: &StoreRequest) -> String {
    match request {
        StoreRequest::ApplyPage { page: changes } => format!("apply {}", page(changes)),
        StoreRequest::StageChunk { n, chunk: rows, .. } => format!("stage chunk {n}, {}", chunk(rows)),
        StoreRequest::StageSeam { n, page: part, complete, .. } => {
            let part = part.as_ref().map_or_else(|| "no changes".into(), |part| page(part));
            match complete {
                None => format!("stage seam {n}, {part}"),
                Some(_) => format!("stage seam {n}, {part}, and show all that is staged, at {}", at(complete.as_ref())),
            }
        }
        StoreRequest::ReadHeld => "say what is held".into(),
    }
}
