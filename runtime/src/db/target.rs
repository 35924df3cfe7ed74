//! Where a database is, and how TLS is spoken with it: libpq's `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.

use super::failure;
use super::url::Parts;
use crate::tls::{Identity, Names, Peer, Roots, Trust, Unusable, client_config, explain};
use dormouse_core::fault::Failure;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connection may take to open, TLS included.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// Asks a Postgres server whether it speaks TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// What other programs take and this one has no use for.
const WITHOUT_MEANING: [&str; 2] = ["gssencmode", "sslcompression"];

/// A database to connect to. Every connection, that of replication included, is opened as this says.
#[derive(Clone)]
pub(crate) struct Target {
    config: tokio_postgres::Config,
    tls: Arc<ClientConfig>,
}

/// The other half of a connection, to be run beside its client.
pub(crate) type Session = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Connects to a database as its URL says, TLS included, and runs the connection until the client is dropped.
///
/// # Errors
/// `Refused` when the operator must act: a wrong URL, password or certificate; `Unavailable` while nobody answers.
pub async fn connect(url: &str) -> Result<Client, Failure> {
    let (client, session) = Target::parse(url)?.connect().await.map_err(failure::of)?;
    tokio::spawn(async move {
        if let Err(why) = session.await {
            tracing::debug!(%why, "a database connection ended");
        }
    });
    Ok(client)
}

impl Target {
    /// Reads a URL, and the files that it names.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let refused = |why: &str| {
            let form =
                "it should look like postgres://user:password@host:5432/database, with %XX for special characters";
            Failure::Refused(format!("the database URL cannot be read{why}: {form}"))
        };
        let mut parts = Parts::read(url).ok_or_else(|| refused(""))?;
        if let Some(why) = parts.unknown() {
            return Err(refused(&format!(", {why}")));
        }
        let wish = Wish::take(&mut parts.parameters)?;
        // The parser's own words could quote the URL, and with it a password: but for those that name an option.
        let mut config: tokio_postgres::Config = parts.text().parse().map_err(|why: Error| {
            let option = std::error::Error::source(&why).map(ToString::to_string);
            let option = option.filter(|why| why.starts_with("invalid value for"));
            refused(&option.map(|option| format!(" ({option})")).unwrap_or_default())
        })?;
        let unencrypted = config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        // As libpq has it, TLS is for TCP: on a local socket the system itself says who is there.
        config.ssl_mode(if unencrypted && config.get_hostaddrs().is_empty() { SslMode::Disable } else { wish.mode });
        let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        if direct && config.get_ssl_mode() == SslMode::Prefer {
            return Err(Failure::Refused(
                "sslnegotiation=direct needs sslmode=require or more in the database URL".into(),
            ));
        }
        let mut tls =
            client_config(&wish.trust, wish.identity.as_ref()).map_err(|Unusable(why)| Failure::Refused(why))?;
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self { config, tls: Arc::new(tls) })
    }

    pub(crate) const fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    pub(crate) const fn config_mut(&mut self) -> &mut tokio_postgres::Config {
        &mut self.config
    }

    fn connector(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new(ClientConfig::clone(&self.tls))
    }

    pub(crate) async fn connect(&self) -> Result<(Client, Session), Error> {
        self.config.connect(self.connector()).await
    }

    /// The first host's name or folder of sockets, where to find it, and its port.
    pub(crate) fn first_host(&self) -> Result<(String, String, u16), Failure> {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let address = self.config.get_hostaddrs().first().map(ToString::to_string);
        let name = match (self.config.get_hosts().first(), &address) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            #[cfg(unix)]
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, Some(address)) => address.clone(),
            (None, None) => return Err(Failure::Refused("the database URL names no host".into())),
        };
        Ok((name.clone(), address.unwrap_or(name), port))
    }

    /// A TCP connection with TLS on it, ready for Postgres' own protocol; `None` when it is to be spoken without TLS.
    pub(crate) async fn open_tls(&self) -> Result<Option<TlsStream<TcpStream>>, Failure> {
        if self.config.get_ssl_mode() == SslMode::Disable {
            return Ok(None);
        }
        match tokio::time::timeout(OPEN_MAX, self.negotiate()).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(why)) => Err(match explain(&why, Peer::Database) {
                Some(why) => Failure::Refused(why),
                None => Failure::Unavailable(format!("the database: {why}")),
            }),
            Err(_) => Err(Failure::Unavailable("the database did not answer in time".into())),
        }
    }

    async fn negotiate(&self) -> std::io::Result<Option<TlsStream<TcpStream>>> {
        let (name, address, port) = self.first_host().map_err(|why| std::io::Error::other(why.reason().to_owned()))?;
        let mut stream = TcpStream::connect((address.as_str(), port)).await?;
        stream.set_nodelay(true)?;
        if self.config.get_ssl_negotiation() == SslNegotiation::Postgres {
            stream.write_all(&SSL_REQUEST).await?;
            if stream.read_u8().await? != b'S' {
                return match self.config.get_ssl_mode() {
                    SslMode::Require => Err(std::io::Error::other("server does not support TLS")),
                    _ => Ok(None),
                };
            }
        }
        let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map(Some)
    }
}

