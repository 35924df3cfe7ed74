//! A TCP proxy between clients and the server, which can cut connections and let them go silent.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Forwards connections to a server, for as long as it is not dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    connections: Arc<Connections>,
    _acceptor: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// Bytes are neither read nor sent, and nobody is told.
    Stalled,
    Cut,
}

#[derive(Debug, Default)]
struct Connections {
    health: Mutex<(u64, BTreeMap<u64, watch::Sender<Health>>)>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, watch::Sender<Health>>)> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// Forwards to `upstream` on the loopback interface. A connection that the server does not take is closed.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let connections = Arc::new(Connections::default());
        let acceptor = tokio::spawn(accept(listener, upstream, Arc::clone(&connections)));
        Ok(Self { port, connections, _acceptor: AbortOnDropHandle::new(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the connections that `chosen` says, and returns how many.
    pub fn cut(&self, chosen: impl FnMut() -> bool) -> usize {
        self.set(Health::Cut, chosen)
    }

    /// Lets connections go silent without closing them, and returns how many.
    pub fn stall(&self, chosen: impl FnMut() -> bool) -> usize {
        self.set(Health::Stalled, chosen)
    }

    fn set(&self, health: Health, mut chosen: impl FnMut() -> bool) -> usize {
        let connections = self.connections.lock();
        let mut hit = 0;
        for connection in connections.1.values().filter(|_| chosen()) {
            connection.send_replace(health);
            hit += 1;
        }
        hit
    }
}

async fn accept(listener: TcpListener, upstream: u16, connections: Arc<Connections>) {
    // Aborted with the proxy, and so are those that it holds.
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        let connections = Arc::clone(&connections);
        tasks.spawn(async move {
            let Ok(far) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (sender, health) = watch::channel(Health::Good);
            let id = {
                let mut connections = connections.lock();
                connections.0 += 1;
                let id = connections.0;
                connections.1.insert(id, sender);
                id
            };
            carry(near, far, health).await;
            connections.lock().1.remove(&id);
        });
        while tasks.try_join_next().is_some() {}
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut health: watch::Receiver<Health>) {
    let carried = {
        let carry = tokio::io::copy_bidirectional(&mut near, &mut far);
        tokio::select! {
            _ = carry => None,
            changed = health.wait_for(|health| *health != Health::Good) => changed.ok().map(|health| *health),
        }
    };
    if carried == Some(Health::Stalled) {
        // Held open in silence until it is cut, or until one side gives up.
        tokio::select! {
            _ = health.wait_for(|health| *health == Health::Cut) => {}
            () = gone(&near) => {}
        }
    }
    let _ = (near.shutdown().await, far.shutdown().await);
}

/// Waits until a peer has closed its end.
async fn gone(stream: &TcpStream) {
    let mut buffer = [0; 1];
    while matches!(stream.peek(&mut buffer).await, Ok(1)) {
        // Unread bytes hide the end of the stream: look again when there may be news.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
