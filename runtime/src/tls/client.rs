//! The side that connects: whom it trusts, and how it proves itself.

use super::pem::{Roots, read_certificates, read_key, read_roots};
use super::{Unusable, provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::Arc;

/// Who the other side must prove to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Anybody: what is sent is encrypted, for whoever it is that answers.
    Anybody,
    /// Whoever has a certificate of these authorities.
    Certified(Roots, Names),
}

/// Whether the name in the certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// It must be the name that was connected to.
    Checked,
    /// It may be any.
    Ignored,
}

/// How we prove ourselves: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with what leads to its authority.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Builds what a connection needs to begin.
///
/// # Errors
/// When a file cannot be used.
pub fn client_config(trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, Unusable> {
    let verifier = match trust {
        Trust::Anybody => Verifier { roots: None, names: Names::Ignored, provider: provider() },
        Trust::Certified(roots, names) => {
            Verifier { roots: Some(read_roots(roots)?), names: *names, provider: provider() }
        }
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|why| Unusable(format!("TLS cannot be set up: {why}")))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(Identity { certificates, key }) => {
            let (chain, secret) = (read_certificates(certificates)?, read_key(key)?);
            builder.with_client_auth_cert(chain, secret).map_err(|why| {
                Unusable(format!("{} and {} do not belong together: {why}", certificates.display(), key.display()))
            })
        }
    }
}

/// Checks by the rules of the web (RFC 5280 and 6125, as rustls has them), as far as is asked for.
#[derive(Debug)]
struct Verifier {
    /// `None` trusts anybody.
    roots: Option<Arc<RootCertStore>>,
    names: Names,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
            match self.names {
                Names::Checked => verify_server_name(&certificate, name)?,
                Names::Ignored => {}
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
