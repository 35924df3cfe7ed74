//! How many bytes may wait for all sockets of a server together, and who is let go when that is too much.

use super::frame::{encode_close, encode_message};
use super::outbox::Outbox;
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::wire::ServerMessage;
use prometheus_client::metrics::histogram::Histogram;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A socket for which less waits is not looked at when somebody must be let go, unless there is no other.
pub(super) const HEAVY_BYTES: usize = 64 * 1024;
/// Who is let go comes back after so many seconds, not all at the same time.
const BACK_AFTER: std::ops::RangeInclusive<u8> = 5..=30;

/// What all sockets of one server share.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    used: AtomicUsize,
    heavy: Mutex<Vec<Weak<Outbox>>>,
    /// How many frames, or parts of frames, were written together.
    flushes: Histogram,
}

impl Default for Budget {
    /// One without a bound.
    fn default() -> Self {
        Self::new(usize::MAX, Histogram::new([]))
    }
}

impl Budget {
    /// A budget of so many bytes; how many frames leave a socket together is observed.
    #[must_use]
    pub fn new(bytes_max: usize, flushes: Histogram) -> Self {
        Self { bytes_max, used: AtomicUsize::new(0), heavy: Mutex::default(), flushes }
    }

    /// How many bytes wait. What several sessions share is divided among them.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many frames leave together.
    pub(super) const fn flushes(&self) -> &Histogram {
        &self.flushes
    }

    /// Whether more waits than may.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.bytes_max
    }

    /// Lets go of the socket for which most waits, and of the next ones, until no more waits than may; `latest` is the one that was
    /// given something just now. Says how many were let go.
    pub fn relieve(&self, latest: &Arc<Outbox>) -> usize {
        let mut gone = 0;
        while self.is_exceeded() {
            let heaviest = self.heaviest();
            let one = heaviest.as_ref().unwrap_or(latest);
            let mib = self.bytes_max >> 20;
            let seconds = rand::random_range(BACK_AFTER);
            let message = format!(
                "more waits to be sent to all clients than the {mib} MiB that this server allows, and most of it to this one: \
                 connect again in {seconds} s, and read what is sent"
            );
            let fault = ServerMessage::Fault(PeerFault::new(FaultCode::Unavailable, message));
            let farewell = encode_message(&fault, one.format());
            gone += usize::from(one.let_go([farewell, encode_close(Some(FaultCode::Unavailable))]));
            if heaviest.is_none() {
                break; // What is left is little for each.
            }
        }
        gone
    }

    fn heaviest(&self) -> Option<Arc<Outbox>> {
        let mut heavy = self.heavy.lock().unwrap_or_else(PoisonError::into_inner);
        heavy.retain(|outbox| outbox.upgrade().is_some_and(|outbox| outbox.is_heavy()));
        heavy.iter().filter_map(Weak::upgrade).max_by_key(|outbox| outbox.charge())
    }

    /// Nothing is counted where many share little: what all hubs count in one place is dear.
    pub(super) fn add(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Much waits for this one.
    pub(super) fn note_heavy(&self, outbox: &Arc<Outbox>) {
        let mut heavy = self.heavy.lock().unwrap_or_else(PoisonError::into_inner);
        if heavy.len() == heavy.capacity() {
            heavy.retain(|outbox| outbox.upgrade().is_some_and(|outbox| outbox.is_heavy()));
        }
        heavy.push(Arc::downgrade(outbox));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use dormouse_core::wire::Format;

    fn outbox(budget: &Arc<Budget>) -> Arc<Outbox> {
        Arc::new(Outbox::new(Format::Json, Arc::clone(budget)))
    }

    #[test]
    fn who_has_most_waiting_is_let_go_first_and_what_leaves_is_given_back() {
        let budget = Arc::new(Budget::new(1 << 20, Histogram::new([])));
        let (slow, slower, quick) = (outbox(&budget), outbox(&budget), outbox(&budget));
        let frame = Bytes::from(vec![0; 100 * 1024]);
        for _ in 0..3 {
            slow.push(frame.clone(), 1).expect("little");
        }
        for _ in 0..6 {
            slower.push(frame.clone(), 1).expect("little");
        }
        assert_eq!(slower.take(Vec::new()).len(), 6, "taken to be written, and not written yet");
        quick.push(frame.clone(), 1).expect("little");
        assert!(!budget.is_exceeded());
        quick.push(frame.clone(), 1).expect("little");
        assert_eq!(budget.relieve(&quick), 1);
        assert!(slower.is_closed() && !slow.is_closed() && !quick.is_closed());
        let last = slower.take(Vec::new());
        assert_eq!(last.len(), 2, "the fault and the close, nothing else");
        assert!(String::from_utf8_lossy(&last[0]).contains("connect again in"));
        assert_eq!(budget.used(), 5 * 100 * 1024);
        assert!(
            quick.take(Vec::new()).len() == 2 && quick.take(Vec::new()).is_empty(),
            "the second look says that all was written"
        );
        drop(slow);
        drop(slower);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_shared_counts_once() {
        let budget = Arc::new(Budget::new(1 << 20, Histogram::new([])));
        let all: Vec<_> = (0..100).map(|_| outbox(&budget)).collect();
        for one in &all {
            one.push(Bytes::from(vec![0; 100_000]), all.len()).expect("little");
        }
        assert_eq!(budget.used(), 100_000);
    }

    #[test]
    fn where_each_has_little_the_latest_goes() {
        let budget = Arc::new(Budget::new(1 << 20, Histogram::new([])));
        let all: Vec<_> = (0..100).map(|_| outbox(&budget)).collect();
        let mut gone = 0;
        for one in &all {
            one.push(Bytes::from(vec![0; 20_000]), 1).expect("little");
            gone += budget.relieve(one);
        }
        assert!(gone > 40 && budget.used() <= 1 << 20, "{gone} are gone, {} bytes wait", budget.used());
    }
}