/// What the URL asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    mode: SslMode,
    trust: Trust,
    identity: Option<Identity>,
}

impl Wish {
    /// Takes our parameters out of the URL's.
    fn take(parameters: &mut Vec<(String, String)>) -> Result<Self, Failure> {
        parameters.retain(|(name, _)| !WITHOUT_MEANING.contains(&name.as_str()));
        let mut take = |name: &str| {
            let value = parameters.iter().rev().find(|(one, _)| one == name).map(|(_, value)| value.clone());
            parameters.retain(|(one, _)| one != name);
            value.filter(|value| !value.is_empty())
        };
        let (mode, roots) = (take("sslmode"), take("sslrootcert"));
        let (certificates, key) = (take("sslcert"), take("sslkey"));
        let refused = |why: String| Err(Failure::Refused(format!("{why} in the database URL")));
        if take("sslpassword").is_some() {
            return refused("sslpassword is not supported, only a key that is not encrypted".into());
        }
        let identity = match (certificates, key) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some(Identity { certificates: certificates.into(), key: key.into() }),
            _ => return refused("sslcert and sslkey need each other".into()),
        };
        let of_system = roots.as_deref() == Some("system");
        let from = |roots: Option<String>| match roots {
            Some(path) if path != "system" => Roots::File(path.into()),
            Some(_) | None => Roots::System,
        };
        // Named authorities are never passed over: libpq, too, checks a chain that it has roots for.
        let weak = |roots: Option<String>| match roots {
            Some(path) => Trust::Certified(Roots::File(path.into()), Names::Ignored),
            None => Trust::Anybody,
        };
        let (mode, trust) = match mode.as_deref() {
            None if of_system => (SslMode::Require, Trust::Certified(Roots::System, Names::Checked)),
            Some("disable" | "allow" | "prefer" | "require" | "verify-ca") if of_system => {
                return refused("sslrootcert=system needs sslmode=verify-full".into());
            }
            Some("disable") => (SslMode::Disable, Trust::Anybody),
            // `allow` would rather have no TLS: nobody can want that for its own sake.
            None | Some("prefer" | "allow") => (SslMode::Prefer, weak(roots)),
            Some("require") => (SslMode::Require, weak(roots)),
            Some("verify-ca") => (SslMode::Require, Trust::Certified(from(roots), Names::Ignored)),
            Some("verify-full") => (SslMode::Require, Trust::Certified(from(roots), Names::Checked)),
            Some(_) => {
                return refused("sslmode must be disable, prefer, require, verify-ca or verify-full".into());
            }
        };
        Ok(Self { mode, trust, identity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(query: &str) -> Result<(SslMode, Trust), String> {
        let mut parts = Parts::read(&format!("postgres://h/d?{query}")).expect("readable");
        let wish = Wish::take(&mut parts.parameters).map_err(|why| why.reason().to_owned())?;
        Ok((wish.mode, wish.trust))
    }

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        let certified = |roots, names| Trust::Certified(roots, names);
        let file = || Roots::File("/ca".into());
        for (query, mode, trust) in [
            ("", SslMode::Prefer, Trust::Anybody),
            ("sslmode=disable", SslMode::Disable, Trust::Anybody),
            ("sslmode=prefer", SslMode::Prefer, Trust::Anybody),
            ("sslmode=require", SslMode::Require, Trust::Anybody),
            ("sslmode=require&sslrootcert=/ca", SslMode::Require, certified(file(), Names::Ignored)),
            ("sslmode=verify-ca&sslrootcert=/ca", SslMode::Require, certified(file(), Names::Ignored)),
            ("sslmode=verify-full&sslrootcert=/ca", SslMode::Require, certified(file(), Names::Checked)),
            ("sslmode=verify-full", SslMode::Require, certified(Roots::System, Names::Checked)),
            ("sslrootcert=system", SslMode::Require, certified(Roots::System, Names::Checked)),
            ("sslmode=disable&sslmode=require", SslMode::Require, Trust::Anybody),
        ] {
            assert_eq!(wish(query), Ok((mode, trust)), "{query}");
        }
        for wrong in ["sslmode=on", "sslmode=require&sslrootcert=system", "sslcert=/c", "sslkey=/k"] {
            assert!(wish(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, word) in [
            ("postgres://u:s3cr@h/d?sslmod=require", "did you mean sslmode?"),
            ("postgres://u:s3cr@h:x/d", "cannot be read"),
            ("host=h port=x password=s3cr", "invalid value for option `port`"),
            ("postgres://u:s3cr@h/d?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem", "/nonexistent/ca.pem"),
            ("postgres://u:s3cr@h/d?sslpassword=s3cr", "sslpassword is not supported"),
        ] {
            let why = Target::parse(url).err().expect("wrong").reason().to_owned();
            assert!(why.contains(word) && !why.contains("s3cr"), "{why}");
        }
    }

    #[test]
    fn a_local_socket_needs_no_tls() {
        let target = Target::parse("host=/run/postgresql user=u sslmode=require").expect("valid");
        assert_eq!(target.config().get_ssl_mode(), SslMode::Disable);
        assert_eq!(target.first_host().expect("a host").0, "/run/postgresql");
    }
}
