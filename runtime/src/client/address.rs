//! Where a server is.

use super::InvalidOptions;
use async_tungstenite::tungstenite::http::Uri;
use std::fmt;

/// The path of the WebSocket on every server.
const PATH: &str = "/api/sync";

/// The address of a server: `ws://host:port/api/sync`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The path and query of the WebSocket.
    pub path: String,
}

impl Address {
    /// Reads `ws://host:port` or `http://host:port`; without a path, it is `/api/sync`.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn parse(url: &str) -> Result<Self, InvalidOptions> {
        let wrong = |why: &str| InvalidOptions(format!("{url:?} is no address of a server: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("expected ws://host:port"))?;
        match uri.scheme_str() {
            Some("ws" | "http") => {}
            Some("wss" | "https") => {
                return Err(wrong("this client does not speak TLS yet; use ws:// to a local proxy"));
            }
            _ => return Err(wrong("expected ws://host:port")),
        }
        let host = uri.host().ok_or_else(|| wrong("the host is missing"))?;
        let path = uri.path_and_query().map_or(PATH, |path| if path.path() == "/" { PATH } else { path.as_str() });
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: uri.port_u16().unwrap_or(80),
            path: path.into(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        if host.contains(':') { write!(f, "ws://[{host}]:{port}{path}") } else { write!(f, "ws://{host}:{port}{path}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed() {
        let text = |url: &str| Address::parse(url).map(|address| address.to_string());
        assert_eq!(text("ws://localhost:8080").as_deref(), Ok("ws://localhost:8080/api/sync"));
        assert_eq!(text("http://[::1]:1/").as_deref(), Ok("ws://[::1]:1/api/sync"));
        assert_eq!(text("ws://a/b?c=d").as_deref(), Ok("ws://a:80/b?c=d"));
        for url in ["", "localhost:8080", "ftp://a", "wss://a"] {
            assert!(text(url).is_err(), "{url:?} is refused");
        }
    }
}
