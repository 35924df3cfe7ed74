//! Connections on which nothing happens: they have no task, no timer, no codec and no buffer of their own.
//!
//! One task waits for all of them. A connection on which bytes have come, or for which a frame waits, gets a task again, and is
//! back here once it has been quiet for a moment.

use super::attend::{self, Guest};
use super::{Door, Place};
use crate::socket::{Plain, Resting};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How many looks for silent peers there are at most in the time that makes them silent.
const LOOKS: u32 = 16;
/// How many connections are moved at once before others of this task's duties are looked at.
const MOVED_MAX: usize = 1_024;

/// A connection that waits.
pub(super) struct Parked {
    pub socket: Resting<Plain>,
    pub guest: Guest,
    pub place: Place,
}

/// Where connections wait. A cheap handle.
#[derive(Clone)]
pub struct Parking(mpsc::Sender<Parked>);

/// The other end of it.
pub struct Arrivals(mpsc::Receiver<Parked>);

impl Parking {
    /// A place for all connections, and what `keep` works from.
    #[must_use]
    pub fn prepare() -> (Self, Arrivals) {
        let (parking, arrivals) = mpsc::channel(MOVED_MAX);
        (Self(parking), Arrivals(arrivals))
    }

    /// Lets a connection wait.
    ///
    /// # Errors
    /// The connection, when the server goes away, or when very many come at this moment.
    pub(super) fn park(&self, parked: Parked) -> Result<(), Box<Parked>> {
        self.0.try_send(parked).map_err(|back| Box::new(back.into_inner()))
    }
}

/// Keeps those that wait, until the door closes.
pub(super) async fn keep(Arrivals(mut arrivals): Arrivals, door: Arc<Door>) {
    let mut changes = door.access.changes();
    let mut lot = Lot { waiting: FuturesUnordered::new(), look_at: Instant::now(), silence: door.silence };
    let mut arrived = Vec::new();
    loop {
        tokio::select! {
            () = door.closing.cancelled() => break,
            _ = arrivals.recv_many(&mut arrived, MOVED_MAX) => {
                for parked in arrived.drain(..) {
                    if parked.guest.has_seen(&changes) {
                        door.metrics.parked.inc();
                        lot.look_at = lot.look_at.min(lot.next_look(parked.socket.silent_at(lot.silence)));
                        lot.waiting.push(Waiting { parked: Some(parked), is_called: false });
                    } else {
                        resume(&door, parked); // The rules changed on its way here.
                    }
                }
            }
            parked = lot.waiting.next(), if !lot.waiting.is_empty() => {
                let further = std::iter::from_fn(|| lot.waiting.next().now_or_never().flatten());
                for parked in parked.into_iter().chain(further.take(MOVED_MAX)) {
                    door.metrics.parked.dec();
                    resume(&door, parked);
                }
            }
            changed = changes.changed() => match changed {
                Ok(()) => lot.call(|_| true),
                Err(_) => break,
            },
            () = tokio::time::sleep_until(lot.look_at), if !lot.waiting.is_empty() => lot.look_for_silent(),
        }
    }
    arrivals.close();
    while let Some(parked) = arrivals.recv().await {
        resume(&door, parked);
    }
    for parked in lot.waiting.into_iter().filter_map(|waiting| waiting.parked) {
        door.metrics.parked.dec();
        resume(&door, parked);
    }
}

/// Gives a connection a task again.
fn resume(door: &Arc<Door>, parked: Parked) {
    door.metrics.unparked.inc();
    let task = attend::resume(Arc::clone(door), parked);
    door.tasks.spawn(task);
}

/// All that wait.
struct Lot {
    waiting: FuturesUnordered<Waiting>,
    look_at: Instant,
    silence: Duration,
}

impl Lot {
    /// Calls those that a condition picks.
    fn call(&mut self, mut is: impl FnMut(&Resting<Plain>) -> bool) {
        for waiting in self.waiting.iter_mut() {
            if let Some(parked) = waiting.parked.as_ref().filter(|parked| is(&parked.socket)) {
                waiting.is_called = true;
                parked.socket.rouse();
            }
        }
    }

    /// Calls those that have been silent for too long: their own tasks find that out. Looks again when the next may be.
    fn look_for_silent(&mut self) {
        let (now, silence) = (Instant::now(), self.silence);
        let mut first = now + silence;
        self.call(|socket| {
            let at = socket.silent_at(silence);
            first = if at > now { first.min(at) } else { first };
            at <= now
        });
        self.look_at = self.next_look(first);
    }

    /// When to look for one that may be silent for too long at a time: all are looked over, so not too often.
    fn next_look(&self, at: Instant) -> Instant {
        at.max(Instant::now() + self.silence / LOOKS)
    }
}

/// One that waits, until something happens on it or it is called.
struct Waiting {
    parked: Option<Parked>,
    is_called: bool,
}

impl Future for Waiting {
    type Output = Parked;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Parked> {
        let is_called = self.is_called;
        let roused = |parked: &Parked| parked.socket.poll_roused(cx).is_ready() || is_called;
        if !self.parked.as_ref().is_some_and(roused) {
            return Poll::Pending;
        }
        self.parked.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Guest {
    /// Whether it was judged by the rules as they are now.
    fn has_seen(&self, changes: &watch::Receiver<u64>) -> bool {
        self.rules == *changes.borrow()
    }
}
