//! One dialled connection: connects, greets WebSocket to WebSocket, then carries frames both ways.

use super::{OpenError, Options, Stream as Open};
use async_tungstenite::tokio::{TokioAdapter, client_async_with_config};
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::handshake::client::Request;
use async_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode, header};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Error as WsError, Message};
use async_tungstenite::{WebSocketReceiver, WebSocketSender, WebSocketStream};
use dormouse_core::client::{Input, SocketId};
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::limits::SERVER_FRAME_BYTES_MAX;
use dormouse_core::wire::{ClientMessage, Decoder, Format, Payload, ServerMessage};
use futures::StreamExt;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender};

/// How long a closing connection may take to say so.
const GOODBYE: Duration = Duration::from_secs(1);

type Stream = TokioAdapter<Open>;

/// What goes out on a connection.
#[derive(Debug)]
pub(super) enum Outgoing {
    Message(ClientMessage),
    Ping,
}

/// Lives as long as the connection does, and tells what happens to it. Closes it when `outbox` is closed.
pub(super) async fn run(socket: SocketId, options: Options, inputs: Sender<Input>, mut outbox: Receiver<Outgoing>) {
    let dialled = tokio::select! {
        dialled = dial(&options) => dialled,
        () = closed(&mut outbox) => return,
    };
    let why = match dialled {
        Ok((stream, format)) => {
            if inputs.send(Input::Connected { socket }).await.is_err() {
                return;
            }
            pump(socket, stream, format, &inputs, &mut outbox).await
        }
        Err(DialError::Unreachable(why)) => Some(why),
        Err(DialError::Refused(fault)) => {
            // The server spoke, though not yet in frames: the machine hears it as any other fault.
            let _ = inputs.send(Input::Connected { socket }).await;
            let why = fault.message.clone();
            let message = Ok(ServerMessage::Fault(fault));
            let _ = inputs.send(Input::Received { socket, message }).await;
            Some(why)
        }
    };
    if let Some(why) = why {
        let _ = inputs.send(Input::Closed { socket, why }).await;
    }
}

enum DialError {
    Unreachable(String),
    Refused(PeerFault),
}

impl From<WsError> for DialError {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Http(response) => refusal(&response),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<OpenError> for DialError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(why) => Self::Unreachable(why),
            // A certificate is renewed one day: it is tried again like all else, but not in silence.
            OpenError::Untrusted(why) => {
                tracing::warn!("{why}");
                Self::Unreachable(why)
            }
        }
    }
}

/// What the body of a refused upgrade says.
#[derive(serde::Deserialize)]
struct Refusal {
    error: PeerFault,
}

fn refusal(response: &Response<Option<Vec<u8>>>) -> DialError {
    let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let message = format!("the server answered {}: {}", response.status(), body.trim());
    let said = response.body().as_deref().and_then(|body| serde_json::from_slice::<Refusal>(body).ok());
    let code = match (said, response.status()) {
        (Some(refusal), _) => refusal.error.code,
        (None, StatusCode::UNAUTHORIZED) => FaultCode::Unauthorized,
        (None, StatusCode::FORBIDDEN) => FaultCode::Forbidden,
        (None, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => FaultCode::UnknownVersion,
        (None, _) => return DialError::Unreachable(message),
    };
    DialError::Refused(PeerFault::new(code, message))
}

async fn dial(options: &Options) -> Result<(WebSocketStream<Stream>, Format), DialError> {
    let stream = options.security.open(&options.address).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(4 * 1024)
        .max_write_buffer_size(1024 * 1024)
        .max_message_size(Some(SERVER_FRAME_BYTES_MAX))
        .max_frame_size(Some(SERVER_FRAME_BYTES_MAX));
    let (stream, response) = client_async_with_config(request(options)?, stream, Some(config)).await?;
    let agreed = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|agreed| agreed.to_str().ok());
    Ok((stream, agreed.and_then(Format::of_subprotocol).unwrap_or_default()))
}

