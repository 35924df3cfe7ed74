//! Many clients with audited stores, some of which are ended and come back at any moment.

use super::audit::{Audited, Counts};
use crate::client::{Client, InvalidOptions, Options, Status};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One client: its store outlives its lives.
#[derive(Debug)]
pub struct Member {
    options: Options,
    store: Arc<Mutex<Audited>>,
    running: Option<Client<Audited>>,
}

impl Member {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.options.config.client.to_string()
    }

    /// Its store.
    pub fn store(&self) -> MutexGuard<'_, Audited> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it while it runs.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.running.as_ref().map(|client| client.status().borrow().clone())
    }

    fn start(&mut self) {
        let Self { options, store, running } = self;
        running.get_or_insert_with(|| Client::connect_shared(options.clone(), Arc::clone(store)));
    }
}

/// All clients.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
}

impl Fleet {
    /// Starts `count` clients of one server.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn start(url: &str, count: usize, seed: u64) -> Result<Self, InvalidOptions> {
        let mut members = Vec::with_capacity(count);
        for number in 0..count {
            let mut options = Options::new(url, &format!("demo-{number}"))?;
            options.config.seed = seed.wrapping_add(number as u64);
            // Shorter than in life, so that a short run sees many of each.
            options.config.backoff_first = Duration::from_millis(50);
            options.config.backoff_most = Duration::from_secs(1);
            options.config.ping_every = Duration::from_secs(2);
            options.config.silence_timeout = Duration::from_secs(6);
            options.config.dial_timeout = Duration::from_secs(5);
            options.config.greet_timeout = Duration::from_secs(30);
            let mut store = Audited::default();
            store.fail_at_random(Some(SmallRng::seed_from_u64(seed ^ number as u64)));
            let mut member = Member { options, store: Arc::new(Mutex::new(store)), running: None };
            member.start();
            members.push(member);
        }
        Ok(Self { members })
    }

    /// The clients.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Ends some clients at once, as a crash does, and starts those that were ended before. One in eight starts on an
    /// empty store. Returns how many were ended.
    pub fn crash_some(&mut self, random: &mut SmallRng) -> u64 {
        let mut ended = 0;
        for member in &mut self.members {
            if member.running.is_none() {
                if random.random_ratio(1, 8) {
                    member.store().wipe();
                }
                member.start();
            } else if random.random_ratio(1, 4) {
                member.running = None;
                ended += 1;
            }
        }
        if ended == 0
            && let Some(member) = self.members.first_mut()
        {
            member.running = None;
            ended = 1;
        }
        ended
    }

    /// From now on every client runs and no store fails.
    pub fn calm(&mut self) {
        for member in &mut self.members {
            member.store().fail_at_random(None);
            member.start();
        }
    }

    /// What was counted, over all clients.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.members.iter().map(|member| member.store().counts()).fold(Counts::default(), Counts::and)
    }

    /// Waits until every client holds rows with this content sum. False when nothing moved at any of them for `limit`.
    pub async fn all_reach(&self, sum: u128, limit: Duration) -> bool {
        use crate::client::Store as _;
        let is_there = |member: &Member| member.store().held().sum == sum && member.store().held().shown.is_some();
        let mut moved = (0, Instant::now());
        while !self.members.iter().all(is_there) {
            let steps = self.members.iter().map(|member| member.store().steps()).sum();
            if steps != moved.0 {
                moved = (steps, Instant::now());
            }
            if moved.1.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Ends all clients: their stores stay as they are.
    pub fn rest(&mut self) {
        for member in &mut self.members {
            member.running = None;
        }
    }
}
