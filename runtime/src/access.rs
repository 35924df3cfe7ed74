//! Who may come in: credentials for client ids, and the origins that browsers come from.

use axum::http::Uri;
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::session::ClientId;
use std::hint::black_box;
use std::path::Path;

/// The door's rules.
#[derive(Debug)]
pub struct Access {
    /// `None` lets everybody in.
    credentials: Option<Vec<Entry>>,
    /// Further origins, beside the server's own.
    origins: Vec<String>,
    /// Whether the server's own origin must be the loopback's, so that no foreign name that resolves to it reaches an open server.
    own_is_loopback: bool,
}

struct Entry {
    credential: String,
    prefix: String,
}

/// A credential is never printed.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "credential for {}*", self.prefix)
    }
}

impl Access {
    /// Everybody may come in as anybody. Without `insecure` pages of other hosts still may not.
    #[must_use]
    pub const fn open(origins: Vec<String>, insecure: bool) -> Self {
        Self { credentials: None, origins, own_is_loopback: !insecure }
    }

    /// Those of a file: lines `credential client-id-prefix`, where the prefix `*` stands for every client id.
    ///
    /// # Errors
    /// One sentence, without any credential, when the file cannot be read or a line is not of that form.
    pub fn from_file(path: &Path, origins: Vec<String>) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        let credentials = parse(&text).map_err(|line| {
            format!("line {line} of {} is not `credential client-id-prefix` (`*` for any client id)", path.display())
        })?;
        if credentials.is_empty() {
            return Err(format!("{} holds no credential, so nobody could come in", path.display()));
        }
        Ok(Self { credentials: Some(credentials), origins, own_is_loopback: false })
    }

    /// Judges what was shown before the client named itself: a wrong credential is refused at once, none may still come.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub fn judge_credential(&self, credential: Option<&str>) -> Result<(), PeerFault> {
        let (Some(entries), Some(shown)) = (&self.credentials, credential) else { return Ok(()) };
        let known = entries.iter().fold(false, |known, entry| same(&entry.credential, shown) | known);
        if known { Ok(()) } else { Err(unauthorized("the credential is not known here")) }
    }

    /// Judges whether whoever showed this credential may be this client.
    ///
    /// # Errors
    /// The fault that ends the session.
    pub fn judge_client(&self, credential: Option<&str>, client: &ClientId) -> Result<(), PeerFault> {
        let Some(entries) = &self.credentials else { return Ok(()) };
        let shown = credential.ok_or_else(|| {
            unauthorized("a credential is needed: send it as `Authorization: Bearer` or as `token` in the greeting")
        })?;
        let (mut known, mut allowed) = (false, false);
        for entry in entries {
            let same = same(&entry.credential, shown);
            known |= same;
            allowed |= same && (entry.prefix == "*" || client.as_str().starts_with(&entry.prefix));
        }
        match (known, allowed) {
            (_, true) => Ok(()),
            (true, false) => Err(forbidden(format!("this credential does not allow the client id {client}"))),
            (false, false) => Err(unauthorized("the credential is not known here")),
        }
    }

    /// Judges a browser's Origin against the host that was asked for. Programs that are no browsers send none.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub fn judge_origin(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), PeerFault> {
        let Some(origin) = origin else { return Ok(()) };
        if self.origins.iter().any(|allowed| allowed == origin) {
            return Ok(());
        }
        let uri = origin.parse::<Uri>().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        let own = authority.is_some_and(|authority| {
            host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
                && (!self.own_is_loopback || is_loopback(authority.host()))
        });
        if own {
            Ok(())
        } else {
            Err(forbidden("pages of this origin may not connect; the server's --origin names those that may".into()))
        }
    }
}

fn unauthorized(message: &str) -> PeerFault {
    PeerFault::new(FaultCode::Unauthorized, message)
}

fn forbidden(message: String) -> PeerFault {
    PeerFault::new(FaultCode::Forbidden, message)
}

/// Compares in a time that depends on the length of what was shown only, so that it tells nothing about the secret.
pub(crate) fn same(secret: &str, shown: &str) -> bool {
    let secret = secret.as_bytes();
    let mut difference = secret.len() ^ shown.len();
    for (n, byte) in shown.bytes().enumerate() {
        difference |= usize::from(byte ^ secret[n % secret.len()]);
    }
    black_box(difference) == 0
}

/// Whether a name or an address is this machine itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The entries, or the number of the first wrong line.
fn parse(text: &str) -> Result<Vec<Entry>, usize> {
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(n, line)| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [credential, prefix] => Ok(Entry { credential: credential.into(), prefix: prefix.into() }),
            _ => Err(n),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_credentials(text: &str) -> Access {
        let credentials = Some(parse(text).expect("lines of the right form"));
        Access { credentials, origins: Vec::new(), own_is_loopback: false }
    }

    fn code(judged: Result<(), PeerFault>) -> Option<FaultCode> {
        judged.err().map(|fault| fault.code)
    }

    #[test]
    fn a_credential_opens_its_own_prefixes() {
        let access = with_credentials("# people\ns3cret phone-\n\n s3cret  tablet- \nroot *\n");
        let judge =
            |credential, client| code(access.judge_client(credential, &ClientId::new(client).expect("a client id")));
        assert_eq!(judge(Some("s3cret"), "phone-7"), None);
        assert_eq!(judge(Some("s3cret"), "tablet-7"), None);
        assert_eq!(judge(Some("root"), "anything"), None);
        assert_eq!(judge(Some("s3cret"), "watch-7"), Some(FaultCode::Forbidden));
        assert_eq!(judge(Some("s3cre"), "phone-7"), Some(FaultCode::Unauthorized));
        assert_eq!(judge(Some("s3crets3cret"), "phone-7"), Some(FaultCode::Unauthorized));
        assert_eq!(judge(Some(""), "phone-7"), Some(FaultCode::Unauthorized));
        assert_eq!(judge(None, "phone-7"), Some(FaultCode::Unauthorized));
        assert_eq!(code(access.judge_credential(None)), None);
        assert_eq!(code(access.judge_credential(Some("root"))), None);
        assert_eq!(code(access.judge_credential(Some("wrong"))), Some(FaultCode::Unauthorized));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        assert!(matches!(parse("a b\n\nalone\n"), Err(3)));
        assert!(matches!(parse("a b c"), Err(1)));
        assert_eq!(format!("{:?}", parse("secret x-").expect("one entry")), "[credential for x-*]");
    }

    #[test]
    fn only_known_pages_may_connect() {
        let check = |access: &Access, origin, host| code(access.judge_origin(origin, host)).is_none();
        let open = Access::open(vec!["https://app.example".into()], false);
        assert!(check(&open, None, Some("127.0.0.1:7654")));
        assert!(check(&open, Some("http://127.0.0.1:7654"), Some("127.0.0.1:7654")));
        assert!(check(&open, Some("http://LOCALHOST:7654"), Some("localhost:7654")));
        assert!(check(&open, Some("https://app.example"), Some("127.0.0.1:7654")));
        assert!(!check(&open, Some("http://rebound.example:7654"), Some("rebound.example:7654")));
        assert!(!check(&open, Some("https://other.example"), Some("127.0.0.1:7654")));
        assert!(!check(&open, Some("null"), Some("127.0.0.1:7654")));
        let closed = with_credentials("a b");
        assert!(check(&closed, Some("https://sync.example"), Some("sync.example")));
        assert!(!check(&closed, Some("https://app.example"), Some("sync.example")));
    }
}
