//! One client's connection: a task that waits for readability and owns no buffer while it waits.

use super::Fleet;
use super::frame::{self, Frame};
use super::session::{Next, Session};
use crate::bench::process::now_us;
use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};

/// So many connections leave from one loopback address: there are about 28,000 ports.
const PER_ADDRESS: usize = 20_000;
/// How long a server may take to answer the upgrade.
const UPGRADE_MAX: Duration = Duration::from_secs(60);
/// A client that was refused or cut comes back after this, and up to as much again.
const BACK_OFF: Duration = Duration::from_millis(250);

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) no: usize,
    pub(super) session: RefCell<Session>,
    writer: RefCell<Option<Writer>>,
    attempts: RefCell<u64>,
}

#[derive(Debug)]
struct Writer {
    half: OwnedWriteHalf,
    /// What the system did not take at once.
    waiting: Vec<u8>,
}

impl Client {
    pub(super) fn new(no: usize, session: Session) -> Self {
        Self { no, session: RefCell::new(session), writer: RefCell::default(), attempts: RefCell::default() }
    }

    /// Says something, if it is connected.
    pub(super) fn say(&self, text: &str) {
        let mut writer = self.writer.borrow_mut();
        let Some(writer) = writer.as_mut() else { return };
        if writer.waiting.is_empty() {
            let frame = frame::masked(text);
            let written = writer.half.try_write(&frame).unwrap_or(0);
            writer.waiting.extend_from_slice(&frame[written..]);
        } else {
            writer.waiting.extend_from_slice(&frame::masked(text));
        }
    }

    /// Says again what the system did not take.
    pub(super) fn flush(&self) {
        if let Some(writer) = self.writer.borrow_mut().as_mut()
            && !writer.waiting.is_empty()
        {
            let written = writer.half.try_write(&writer.waiting).unwrap_or(0);
            writer.waiting.drain(..written);
        }
    }

    /// Lets go of the connection's other half.
    pub(super) fn hang_up(&self) {
        *self.writer.borrow_mut() = None;
        self.session.borrow_mut().live = false;
    }
}

/// Connects and stays connected, coming back after faults, until it is dropped.
pub(super) async fn stay(fleet: Rc<Fleet>, client: Rc<Client>) {
    loop {
        // Only so many at once are on their way, if that was asked for.
        let permit = fleet.dialling.acquire().await;
        let ended = match dial(&fleet, &client).await {
            Ok((reader, rest)) => listen(&fleet, &client, reader, rest, permit.ok()).await,
            Err(why) => {
                drop(permit);
                why.kind().to_string()
            }
        };
        client.hang_up();
        fleet.broken(ended);
        tokio::time::sleep(BACK_OFF.mul_f64(1.0 + rand::random::<f64>())).await;
    }
}

/// Opens the connection and greets. Bytes that came with the answer to the upgrade are returned.
async fn dial(fleet: &Fleet, client: &Client) -> io::Result<(OwnedReadHalf, Vec<u8>)> {
    let mut stream = connect(fleet.address, fleet.plan.first + client.no).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /api/sync HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: dormouse.v1.json\r\n\r\n",
        fleet.plan.address
    );
    let upgraded = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok((answer.starts_with(b"HTTP/1.1 101"), answer.split_off(end + 4)));
            }
        }
    };
    let (accepted, rest) = tokio::time::timeout(UPGRADE_MAX, upgraded).await.map_err(|_| io::ErrorKind::TimedOut)??;
    if !accepted {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (reader, half) = stream.into_split();
    *client.writer.borrow_mut() = Some(Writer { half, waiting: Vec::new() });
    *client.attempts.borrow_mut() += 1;
    if client.no == 0 && !fleet.greeted.get() {
        fleet.greeting.borrow_mut().clear(); // What came of an attempt that was refused is no greeting.
    }
    let name = format!("{}-{}", fleet.plan.name, fleet.plan.first + client.no);
    let attempt = *client.attempts.borrow();
    let hello = client.session.borrow_mut().hello(&name, attempt, fleet.plan.table.as_deref());
    client.say(&hello);
    Ok((reader, rest))
}

