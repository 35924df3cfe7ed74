//! Who speaks: clients, sessions, epochs, and what is kept with an open socket while its hub sleeps.

use crate::change::Scope;
use crate::position::{Era, SchemaVersion, Waypoint};
use crate::rng::mix;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Names a client: one replica, whichever device and connection it lives on. 1 to 128 bytes of printable ASCII.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Takes a text as a client id.
    ///
    /// # Errors
    /// When it is empty, too long (the mark of a copy does not count), or not printable ASCII without spaces.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let fits = (1..=crate::limits::CLIENT_ID_BYTES_MAX).contains(&unmarked(text).0.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err("a client id is 1 to 128 printable ASCII characters without spaces")
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the mark of a copy: what was configured, and what a credential speaks of.
    #[must_use]
    pub fn base(&self) -> &str {
        unmarked(&self.0).0
    }

    /// The id of a copy: an instance that lives although another has taken this id over. The same for the same two, always; a copy's
    /// copy gets another mark, not a second one.
    #[must_use]
    pub fn beside(&self, instance: u64) -> Self {
        let (base, mark) = unmarked(&self.0);
        Self(format!("{base}{MARK}{:016x}", mix(mark.unwrap_or(0) ^ instance)).into())
    }
}

/// What stands between a client id and the mark of a copy, which has sixteen hexadecimal digits.
const MARK: char = '~';

/// A client id, and the mark if it is a copy's.
fn unmarked(text: &str) -> (&str, Option<u64>) {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let marked =
        text.rsplit_once(MARK).filter(|(base, mark)| !base.is_empty() && mark.len() == 16 && mark.bytes().all(digit));
    match marked.and_then(|(base, mark)| Some((base, u64::from_str_radix(mark, 16).ok()?))) {
        Some((base, mark)) => (base, Some(mark)),
        None => (text, None),
    }
}

impl TryFrom<String> for ClientId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::new(&text)
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0.as_ref().into()
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One connection of a client, at one hub. The host allots both parts: a slot is used again, a serial never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// Where the session stands in its hub's slab.
    pub slot: u32,
    /// Tells apart those that stood there.
    pub serial: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.serial)
    }
}

/// The growing number of a client's sessions, from one database sequence: it fences the older ones.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Names one backfill of one session; never used again within a client's life.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackfillId(pub u64);

/// What is kept with an open socket while its hub sleeps or is rebuilt. Written at phase changes and never ahead of what
/// the client has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Whose socket it is.
    pub client: ClientId,
    /// Of this session.
    pub epoch: Epoch,
    /// In which its position stands.
    pub era: Era,
    /// In which its rows stand.
    pub schema: SchemaVersion,
    /// What it wants to see.
    pub scope: Scope,
    /// When its registration ends unless renewed.
    pub expires_at: Timestamp,
    /// When the credential runs out that this session showed; `None`: never.
    pub credential_until: Option<Timestamp>,
    /// Whether this greeting was told `live`.
    pub told_live: bool,
    /// No later than its last acknowledgement. `None` while a backfill runs: the woken hub starts another.
    pub position: Option<Waypoint>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ClientId {
        ClientId::new(text).expect("a client id")
    }

    #[test]
    fn a_copy_has_the_same_id_each_time_and_another_than_every_other() {
        let ann = id("ann");
        let copy = ann.beside(7);
        assert_eq!(copy, ann.beside(7));
        assert_eq!((copy.base(), ann.base(), copy.as_str().len()), ("ann", "ann", 3 + 17));
        assert_eq!(id(copy.as_str()), copy);
        let others = [ann.beside(8), id("bob").beside(7), copy.beside(7), copy.beside(8), copy.beside(7).beside(7)];
        for (n, other) in others.iter().enumerate() {
            assert!(*other != copy && !others[..n].contains(other), "{other}");
            assert!(["ann", "bob"].contains(&other.base()), "a copy's copy has one mark");
        }
    }

    #[test]
    fn the_mark_of_a_copy_is_no_part_of_what_may_be_long() {
        let longest = id(&"x".repeat(128));
        assert_eq!(id(longest.beside(u64::MAX).as_str()).base(), longest.as_str());
        assert!(
            ClientId::new(&"x".repeat(129)).is_err() && ClientId::new("").is_err() && ClientId::new("a b").is_err()
        );
        for plain in ["~0123456789abcdef", "ann~0123456789ABCDEF", "ann~123", "ann~", "ann~0123456789abcdef0"] {
            assert_eq!(id(plain).base(), plain);
        }
    }
}
