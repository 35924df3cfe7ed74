//! The side that is connected to: a certificate that can be exchanged while the server runs.

use super::pem::{read_certificates, read_key};
use super::{Unusable, provider};
use rustls::ServerConfig;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of TLS.
const HANDSHAKE: u8 = 0x16;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long somebody who speaks no TLS may take to read that.
const FAREWELL: Duration = Duration::from_secs(1);

/// The files with which the server proves who it is, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The certificate, with what leads to its authority.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl ServerIdentity {
    fn read(&self) -> Result<Arc<ServerConfig>, Unusable> {
        let (chain, key) = (read_certificates(&self.certificates)?, read_key(&self.key)?);
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|why| Unusable(format!("TLS cannot be set up: {why}")))?;
        let config = builder.with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.map_err(|why| {
            let (certificates, key) = (self.certificates.display(), self.key.display());
            Unusable(format!("{certificates} and {key} do not belong together: {why}"))
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Takes connections with the certificate that is in force. Clones share it.
#[derive(Clone)]
pub struct Acceptor {
    identity: ServerIdentity,
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Acceptor").field(&self.identity).finish()
    }
}

impl Acceptor {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn new(identity: ServerIdentity) -> Result<Self, Unusable> {
        let config = identity.read()?;
        Ok(Self { identity, config: Arc::new(RwLock::new(config)) })
    }

    /// Reads the files again, for connections from now on. When they cannot be used the certificate stays as it is.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn reload(&self) -> Result<(), Unusable> {
        let config = self.identity.read()?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// The handshake with one connection.
    ///
    /// # Errors
    /// When it takes too long, or the other side trusts us not, or speaks no TLS, which it is told in HTTP.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
                tell_to_use_tls(stream).await;
                return Err(io::Error::other("somebody spoke without TLS"));
            }
            let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
            TlsAcceptor::from(config).accept(stream).await
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(io::Error::from)?
    }
}

/// Most who speak no TLS here speak HTTP.
async fn tell_to_use_tls(mut stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 44\r\n\r\n\
        this port speaks TLS: use https:// or wss://";
    let told = async {
        if stream.write_all(ANSWER).await.is_ok() && stream.shutdown().await.is_ok() {
            // Closed with unread bytes, the answer could be lost.
            let mut rest = [0; 512];
            while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
        }
    };
    let _ = tokio::time::timeout(FAREWELL, told).await; // Then it is closed without an answer.
}
