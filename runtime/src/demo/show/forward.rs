//! Carries requests on to the server, WebSockets included, and cuts those of a client when told to.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long a report may take.
const STATUS_PATIENCE: Duration = Duration::from_millis(400);
/// How long a socket waits for a server that is not there.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(3);

/// Forwards to one port of the loopback interface. A cheap handle.
#[derive(Debug, Clone)]
pub struct Forward {
    upstream: u16,
    lines: Arc<Mutex<Lines>>,
}

/// The open WebSockets, each with the name of its client and the token that cuts it.
#[derive(Debug, Default)]
struct Lines {
    last: u64,
    open: BTreeMap<u64, (String, CancellationToken)>,
}

impl Forward {
    /// Nothing is open yet.
    #[must_use]
    pub fn to(upstream: u16) -> Self {
        Self { upstream, lines: Arc::default() }
    }

    /// Cuts the connections of a client without a word to either side, and returns how many.
    pub fn cut(&self, client: &str) -> usize {
        let lines = self.lock();
        let of_client = lines.open.values().filter(|(name, _)| name == client);
        of_client.map(|(_, cut)| cut.cancel()).count()
    }

    /// Passes a request on, and its answer back. `/api/sync?client=NAME` names whose connection it is.
    pub async fn pass(&self, mut request: Request) -> Response {
        let client = request.uri().query().and_then(|query| query.strip_prefix("client=")).map(ToOwned::to_owned);
        let near = hyper::upgrade::on(&mut request);
        let mut response = match self.ask(request).await {
            Ok(response) => response,
            Err(why) => {
                tracing::debug!(%why, "the server does not answer");
                return (StatusCode::BAD_GATEWAY, "the server does not answer\n").into_response();
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let far = hyper::upgrade::on(&mut response);
            let forward = self.clone();
            tokio::spawn(async move { forward.carry(near, far, client.unwrap_or_default()).await });
        }
        response
    }

    /// The server's report of where it stands, if it answers soon.
    pub async fn status(&self) -> Option<serde_json::Value> {
        let request =
            Request::get("/api/replication/status").header(header::HOST, "127.0.0.1").body(Body::empty()).ok()?;
        let response = tokio::time::timeout(STATUS_PATIENCE, self.ask(request)).await.ok()?.ok()?;
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.ok()?;
        serde_json::from_slice(&body).ok()
    }

    /// Sockets wait a little for a server that is being started again, as behind a load balancer.
    async fn connect(&self, is_upgrade: bool) -> std::io::Result<TcpStream> {
        let deadline = tokio::time::Instant::now() + if is_upgrade { UPGRADE_PATIENCE } else { Duration::ZERO };
        loop {
            match TcpStream::connect(("127.0.0.1", self.upstream)).await {
                Err(_) if tokio::time::Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(25)).await,
                connected => return connected,
            }
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let stream = self.connect(request.headers().contains_key(header::UPGRADE)).await?;
        stream.set_nodelay(true)?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse()?;
        // One request per connection, unless it is to be upgraded.
        if !head.headers.contains_key(header::UPGRADE) {
            head.headers.insert(header::CONNECTION, "close".parse()?);
        }
        Ok(send.send_request(Request::from_parts(head, body)).await?.map(Body::new))
    }

    async fn carry(&self, near: hyper::upgrade::OnUpgrade, far: hyper::upgrade::OnUpgrade, client: String) {
        let (Ok(near), Ok(far)) = tokio::join!(near, far) else { return };
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        let cut = CancellationToken::new();
        let line = {
            let mut lines = self.lock();
            lines.last += 1;
            let line = lines.last;
            lines.open.insert(line, (client, cut.clone()));
            line
        };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            () = cut.cancelled() => {}
        }
        self.lock().open.remove(&line);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
