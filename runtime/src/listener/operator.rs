//! What only operators may see: metrics, reports, clients, the console. Read-only, and behind a credential of its own.

use super::Door;
use super::answer;
use crate::access::is_loopback;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dormouse_core::fault::FaultCode;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// The rule for operators.
pub struct OperatorAccess {
    rule: Rule,
}

enum Rule {
    /// Whoever shows this.
    Credential(String),
    /// Everybody; by a loopback name or this address only, unless `None`, so that no page of another host gets through by a name
    /// that it made resolve to this machine.
    Open(Option<SocketAddr>),
    /// Nobody, for none was named.
    Closed,
}

/// A credential is never printed.
impl std::fmt::Debug for OperatorAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.rule {
            Rule::Credential(_) => "with a credential",
            Rule::Open(Some(_)) => "open to this machine",
            Rule::Open(None) => "open",
            Rule::Closed => "closed",
        })
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another flag is needed.
    Closed,
    /// Nothing was shown, or something else.
    Unknown,
    /// The host that was asked for is not this one.
    ForeignHost,
}

impl OperatorAccess {
    /// Reads the credential, if there is a file of one. Without it everybody is an operator where everybody is a client (`open`),
    /// by any name of the host if `insecure`; and else nobody is.
    ///
    /// # Errors
    /// One sentence, without the credential, when the file cannot be read or does not hold one line.
    pub fn new(file: Option<&Path>, open: bool, insecure: bool, address: SocketAddr) -> Result<Self, String> {
        let Some(file) = file else {
            let own = (!insecure).then_some(address);
            return Ok(Self { rule: if open { Rule::Open(own) } else { Rule::Closed } });
        };
        let text = std::fs::read_to_string(file).map_err(|why| format!("cannot read {}: {why}", file.display()))?;
        match text.trim() {
            "" => Err(format!("{} is empty, so no operator could come in", file.display())),
            one if one.lines().count() == 1 => Ok(Self { rule: Rule::Credential(one.to_owned()) }),
            _ => Err(format!(
                "{} holds more than one line: it is to hold one credential and nothing else",
                file.display()
            )),
        }
    }

    /// Where the server listens in the end, when it could choose.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        match self.rule {
            Rule::Open(Some(_)) => Self { rule: Rule::Open(Some(address)) },
            rule => Self { rule },
        }
    }

    pub(super) fn judge(&self, headers: &HeaderMap) -> Result<(), Refused> {
        match &self.rule {
            Rule::Closed => Err(Refused::Closed),
            Rule::Open(None) => Ok(()),
            Rule::Open(Some(address)) => match headers.get(header::HOST).map(|host| host.to_str()) {
                // Programs that are no browsers may send none.
                None => Ok(()),
                Some(Ok(host)) if host == address.to_string() || is_loopback(host_name(host)) => Ok(()),
                Some(_) => Err(Refused::ForeignHost),
            },
            Rule::Credential(credential) => match shown(headers) {
                Some(shown) if crate::access::same(credential, &shown) => Ok(()),
                Some(_) | None => Err(Refused::Unknown),
            },
        }
    }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// The credential of `Bearer`, or the password of `Basic`, which is what browsers ask people for.
fn shown(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Lets operators through to what is theirs.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let refused = match door.operators.judge(request.headers()) {
        Ok(()) => return next.run(request).await,
        Err(refused) => refused,
    };
    let (status, code, message) = match refused {
        Refused::Closed => (
            StatusCode::FORBIDDEN,
            FaultCode::Forbidden,
            "this is for operators, and none can come in: start the server with --admin-credential-file FILE",
        ),
        Refused::Unknown => (
            StatusCode::UNAUTHORIZED,
            FaultCode::Unauthorized,
            "this is for operators: send the credential of --admin-credential-file as `Authorization: Bearer`, or as the password of Basic",
        ),
        Refused::ForeignHost => (
            StatusCode::FORBIDDEN,
            FaultCode::Forbidden,
            "this server is open to its own machine only: ask for it as localhost, or start it with --admin-credential-file FILE",
        ),
    };
    door.metrics.refused(code);
    let mut response = answer::error(status, code.as_str(), message);
    if refused == Refused::Unknown {
        let basic = header::HeaderValue::from_static("Basic realm=\"dormouse operators\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header's value"))).collect()
    }

    fn address() -> SocketAddr {
        "127.0.0.1:7654".parse().expect("an address")
    }

    #[test]
    fn an_operator_shows_the_credential_in_either_way() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "s3cret\n").expect("written");
        let access = OperatorAccess::new(Some(file.path()), true, false, address()).expect("a credential");
        let judge = |value: &str| access.judge(&headers(&[(header::AUTHORIZATION, value)]));
        assert_eq!(judge("Bearer s3cret"), Ok(()));
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(judge(&basic("anybody:s3cret")), Ok(()));
        for wrong in ["Bearer s3cre", "s3cret", "Basic s3cret", "Digest s3cret", &basic("s3cret:"), &basic("s3cret")] {
            assert_eq!(judge(wrong), Err(Refused::Unknown), "{wrong}");
        }
        assert_eq!(access.judge(&HeaderMap::new()), Err(Refused::Unknown));
        assert!(!format!("{access:?}").contains("s3cret"));
        std::fs::write(file.path(), "two\nlines\n").expect("written");
        assert!(OperatorAccess::new(Some(file.path()), true, false, address()).is_err_and(|why| !why.contains("two")));
    }

    #[test]
    fn an_open_server_is_open_by_its_own_names_only() {
        let access = OperatorAccess::new(None, true, false, address()).expect("open");
        let judge = |access: &OperatorAccess, host: &str| access.judge(&headers(&[(header::HOST, host)]));
        for own in ["127.0.0.1:7654", "localhost:7654", "localhost", "[::1]:7654", "[::1]"] {
            assert_eq!(judge(&access, own), Ok(()), "{own}");
        }
        for foreign in ["rebound.example:7654", "rebound.example", "127.0.0.1.example"] {
            assert_eq!(judge(&access, foreign), Err(Refused::ForeignHost), "{foreign}");
        }
        let insecure = OperatorAccess::new(None, true, true, address()).expect("open");
        assert_eq!(judge(&insecure, "dormouse.example"), Ok(()));
        let closed = OperatorAccess::new(None, false, false, address()).expect("closed");
        assert_eq!(judge(&closed, "127.0.0.1:7654"), Err(Refused::Closed));
    }
}
