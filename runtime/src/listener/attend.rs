//! One WebSocket from its greeting to its end.

use super::limits::Allowance;
use super::parking::Parked;
use super::{Door, Place};
use crate::access::Proof;
use crate::hub::{Event, Hub};
use crate::socket::{Heard, Line, Outbox, Patience, Plain, Socket, encode_close, encode_message};
use dormouse_core::fault::{FaultCode, Malformed, PeerFault};
use dormouse_core::hub::ClosedReason;
use dormouse_core::limits::CLIENT_FRAME_BYTES_MAX;
use dormouse_core::session::{ClientId, SessionId};
use dormouse_core::time::Timestamp;
use dormouse_core::wire::{ClientMessage, Format, Hello, ServerMessage};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Two readings of the wall clock against the process' own may differ by this much and mean the same moment.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// How long nothing may happen on a connection before it is parked: longer than a client takes to acknowledge what it got.
const QUIET: Duration = Duration::from_secs(2);

/// A connection that speaks WebSocket now.
pub(super) struct Upgraded<S> {
    pub stream: S,
    /// What came with the request.
    pub read_ahead: Vec<u8>,
    /// What was agreed on.
    pub format: Format,
    /// What was proved by the request.
    pub proof: Proof,
}

/// Attends to a plain connection: the greeting and credentials are judged here, all else by the client's hub.
pub(super) async fn plain(door: Arc<Door>, place: Place, upgraded: Upgraded<Plain>) {
    let Some((socket, guest)) = Box::pin(receive(&door, place.peer, upgraded)).await else { return };
    serve(door, socket, guest, place).await;
}

/// The same behind TLS, where connections are not parked.
pub(super) async fn secure(door: Arc<Door>, place: Place, upgraded: Upgraded<TlsStream<TcpStream>>) {
    let mut attended = receive(&door, place.peer, upgraded).await;
    while let Some((socket, guest)) = attended {
        attended = listen(&door, place.peer, socket, guest).await;
    }
}

/// Goes on with a connection that was parked.
pub(super) async fn resume(door: Arc<Door>, parked: Parked) {
    let Parked { socket, guest, place } = parked;
    let socket = socket.wake(patience(&door));
    serve(door, socket, guest, place).await;
}

/// Listens until the socket ends or can be parked.
async fn serve(door: Arc<Door>, mut socket: Socket<Plain>, mut guest: Guest, place: Place) {
    while let Some((quiet, its_guest)) = listen(&door, place.peer, socket, guest).await {
        (socket, guest) = match quiet.rest() {
            Ok(socket) => match door.parking.park(Parked { socket, guest: its_guest, place: Arc::clone(&place) }) {
                Ok(()) => return,
                Err(back) => (back.socket.wake(patience(&door)), back.guest),
            },
            Err(socket) => (socket, its_guest), // Something came at this very moment.
        };
    }
}

fn patience(door: &Door) -> Patience {
    Patience { silence: door.silence, quiet: Some(QUIET) }
}

/// From the first frame until the client's hub has taken the greeting.
async fn receive<S: Line>(door: &Door, peer: IpAddr, upgraded: Upgraded<S>) -> Option<(Socket<S>, Guest)> {
    let Upgraded { stream, read_ahead, format, proof } = upgraded;
    let mut socket = Socket::new(stream, read_ahead, Outbox::new(format, Arc::clone(&door.budget)), patience(door));
    match Box::pin(greet(door, &mut socket, proof)).await {
        Ok(guest) => Some((socket, guest)),
        Err(fault) => {
            end(door, peer, socket, fault).await;
            None
        }
    }
}

/// Carries what is heard to the hub, until the socket ends or nothing happens any more.
async fn listen<S: Line>(
    door: &Door,
    peer: IpAddr,
    mut socket: Socket<S>,
    mut guest: Guest,
) -> Option<(Socket<S>, Guest)> {
    match carry(door, &mut socket, &mut guest).await {
        Carried::Quiet => Some((socket, guest)),
        Carried::Ended { reason, fault } => {
            guest.hub.tell(Event::Closed { session: guest.session, reason }).await;
            end(door, peer, socket, fault).await;
            None
        }
    }
}

/// Closes a socket, with the fault if there is one that the hub knows nothing of.
async fn end<S: Line>(door: &Door, peer: IpAddr, socket: Socket<S>, fault: Option<PeerFault>) {
    if let Some(fault) = fault {
        tracing::debug!(code = fault.code.as_str(), "a socket is closed");
        let code = fault.code;
        door.metrics.refused(code);
        if code == FaultCode::Unauthorized {
            door.limits.failed(peer);
        }
        let farewell = encode_message(&ServerMessage::Fault(fault), socket.outbox().format());
        socket.outbox().close([farewell, encode_close(Some(code))]);
    }
    Box::pin(socket.finish()).await;
}

