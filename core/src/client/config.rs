//! What a client is told once.

use crate::change::Scope;
use crate::limits::{WINDOW_BYTES_MAX, WINDOW_CHUNKS_MAX, WINDOW_PAGES_MAX};
use crate::safeguard::Safeguards;
use crate::session::ClientId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Whether a client keeps its rows where it can find them again.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It has a store with rows and position: everything takes effect once.
    #[default]
    Replica,
    /// It hands each page on and resumes from what the server remembers as acknowledged: at least once.
    Thin,
}

/// A client's settings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Who it is, until a `welcome` says otherwise.
    pub client: ClientId,
    /// What it wants to see.
    pub scope: Scope,
    /// Its credential, for hosts that cannot set headers. Left out of what is written down and printed.
    #[serde(skip)]
    pub token: Option<String>,
    /// Whether a client whose credential has run out waits for another, instead of ending.
    pub waits_for_credential: bool,
    /// Replica or thin.
    pub mode: Mode,
    /// Of its jitter.
    pub seed: u64,
    /// The longest that something stored stays unacknowledged.
    pub ack_every: Duration,
    /// The server's window, in pages; acknowledged at half of it.
    pub window_pages: usize,
    /// The server's window, in bytes of pages and chunks; acknowledged at half of it.
    pub window_bytes: usize,
    /// The server's window, in messages of a backfill; acknowledged at half of it.
    pub window_chunks: u32,
    /// The first wait before dialling again; also spreads those who were told that the server is going away.
    pub backoff_first: Duration,
    /// The longest wait before dialling again.
    pub backoff_most: Duration,
    /// The server is pinged when it was not heard for this long.
    pub ping_every: Duration,
    /// The connection is given up when the server was not heard for this long.
    pub silence_timeout: Duration,
    /// How long dialling may take.
    pub dial_timeout: Duration,
    /// How long a welcome may take.
    pub greet_timeout: Duration,
    /// The most messages waiting for the store; more than the server's window can only be its defect.
    pub queue_messages_max: usize,
    /// Which safeguards hold.
    pub safeguards: Safeguards,
}

impl Config {
    /// The usual settings for this client: a replica of everything.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            scope: Scope::All,
            token: None,
            waits_for_credential: true,
            mode: Mode::Replica,
            seed: 0,
            ack_every: Duration::from_secs(1),
            window_pages: WINDOW_PAGES_MAX,
            window_bytes: WINDOW_BYTES_MAX,
            window_chunks: WINDOW_CHUNKS_MAX,
            backoff_first: Duration::from_millis(250),
            backoff_most: Duration::from_secs(30),
            ping_every: Duration::from_secs(20),
            silence_timeout: Duration::from_secs(60),
            dial_timeout: Duration::from_secs(15),
            greet_timeout: Duration::from_secs(60),
            queue_messages_max: QUEUE_MESSAGES_MAX,
            safeguards: Safeguards::ALL,
        }
    }
}

/// A full window of pages, one of chunks, and a schema message for each of a few hundred tables.
const QUEUE_MESSAGES_MAX: usize = 1_024;
const _: () = assert!(
    QUEUE_MESSAGES_MAX >= 2 * (WINDOW_PAGES_MAX + WINDOW_CHUNKS_MAX as usize) + crate::limits::SCOPE_TABLES_MAX,
    "an honest server's window must fit the queue"
);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("client", &self.client)
            .field("scope", &self.scope)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("mode", &self.mode)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
