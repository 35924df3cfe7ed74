//! Drives the client's machine: sockets, timers and the store on one side, the application on the other.

use super::changes::Publisher;
use super::errands::{Errand, Errands, apply};
use super::socket::{self, Outgoing};
use super::{BackfillProgress, Options, Status, Store};
use crate::clock::Clock;
use dormouse_core::ask::{Ask, Incarnation};
use dormouse_core::client::{Client as Machine, ClientPhase, Config, Input, Notice, Output, SocketId};
use dormouse_core::machine::Machine as _;
use dormouse_core::session::ClientId;
use dormouse_core::store::Store as StoreQuestion;
use dormouse_core::wire::{ClientMessage, Secret, ServerMessage};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;

/// How many inputs wait for the machine; the sockets' readers wait for room.
const INPUTS_MAX: usize = 64;
/// How many messages wait for one socket. A server that takes none of them is as good as gone.
const OUTBOX_MAX: usize = 64;
/// After how many broken invariants the client stops instead of starting again.
const DEFECTS_MAX: u32 = 3;

pub(super) struct Driver<S> {
    options: Options,
    store: Arc<Mutex<S>>,
    /// How a store that blocks is reached.
    errands: Option<Errands<S>>,
    machine: Machine,
    clock: Clock,
    defects: u32,
    inputs: mpsc::Sender<Input>,
    inbox: mpsc::Receiver<Input>,
    sockets: HashMap<SocketId, mpsc::Sender<Outgoing>>,
    tasks: JoinSet<()>,
    status: watch::Sender<Status>,
    notices: broadcast::Sender<Notice>,
    publisher: Publisher,
    life: Life,
}

/// Whom the driver tells what.
pub(super) struct Tell {
    pub(super) status: watch::Sender<Status>,
    pub(super) notices: broadcast::Sender<Notice>,
    pub(super) publisher: Publisher,
}

/// What the application wants of a running client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// That it ends, and perhaps that the server forgets it.
    Stop { forget: bool },
    /// That it shows another credential from now on.
    UseCredential(Secret),
    /// That it greets once more, unless it has since the greeting of this number.
    Greet { since: u64 },
}

impl<S: Store> Driver<S> {
    pub(super) fn new(
        options: Options,
        store: Arc<Mutex<S>>,
        Tell { status, notices, publisher }: Tell,
        life: Life,
    ) -> Self {
        let (inputs, inbox) = mpsc::channel(INPUTS_MAX);
        let blocks = lock(&store).blocks();
        let errands = blocks.then(|| Errands::new(Arc::clone(&store), publisher.clone(), inputs.clone()));
        Self {
            machine: machine(&options),
            options,
            store,
            errands,
            clock: Clock::start(),
            defects: 0,
            inputs,
            inbox,
            sockets: HashMap::new(),
            tasks: JoinSet::new(),
            status,
            notices,
            publisher,
            life,
        }
    }

    /// Runs until the machine has stopped.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let Config { client, scope, .. } = &self.options.config;
        let begun = self.lock().begin(client, scope);
        match begun {
            Ok(()) => self.start(),
            Err(failure) => {
                self.notify(Notice::StoreFailed(failure));
                self.notify(Notice::Stopped { fault: None });
            }
        }
        while !self.status.borrow().stopped {
            let deadline = self.machine.poll_timeout();
            let clock = self.clock;
            let alarm = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(clock.instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(input) = self.inbox.recv() => self.handle(input),
                Some(command) = commands.recv() => self.carry_out(command),
                () = alarm => {
                    self.machine.handle_timeout(self.clock.now());
                    self.settle();
                }
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.sockets.clear();
        loop {
            tokio::select! {
                Some(_) = self.inbox.recv() => {} // Or a socket would wait for room, and not say good-bye.
                joined = self.tasks.join_next() => if joined.is_none() { break },
            }
        }
        self.publisher.end();
    }

    fn start(&mut self) {
        // Unique within this process, and later processes start later: so no life of a store shares it with another.
        static LIVES: AtomicU64 = AtomicU64::new(0);
        let lives = LIVES.fetch_add(1, Ordering::Relaxed);
        let incarnation = Incarnation(self.clock.started_at().micros().wrapping_add(lives));
        let held = self.lock().held();
        // Another instance than before a defect: it counts its attempts from the first on.
        self.handle(Input::Started { incarnation, instance: rand::random(), held });
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Stop { forget } => self.handle(Input::Stopping { forget }),
            Command::UseCredential(credential) => {
                self.options.config.token = Some(credential.reveal().into());
                self.handle(Input::CredentialProvided { token: None });
            }
            Command::Greet { since } if self.status.borrow().greetings <= since => {
                let open: Vec<_> = self.sockets.drain().map(|(socket, _)| socket).collect();
                for socket in open {
                    self.handle(Input::Closed { socket, why: "the application wants to be sure of the latest".into() });
                }
            }
            Command::Greet { .. } => {}
        }
    }

