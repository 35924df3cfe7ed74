//! The upgrade of a request to a WebSocket: everything that can be judged before the first frame.

use super::{Door, Place, attend};
use crate::access::Proof;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::wire::Format;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Answers a request for a WebSocket, and attends to it once it is open.
pub(super) async fn upgrade(State(door): State<Arc<Door>>, mut request: Request) -> Response {
    let Some(place) = request.extensions_mut().remove::<Place>() else {
        return Refusal::from(PeerFault::new(FaultCode::Internal, "the connection has no place")).into_response();
    };
    let judged = match door.limits.judge(place.peer) {
        Ok(()) => judge(&door, request.headers()).await,
        Err(fault) => Err(fault.into()),
    };
    let accepted = match judged {
        Ok(accepted) => accepted,
        Err(refusal) => {
            door.metrics.refused(refusal.fault.code);
            if refusal.fault.code == FaultCode::Unauthorized {
                door.limits.failed(place.peer);
            }
            return refusal.into_response();
        }
    };
    let format = accepted.format;
    let upgrading = hyper::upgrade::on(&mut request);
    let tasks = door.tasks.clone();
    tasks.spawn(async move {
        match upgrading.await {
            Ok(upgraded) => {
                // The stream below hyper is attended to directly. A plain one, being the most frequent, is looked for first.
                match unwrap::<TcpStream>(upgraded) {
                    Ok((stream, read_ahead)) => {
                        let stream = stream.into();
                        let upgraded = attend::Upgraded { stream, read_ahead, format, proof: accepted.proof };
                        attend::plain(door, place, upgraded).await;
                    }
                    Err(upgraded) => match unwrap::<TlsStream<TcpStream>>(upgraded) {
                        Ok((stream, read_ahead)) => {
                            let upgraded = attend::Upgraded { stream, read_ahead, format, proof: accepted.proof };
                            Box::pin(attend::secure(door, place, upgraded)).await;
                        }
                        Err(_) => tracing::error!("a connection is neither TCP nor TLS"),
                    },
                }
            }
            Err(why) => tracing::debug!(%why, "an upgrade broke"),
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accepted.answer)
        .header(header::SEC_WEBSOCKET_PROTOCOL, format.subprotocol())
        .body(Body::empty())
        .expect("these headers are valid")
}

/// The stream below hyper, if it is of this type, and what hyper had read beyond the request.
fn unwrap<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(upgraded: Upgraded) -> Result<(S, Vec<u8>), Upgraded> {
    let parts = upgraded.downcast::<TokioIo<S>>()?;
    Ok((parts.io.into_inner(), parts.read_buf.to_vec()))
}

struct Accepted {
    answer: String,
    format: Format,
    proof: Proof,
}

/// Why a request is not upgraded.
struct Refusal {
    status: StatusCode,
    header: Option<(HeaderName, HeaderValue)>,
    fault: PeerFault,
}

async fn judge(door: &Door, headers: &HeaderMap) -> Result<Accepted, Refusal> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key =
        key.filter(|_| names(headers, &header::UPGRADE, "websocket") && names(headers, &header::CONNECTION, "upgrade"));
    let Some(key) = key else { return Err(not_a_websocket("this address speaks WebSocket only")) };
    if text(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(not_a_websocket("this address speaks version 13 of WebSocket only"));
    }
    // The client names those that it speaks, the one it likes best first.
    let Some(format) = words(headers, &header::SEC_WEBSOCKET_PROTOCOL).find_map(Format::of_subprotocol) else {
        let spoken = Format::ALL.map(Format::subprotocol).join(", ");
        let message = format!("the subprotocol must be one that this server speaks: {spoken}");
        return Err(PeerFault::new(FaultCode::UnknownVersion, message).into());
    };
    door.access.judge_origin(text(headers, &header::ORIGIN), text(headers, &header::HOST))?;
    let proof = door.access.judge(bearer(headers)?).await?;
    Ok(Accepted { answer: derive_accept_key(key.as_bytes()), format, proof })
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, PeerFault> {
    let wrong =
        || PeerFault::new(FaultCode::Unauthorized, "the header Authorization must be `Bearer` and a credential");
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let (scheme, credential) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(wrong)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(credential.trim())) } else { Err(wrong()) }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a header that lists words has this one.
fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|one| one.eq_ignore_ascii_case(word))
}

/// The words that a header lists, in order.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

fn not_a_websocket(message: &str) -> Refusal {
    Refusal {
        status: StatusCode::UPGRADE_REQUIRED,
        header: Some((header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))),
        fault: PeerFault::new(FaultCode::Malformed, message),
    }
}

impl From<PeerFault> for Refusal {
    fn from(fault: PeerFault) -> Self {
        let (status, header) = match fault.code {
            FaultCode::Unauthorized | FaultCode::Expired => {
                (StatusCode::UNAUTHORIZED, Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))))
            }
            FaultCode::Forbidden => (StatusCode::FORBIDDEN, None),
            FaultCode::TooMany => (StatusCode::TOO_MANY_REQUESTS, Some(come_again(60..=90))),
            FaultCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Some(come_again(30..=90))),
            FaultCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
            _ => (StatusCode::BAD_REQUEST, None),
        };
        Self { status, header, fault }
    }
}

/// When to come again, in seconds: not all at the same time.
fn come_again(seconds: RangeInclusive<u16>) -> (HeaderName, HeaderValue) {
    (header::RETRY_AFTER, HeaderValue::from(rand::random_range(seconds)))
}

impl Refusal {
    fn into_response(self) -> Response {
        tracing::debug!(code = self.fault.code.as_str(), "an upgrade is refused");
        let body = serde_json::json!({ "v": 1, "error": self.fault });
        let mut response = Response::builder().status(self.status).header(header::CONTENT_TYPE, "application/json");
        if let Some((name, value)) = self.header {
            response = response.header(name, value);
        }
        response.body(Body::from(format!("{body}\n"))).expect("these headers are valid")
    }
}
