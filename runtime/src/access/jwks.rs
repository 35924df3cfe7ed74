//! Keys that the issuer of tokens publishes: fetched, kept, and fetched again when a token names one that is not known.

use super::keys::KeySet;
use super::origin::is_loopback;
use crate::http;
use axum::http::Uri;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often keys are fetched that are not asked for.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(300);
/// How soon after one fetch another may follow, whoever asks: strangers can name any key.
const REFRESH_PAUSE: Duration = Duration::from_secs(3);
/// The most bytes of a key set.
const BYTES_MAX: usize = 256 * 1024;
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A published key set.
pub(super) struct Jwks {
    url: Uri,
    keys: RwLock<Arc<KeySet>>,
    /// When it was last fetched, and whether that worked. Held while fetching, so that many who wait share one fetch.
    last: Mutex<Option<(Instant, bool)>>,
}

impl Jwks {
    /// A set that is not fetched yet.
    ///
    /// # Errors
    /// When its address is neither https nor on this machine.
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let url: Uri = url.parse().map_err(|why| format!("{url} is no address: {why}"))?;
        let host = url.host().unwrap_or_default();
        let safe = match url.scheme_str() {
            Some("https") => true,
            Some("http") => is_loopback(host),
            _ => false,
        };
        if !safe {
            return Err(format!("{url} is not https: whoever is on the way could put in keys of their own"));
        }
        Ok(Self { url, keys: RwLock::new(Arc::new(KeySet::empty())), last: Mutex::new(None) })
    }

    /// The keys as they were last fetched.
    pub(super) fn get(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys, unless that was done just now. False when the last fetch failed; the keys stay as they were then.
    pub(super) async fn refresh(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, worked)) = *last
            && at.elapsed() < REFRESH_PAUSE
        {
            return worked;
        }
        let fetched = self.fetch().await;
        *last = Some((Instant::now(), fetched.is_ok()));
        match fetched {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                tracing::debug!(url = %self.url, "keys fetched");
                true
            }
            Err(why) => {
                tracing::warn!("cannot fetch the keys of --jwks: {why}; those fetched before stay in force");
                false
            }
        }
    }

    /// From exactly the configured address: an answer that sends us elsewhere is none.
    async fn fetch(&self) -> Result<KeySet, String> {
        let body = http::get(&self.url, BYTES_MAX, TIMEOUT).await.map_err(|why| format!("{}: {why}", self.url))?;
        KeySet::jwks(&body).map_err(|why| format!("{}: {why}", self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_a_safe_way_only() {
        assert!(Jwks::new("https://id.example/keys").is_ok());
        assert!(Jwks::new("http://127.0.0.1:1234/keys").is_ok());
        assert!(Jwks::new("http://[::1]/keys").is_ok());
        for wrong in ["http://id.example/keys", "ftp://id.example", "/keys", "http://localhost.example/"] {
            assert!(Jwks::new(wrong).is_err(), "{wrong}");
        }
    }
}
