//! `dormouse serve`: Replication, the hubs and the listener of one process, from start to orderly end.

use crate::access::Access;
use crate::cli::CommandError;
use crate::clock::Clock;
use crate::config::Args;
use crate::db::Database;
use crate::heartbeat::{self, Heartbeat};
use crate::hub::{Hubs, Incarnations, Surroundings};
use crate::listener::{self, Door, Limits, OperatorAccess, Parking};
use crate::metrics::Metrics;
use crate::record::Recorder;
use crate::replication::{self, Event, Replicator};
use crate::socket::Budget;
use crate::source::{Kind, PollSource, StreamSource};
use crate::tls::Acceptor;
use crate::wait::Waiting;
use dormouse_core::{hub, replication as core_replication};
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long an orderly end may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// The same when nothing can be stored any more, because the database is another.
const PARTING: Duration = Duration::from_secs(1);

/// How long nobody replicates after the process that did was killed. Short, because a lease lost to a slow database costs
/// nothing but a new start of the stream: the token fences.
const LEASE_TTL: Duration = Duration::from_secs(6);

/// How soon an idle advance of covered is saved: for as long a newcomer at a process that stands by may have to wait. More often, a
/// server that nobody is connected to would take more than a thousandth of a core.
const IDLE_SAVE_EVERY: Duration = Duration::from_secs(4);

/// Serves until the process is told to end.
///
/// # Errors
/// When it cannot start, or a defect ends it.
pub async fn run(args: Args) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let address = args.address()?;
    let access = Arc::new(args.access(address)?);
    let tls = args.tls().map_err(|fault| CommandError::Usage(fault.why))?;
    let operators = args.operators(address)?;
    let listener = bind(address);
    let listener = listener.map_err(|why| CommandError::Environment(format!("cannot listen on {address}: {why}")))?;
    let address = listener.local_addr().map_err(|why| CommandError::Environment(why.to_string()))?;
    let database = Database::connect(args.database()).await;
    let database =
        database.map_err(|why| CommandError::Environment(format!("cannot use the database: {}", why.reason())))?;

    let (clock, metrics) = (Clock::start(), Metrics::default());
    let recording = args.recording().map(|config| {
        let machines = hub_count(&args) + 1;
        Recorder::start(&config, machines, clock, metrics.record.clone())
    });
    let recorder = recording.transpose()?;

    let process = Process { clock, metrics, recorder };
    let doors = (Arc::clone(&access), operators.at(address));
    let server = Server::start(&args, process, doors, tls.clone(), listener, database.clone())?;
    announce(address, tls.is_some());
    let another = loop {
        tokio::select! {
            signalled = signals.next() => match signalled {
                Signalled::End => break None,
                Signalled::Evict => {
                    tracing::info!("all hubs are dropped and built again");
                    server.hubs.evict_all().await;
                }
                Signalled::Reload => {
                    access.reread();
                    reload(tls.as_ref());
                }
            },
            () = server.defect.cancelled() => break None,
            why = database.became_another() => {
                tracing::error!(%why, "what is remembered of the database is not in it: the server begins anew");
                break Some(why);
            }
        }
    };
    let farewell = if another.is_some() { PARTING } else { FAREWELL };
    tokio::select! {
        () = server.end(farewell) => {}
        () = signals.ended() => tracing::warn!("ended at once by a second signal"),
    }
    if server.defect.is_cancelled() {
        return Err(CommandError::Failed("a defect ended the server; the log has the sentence".into()));
    }
    another.map_or(Ok(()), |why| Err(CommandError::Anew(why)))
}

/// Reads again what may change while the server runs.
fn reload(tls: Option<&Acceptor>) {
    match tls.map(Acceptor::reload) {
        None => tracing::info!("there is nothing to read again"),
        Some(Ok(())) => tracing::info!("new connections are shown the certificate that was read again"),
        Some(Err(why)) => tracing::error!(%why, "the certificate stays as it is"),
    }
}

/// Many clients may come at the same moment, after a cut or a restart: whoever does not fit into the system's queue would try
/// again only after a whole second.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    /// As many as the system allows (`net.core.somaxconn`).
    const WAITING_MAX: u32 = 65_535;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_MAX)
}

/// Says where the server is: for people on stderr, for programs on stdout.
fn announce(address: SocketAddr, tls: bool) {
    let scheme = if tls { "https" } else { "http" };
    tracing::info!("listening on {scheme}://{address}");
    let line = serde_json::json!({ "v": 1, "listening": address });
    let _ = writeln!(std::io::stdout(), "{line}"); // Nobody may be reading.
}

/// What all parts of the process share.
struct Process {
    clock: Clock,
    metrics: Metrics,
    recorder: Option<Recorder>,
}

struct Server {
    replicator: Replicator,
    hubs: Hubs,
    /// Cancelled when no more is accepted.
    closing: CancellationToken,
    /// Cancelled when a hub cannot go on.
    defect: CancellationToken,
    replication_tasks: TaskTracker,
    hub_tasks: TaskTracker,
    connection_tasks: TaskTracker,
    recorder: Option<Recorder>,
}

