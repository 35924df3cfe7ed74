//! Where a server is.

use super::InvalidOptions;
use async_tungstenite::tungstenite::http::Uri;
use std::fmt;

/// The path of the WebSocket on every server.
const PATH: &str = "/api/sync";

/// The address of a server: `ws://host:port/api/sync`, or `wss://` with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The path and query of the WebSocket.
    pub path: String,
}

impl Address {
    /// Reads `ws://host:port` or `http://host:port`, or with TLS `wss://host:port` or `https://host:port`; without a path, it
    /// is `/api/sync`, and without a port that of HTTP.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn parse(url: &str) -> Result<Self, InvalidOptions> {
        let wrong = |why: &str| InvalidOptions(format!("{url:?} is no address of a server: {why}"));
        let uri: Uri = url.parse().map_err(|_| wrong("expected ws://host:port"))?;
        let tls = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(wrong("expected ws://host:port, or wss://host:port with TLS")),
        };
        let host = uri.host().ok_or_else(|| wrong("the host is missing"))?;
        let path = uri.path_and_query().map_or(PATH, |path| if path.path() == "/" { PATH } else { path.as_str() });
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: path.into(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, path } = self;
        let scheme = if *tls { "wss" } else { "ws" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}{path}")
        } else {
            write!(f, "{scheme}://{host}:{port}{path}")
        }
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
        assert_eq!(text("wss://a").as_deref(), Ok("wss://a:443/api/sync"));
        assert_eq!(text("https://a:1/b").as_deref(), Ok("wss://a:1/b"));
        for url in ["", "localhost:8080", "ftp://a"] {
            assert!(text(url).is_err(), "{url:?} is refused");
        }
    }
}