/// Whoever has greeted.
pub(super) struct Guest {
    hub: Hub,
    session: SessionId,
    client: ClientId,
    /// What was proved last, to be judged again when the rules change.
    proof: Proof,
    /// As the hub knows it.
    until: Option<Timestamp>,
    /// By which of the door's rules it was judged last.
    pub(super) rules: u64,
    allowance: Allowance,
}

/// Waits for the greeting and takes it to its hub. An error without a fault is a connection that ended.
async fn greet<S: Line>(door: &Door, socket: &mut Socket<S>, proof: Proof) -> Result<Guest, Option<PeerFault>> {
    let rules = *door.access.changes().borrow();
    let heard = tokio::select! {
        heard = tokio::time::timeout(door.greet_timeout, first(socket)) => {
            heard.map_err(|_| PeerFault::new(FaultCode::TooSlow, "no greeting came in time"))?
        }
        () = door.closing.cancelled() => return Err(Some(going_away())),
    };
    let mut hello = hello(heard, socket.outbox().format())?;
    let proof = match hello.token.take() {
        Some(credential) => door.access.judge(Some(&credential)).await?,
        None => proof,
    };
    let client = hello.client.clone();
    let until = door.access.admit(&proof, &client, door.clock)?;
    let hub = door.hubs.of(&client);
    let session = hub.open(Arc::clone(socket.outbox()), hello, until).await.ok_or_else(going_away)?;
    Ok(Guest { hub, session, client, proof, until, rules, allowance: door.limits.allowance() })
}

/// Who has not greeted is not parked.
async fn first<S: Line>(socket: &mut Socket<S>) -> Heard {
    loop {
        match socket.next().await {
            Heard::Nothing => {}
            heard => return heard,
        }
    }
}

fn hello(heard: Heard, format: Format) -> Result<Hello, Option<PeerFault>> {
    let malformed = |why: String| PeerFault::new(FaultCode::Malformed, why);
    let message = match heard {
        Heard::Text(text) => ClientMessage::decode(&*text, format),
        Heard::Binary(bytes) => ClientMessage::decode(&*bytes, format),
        Heard::TooLarge => return Err(Some(too_large())),
        Heard::Garbage(why) => return Err(Some(malformed(why))),
        Heard::Gone(_) | Heard::Finished | Heard::Nothing => return Err(None),
    };
    match message {
        Ok(ClientMessage::Hello(hello)) => Ok(hello),
        Ok(_) => Err(Some(malformed("the first message must be a greeting (`hello`)".into()))),
        Err(Malformed { why }) => Err(Some(malformed(why))),
    }
}

/// Why nothing more is carried to the hub.
enum Carried {
    /// For now: nothing happens.
    Quiet,
    /// For good. The fault, if any, is one that the hub knows nothing of.
    Ended { reason: ClosedReason, fault: Option<PeerFault> },
}

impl Carried {
    const fn fault(fault: PeerFault) -> Self {
        Self::Ended { reason: ClosedReason::Broken, fault: Some(fault) }
    }
}

async fn carry<S: Line>(door: &Door, socket: &mut Socket<S>, guest: &mut Guest) -> Carried {
    let (mut changes, format) = (door.access.changes(), socket.outbox().format());
    loop {
        if guest.rules != *changes.borrow_and_update()
            && let Err(fault) = guest.judge_again(door).await
        {
            return Carried::fault(fault);
        }
        let heard = tokio::select! {
            heard = socket.next() => heard,
            Ok(()) = changes.changed() => continue,
        };
        if heard != Heard::Nothing
            && let Err(fault) = guest.allowance.take(Instant::now())
        {
            return Carried::fault(fault);
        }
        match heard {
            Heard::Text(text) => {
                if let Err(fault) = guest.hear(door, ClientMessage::decode(&*text, format)).await {
                    return Carried::fault(fault);
                }
            }
            Heard::Binary(bytes) => {
                if let Err(fault) = guest.hear(door, ClientMessage::decode(&*bytes, format)).await {
                    return Carried::fault(fault);
                }
            }
            Heard::TooLarge => return Carried::fault(too_large()),
            Heard::Garbage(why) => return Carried::fault(PeerFault::new(FaultCode::Malformed, why)),
            Heard::Gone(reason) => return Carried::Ended { reason, fault: None },
            // The hub closed it, and knows.
            Heard::Finished => return Carried::Ended { reason: ClosedReason::Broken, fault: None },
            Heard::Nothing => return Carried::Quiet,
        }
    }
}

impl Guest {
    /// Takes a message to the hub; a new credential is judged here.
    async fn hear(&mut self, door: &Door, message: Result<ClientMessage, Malformed>) -> Result<(), PeerFault> {
        if let Ok(ClientMessage::Credential(credential)) = &message {
            return Box::pin(self.renew(door, credential.reveal())).await;
        }
        let (session, message) = (self.session, message.map(without_credential));
        self.hub.tell(Event::Received { session, message }).await;
        Ok(())
    }

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
        self.rules = *door.access.changes().borrow();
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
