//! What `--auth jwt` can be told.

use super::duration;
use std::path::PathBuf;
use std::time::Duration;

/// How tokens are judged.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct JwtArgs {
    /// With --auth jwt: verify HS256 tokens with the secret in this file, of at least 32 bytes
    #[arg(long, env = "DORMOUSE_JWT_SECRET_FILE", value_name = "FILE")]
    pub jwt_secret_file: Option<PathBuf>,
    /// With --auth jwt: verify RS256 or ES256 tokens with the public key in this file (PEM)
    #[arg(long, env = "DORMOUSE_JWT_PUBLIC_KEY", value_name = "FILE")]
    pub jwt_public_key: Option<PathBuf>,
    /// With --auth jwt: verify RS256 and ES256 tokens with the keys of this JSON Web Key Set: a file, or an https address
    #[arg(long, env = "DORMOUSE_JWKS", value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// Refuse tokens of other issuers (`iss`)
    #[arg(long, env = "DORMOUSE_JWT_ISSUER")]
    pub jwt_issuer: Option<String>,
    /// Refuse tokens for other audiences (`aud`); without it, tokens that name any audience are refused
    #[arg(long, env = "DORMOUSE_JWT_AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// How far the issuer's clock and ours may differ
    #[arg(long, env = "DORMOUSE_JWT_LEEWAY", default_value = "30s", value_parser = duration)]
    pub jwt_leeway: Duration,
    /// Which claim names whom a token was given to
    #[arg(long, env = "DORMOUSE_JWT_SUBJECT_CLAIM", default_value = "sub", value_name = "CLAIM")]
    pub jwt_subject_claim: String,
    /// Refuse the tokens whose id (`jti`) or subject stands on a line of this file
    #[arg(long, env = "DORMOUSE_JWT_REVOKED", value_name = "FILE")]
    pub jwt_revoked: Option<PathBuf>,
}
