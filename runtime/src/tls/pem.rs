//! Certificates and keys as files, and the authorities that are trusted.

use super::Unusable;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whose signatures are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Roots {
    /// The authorities that the system trusts.
    #[default]
    System,
    /// Those of a file in PEM.
    File(PathBuf),
}

/// Reads the authorities.
///
/// # Errors
/// When there are none, or the file cannot be read.
pub fn read_roots(roots: &Roots) -> Result<Arc<RootCertStore>, Unusable> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err(Unusable(
                    "this system has no trusted authorities: install them (`ca-certificates`), or name a file with those to be trusted".into(),
                ));
            }
        }
        Roots::File(path) => {
            let certificates = read_certificates(path)?;
            let (added, ignored) = store.add_parsable_certificates(certificates);
            if added == 0 || ignored > 0 {
                return Err(Unusable(format!("{} holds something else than certificates", path.display())));
            }
        }
    }
    Ok(Arc::new(store))
}

/// A chain of certificates, the own one first.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let wrong = |why: &dyn std::fmt::Display| Unusable(format!("the certificates in {}: {why}", path.display()));
    let found = CertificateDer::pem_file_iter(path).map_err(|why| wrong(&why))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|why| wrong(&why))?;
    if found.is_empty() { Err(wrong(&"the file holds none in PEM")) } else { Ok(found) }
}

/// A private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    // What the parser says of a broken key might quote it.
    use rustls::pki_types::pem::Error;
    let why = match PrivateKeyDer::from_pem_file(path) {
        Ok(key) => return Ok(key),
        Err(Error::Io(why)) => why.to_string(),
        Err(Error::NoItemsFound) => "the file holds no key that is not encrypted, in PEM".into(),
        Err(_) => "the file is no valid PEM".into(),
    };
    Err(Unusable(format!("the private key in {}: {why}", path.display())))
}