    /// Goes on under the id that a welcome tells: another than its own when its store is a copy, whose original lives, too.
    fn adopt(&mut self, client: &ClientId) {
        let config = &mut self.options.config;
        if config.client == *client {
            return;
        }
        tracing::warn!(from = %config.client, to = %client, "another store lives under this client id: this one gets an id of its own");
        config.client = client.clone();
        let kept = lock(&self.store).begin(client, &config.scope);
        if let Err(failure) = kept {
            self.notify(Notice::StoreFailed(failure));
        }
    }

    fn handle(&mut self, input: Input) {
        match &input {
            Input::Received { message: Ok(ServerMessage::Welcome { client, era, head, .. }), .. } => {
                self.adopt(client);
                let welcome = Some((*era, *head));
                self.status.send_modify(|status| {
                    status.welcome = welcome;
                    status.welcomes += 1;
                    status.backfill = None;
                });
            }
            Input::Received { message: Ok(ServerMessage::Chunk { n, of, chunk, .. }), .. } => {
                let before =
                    if *n == 0 { 0 } else { self.status.borrow().backfill.map_or(0, |backfill| backfill.rows) };
                let backfill = Some(BackfillProgress { rows: before + chunk.rows.len() as u64, of: *of });
                self.status.send_modify(|status| status.backfill = backfill);
            }
            Input::Received { message: Ok(ServerMessage::Seam { complete: Some(_), .. }), .. } => {
                self.status.send_modify(|status| status.backfill = None);
            }
            _ => {}
        }
        self.machine.handle(self.clock.now(), input);
        self.settle();
    }

