//! What a socket stands on.

use rustix::net::Shutdown;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection below a WebSocket.
pub trait Line: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether it tells that bytes have come without being given a buffer for them. Only such a line can rest.
    const TELLS: bool;

    /// Ready when there may be something to read; always, if it does not tell.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// The connection, if what is written to it goes over the wire as it is.
    fn direct(&self) -> Option<Weak<TcpStream>>;
}

/// A connection whose task owns it, and to which others may write for as long as it does.
#[derive(Debug)]
pub struct Plain(Arc<TcpStream>);

impl From<TcpStream> for Plain {
    fn from(stream: TcpStream) -> Self {
        Self(Arc::new(stream))
    }
}

impl Line for Plain {
    const TELLS: bool = true;

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(cx).map(drop) // What is wrong with it is found out by reading.
    }

    fn direct(&self) -> Option<Weak<TcpStream>> {
        Some(Arc::downgrade(&self.0))
    }
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|n| buffer.advance(n))),
            }
        }
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(slices) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&*self.0, Shutdown::Write).map_err(Into::into))
    }
}

/// Its own buffers may hold what the connection below it no longer does.
impl Line for TlsStream<TcpStream> {
    const TELLS: bool = false;

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn direct(&self) -> Option<Weak<TcpStream>> {
        None
    }
}

#[cfg(test)]
impl Line for tokio::io::DuplexStream {
    const TELLS: bool = false;

    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn direct(&self) -> Option<Weak<TcpStream>> {
        None
    }
}
