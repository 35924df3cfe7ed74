//! A fleet of lean clients in a process of its own, so that it is measured apart: thousands of them in one thread.
//!
//! Each speaks the protocol as a real client does (greeting, chained pages, acknowledgements at half a window or after a
//! second, pings) and keeps no rows: it counts by number and position, so that each can say whether all came exactly once.

mod client;
mod frame;
mod message;
pub(super) mod raw;
mod recent;
mod session;
pub(super) mod wire;

use super::process::now_us;
use crate::cli::CommandError;
use client::Client;
use recent::Recent;
use session::Session;
use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::{AbortHandle, LocalSet};
use wire::{Command, Connected, Plan, Recorded, Reply, Seen};

/// The buffer that all clients read into, one after the other.
const BUFFER_BYTES: usize = 512 * 1024;
/// How often it is looked who owes an acknowledgement.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// How often each client pings: so many sweeps.
const PING_SWEEPS: usize = 400;
/// As good as no limit to how many connect at once.
const ALL: usize = 1 << 20;
/// The most commands that may wait; who gives them then waits too.
const COMMANDS_MAX: usize = 64;
/// How long connecting may take in all.
const CONNECT_MAX: Duration = Duration::from_secs(180);

/// All clients of this process, and what they share.
pub(super) struct Fleet {
    plan: Plan,
    address: SocketAddr,
    started_us: u64,
    clients: RefCell<Vec<(Rc<Client>, Option<AbortHandle>)>>,
    buffer: RefCell<Vec<u8>>,
    recent: RefCell<Recent>,
    /// What the first client was told until it was live, if frames are kept.
    greeting: RefCell<Vec<String>>,
    /// Whether the first client has been live, and its greeting is whole.
    greeted: Cell<bool>,
    dialling: Semaphore,
    deaf: Cell<bool>,
    hear: Notify,
    /// Told whenever one is live or sees a number.
    moved: Notify,
    live_since: RefCell<Live>,
    noted: Cell<u64>,
    seen: RefCell<Seen>,
}

/// Who became live since the last command to connect.
#[derive(Debug, Default)]
struct Live {
    since_us: u64,
    count: usize,
    took: super::histogram::Histogram,
}

/// Runs a fleet, as told on standard input, until that ends.
pub(super) fn run(plan: Plan) -> Result<(), CommandError> {
    let environment = |why: &dyn std::fmt::Display| CommandError::Environment(why.to_string());
    let address = plan.address.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = address.ok_or_else(|| CommandError::Usage(format!("{} is no address", plan.address)))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|why| environment(&why))?;
    let recent = Recent::new(plan.keep_frames, plan.base);
    let fleet = Rc::new(Fleet {
        plan,
        address,
        started_us: now_us(),
        clients: RefCell::default(),
        buffer: RefCell::new(vec![0; BUFFER_BYTES]),
        recent: RefCell::new(recent),
        greeting: RefCell::default(),
        greeted: Cell::default(),
        dialling: Semaphore::new(0),
        deaf: Cell::new(false),
        hear: Notify::new(),
        moved: Notify::new(),
        live_since: RefCell::default(),
        noted: Cell::new(0),
        seen: RefCell::default(),
    });
    LocalSet::new().block_on(&runtime, async {
        let sweeping = Rc::clone(&fleet);
        tokio::task::spawn_local(async move { sweeping.sweep().await });
        let mut commands = commands::<Command>();
        while let Some(command) = commands.recv().await {
            let forget = matches!(command, Command::Forget);
            let reply = fleet.obey(command).await;
            println!("{}", serde_json::to_string(&reply).expect("plain data"));
            if forget {
                break;
            }
        }
    });
    Ok(())
}

/// What is said on standard input, line by line; it ends with it, or with the first line that is no command.
pub(super) fn commands<T: serde::de::DeserializeOwned + Send + 'static>() -> mpsc::Receiver<T> {
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Some(command) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { break };
            if sender.blocking_send(command).is_err() {
                break;
            }
        }
    });
    commands
}

