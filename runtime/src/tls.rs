//! TLS: one provider of cryptography, one way to trust, one way to say what went wrong.
//!
//! Used towards Postgres ([`crate::db`]), by the listener for its clients, and by the native client for its server.

mod client;
mod explain;
mod pem;
mod server;

pub use client::{Identity, Names, Trust, client_config};
pub use explain::{Peer, explain};
pub use pem::{Roots, read_roots};
pub use server::{Acceptor, ServerIdentity};

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, OnceLock};

/// The provider that every connection uses. Libraries bring another one along, so none is taken by default: it is named.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// A file or a setting that TLS cannot be built from: one sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);