async fn connect(address: SocketAddr, no: usize) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.ip() == Ipv4Addr::LOCALHOST && no >= PER_ADDRESS {
        let host = u8::try_from(1 + no / PER_ADDRESS).map_err(|_| io::ErrorKind::AddrNotAvailable)?;
        socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into())?;
    }
    socket.connect(address).await
}

/// Takes what comes until the connection ends; returns why. The permit is given back once the client is live.
async fn listen<P>(
    fleet: &Fleet,
    client: &Client,
    mut reader: OwnedReadHalf,
    mut rest: Vec<u8>,
    mut permit: Option<P>,
) -> String {
    let mut last_page = 0;
    loop {
        match take(fleet, client, &rest, &mut last_page) {
            Ok(taken) if taken == rest.len() => rest = Vec::new(),
            Ok(taken) => drop(rest.drain(..taken)),
            Err(why) => return why,
        }
        if permit.is_some() && client.session.borrow().live {
            permit = None;
            fleet.is_live();
        }
        while fleet.deaf.get() {
            fleet.hear.notified().await;
        }
        match read(fleet, client, &mut reader, &mut rest, &mut last_page).await {
            Ok(true) => {}
            Ok(false) => return "closed by the server".into(),
            Err(Trouble::Io(why)) => return why.kind().to_string(),
            Err(Trouble::Said(why)) => return why,
        }
    }
}

enum Trouble {
    Io(io::Error),
    Said(String),
}

/// Reads once into the buffer that all clients share; what is left of an unfinished frame is kept in `rest`.
async fn read(
    fleet: &Fleet,
    client: &Client,
    reader: &mut OwnedReadHalf,
    rest: &mut Vec<u8>,
    last_page: &mut u64,
) -> Result<bool, Trouble> {
    std::future::poll_fn(|cx| {
        let mut shared = fleet.buffer.borrow_mut();
        let mut buffer = ReadBuf::new(&mut shared);
        let polled = tokio::io::AsyncRead::poll_read(std::pin::Pin::new(reader), cx, &mut buffer);
        std::task::ready!(polled).map_err(Trouble::Io)?;
        let new = buffer.filled();
        fleet.count(new.len());
        if new.is_empty() {
            return Ok(false).into();
        }
        if rest.is_empty() {
            let taken = take(fleet, client, new, last_page).map_err(Trouble::Said)?;
            rest.extend_from_slice(&new[taken..]);
        } else {
            rest.extend_from_slice(new);
        }
        Ok(true).into()
    })
    .await
}

/// Takes whole frames off the front, and says what follows from them. Returns how many bytes were taken.
fn take(fleet: &Fleet, client: &Client, bytes: &[u8], last_page: &mut u64) -> Result<usize, String> {
    let mut taken = 0;
    let at = u32::try_from(now_us() - fleet.started_us + 1).unwrap_or(u32::MAX);
    while let Ok((frame, end)) = frame::first(&bytes[taken..]) {
        taken += end;
        match frame {
            Frame::Text(b"pong") | Frame::Other => {}
            Frame::Text(text) => {
                let message = fleet.recent.borrow_mut().parse(text, last_page)?;
                let mut session = client.session.borrow_mut();
                if client.no == 0 && fleet.plan.keep_frames && !fleet.greeted.get() {
                    fleet.greeting.borrow_mut().push(String::from_utf8_lossy(text).into_owned());
                }
                let noted = session.noted;
                let next = session.on_message(&message, text.len(), at);
                fleet.noted(session.noted - noted);
                if client.no == 0 && session.live {
                    fleet.greeted.set(true);
                }
                drop(session);
                match next {
                    Next::On => {}
                    Next::Say(text) => client.say(&text),
                    Next::Leave(why) => return Err(why),
                }
            }
            Frame::Close => return Err("closed by the server".into()),
        }
    }
    Ok(taken)
}
