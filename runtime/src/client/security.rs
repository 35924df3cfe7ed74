//! Opening connections to a server, with TLS where its address asks for it.

use super::{Address, InvalidOptions};
use crate::tls::{Names, Peer, Roots, Trust, Unusable, client_config, explain};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A connection, with TLS or without.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Whom to trust behind `wss://`. Read at the first use, and shared by clones.
#[derive(Clone, Default)]
pub struct Security {
    roots: Roots,
    config: Arc<OnceLock<Result<Arc<ClientConfig>, Unusable>>>,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Security").field(&self.roots).finish()
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Nobody answers: it may pass.
    Unreachable(String),
    /// Whoever answers cannot be trusted, or does not speak TLS: somebody must change something.
    Untrusted(String),
}

impl Security {
    /// The authorities that the system trusts, or those of a file in PEM.
    #[must_use]
    pub fn new(authorities: Option<PathBuf>) -> Self {
        Self { roots: authorities.map_or(Roots::System, Roots::File), config: Arc::default() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Unusable> {
        let build = || {
            let mut config = client_config(&Trust::Certified(self.roots.clone(), Names::Checked), None)?;
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        };
        self.config.get_or_init(build).clone()
    }

    /// Connects to a server.
    pub(crate) async fn open(&self, address: &Address) -> Result<Stream, OpenError> {
        let Address { host, port, tls, .. } = address;
        let unreachable = |error: io::Error| OpenError::Unreachable(format!("{host}:{port}: {error}"));
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        if !tls {
            return Ok(Either::Left(stream));
        }
        let config = self.config().map_err(|Unusable(why)| OpenError::Untrusted(why))?;
        let name = ServerName::try_from(host.clone());
        let name =
            name.map_err(|_| OpenError::Untrusted(format!("{host:?} is no name that a certificate can have")))?;
        match TlsConnector::from(config).connect(name, stream).await {
            Ok(stream) => Ok(Either::Right(Box::new(stream))),
            Err(error) => Err(match explain(&error, Peer::Server) {
                Some(why) => OpenError::Untrusted(format!("{host}:{port}: {why}")),
                None => unreachable(error),
            }),
        }
    }

    /// Connects once, so that a server that cannot be trusted is found before anything is tried again and again.
    ///
    /// # Errors
    /// One sentence, when somebody must change something. A server that does not answer is no error: it may come.
    pub async fn check(&self, address: &Address) -> Result<(), InvalidOptions> {
        match if address.tls { self.open(address).await } else { return Ok(()) } {
            Ok(_) | Err(OpenError::Unreachable(_)) => Ok(()),
            Err(OpenError::Untrusted(why)) => Err(InvalidOptions(why)),
        }
    }
}