impl Fleet {
    async fn obey(self: &Rc<Self>, command: Command) -> Reply {
        match command {
            Command::Connect { count, at_once } => {
                self.enlist(count);
                Reply::Connected(self.connect(at_once).await)
            }
            Command::Cut => {
                for (client, task) in self.clients.borrow_mut().iter_mut() {
                    task.take().iter().for_each(AbortHandle::abort);
                    client.hang_up();
                }
                tokio::task::yield_now().await; // So that the other halves are dropped before we say so.
                Reply::Done
            }
            Command::Return => Reply::Connected(self.connect(0).await),
            Command::Deafen(deaf) => {
                self.deaf.set(deaf);
                self.hear.notify_waiters();
                Reply::Done
            }
            Command::Await { patience_ms } => {
                self.wait(Duration::from_millis(patience_ms)).await;
                Reply::Awaited
            }
            Command::Report { committed_us } => Reply::Report(Box::new(self.report(&committed_us))),
            Command::Frames => {
                let kept = self.recent.borrow_mut().kept.take().unwrap_or_default();
                let frames =
                    kept.iter().map(|(frame, numbers)| (String::from_utf8_lossy(frame).into_owned(), *numbers));
                Reply::Frames(Recorded { greeting: self.greeting.take(), frames: frames.collect() })
            }
            Command::Forget => {
                self.clients.borrow().iter().for_each(|(client, _)| client.say(r#"{"type":"bye"}"#));
                Reply::Done
            }
        }
    }

    fn enlist(&self, count: usize) {
        let mut clients = self.clients.borrow_mut();
        for no in clients.len()..clients.len() + count {
            let session = Session::new(self.plan.base, self.plan.numbers);
            clients.push((Rc::new(Client::new(no, session)), None));
        }
    }

    /// Connects all who are not, and waits until all are live or time is over.
    async fn connect(self: &Rc<Self>, at_once: usize) -> Connected {
        let wanted = self.start(at_once);
        let ended = async {
            while self.live_since.borrow().count < wanted {
                self.moved.notified().await;
            }
        };
        let in_time = tokio::time::timeout(CONNECT_MAX, ended).await.is_ok();
        let live = self.live_since.borrow();
        let seconds = (now_us() - live.since_us) as f64 / 1e6;
        Connected { seconds, missing: if in_time { 0 } else { wanted - live.count }, took: live.took.clone() }
    }

    fn start(self: &Rc<Self>, at_once: usize) -> usize {
        self.dialling.forget_permits(ALL);
        *self.live_since.borrow_mut() = Live { since_us: now_us(), ..Live::default() };
        let mut started = 0;
        for (client, task) in self.clients.borrow_mut().iter_mut().filter(|(_, task)| task.is_none()) {
            let life = client::stay(Rc::clone(self), Rc::clone(client));
            *task = Some(tokio::task::spawn_local(life).abort_handle());
            started += 1;
        }
        self.dialling.add_permits(if at_once == 0 { ALL } else { at_once });
        started
    }

    /// Waits until every client has seen every number, or none saw any for so long.
    async fn wait(&self, patience: Duration) {
        loop {
            let before = self.noted.get();
            let all = (self.clients.borrow().len() * self.plan.numbers) as u64;
            let more = async {
                while self.noted.get() < all {
                    self.moved.notified().await;
                }
            };
            let in_time = tokio::time::timeout(patience, more).await.is_ok();
            if in_time || self.noted.get() == before {
                return;
            }
        }
    }

    /// Acknowledges what is overdue, and pings, spread over time.
    async fn sweep(&self) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turn = 0;
        loop {
            ticks.tick().await;
            let now_us = now_us() - self.started_us + 1;
            turn = (turn + 1) % PING_SWEEPS;
            for (client, _) in self.clients.borrow().iter() {
                client.flush();
                let overdue = client.session.borrow_mut().overdue(now_us);
                overdue.iter().for_each(|ack| client.say(ack));
                if client.no % PING_SWEEPS == turn && client.session.borrow().live {
                    client.say("ping");
                }
            }
        }
    }

    fn report(&self, committed_us: &[u64]) -> Seen {
        let mut seen = self.seen.borrow().clone();
        for (client, _) in self.clients.borrow().iter() {
            let session = client.session.borrow();
            let lost = (session.arrivals.len() - session.noted) as u64;
            seen.clients += 1;
            seen.lost += lost;
            seen.duplicated += session.duplicated;
            seen.gaps += session.gaps;
            seen.deliveries += session.noted as u64;
            seen.exactly_once += usize::from(lost == 0 && session.duplicated == 0 && session.gaps == 0);
            seen.rows.push(session.rows);
            seen.row_sums.push(session.row_sum);
            let arrived_us = |arrival: u32| self.started_us + u64::from(arrival) - 1;
            for (arrival, committed) in session.arrivals.iter().zip(committed_us) {
                if *arrival != 0 && *committed != 0 {
                    seen.latency.note(arrived_us(*arrival).saturating_sub(*committed));
                }
            }
            let last = session.arrivals.iter().copied().max().filter(|arrival| *arrival != 0);
            seen.last_us = seen.last_us.max(last.map_or(0, arrived_us));
        }
        seen
    }

    fn count(&self, bytes: usize) {
        let mut seen = self.seen.borrow_mut();
        seen.reads += 1;
        seen.bytes += bytes as u64;
    }

    fn noted(&self, more: usize) {
        self.seen.borrow_mut().frames += 1;
        if more > 0 {
            self.noted.set(self.noted.get() + more as u64);
            self.moved.notify_one();
        }
    }

    fn is_live(&self) {
        let mut live = self.live_since.borrow_mut();
        live.count += 1;
        let took = now_us() - live.since_us;
        live.took.note(took);
        self.moved.notify_one();
    }

    fn broken(&self, why: String) {
        let mut seen = self.seen.borrow_mut();
        seen.broken += 1;
        *seen.faults.entry(why).or_default() += 1;
    }
}
