//! Who may come in: credentials for client ids, and the origins that browsers come from.

mod file;
mod jwks;
mod jwt;
mod keys;
mod listed;
mod origin;

use crate::clock::Clock;
use crate::config::JwtArgs;
use dormouse_core::fault::{FaultCode, PeerFault};
use dormouse_core::session::ClientId;
use dormouse_core::time::Timestamp;
use dormouse_core::wire::Secret;
use file::Watched;
use listed::List;
use origin::Origins;
pub(crate) use origin::is_loopback;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often files are looked at for a change; a change is taken when a file rests from one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The door's rules.
pub struct Access {
    rules: Rules,
    origins: Origins,
    /// Counts the changes of the rules, after each of which open sessions are judged again.
    changes: watch::Sender<u64>,
}

enum Rules {
    /// Anybody as anybody.
    Open,
    Listed(Watched<List>),
    Tokens(Box<jwt::Tokens>),
}

/// What somebody has proved, to be judged again whenever the rules change. It prints nothing secret.
#[derive(Debug, Clone)]
pub struct Proof(Proved);

#[derive(Debug, Clone)]
enum Proved {
    Nothing,
    Listed(Secret),
    Token(jwt::Claims),
}

impl Access {
    /// Everybody may come in as anybody. Without `insecure` pages of other hosts still may not.
    ///
    /// # Errors
    /// One sentence about an origin that is none.
    pub fn open(origins: &[String], insecure: bool) -> Result<Self, String> {
        Ok(Self::new(Rules::Open, Origins::new(origins, !insecure)?))
    }

    /// Those of a file: lines `credential client-id-prefix [expiry]`, where the prefix `*` stands for every client id.
    ///
    /// # Errors
    /// One sentence, without any credential, when the file cannot be read or a line is not of that form.
    pub fn from_file(path: &Path, origins: &[String]) -> Result<Self, String> {
        let list = Watched::open(path, List::parse)?;
        if list.get().is_empty() {
            return Err(format!("{} holds no credential, so nobody could come in", path.display()));
        }
        Ok(Self::new(Rules::Listed(list), Origins::new(origins, false)?))
    }

    /// Those with a good token.
    ///
    /// # Errors
    /// One sentence, without any key, when the settings do not fit together or a file cannot be used.
    pub fn from_tokens(args: &JwtArgs, origins: &[String]) -> Result<Self, String> {
        let tokens = jwt::Tokens::new(args)?;
        Ok(Self::new(Rules::Tokens(Box::new(tokens)), Origins::new(origins, false)?))
    }

    fn new(rules: Rules, origins: Origins) -> Self {
        Self { rules, origins, changes: watch::Sender::new(0) }
    }

    /// Judges a credential by itself. None proves nothing, and a client may still come with one in its greeting.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub async fn judge(&self, credential: Option<&str>) -> Result<Proof, PeerFault> {
        let Some(shown) = credential else { return Ok(Proof(Proved::Nothing)) };
        match &self.rules {
            Rules::Open => Ok(Proof(Proved::Nothing)),
            Rules::Listed(list) if list.get().knows(shown) => Ok(Proof(Proved::Listed(Secret::new(shown)))),
            Rules::Listed(_) => Err(unauthorized("the credential is not known here")),
            Rules::Tokens(tokens) => Ok(Proof(Proved::Token(tokens.judge(shown).await?))),
        }
    }

    /// Judges whether whoever proved this may be this client, and until when, on the process' clock; `None`: for good.
    ///
    /// # Errors
    /// The fault that ends the session.
    pub fn admit(&self, proof: &Proof, client: &ClientId, clock: Clock) -> Result<Option<Timestamp>, PeerFault> {
        let now = Clock::wall();
        let until = match (&self.rules, &proof.0) {
            (Rules::Open, _) => None,
            (Rules::Listed(list), Proved::Listed(shown)) => list.get().admit(shown.reveal(), client, now)?,
            (Rules::Tokens(tokens), Proved::Token(claims)) => Some(tokens.admit(claims, client, now)?),
            (Rules::Listed(_) | Rules::Tokens(_), _) => {
                return Err(unauthorized(
                    "a credential is needed: send it as `Authorization: Bearer` or as `token` in the greeting",
                ));
            }
        };
        Ok(until.map(|until| clock.now() + until.since(now)))
    }

    /// Judges a browser's Origin against the host that was asked for. Programs that are no browsers send none.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub fn judge_origin(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), PeerFault> {
        self.origins.judge(origin, host)
    }

    /// Tells when the rules have changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads every file again that has changed, now.
    pub fn reread(&self) {
        self.look(true);
    }

    /// Looks at the files, and fetches published keys, again and again.
    pub async fn keep_fresh(&self) {
        if matches!(self.rules, Rules::Open) {
            return std::future::pending().await; // There is nothing to look at, and an idle server sleeps.
        }
        let mut fetch_at = Instant::now();
        loop {
            if let Rules::Tokens(tokens) = &self.rules
                && let Some(jwks) = tokens.jwks()
                && fetch_at <= Instant::now()
            {
                let worked = jwks.refresh().await;
                fetch_at = Instant::now() + if worked { jwks::REFRESH_EVERY } else { jwks::REFRESH_EVERY / 30 };
            }
            tokio::time::sleep(LOOK_EVERY).await;
            self.look(false);
        }
    }

    fn look(&self, at_once: bool) {
        let changed = match &self.rules {
            Rules::Open => false,
            Rules::Listed(list) => list.reread(at_once),
            Rules::Tokens(tokens) => tokens.reread(at_once),
        };
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
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