impl Server {
    fn start(
        args: &Args,
        Process { clock, metrics, recorder }: Process,
        (access, operators): (Arc<Access>, OperatorAccess),
        tls: Option<Acceptor>,
        listener: TcpListener,
        database: Database,
    ) -> Result<Self, CommandError> {
        let incarnations = Incarnations::start(clock);
        let (replicator, inbox) = replication::prepare(metrics);
        let tasks = TaskTracker::new;
        let server_tasks = (tasks(), tasks(), tasks());
        let (replication_tasks, hub_tasks, connection_tasks) = server_tasks;
        let (closing, defect) = (CancellationToken::new(), CancellationToken::new());

        let flushes = replicator.metrics.hubs.frames_per_flush.clone();
        let budget = Arc::new(Budget::new((args.outbox_max_mib as usize) << 20, flushes));
        let surroundings = Surroundings {
            clock,
            incarnations: incarnations.clone(),
            database: database.clone(),
            replication: replicator.events.clone(),
            announcements: replicator.announcements.clone(),
            metrics: replicator.metrics.clone(),
            recorder: recorder.clone(),
            budget: Arc::clone(&budget),
            defect: defect.clone(),
        };
        let hubs = Hubs::start(hub_count(args), &hub_config(args), &surroundings, &hub_tasks);

        let parts = (replicator.clone(), inbox);
        let replication = (replication_config(args), incarnations, database.clone());
        let started = match args.source {
            Kind::Stream => {
                let source = StreamSource::new(database.clone());
                replication::start(clock, replication, source, parts, recorder.as_ref(), &replication_tasks)
            }
            Kind::Poll => {
                let source = PollSource::new(database.clone(), args.polling());
                replication::start(clock, replication, source, parts, recorder.as_ref(), &replication_tasks)
            }
        };
        started.map_err(|why| CommandError::Environment(format!("replication has no thread: {why}")))?;
        let _ = replicator.events.try_send(Event::Start); // The channel is new, and has room.

        let around = heartbeat::Surroundings {
            reports: replicator.reports.clone(),
            replication: replicator.events.clone(),
            database: database.clone(),
            metrics: replicator.metrics.clone(),
        };
        let (heartbeat, beats) = Heartbeat::prepare(around, args.heartbeat, closing.clone());
        let (waiting, marks) =
            Waiting::prepare(database.clone(), replicator.reports.clone(), replicator.events.clone());
        connection_tasks.spawn(beats);
        connection_tasks.spawn(marks);

        let (watched, until) = (Arc::clone(&access), closing.clone());
        connection_tasks.spawn(async move {
            tokio::select! {
                () = watched.keep_fresh() => {}
                () = until.cancelled() => {}
            }
        });
        let (parking, arrivals) = Parking::prepare();
        let door = Door {
            budget,
            parking,
            tls,
            access,
            clock,
            operators,
            heartbeat,
            waiting,
            hubs: hubs.clone(),
            database,
            replication: replicator.reports.clone(),
            metrics: replicator.metrics.clone(),
            limits: Limits::new(args.message_rate, args.failures_per_minute),
            greet_timeout: args.greet_timeout,
            silence: args.silence_timeout,
            closing: closing.clone(),
            tasks: connection_tasks.clone(),
        };
        let most = connections_max(args.connections_max);
        connection_tasks.spawn(listener::listen(listener, Arc::new(door), arrivals, most));
        Ok(Self { replicator, hubs, closing, defect, replication_tasks, hub_tasks, connection_tasks, recorder })
    }

    /// Says good-bye, stores what is to be stored, releases the lease; gives up after a while, which loses nothing.
    async fn end(&self, farewell: Duration) {
        tracing::info!("going away");
        let ended = async {
            self.closing.cancel();
            let _ = self.replicator.events.send(Event::Stop).await; // One that halted by itself has ended already.
            self.hubs.drain().await;
            for tasks in [&self.hub_tasks, &self.connection_tasks, &self.replication_tasks] {
                tasks.close();
                tasks.wait().await;
            }
            if let Some(recorder) = &self.recorder {
                recorder.clone().finish().await;
            }
        };
        if tokio::time::timeout(farewell, ended).await.is_err() {
            tracing::warn!("some clients or the database did not answer in time");
        }
    }
}

/// One hub per processor, unless told otherwise.
fn hub_count(args: &Args) -> usize {
    args.hubs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Raises the limit of open files as far as the process may, and leaves some for the database, spools and logs.
fn connections_max(wished: Option<usize>) -> usize {
    const FOR_OTHERS: usize = 512;
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(why) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%why, "the limit of open files stays as it is");
    }
    let files =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    let possible = files.saturating_sub(FOR_OTHERS).max(files / 2);
    if let Some(wished) = wished.filter(|wished| *wished > possible) {
        tracing::warn!(wished, possible, "the limit of open files allows fewer connections: raise it with `ulimit -n`");
    }
    wished.unwrap_or(possible).min(possible)
}

fn hub_config(args: &Args) -> hub::Config {
    hub::Config {
        seed: rand::random(),
        registration_ttl: args.registration_ttl,
        renew_every: args.registration_ttl / 3,
        hibernate_after: args.hibernate_after,
        ..hub::Config::default()
    }
}

fn replication_config(args: &Args) -> core_replication::Config {
    core_replication::Config {
        holder: holder(),
        lease_ttl: LEASE_TTL,
        lease_renew_every: LEASE_TTL / 3,
        idle_save_every: IDLE_SAVE_EVERY,
        keep_min: args.keep_min,
        keep_max: args.keep_max,
        seed: rand::random(),
        ..core_replication::Config::default()
    }
}

/// Names this process for people, and differently from every other.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "host" } else { host.trim() };
    format!("{host}:{}:{:08x}", std::process::id(), rand::random::<u32>())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    evict: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CommandError> {
        let listen =
            |kind| signal(kind).map_err(|why| CommandError::Environment(format!("cannot hear signals: {why}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            evict: listen(SignalKind::user_defined1())?,
            reload: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.terminate.recv() => Signalled::End,
            _ = self.interrupt.recv() => Signalled::End,
            _ = self.evict.recv() => Signalled::Evict,
            _ = self.reload.recv() => Signalled::Reload,
        }
    }

    async fn ended(&mut self) {
        while self.next().await != Signalled::End {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signalled {
    End,
    Evict,
    Reload,
}
