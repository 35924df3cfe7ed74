//! What a socket stands on.

use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection below a WebSocket.
pub trait Line: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether it tells that bytes have come without being given a buffer for them. Only such a line can rest.
    const TELLS: bool;

    /// Ready when there may be something to read; always, if it does not tell.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Line for TcpStream {
    const TELLS: bool = true;

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop) // What is wrong with it is found out by reading.
    }
}

/// Its own buffers may hold what the connection below it no longer does.
impl Line for TlsStream<TcpStream> {
    const TELLS: bool = false;

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[cfg(test)]
impl Line for tokio::io::DuplexStream {
    const TELLS: bool = false;

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
