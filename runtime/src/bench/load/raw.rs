//! The least that a server of the same bytes must do, in a process of its own: it opens WebSockets, greets every client
//! with the same frames, sends everybody the frames it is told, and reads acknowledgements without looking at them.

use super::commands;
use super::frame;
use super::wire::RawCommand;
use crate::cli::CommandError;
use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::{Rc, Weak};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

const BUFFER_BYTES: usize = 64 * 1024;
/// As many as the system allows may wait to be accepted.
const BACKLOG: u32 = 65_535;

struct Server {
    /// All frames of a greeting.
    greeting: RefCell<Rc<[u8]>>,
    peers: RefCell<Vec<Weak<Peer>>>,
    buffer: RefCell<Vec<u8>>,
}

struct Peer {
    half: OwnedWriteHalf,
    /// What the system did not take at once.
    waiting: RefCell<Vec<u8>>,
    more: Notify,
}

/// Serves, as told on standard input, until that ends. Says its port first.
pub(in crate::bench) fn run() -> Result<(), CommandError> {
    let environment = |why: io::Error| CommandError::Environment(why.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(environment)?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpSocket::new_v4().map_err(environment)?;
        listener.bind((Ipv4Addr::LOCALHOST, 0).into()).map_err(environment)?;
        let listener = listener.listen(BACKLOG).map_err(environment)?;
        println!("{}", listener.local_addr().map_err(environment)?.port());
        let server = Rc::new(Server {
            greeting: RefCell::new([].into()),
            peers: RefCell::default(),
            buffer: RefCell::new(vec![0; BUFFER_BYTES]),
        });
        let accepting = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    let server = Rc::clone(&accepting);
                    tokio::task::spawn_local(async move { server.serve(stream).await });
                }
            }
        });
        let mut commands = commands::<RawCommand>();
        while let Some(command) = commands.recv().await {
            match command {
                RawCommand::Greet { texts } => {
                    *server.greeting.borrow_mut() = texts.iter().flat_map(|text| frame::plain(text)).collect();
                }
                RawCommand::Broadcast { text } => server.broadcast(&frame::plain(&text)),
            }
        }
        Ok(())
    })
}

impl Server {
    /// Opens a connection, and reads what comes until it ends. A peer that fails is gone.
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: dormouse.v1.json\r\n\r\n";
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        stream.write_all(ANSWER).await?;
        request.clear();
        while frame::first(&request).is_err() {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let greeting = Rc::clone(&self.greeting.borrow());
        stream.write_all(&greeting).await?;
        let (mut reader, half) = stream.into_split();
        let peer = Rc::new(Peer { half, waiting: RefCell::default(), more: Notify::new() });
        self.peers.borrow_mut().push(Rc::downgrade(&peer));
        loop {
            tokio::select! {
                open = self.discard(&mut reader) => if !open? { return Ok(()) },
                written = peer.write() => written?,
            }
        }
    }

    async fn discard(&self, reader: &mut OwnedReadHalf) -> io::Result<bool> {
        std::future::poll_fn(|cx| {
            let mut shared = self.buffer.borrow_mut();
            let mut buffer = tokio::io::ReadBuf::new(&mut shared);
            let polled = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(reader), cx, &mut buffer);
            std::task::ready!(polled)?;
            Ok(!buffer.filled().is_empty()).into()
        })
        .await
    }

    fn broadcast(&self, frame: &[u8]) {
        self.peers.borrow_mut().retain(|peer| {
            let peer = peer.upgrade();
            peer.iter().for_each(|peer| peer.send(frame));
            peer.is_some()
        });
    }
}

impl Peer {
    fn send(&self, frame: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        let written = if waiting.is_empty() { self.half.try_write(frame).unwrap_or(0) } else { 0 };
        if written < frame.len() {
            waiting.extend_from_slice(&frame[written..]);
            self.more.notify_one();
        }
    }

    /// Writes what waits, once something does.
    async fn write(&self) -> io::Result<()> {
        if self.waiting.borrow().is_empty() {
            self.more.notified().await;
        }
        self.half.writable().await?;
        let mut waiting = self.waiting.borrow_mut();
        match self.half.try_write(&waiting) {
            Ok(written) => drop(waiting.drain(..written)),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }
}
