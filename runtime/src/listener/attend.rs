//! One WebSocket from its greeting to its end.

use super::Door;
use crate::access::Proof;
use crate::hub::{Event, Hub};
use crate::socket::{Heard, Socket, encode_close, encode_message};
use dormouse_core::fault::{FaultCode, Malformed, PeerFault};
use dormouse_core::hub::ClosedReason;
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use dormouse_core::session::{ClientId, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::binary;
use dormouse_core::wire::json::decode_client;
use dormouse_core::wire::{ClientMessage, Format, Hello, ServerMessage};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Two readings of the wall clock against the process' own may differ by this much and mean the same moment.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// Attends to a socket: the greeting and credentials are judged here, all else by the client's hub.
pub(super) async fn attend<S: AsyncRead + AsyncWrite + Send + Unpin>(
    door: &Door,
    peer: IpAddr,
    stream: S,
    read_ahead: Vec<u8>,
    format: Format,
    proof: Proof,
) {
    let mut socket = Socket::new(stream, read_ahead, format, door.silence).await;
    let mut changes = door.access.changes();
    let fault = match Box::pin(greet(door, &mut socket, proof)).await {
        Ok(guest) => listen(door, &mut socket, guest, &mut changes).await,
        Err(fault) => fault,
    };
    if let Some(fault) = fault {
        tracing::debug!(code = fault.code.as_str(), "a socket is closed");
        let code = fault.code;
        door.metrics.refused(code);
        if code == FaultCode::Unauthorized {
            door.limits.failed(peer);
        }
        socket.outbox().close([encode_message(&ServerMessage::Fault(fault), format), encode_close(Some(code))]);
    }
    Box::pin(socket.finish()).await;
}

/// Whoever has greeted.
struct Guest {
    hub: Hub,
    session: SessionId,
    client: ClientId,
    /// What was proved last, to be judged again when the rules change.
    proof: Proof,
    /// As the hub knows it.
    until: Option<Timestamp>,
}

/// Waits for the greeting and takes it to its hub. An error without a fault is a connection that ended.
async fn greet<S: AsyncRead + AsyncWrite + Send + Unpin>(
    door: &Door,
    socket: &mut Socket<S>,
    proof: Proof,
) -> Result<Guest, Option<PeerFault>> {
    let heard = tokio::select! {
        heard = tokio::time::timeout(door.greet_timeout, socket.next()) => {
            heard.map_err(|_| PeerFault::new(FaultCode::TooSlow, "no greeting came in time"))?
        }
        () = door.closing.cancelled() => return Err(Some(going_away())),
    };
    let mut hello = hello(heard)?;
    let proof = match hello.token.take() {
        Some(credential) => door.access.judge(Some(&credential)).await?,
        None => proof,
    };
    let client = hello.client.clone();
    let until = door.access.admit(&proof, &client, door.clock)?;
    let hub = door.hubs.of(&client);
    let session = hub.open(Arc::clone(socket.outbox()), hello, until).await.ok_or_else(going_away)?;
    Ok(Guest { hub, session, client, proof, until })
}

fn hello(heard: Heard) -> Result<Hello, Option<PeerFault>> {
    let malformed = |why: String| PeerFault::new(FaultCode::Malformed, why);
    match heard {
        Heard::Text(text) => match decode_client(&text) {
            Ok(ClientMessage::Hello(hello)) => Ok(hello),
            Ok(_) => Err(Some(malformed("the first message must be a greeting (`hello`)".into()))),
            Err(Malformed { why }) => Err(Some(malformed(why))),
        },
        Heard::Binary(_) => Err(Some(malformed("the first message must be a greeting (`hello`), as text".into()))),
        Heard::TooLarge => Err(Some(too_large())),
        Heard::Garbage(why) => Err(Some(malformed(why))),
        Heard::Gone(_) | Heard::Finished => Err(None),
    }
}

/// Carries what is heard to the hub until the socket ends. The fault, if any, is one that the hub knows nothing of.
async fn listen<S: AsyncRead + AsyncWrite + Send + Unpin>(
    door: &Door,
    socket: &mut Socket<S>,
    mut guest: Guest,
    changes: &mut watch::Receiver<u64>,
) -> Option<PeerFault> {
    let mut allowance = door.limits.allowance();
    let (reason, fault) = loop {
        let heard = tokio::select! {
            heard = socket.next() => heard,
            Ok(()) = changes.changed() => match guest.judge_again(door).await {
                Ok(()) => continue,
                Err(fault) => break (ClosedReason::Broken, Some(fault)),
            },
        };
        if let Err(fault) = allowance.take(Instant::now()) {
            break (ClosedReason::Broken, Some(fault));
        }
        match heard {
            Heard::Text(text) => match decode_client(&text) {
                Ok(ClientMessage::Credential(credential)) => {
                    if let Err(fault) = Box::pin(guest.renew(door, credential.reveal())).await {
                        break (ClosedReason::Broken, Some(fault));
                    }
                }
                message => {
                    let (session, message) = (guest.session, message.map(without_credential));
                    guest.hub.tell(Event::Received { session, message }).await;
                }
            },
            Heard::Binary(bytes) => {
                let (session, message) = (guest.session, binary::decode_client(&bytes));
                guest.hub.tell(Event::Received { session, message }).await;
            }
            Heard::TooLarge => break (ClosedReason::Broken, Some(too_large())),
            Heard::Garbage(why) => break (ClosedReason::Broken, Some(PeerFault::new(FaultCode::Malformed, why))),
            Heard::Gone(reason) => break (reason, None),
            Heard::Finished => break (ClosedReason::Broken, None), // The hub closed it, and knows.
        }
    };
    guest.hub.tell(Event::Closed { session: guest.session, reason }).await;
    fault
}

impl Guest {
    /// Judges a new credential. The client that it is for stays the same.
    async fn renew(&mut self, door: &Door, credential: &str) -> Result<(), PeerFault> {
        let proof = door.access.judge(Some(credential)).await?;
        self.until = door.access.admit(&proof, &self.client, door.clock)?;
        self.proof = proof;
        self.tell_until().await;
        Ok(())
    }

    /// Judges what was proved by the rules as they are now.
    async fn judge_again(&mut self, door: &Door) -> Result<(), PeerFault> {
        let until = door.access.admit(&self.proof, &self.client, door.clock)?;
        let differs = match (until, self.until) {
            (Some(until), Some(before)) => until.since(before).max(before.since(until)) > CLOCKS_DIFFER,
            (until, before) => until != before,
        };
        if differs {
            self.until = until;
            self.tell_until().await;
        }
        Ok(())
    }

    async fn tell_until(&self) {
        self.hub.tell(Event::CredentialRenewed { session: self.session, until: self.until }).await;
    }
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
