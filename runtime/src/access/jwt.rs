//! JSON Web Tokens: signed by a key that was configured, for this audience, and only until they run out.

use super::file::Watched;
use super::jwks::Jwks;
use super::keys::{Found, KeySet};
use super::{forbidden, unauthorized};
use crate::config::JwtArgs;
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::session::ClientId;
use dormouse_core::time::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What stands between a subject and the rest of a client id.
const SEPARATOR: char = '/';
/// The longest leeway: beyond it an expiry means nothing.
const LEEWAY_MAX: Duration = Duration::from_secs(3_600);

/// How tokens are judged.
pub(super) struct Tokens {
    keys: Keys,
    revoked: Option<Watched<HashSet<String>>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    subject_claim: String,
}

enum Keys {
    File(Watched<KeySet>),
    Url(Jwks),
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    subject: String,
    /// The one client id that is meant.
    client: Option<String>,
    id: Option<String>,
    /// On the wall clock, leeway included.
    until: Timestamp,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// One sentence, when not exactly one kind of key is configured, or it cannot be used.
    pub(super) fn new(args: &JwtArgs) -> Result<Self, String> {
        let keys = match (&args.jwt_secret_file, &args.jwt_public_key, &args.jwks) {
            (Some(path), None, None) => Keys::File(Watched::open(path, KeySet::secret)?),
            (None, Some(path), None) => Keys::File(Watched::open(path, KeySet::pem)?),
            (None, None, Some(url)) if url.contains("://") => Keys::Url(Jwks::new(url)?),
            (None, None, Some(path)) => Keys::File(Watched::open(path.as_ref(), KeySet::jwks)?),
            _ => return Err("tokens need exactly one of --jwt-secret-file, --jwt-public-key and --jwks".into()),
        };
        if args.jwt_leeway > LEEWAY_MAX {
            return Err("--jwt-leeway is for clocks that differ a little; it can be an hour at most".into());
        }
        let revoked = args.jwt_revoked.as_deref().map(|path| Watched::open(path, revoked)).transpose()?;
        Ok(Self {
            keys,
            revoked,
            issuer: args.jwt_issuer.clone(),
            audience: args.jwt_audience.clone(),
            leeway: args.jwt_leeway,
            subject_claim: args.jwt_subject_claim.clone(),
        })
    }

    /// Judges a token by itself.
    pub(super) async fn judge(&self, token: &str) -> Result<Claims, PeerFault> {
        let header = decode_header(token).map_err(|why| refused(why.kind()))?;
        if header.crit.is_some() {
            return Err(unauthorized("the token asks for extensions (`crit`) that are not known here"));
        }
        let mut keys = self.keys.get();
        if matches!(keys.find(header.kid.as_deref(), header.alg), Found::UnknownKid)
            && let Keys::Url(jwks) = &self.keys
        {
            let fetched = jwks.refresh().await;
            keys = jwks.get();
            if !fetched && matches!(keys.find(header.kid.as_deref(), header.alg), Found::UnknownKid) {
                let why = "the keys that tokens are verified with cannot be fetched now; come back later";
                return Err(PeerFault::new(FaultCode::Unavailable, why));
            }
        }
        let (algorithm, key) = match keys.find(header.kid.as_deref(), header.alg) {
            Found::Key(algorithm, key) => (algorithm, key),
            Found::UnknownKid => return Err(unauthorized("the token is signed with a key that is not known here")),
            Found::NoneFits => return Err(unauthorized("no key here verifies tokens of this algorithm (`alg`)")),
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        let claims = decode::<serde_json::Map<String, serde_json::Value>>(token, key, &validation);
        let claims = claims.map_err(|why| refused(why.kind()))?.claims;
        self.read(&claims)
    }

    fn read(&self, claims: &serde_json::Map<String, serde_json::Value>) -> Result<Claims, PeerFault> {
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let subject = text(&self.subject_claim).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| {
            unauthorized(&format!("the token names no subject: its claim `{}` must be a text", self.subject_claim))
        })?;
        let exp = claims.get("exp").and_then(serde_json::Value::as_f64).unwrap_or_default();
        let until = Timestamp::ZERO + Duration::try_from_secs_f64(exp).unwrap_or(Duration::MAX);
        Ok(Claims { subject, client: text("client"), id: text("jti"), until: until + self.leeway })
    }

