//! One WebSocket from its greeting to its end.

use super::Door;
use crate::hub::{Event, Hub};
use crate::socket::{Heard, Socket, encode_close, encode_message};
use dormouse_core::fault::{FaultCode, Malformed, PeerFault};
use dormouse_core::hub::ClosedReason;
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use dormouse_core::session::SessionId;
use dormouse_core::wire::json::decode_client;
use dormouse_core::wire::{ClientMessage, Hello, ServerMessage};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Attends to a socket: the greeting is judged here, all that follows by the client's hub.
pub(super) async fn attend<S: AsyncRead + AsyncWrite + Send + Unpin>(
    door: &Door,
    stream: S,
    read_ahead: Vec<u8>,
    credential: Option<String>,
) {
    let mut socket = Socket::new(stream, read_ahead, door.silence).await;
    let fault = match Box::pin(greet(door, &mut socket, credential)).await {
        Ok((hub, session)) => listen(&mut socket, &hub, session).await,
        Err(fault) => fault,
    };
    if let Some(fault) = fault {
        tracing::debug!(code = fault.code.as_str(), "a socket is closed");
        let code = fault.code;
        door.metrics.refused(code);
        socket.outbox().close([encode_message(&ServerMessage::Fault(fault)), encode_close(Some(code))]);
    }
    Box::pin(socket.finish()).await;
}

/// Waits for the greeting and takes it to its hub. An error without a fault is a connection that ended.
async fn greet<S: AsyncRead + AsyncWrite + Send + Unpin>(
    door: &Door,
    socket: &mut Socket<S>,
    credential: Option<String>,
) -> Result<(Hub, SessionId), Option<PeerFault>> {
    let heard = tokio::select! {
        heard = tokio::time::timeout(door.greet_timeout, socket.next()) => {
            heard.map_err(|_| PeerFault::new(FaultCode::TooSlow, "no greeting came in time"))?
        }
        () = door.closing.cancelled() => return Err(Some(going_away())),
    };
    let mut hello = hello(heard)?;
    let credential = hello.token.take().or(credential);
    door.access.judge_client(credential.as_deref(), &hello.client)?;
    let hub = door.hubs.of(&hello.client);
    let session = hub.open(Arc::clone(socket.outbox()), hello).await.ok_or_else(going_away)?;
    Ok((hub, session))
}

fn hello(heard: Heard) -> Result<Hello, Option<PeerFault>> {
    let malformed = |why: String| PeerFault::new(FaultCode::Malformed, why);
    match heard {
        Heard::Text(text) => match decode_client(&text) {
            Ok(ClientMessage::Hello(hello)) => Ok(hello),
            Ok(_) => Err(Some(malformed("the first message must be a greeting (`hello`)".into()))),
            Err(Malformed { why }) => Err(Some(malformed(why))),
        },
        Heard::TooLarge => Err(Some(too_large())),
        Heard::Garbage(why) => Err(Some(malformed(why))),
        Heard::Gone(_) | Heard::Finished => Err(None),
    }
}

/// Carries what is heard to the hub until the socket ends. The fault, if any, is one that the hub knows nothing of.
async fn listen<S: AsyncRead + AsyncWrite + Send + Unpin>(
    socket: &mut Socket<S>,
    hub: &Hub,
    session: SessionId,
) -> Option<PeerFault> {
    let (reason, fault) = loop {
        match socket.next().await {
            Heard::Text(text) => {
                let message = decode_client(&text).map(without_credential);
                hub.tell(Event::Received { session, message }).await;
            }
            Heard::TooLarge => break (ClosedReason::Broken, Some(too_large())),
            Heard::Garbage(why) => break (ClosedReason::Broken, Some(PeerFault::new(FaultCode::Malformed, why))),
            Heard::Gone(reason) => break (reason, None),
            Heard::Finished => break (ClosedReason::Broken, None), // The hub closed it, and knows.
        }
    };
    hub.tell(Event::Closed { session, reason }).await;
    fault
}

/// A second greeting is judged by the hub, which must not see a credential.
fn without_credential(message: ClientMessage) -> ClientMessage {
    match message {
        ClientMessage::Hello(hello) => ClientMessage::Hello(Hello { token: None, ..hello }),
        other => other,
    }
}

fn too_large() -> PeerFault {
    PeerFault::new(FaultCode::TooLarge, format!("a frame may have at most {CLIENT_FRAME_BYTES_MAX} bytes"))
}

fn going_away() -> PeerFault {
    PeerFault::new(FaultCode::GoingAway, "the server is shutting down: come back")
}
