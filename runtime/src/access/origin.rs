//! Which pages may connect: a browser says where its page is from, and cannot lie about it.

use super::forbidden;
use axum::http::Uri;
use dormouse_core::fault::PeerFault;

/// The origins that are let in, beside the server's own.
#[derive(Debug)]
pub(super) struct Origins {
    allowed: Vec<Rule>,
    /// Whether the server's own origin must be the loopback's, so that no foreign name that resolves to it reaches an open server.
    own_is_loopback: bool,
}

#[derive(Debug)]
enum Rule {
    Any,
    One(String),
    /// What stands before and after at least one label.
    Below(String, String),
}

impl Origins {
    /// Reads the rules: `*`, `https://app.example`, `https://*.example.com`.
    ///
    /// # Errors
    /// A sentence about the first that is none of these.
    pub(super) fn new(rules: &[String], own_is_loopback: bool) -> Result<Self, String> {
        let allowed = rules.iter().map(|rule| Rule::parse(rule)).collect::<Result<_, _>>()?;
        Ok(Self { allowed, own_is_loopback })
    }

    /// Judges a browser's Origin against the host that was asked for. Programs that are no browsers send none.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub(super) fn judge(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), PeerFault> {
        let Some(origin) = origin else { return Ok(()) };
        if self.allowed.iter().any(|rule| rule.allows(origin)) || self.is_own(origin, host) {
            return Ok(());
        }
        Err(forbidden("pages of this origin may not connect; the server's --origin names those that may".into()))
    }

    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let uri = origin.parse::<Uri>().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        authority.is_some_and(|authority| {
            host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
                && (!self.own_is_loopback || is_loopback(authority.host()))
        })
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text} is no origin: as in https://app.example, https://*.example.com, or * for every page");
        let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let plain = |text: &str| !text.is_empty() && !text.contains(['*', '/', '?', '#', '@', ' ']);
        if !plain(scheme) {
            return Err(wrong());
        }
        match authority.strip_prefix("*.") {
            Some(domain) if plain(domain) => Ok(Self::Below(format!("{scheme}://"), format!(".{domain}"))),
            None if plain(authority) => Ok(Self::One(text)),
            _ => Err(wrong()),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        let labels = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        match self {
            Self::Any => true,
            Self::One(one) => one.eq_ignore_ascii_case(origin),
            Self::Below(scheme, domain) => {
                let origin = origin.to_ascii_lowercase();
                let below = origin.strip_prefix(scheme.as_str()).and_then(|rest| rest.strip_suffix(domain.as_str()));
                below.is_some_and(|below| !below.is_empty() && labels(below))
            }
        }
    }
}

/// Whether a name or an address is this machine itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(rules: &[&str], own_is_loopback: bool) -> Result<Origins, String> {
        Origins::new(&rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>(), own_is_loopback)
    }

    #[test]
    fn only_known_pages_may_connect() {
        let check = |origins: &Origins, origin, host| origins.judge(origin, host).is_ok();
        let open = origins(&["https://app.example"], true).expect("an origin");
        assert!(check(&open, None, Some("127.0.0.1:7654")));
        assert!(check(&open, Some("http://127.0.0.1:7654"), Some("127.0.0.1:7654")));
        assert!(check(&open, Some("http://LOCALHOST:7654"), Some("localhost:7654")));
        assert!(check(&open, Some("https://app.example"), Some("127.0.0.1:7654")));
        assert!(!check(&open, Some("http://rebound.example:7654"), Some("rebound.example:7654")));
        assert!(!check(&open, Some("https://other.example"), Some("127.0.0.1:7654")));
        assert!(!check(&open, Some("null"), Some("127.0.0.1:7654")));
        let closed = origins(&[], false).expect("none");
        assert!(check(&closed, Some("https://sync.example"), Some("sync.example")));
        assert!(!check(&closed, Some("https://app.example"), Some("sync.example")));
    }

    #[test]
    fn a_star_stands_for_names_below_a_domain_and_for_nothing_else() {
        let below = origins(&["https://*.example.com"], true).expect("an origin");
        let allows = |origin| below.judge(Some(origin), None).is_ok();
        assert!(allows("https://app.example.com") && allows("https://a.b.EXAMPLE.com"));
        for foreign in [
            "https://example.com",
            "https://.example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.net",
            "https://evil.net/x.example.com",
            "https://evil.net#.example.com",
            "https://evilexample.com",
            "https://a@b.example.com",
        ] {
            assert!(!allows(foreign), "{foreign}");
        }
        assert!(origins(&["*"], true).expect("all").judge(Some("null"), None).is_ok());
        for wrong in
            ["app.example", "https://", "https://a.*.example", "https://**.example", "https://app.example/path", ""]
        {
            assert!(origins(&[wrong], true).is_err(), "{wrong:?}");
        }
    }
}
