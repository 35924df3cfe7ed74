//! Reads that sessions share: whoever wants the same thing gets it from one question, and only so many are open at once.

use crate::ask::{Answer, Ask, Asker, Open, Question};
use crate::fault::Failure;
use crate::position::{Era, Lsn, Position};
use crate::safeguard::Safeguards;
use crate::session::SessionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What is read from history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ReadKey {
    pub era: Era,
    pub after: Position,
    pub until: Option<Lsn>,
}

/// Who waits for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shared<Key> {
    pub key: Key,
    pub sessions: Vec<SessionId>,
}

/// The reads of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "Key: Serialize", deserialize = "Key: Deserialize<'de> + Ord"))]
pub(super) struct Pool<Q, Key> {
    open: Open<Q, Shared<Key>>,
    #[serde(with = "super::pairs")]
    wanted: BTreeMap<Key, Vec<SessionId>>,
    last: Option<Key>,
    paused: bool,
}

/// An answer, and who waited for it.
type Taken<Q, Key> = (Shared<Key>, Result<<Q as Question>::Reply, Failure>);

impl<Q, Key> Default for Pool<Q, Key> {
    fn default() -> Self {
        Self { open: Open::default(), wanted: BTreeMap::new(), last: None, paused: false }
    }
}

impl<Q: Question, Key: Ord + Clone> Pool<Q, Key> {
    /// One more session wants this. It joins an open read of the same.
    pub fn want(&mut self, key: Key, session: SessionId) {
        match self.open.memos_mut().find(|memo| memo.key == key) {
            Some(memo) => memo.sessions.push(session),
            None => self.wanted.entry(key).or_default().push(session),
        }
    }

    /// The next question to ask, if one may be asked now. It goes round in the order of the keys, so that nobody starves and
    /// those who are behind come up with those ahead.
    pub fn next(&mut self, asker: &mut Asker, most: usize, question: impl Fn(&Key) -> Q) -> Option<Ask<Q>> {
        if self.paused || self.open.len() >= most {
            return None;
        }
        let later = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let key = self.wanted.range((later, Bound::Unbounded)).next().or_else(|| self.wanted.iter().next())?.0.clone();
        let sessions = self.wanted.remove(&key)?;
        self.last = Some(key.clone());
        Some(self.open.ask(asker, question(&key), Shared { key, sessions }))
    }

    pub fn take(&mut self, asker: &mut Asker, safeguards: Safeguards, answer: Answer<Q>) -> Option<Taken<Q, Key>> {
        self.open.take(asker, safeguards, answer)
    }

    /// Passing trouble: the question waits with all the others until [`Pool::resume`].
    pub fn pause(&mut self, memo: Shared<Key>) {
        self.wanted.entry(memo.key).or_default().extend(memo.sessions);
        self.paused = true;
    }

    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether nothing is asked until [`Pool::resume`].
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// How many sessions are to be answered.
    pub fn waiting(&self) -> usize {
        let asked = self.open.memos().map(|memo| memo.sessions.len()).sum::<usize>();
        asked + self.wanted.values().map(Vec::len).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.wanted.is_empty()
    }
}