    /// Judges whether a token that was good still is, and is good for this client.
    pub(super) fn admit(&self, claims: &Claims, client: &ClientId, now: Timestamp) -> Result<Timestamp, PeerFault> {
        if let Some(revoked) = self.revoked.as_ref().map(Watched::get)
            && (revoked.contains(&claims.subject) || claims.id.as_ref().is_some_and(|id| revoked.contains(id)))
        {
            return Err(unauthorized("the token was revoked"));
        }
        if claims.until <= now {
            return Err(expired());
        }
        claims.own(client).map(|()| claims.until)
    }

    /// Reads the files again that have changed. True when one was taken.
    pub(super) fn reread(&self, at_once: bool) -> bool {
        let keys = match &self.keys {
            Keys::File(file) => file.reread(at_once),
            Keys::Url(_) => false,
        };
        self.revoked.as_ref().is_some_and(|file| file.reread(at_once)) | keys
    }

    /// The published keys, if that is where they come from.
    pub(super) const fn jwks(&self) -> Option<&Jwks> {
        if let Keys::Url(jwks) = &self.keys { Some(jwks) } else { None }
    }
}

impl Keys {
    fn get(&self) -> Arc<KeySet> {
        match self {
            Self::File(file) => file.get(),
            Self::Url(jwks) => jwks.get(),
        }
    }
}

impl Claims {
    /// Whether a client id belongs to whom the token was given: it is the claim `client` if there is one, else the subject, alone
    /// or followed by `/` and anything. A subject with a `/` of its own could stand for another's client, so it needs the claim. So does
    /// one that ends like the id of a copy, for who owns an id owns those of its copies.
    fn own(&self, client: &ClientId) -> Result<(), PeerFault> {
        let base = client.base();
        let owns = match &self.client {
            Some(only) => client.as_str() == only || base == only,
            None => {
                !self.subject.contains(SEPARATOR)
                    && base
                        .strip_prefix(self.subject.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
            }
        };
        if owns {
            return Ok(());
        }
        Err(forbidden(format!(
            "this token does not allow the client id {client}: it must be the token's claim `client`, or without one its subject, alone or followed by `{SEPARATOR}` and more"
        )))
    }
}

fn expired() -> PeerFault {
    PeerFault::new(FaultCode::Expired, "the token has expired; come with a new one")
}

/// What is said about a token that is not good, without any of it.
fn refused(why: &ErrorKind) -> PeerFault {
    match why {
        ErrorKind::ExpiredSignature => expired(),
        ErrorKind::ImmatureSignature => unauthorized("the token is not valid yet (`nbf`)"),
        ErrorKind::InvalidAudience => unauthorized("the token is for another audience (`aud`)"),
        ErrorKind::InvalidIssuer => unauthorized("the token is of another issuer (`iss`)"),
        ErrorKind::InvalidSignature => unauthorized("the token's signature is wrong"),
        ErrorKind::MissingRequiredClaim(claim) => unauthorized(&format!("the token lacks the claim `{claim}`")),
        ErrorKind::InvalidClaimFormat(claim) => unauthorized(&format!("the token's claim `{claim}` is malformed")),
        _ => unauthorized("this is no token that can be verified here"),
    }
}

/// The lines of a list of revocations: ids of tokens (`jti`), or subjects.
fn revoked(bytes: &[u8]) -> Result<HashSet<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is no text".to_string())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_owns_its_own_clients_only() {
        let owns = |subject: &str, only: Option<&str>, client: &str| {
            let claims =
                Claims { subject: subject.into(), client: only.map(Into::into), id: None, until: Timestamp::ZERO };
            claims.own(&ClientId::new(client).expect("a client id")).is_ok()
        };
        assert!(owns("ann", None, "ann") && owns("ann", None, "ann/phone") && owns("ann", None, "ann/a/b"));
        assert!(!owns("ann", None, "anna") && !owns("ann", None, "anna/phone") && !owns("ann", None, "ann-phone"));
        assert!(!owns("ann", None, "bob") && !owns("ann", None, "an") && !owns("ann", None, "ANN"));
        assert!(!owns("ann/phone", None, "ann/phone") && owns("ann/phone", Some("ann/phone"), "ann/phone"));
        assert!(owns("ann", Some("kiosk-7"), "kiosk-7") && !owns("ann", Some("kiosk-7"), "ann"));
        let copy = |id: &str| ClientId::new(id).expect("a client id").beside(7).to_string();
        assert!(
            owns("ann", None, &copy("ann"))
                && owns("ann", None, &copy("ann/phone"))
                && !owns("ann", None, &copy("bob"))
        );
        assert!(owns("ann", Some("kiosk-7"), &copy("kiosk-7")) && !owns("ann", Some("kiosk-7"), &copy("ann")));
        assert!(!owns(&copy("ann"), None, &copy("ann")), "it could be a copy of ann's");
    }
}
