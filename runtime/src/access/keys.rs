//! The keys that tokens are verified with. Each key has the one algorithm that its kind says, whatever a token claims.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// The fewest bytes of a secret: what HS256 asks for (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Some keys.
pub(super) struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    /// `None`: it was configured by itself, and is meant whatever name a token gives it.
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Which key a token is to be verified with.
pub(super) enum Found<'a> {
    Key(Algorithm, &'a DecodingKey),
    /// The token names a key that is not here (yet).
    UnknownKid,
    /// No key here is meant for such a token.
    NoneFits,
}

impl KeySet {
    pub(super) const fn empty() -> Self {
        Self { keys: Vec::new() }
    }

    /// A shared secret, for HS256. A newline at the end of its file is not part of it.
    pub(super) fn secret(bytes: &[u8]) -> Result<Self, String> {
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "a secret for HS256 has at least {SECRET_BYTES_MIN} bytes; `openssl rand -hex 32` makes one"
            ));
        }
        if secret.starts_with(b"-----BEGIN") {
            return Err("this is a key in PEM, not a secret; a public key belongs to --jwt-public-key".into());
        }
        Ok(Self::one(Algorithm::HS256, DecodingKey::from_secret(secret)))
    }

    /// A public key in PEM: RSA for RS256, P-256 for ES256.
    pub(super) fn pem(bytes: &[u8]) -> Result<Self, String> {
        if bytes.windows(11).any(|window| window == b"PRIVATE KEY") {
            return Err(
                "this is a private key; a server that only verifies needs the public one (`openssl pkey -pubout`)"
                    .into(),
            );
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            // An uncompressed point of P-256 has 65 bytes.
            return match key.try_get_as_bytes() {
                Ok(point) if point.len() == 65 => Ok(Self::one(Algorithm::ES256, key)),
                _ => Err("of the elliptic curves only P-256 (ES256) is supported".into()),
            };
        }
        let key = DecodingKey::from_rsa_pem(bytes);
        key.map(|key| Self::one(Algorithm::RS256, key)).map_err(|_| "this is no public key in PEM, RSA or P-256".into())
    }

    /// A JSON Web Key Set. Keys for other algorithms and symmetric ones are passed over: a public set has no secrets.
    pub(super) fn jwks(bytes: &[u8]) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(bytes).map_err(|why| format!("this is no JSON Web Key Set: {why}"))?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<_> = keys.filter_map(|jwk| Key::of(&jwk)).collect();
        if keys.is_empty() {
            return Err("this JSON Web Key Set has no public key for RS256 or ES256".into());
        }
        Ok(Self { keys })
    }

    /// The key that a token with this header is to be verified with.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let named = |key: &&Key| key.kid.is_none() || kid.is_none() || key.kid.as_deref() == kid;
        let mut named = self.keys.iter().filter(named).peekable();
        if named.peek().is_none() {
            return Found::UnknownKid;
        }
        let mut fitting = named.filter(|key| key.algorithm == algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(key.algorithm, &key.key),
            _ => Found::NoneFits, // None, or the token does not say which.
        }
    }

    fn one(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self { keys: vec![Key { kid: None, algorithm, key }] }
    }
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        let (algorithm, name) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            _ => return None,
        };
        let common = &jwk.common;
        let for_this = common.key_algorithm.is_none_or(|for_this| for_this == name);
        let verifies = common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| for_this && verifies)?;
        // A set may leave names out; such a key is found only by a token that names none, which an empty name sees to.
        Some(Self { kid: Some(common.key_id.clone().unwrap_or_default()), algorithm, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_refused_with_what_to_do() {
        assert!(KeySet::secret(b"short\n").err().expect("too short").contains("openssl rand"));
        assert!(KeySet::secret(&[b'x'; 32]).is_ok());
        assert!(KeySet::secret(b"-----BEGIN PUBLIC KEY-----\nxxxxxxxxxxxxxxxxxxx").is_err());
        assert!(KeySet::pem(b"-----BEGIN PRIVATE KEY-----").err().expect("private").contains("-pubout"));
        assert!(KeySet::pem(b"nonsense").is_err());
        assert!(KeySet::jwks(b"{}").is_err());
        let symmetric = br#"{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}]}"#;
        assert!(KeySet::jwks(symmetric).is_err(), "a published secret is none");
    }

    #[test]
    fn a_key_is_found_by_its_name_and_kind() {
        let p256 = |kid: &str| {
            format!(
                r#"{{"kty": "EC", "crv": "P-256", "kid": "{kid}", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}"#
            )
        };
        let set = KeySet::jwks(format!(r#"{{"keys": [{}, {}]}}"#, p256("a"), p256("b")).as_bytes()).expect("two keys");
        assert!(matches!(set.find(Some("a"), Algorithm::ES256), Found::Key(Algorithm::ES256, _)));
        assert!(matches!(set.find(Some("a"), Algorithm::HS256), Found::NoneFits));
        assert!(matches!(set.find(Some("a"), Algorithm::RS256), Found::NoneFits));
        assert!(matches!(set.find(Some("c"), Algorithm::ES256), Found::UnknownKid));
        assert!(matches!(set.find(None, Algorithm::ES256), Found::NoneFits), "it could be either");
        let one = KeySet::secret(&[b'x'; 32]).expect("a secret");
        assert!(matches!(one.find(Some("any"), Algorithm::HS256), Found::Key(Algorithm::HS256, _)));
    }
}
