//! What went wrong with TLS, in a sentence that says what to do.

use rustls::{CertificateError, Error as TlsError};
use std::error::Error;

/// The side that TLS was spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Postgres.
    Database,
    /// A Dormouse server, or what stands before it.
    Server,
}

impl Peer {
    const fn name(self) -> &'static str {
        match self {
            Self::Database => "the database",
            Self::Server => "the server",
        }
    }

    const fn trust_it(self) -> &'static str {
        match self {
            Self::Database => "name the authority's certificate with sslrootcert=FILE in the database's URL",
            Self::Server => "name the authority's certificate with --ca FILE",
        }
    }

    const fn prove_ourselves(self) -> &'static str {
        match self {
            Self::Database => "look at sslcert and sslkey in the database's URL, and at the database's log",
            Self::Server => "look at the server's log",
        }
    }

    const fn without_tls(self) -> &'static str {
        match self {
            Self::Database => "switch it on (`ssl = on`), or say sslmode=disable on a network that you trust",
            Self::Server => "connect with ws:// or http:// on a network that you trust",
        }
    }
}

/// A sentence, when an error comes from TLS in a way that only somebody who changes something can mend. Others, such as a
/// connection that broke, pass by themselves.
#[must_use]
pub fn explain(error: &(dyn Error + 'static), peer: Peer) -> Option<String> {
    let name = peer.name();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = tls_error(error) {
            return sentence(error, peer);
        }
        // This is how `tokio-postgres` says it.
        if error.to_string() == "server does not support TLS" {
            return Some(format!("{name} speaks no TLS, which sslmode asks for: {}", peer.without_tls()));
        }
        next = error.source();
    }
    None
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    // An error of IO passes over the one that it wraps when it is asked for its source.
    match error.downcast_ref::<std::io::Error>() {
        Some(wrapping) => wrapping.get_ref().and_then(|inner| tls_error(inner)),
        None => error.downcast_ref(),
    }
}

fn sentence(error: &TlsError, peer: Peer) -> Option<String> {
    let name = peer.name();
    Some(match error {
        TlsError::InvalidCertificate(why) => certificate(why, peer),
        TlsError::NoCertificatesPresented => format!("{name} showed no certificate"),
        TlsError::AlertReceived(alert) => {
            format!("{name} ended TLS ({alert:?}): {}", peer.prove_ourselves())
        }
        TlsError::PeerIncompatible(why) => {
            format!(
                "{name} and this program have no version or cipher of TLS in common ({why:?}); TLS 1.2 and 1.3 are spoken here"
            )
        }
        TlsError::InvalidMessage(_) => {
            format!("{name} answered with something else than TLS: {}", peer.without_tls())
        }
        _ => return None,
    })
}

/// What helps when the name is wrong.
const NAME_IT_RIGHT: &str = "connect by a name that it has, or let one be issued for this name";

fn certificate(error: &CertificateError, peer: Peer) -> String {
    let name = peer.name();
    let of = format!("the certificate of {name}");
    match error {
        // A bad signature is that of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("{of} was issued by an authority that is not trusted here: {}", peer.trust_it())
        }
        CertificateError::NotValidForName => {
            format!("{of} is not for the name that was connected to: {NAME_IT_RIGHT}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "no name at all".into() } else { presented.join(", ") };
            let expected = expected.to_str();
            format!("{of} is for {presented}, and not for {expected}: {NAME_IT_RIGHT}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("{of} has expired: renew it there (or set this machine's clock)")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("{of} is not valid yet: set the clock of the machine that is wrong")
        }
        CertificateError::Revoked => format!("{of} was revoked: let a new one be issued"),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            format!("{of} is that of an authority, which must not stand for a server: let it issue one for the server")
        }
        other => format!("{of} cannot be trusted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn an_error_is_found_however_deep_it_is_wrapped() {
        let inner = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner.clone()));
        let same_name = TlsError::InvalidCertificate(CertificateError::BadSignature);
        for error in [Box::new(inner) as Box<dyn Error>, Box::new(wrapped), Box::new(same_name)] {
            let why = explain(error.as_ref(), Peer::Database).expect("it is TLS");
            assert!(why.contains("not trusted here: name the authority's certificate with sslrootcert=FILE"), "{why}");
        }
    }

    #[test]
    fn a_broken_connection_passes_by_itself() {
        assert_eq!(explain(&io::Error::from(io::ErrorKind::UnexpectedEof), Peer::Server), None);
    }
}