    /// Carries out what the machine commands, until it has no more wishes.
    fn settle(&mut self) {
        if let Err(broken) = self.machine.check() {
            return self.mend(&broken.what);
        }
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Dial { socket } => self.dial(socket),
                Output::Send { socket, message } => self.send(socket, Outgoing::Message(message)),
                Output::Ping { socket } => self.send(socket, Outgoing::Ping),
                Output::SendCredential { socket } => {
                    let credential = Secret::new(self.options.config.token.as_deref().unwrap_or_default());
                    self.send(socket, Outgoing::Message(ClientMessage::Credential(credential)));
                }
                Output::Close { socket } => drop(self.sockets.remove(&socket)),
                Output::Store(ask) => self.ask_store(ask),
                Output::Notify(notice) => self.notify(notice),
            }
        }
    }

    /// A defect of ours: what is stored is still right, so the client starts again from there.
    fn mend(&mut self, what: &str) {
        tracing::error!(client = %self.options.config.client, what, "broken invariant: the client starts again");
        self.sockets.clear();
        self.defects += 1;
        if self.defects >= DEFECTS_MAX {
            return self.notify(Notice::Stopped { fault: None });
        }
        self.life.renew();
        self.machine = machine(&self.options);
        self.start();
    }

    fn dial(&mut self, socket: SocketId) {
        let (sender, outbox) = mpsc::channel(OUTBOX_MAX);
        self.sockets.insert(socket, sender);
        self.tasks.spawn(socket::run(socket, self.options.clone(), self.inputs.clone(), outbox));
    }

    fn send(&mut self, socket: SocketId, outgoing: Outgoing) {
        if matches!(outgoing, Outgoing::Message(ClientMessage::Hello(_))) {
            self.status.send_modify(|status| status.greetings += 1);
        }
        let Some(outbox) = self.sockets.get(&socket) else { return };
        if outbox.try_send(outgoing).is_err() {
            self.sockets.remove(&socket);
            // Later than everything that is being carried out now, and without waiting for room.
            let inputs = self.inputs.clone();
            self.tasks.spawn(async move {
                let why = "the connection took no more messages".into();
                let _ = inputs.send(Input::Closed { socket, why }).await;
            });
        }
    }

    fn ask_store(&mut self, ask: Ask<StoreQuestion>) {
        let (question, ticket) = ask.split();
        if let Some(errands) = &self.errands {
            return errands.run(&mut self.tasks, &self.life, Errand::Ask(question.request, ticket));
        }
        let reply = apply(&mut *lock(&self.store), &self.life, &self.publisher, &question.request);
        self.machine.handle(self.clock.now(), Input::Stored(ticket.answer(reply)));
    }

    fn notify(&mut self, notice: Notice) {
        tracing::debug!(client = %self.options.config.client, ?notice, "notice");
        self.status.send_modify(|status| match &notice {
            Notice::Phase(phase) => {
                status.phase = *phase;
                status.live &= *phase == ClientPhase::Live;
            }
            Notice::Applied { shown } => status.shown = Some(*shown),
            Notice::Live { shown } => {
                status.shown = *shown;
                status.live = true;
            }
            Notice::Resync { .. } => {
                status.resyncs += 1;
                status.live = false;
            }
            Notice::CredentialGood { expires_in_ms } => {
                let good_for = expires_in_ms.map(Duration::from_millis);
                status.credential_until = good_for.and_then(|good_for| Instant::now().checked_add(good_for));
                status.credential_wanted = false;
            }
            Notice::CredentialWanted => status.credential_wanted = true,
            Notice::StoreFailed(failure) => status.store_failure = Some(failure.clone()),
            Notice::Fault(fault) => status.fault = Some(fault.clone()),
            Notice::Stopped { fault } => {
                status.fault = fault.clone().or(status.fault.take());
                status.stopped = true;
            }
        });
        let status = self.status.borrow().clone();
        match &self.errands {
            Some(errands) => errands.run(&mut self.tasks, &self.life, Errand::Tell(notice.clone(), status)),
            None => self.lock().told(&notice, &status),
        }
        let _ = self.notices.send(notice); // Nobody has to listen.
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        lock(&self.store)
    }
}

/// Whether a client still is. A request to the store is carried out only while it is, and this is looked at with the store in
/// hand: so once a client was dropped, whoever takes its store finds there all that this client will ever have stored.
#[derive(Debug, Clone)]
pub(super) struct Life {
    current: Arc<AtomicU64>,
    mine: u64,
}

impl Life {
    const NONE: u64 = u64::MAX;

    pub(super) fn begin() -> Self {
        Self { current: Arc::new(AtomicU64::new(0)), mine: 0 }
    }

    /// Ends it and all that come after it.
    pub(super) fn end(&self) {
        self.current.store(Self::NONE, Ordering::Release);
    }

    /// Ends it in favour of another, so that nothing asked before takes effect after.
    fn renew(&mut self) {
        let next = self.mine + 1;
        let _ = self.current.compare_exchange(self.mine, next, Ordering::AcqRel, Ordering::Acquire);
        self.mine = next;
    }

    pub(super) fn is_over(&self) -> bool {
        self.current.load(Ordering::Acquire) != self.mine
    }
}

pub(super) fn lock<S>(store: &Mutex<S>) -> MutexGuard<'_, S> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The credential travels in a header: the machine need not know it.
fn machine(options: &Options) -> Machine {
    Machine::new(Config { token: None, ..options.config.clone() })
}