fn request(options: &Options) -> Result<Request, DialError> {
    let mut request = options.address.to_string().into_client_request()?;
    let headers = request.headers_mut();
    // Every server speaks plain JSON.
    let formats = match options.format {
        Format::Json => HeaderValue::from_static(Format::Json.subprotocol()),
        format => HeaderValue::from_str(&format!("{format}, {}", Format::Json)).expect("subprotocols are plain words"),
    };
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, formats);
    if let Some(credential) = &options.config.token {
        let value = HeaderValue::from_str(&format!("Bearer {credential}"));
        let mut value = value.map_err(|_| {
            DialError::Refused(PeerFault::new(
                FaultCode::Unauthorized,
                "the credential has characters that a header cannot carry",
            ))
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Ok(request)
}

/// Carries frames until the connection ends, and says why; `None` when we ended it.
async fn pump(
    socket: SocketId,
    stream: WebSocketStream<Stream>,
    format: Format,
    inputs: &Sender<Input>,
    outbox: &mut Receiver<Outgoing>,
) -> Option<String> {
    let (mut sender, mut receiver) = stream.split();
    let mut decoder = Decoder::new(format);
    let mut going = Vec::with_capacity(16);
    loop {
        tokio::select! {
            frame = receiver.next() => match hear(socket, frame, &mut decoder) {
                Heard::Input(input) => inputs.send(*input).await.ok()?,
                Heard::Nothing => {}
                Heard::End(why) => return Some(why),
            },
            count = outbox.recv_many(&mut going, 16) => {
                if count == 0 {
                    let _ = tokio::time::timeout(GOODBYE, say_goodbye(sender, receiver)).await;
                    return None;
                }
                if let Err(error) = send(&mut sender, format, &mut going).await {
                    return Some(error.to_string());
                }
            }
        }
    }
}

enum Heard {
    Input(Box<Input>),
    Nothing,
    End(String),
}

fn hear(socket: SocketId, frame: Option<Result<Message, WsError>>, decoder: &mut Decoder) -> Heard {
    match frame {
        Some(Ok(Message::Text(text))) if text.as_str() == "pong" => Heard::Input(Box::new(Input::Heard { socket })),
        Some(Ok(Message::Text(text))) => {
            Heard::Input(Box::new(Input::Received { socket, message: decoder.decode(text.as_str()) }))
        }
        Some(Ok(Message::Binary(bytes))) => {
            Heard::Input(Box::new(Input::Received { socket, message: decoder.decode(&*bytes) }))
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Nothing,
        Some(Ok(Message::Close(Some(close)))) => Heard::End(format!("closed by the server: {}", close.reason)),
        Some(Ok(Message::Close(None))) | None => Heard::End("closed by the server".into()),
        Some(Err(error)) => Heard::End(error.to_string()),
    }
}

async fn send(sender: &mut WebSocketSender<Stream>, format: Format, going: &mut Vec<Outgoing>) -> Result<(), WsError> {
    for outgoing in going.drain(..) {
        let message = match outgoing {
            Outgoing::Message(message) => match message.encode(format) {
                Payload::Text(text) => Message::text(text.into_owned()),
                Payload::Binary(bytes) => Message::binary(bytes.into_owned()),
            },
            Outgoing::Ping => Message::text("ping"),
        };
        sender.send(message).await?;
    }
    Ok(())
}

async fn say_goodbye(mut sender: WebSocketSender<Stream>, mut receiver: WebSocketReceiver<Stream>) {
    if sender.close(None).await.is_ok() {
        // The server closes the connection once it has answered.
        while let Some(Ok(_)) = receiver.next().await {}
    }
}

/// Waits until nothing will go out any more. What goes out before the connection is open has no addressee.
async fn closed(outbox: &mut Receiver<Outgoing>) {
    while outbox.recv().await.is_some() {}
}
