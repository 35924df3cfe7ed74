//! A WebSocket that says whatever a test wants.

use super::PATIENCE;
use async_tungstenite::WebSocketStream;
use async_tungstenite::tokio::{TokioAdapter, client_async};
use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::{Error, Message};
use dormouse_core::fault::FaultCode;
use dormouse_core::wire::json::{ServerDecoder, encode_client};
use dormouse_core::wire::{ClientMessage, Format, ServerMessage};
use futures::StreamExt;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const PING_EVERY: Duration = Duration::from_secs(10);

/// One connection.
pub struct Raw {
    socket: WebSocketStream<TokioAdapter<TcpStream>>,
    decoder: ServerDecoder,
}

impl Raw {
    /// Opens a connection of the protocol's present version.
    pub async fn dial(port: u16) -> Self {
        Self::dial_as(port, Format::Json.subprotocol()).await.expect("the server takes the connection")
    }

    /// Opens a connection of some version, if the server does.
    pub async fn dial_as(port: u16, version: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut request = format!("ws://127.0.0.1:{port}/api/sync").into_client_request()?;
        let version = HeaderValue::from_str(version).expect("a header's characters");
        request.headers_mut().insert("sec-websocket-protocol", version);
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self { socket, decoder: ServerDecoder::default() })
    }

    /// Sends any frame.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// Sends a text.
    pub async fn text(&mut self, text: impl Into<String>) {
        let _ = self.socket.send(Message::text(text.into())).await; // The server may have closed already: then it says so.
    }

    /// Puts bytes on the wire that need not be whole frames.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        let stream = self.socket.get_mut().get_mut();
        stream.write_all(bytes).await.expect("the server is there");
    }

    /// Waits for the answer to a `ping`; nothing else may come before it.
    pub async fn pong(&mut self) {
        let answer = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server answers");
        assert_eq!(answer.and_then(Result::ok), Some(Message::text("pong")));
    }

    /// Says nothing until the connection ends, and tells when that was.
    pub async fn ended(&mut self) -> Instant {
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(PATIENCE, rest).await.expect("the server closes it");
        Instant::now()
    }

    /// Sends a message of the protocol.
    pub async fn say(&mut self, message: &ClientMessage) {
        self.text(encode_client(message)).await;
    }

    /// The next message; `None` once the server has closed.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        let next = async {
            loop {
                // Like any client that is well, it lets itself be heard.
                let Ok(frame) = tokio::time::timeout(PING_EVERY, self.socket.next()).await else {
                    self.socket.send(Message::text("ping")).await.ok()?;
                    continue;
                };
                match frame? {
                    Ok(Message::Text(text)) if text.as_str() == "pong" => {}
                    Ok(Message::Text(text)) => return Some(self.decoder.decode(&text).expect("the protocol")),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("the server answers or closes")
    }

    /// Passes over all else and returns the fault with which the server closes, if it names one.
    pub async fn fault(&mut self) -> Option<FaultCode> {
        while let Some(message) = self.next().await {
            if let ServerMessage::Fault(fault) = message {
                assert!(!fault.message.is_empty(), "a fault has a sentence");
                assert!(self.next().await.is_none(), "nothing follows a fault");
                return Some(fault.code);
            }
        }
        None
    }
}
