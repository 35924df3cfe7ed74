//! The one port: HTTP routes, and WebSockets that are upgraded from it.

mod answer;
mod attend;
mod clients;
mod console;
mod limits;
mod operator;
mod parking;
mod reports;
mod upgrade;

pub use operator::OperatorAccess;

use crate::access::Access;
use crate::clock::Clock;
use crate::db::Database;
use crate::heartbeat::Heartbeat;
use crate::hub::Hubs;
use crate::metrics::Metrics;
use crate::replication;
use crate::socket::Budget;
use crate::tls::Acceptor;
use crate::wait::Waiting;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{any, get};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long nothing is accepted after accepting failed, as when the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub use limits::Limits;
pub use parking::{Arrivals, Parking};

/// What the routes need.
pub struct Door {
    /// How TLS is spoken; `None` speaks plain HTTP.
    pub tls: Option<Acceptor>,
    /// Who may come in.
    pub access: Arc<Access>,
    /// The time that hubs are told.
    pub clock: Clock,
    /// Who may look at what is for operators.
    pub operators: OperatorAccess,
    /// Whether replication makes progress.
    pub heartbeat: Heartbeat,
    /// The way to wait for it.
    pub waiting: Waiting,
    /// Who serves them.
    pub hubs: Hubs,
    /// What is asked for reports.
    pub database: Database,
    /// Where Replication stands.
    pub replication: watch::Receiver<replication::Report>,
    /// What is counted.
    pub metrics: Metrics,
    /// How much one peer may ask.
    pub limits: Limits,
    /// How long a socket may take to greet.
    pub greet_timeout: Duration,
    /// How long a socket may be silent.
    pub silence: Duration,
    /// How many bytes may wait for all sockets together.
    pub budget: Arc<Budget>,
    /// Where quiet connections wait.
    pub parking: Parking,
    /// Cancelled when the server goes away.
    pub closing: CancellationToken,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
}

/// A connection's place among the most that are allowed, given back when its last owner is gone.
type Place = Arc<Seat>;

struct Seat {
    /// Who has it.
    peer: IpAddr,
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Seat {
    fn take(peer: IpAddr, permit: OwnedSemaphorePermit, metrics: &Metrics) -> Place {
        metrics.accepted.inc();
        metrics.open.inc();
        Arc::new(Self { peer, _permit: permit, open: metrics.open.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The answer to whoever asks for another path.
const NOTHING_HERE: &str = "there is nothing at this path: clients connect to /api/sync, people look at /console";

/// Accepts connections, at most `connections_max` at once, until the door closes.
pub async fn listen(listener: TcpListener, door: Arc<Door>, arrivals: Arrivals, connections_max: usize) {
    door.tasks.spawn(parking::keep(arrivals, Arc::clone(&door)));
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let for_operators = Router::new()
        .route("/api/replication/status", get(reports::status))
        .route("/api/replication/wait-for-initial-poll", get(reports::wait))
        .route("/api/sync/clients", get(clients::clients))
        .route("/metrics", get(reports::metrics))
        .route("/console", get(console::page))
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&door), operator::guard));
    let router = Router::new()
        .route("/api/sync", any(upgrade::upgrade))
        .merge(for_operators)
        .merge(console::assets())
        .route("/healthz", get(reports::healthy))
        .route("/readyz", get(reports::ready))
        .fallback(async || answer::error(StatusCode::NOT_FOUND, "not_found", NOTHING_HERE))
        .with_state(Arc::clone(&door));
    let mut refused = 0_u64;
    loop {
        let accepted = tokio::select! {
            () = door.closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, peer)), Ok(place)) => {
                let _ = stream.set_nodelay(true); // Only slower without.
                let place = Seat::take(peer.ip(), place, &door.metrics);
                let (router, closing) = (router.clone(), door.closing.clone());
                match door.tls.clone() {
                    None => drop(door.tasks.spawn(serve_http(stream, router, place, closing))),
                    Some(tls) => drop(door.tasks.spawn(serve_https(stream, tls, router, place, closing))),
                }
            }
            (Ok(_), Err(_)) => {
                refused += 1;
                door.metrics.turned_away.inc();
                if refused.is_power_of_two() {
                    tracing::warn!(connections_max, refused, "connections are refused: all places are taken");
                }
            }
            (Err(why), _) => {
                tracing::warn!(%why, "cannot accept connections for a moment");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The same behind TLS.
async fn serve_https(stream: TcpStream, tls: Acceptor, router: Router, place: Place, closing: CancellationToken) {
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        () = closing.cancelled() => return,
    };
    match accepted {
        Ok(stream) => Box::pin(serve_http(stream, router, place, closing)).await,
        Err(why) => tracing::debug!(%why, "a TLS handshake failed"),
    }
}

/// Serves the requests of one connection until it is upgraded or ends.
async fn serve_http<S>(stream: S, router: Router, place: Place, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (mut router, mut request): (Router, Request) = (router.clone(), request.map(Body::new));
        request.extensions_mut().insert(Arc::clone(&place));
        async move { Ok::<_, Infallible>(route(&mut router, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(why) = ended {
                tracing::debug!(%why, "an HTTP connection broke");
            }
            return;
        }
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await; // Broken or ended, nothing more is to be done.
}

async fn route(router: &mut Router, request: Request) -> axum::response::Response {
    use hyper::service::Service as _;
    let service = hyper_util::service::TowerToHyperService::new(router.clone());
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
