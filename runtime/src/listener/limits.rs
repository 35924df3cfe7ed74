//! How much one peer may ask of the door: messages on a socket, and credentials that are wrong.

use dormouse_core::fault::{FaultCode, PeerFault};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many seconds' worth of messages may come at once.
const BURST_SECONDS: u32 = 4;
/// In which time wrong credentials are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// The most addresses that are remembered; of more, those whose minute is over are forgotten, then all.
const ADDRESSES_MAX: usize = 10_000;

/// The limits of a door.
#[derive(Debug)]
pub struct Limits {
    messages_per_second: u32,
    failures_per_minute: u32,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Limits {
    /// The limits, where 0 means none.
    #[must_use]
    pub fn new(messages_per_second: u32, failures_per_minute: u32) -> Self {
        Self { messages_per_second, failures_per_minute, failures: Mutex::default() }
    }

    /// What one socket may send from now on.
    pub(super) fn allowance(&self) -> Allowance {
        Allowance { per_second: self.messages_per_second, full_at: Instant::now() }
    }

    /// Judges whether an address may show a credential, or has shown too many wrong ones in this minute.
    pub(super) fn judge(&self, address: IpAddr) -> Result<(), PeerFault> {
        let failures = self.lock();
        let failures = failures.get(&address).filter(|failures| failures.since.elapsed() < MINUTE);
        match failures {
            Some(failures) if self.failures_per_minute != 0 && failures.count >= self.failures_per_minute => {
                Err(too_many("too many wrong credentials came from this address: wait a minute"))
            }
            _ => Ok(()),
        }
    }

    /// A wrong credential came from an address.
    pub(super) fn failed(&self, address: IpAddr) {
        let mut all = self.lock();
        if all.len() >= ADDRESSES_MAX {
            all.retain(|_, failures| failures.since.elapsed() < MINUTE);
            if all.len() >= ADDRESSES_MAX {
                all.clear();
            }
        }
        let failures = all.entry(address).or_insert(Failures { since: Instant::now(), count: 0 });
        if failures.since.elapsed() >= MINUTE {
            *failures = Failures { since: Instant::now(), count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner) // Nothing under this lock panics halfway.
    }
}

/// What one socket may send: so much a second, and some seconds' worth at once.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: u32,
    /// When nothing would be used up any more.
    full_at: Instant,
}

impl Allowance {
    /// A message came.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), PeerFault> {
        if self.per_second == 0 {
            return Ok(());
        }
        let full_at = self.full_at.max(now) + Duration::from_secs(1) / self.per_second;
        if full_at - now > Duration::from_secs(BURST_SECONDS.into()) {
            return Err(too_many("more messages came than this server takes from one connection"));
        }
        self.full_at = full_at;
        Ok(())
    }
}

fn too_many(message: &str) -> PeerFault {
    PeerFault::new(FaultCode::TooMany, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_send_some_seconds_worth_at_once_and_then_so_much_a_second() {
        let mut allowance = Limits::new(10, 0).allowance();
        let now = allowance.full_at;
        let taken = (0..1_000).take_while(|_| allowance.take(now).is_ok()).count();
        assert_eq!(taken, 40);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1_000).take_while(|_| allowance.take(later).is_ok()).count(), 10);
        let mut free = Limits::new(0, 0).allowance();
        assert!((0..100_000).all(|_| free.take(now).is_ok()));
    }

    #[test]
    fn wrong_credentials_of_one_address_are_its_own_affair() {
        let (limits, one, other) = (Limits::new(0, 3), IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for _ in 0..3 {
            assert_eq!(limits.judge(one), Ok(()));
            limits.failed(one);
        }
        assert_eq!(limits.judge(one).map_err(|fault| fault.code), Err(FaultCode::TooMany));
        assert_eq!(limits.judge(other), Ok(()));
        for n in 0..2 * ADDRESSES_MAX {
            limits.failed(IpAddr::from(u32::try_from(n).expect("small").to_be_bytes()));
        }
        assert!(limits.lock().len() <= ADDRESSES_MAX);
    }
}
