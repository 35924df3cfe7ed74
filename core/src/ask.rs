//! Questions with typed answers: how a machine reaches what it cannot do itself.
//!
//! A machine asks (`Ask<Q>` in an output) and keeps a *memo*; the driver splits the ask into the question and a linear
//! [`Ticket`], works, and turns the ticket into the [`Answer`] that comes back as an input. One type ties a question to its
//! reply, so that a page cannot answer a question for a snapshot.

use crate::fault::Failure;
use crate::safeguard::{Safeguard, Safeguards};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

/// One life of a machine between two starts. The host allots it, and never the same twice.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// Names one ask of one machine for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AskId {
    /// The life of the machine that asks.
    pub incarnation: Incarnation,
    /// Counts the asks of that life.
    pub n: u64,
}

/// What can be asked.
pub trait Question: Debug + Clone {
    /// What a successful answer holds.
    type Reply: Debug + Clone;
}

/// A question on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask<Q> {
    /// Comes back in the answer.
    pub id: AskId,
    /// What is asked.
    pub question: Q,
}

impl<Q: Question> Ask<Q> {
    /// Parts the question from the ticket with which its answer is made.
    pub fn split(self) -> (Q, Ticket<Q>) {
        (self.question, Ticket { id: self.id, question: PhantomData })
    }
}

/// The stub that a driver holds while it works on a question. Linear: it makes exactly one answer.
#[derive(Debug)]
#[must_use = "every question is answered, if only with a failure"]
pub struct Ticket<Q> {
    id: AskId,
    question: PhantomData<fn() -> Q>,
}

impl<Q: Question> Ticket<Q> {
    /// The answer.
    pub fn answer(self, reply: Result<Q::Reply, Failure>) -> Answer<Q> {
        Answer { id: self.id, reply }
    }
}

/// A reply on its way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "Q::Reply: Serialize", deserialize = "Q::Reply: Deserialize<'de>"))]
pub struct Answer<Q: Question> {
    /// Of the ask that this answers.
    pub id: AskId,
    /// The reply, or why there is none. A failure may hide an effect: the answer of a committed statement can be lost.
    pub reply: Result<Q::Reply, Failure>,
}

/// Hands out the ids of one machine's asks, and counts answers that came too late.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    incarnation: Incarnation,
    asked: u64,
    stale: u64,
}

impl Asker {
    /// An asker for one life of a machine.
    #[must_use]
    pub const fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, asked: 0, stale: 0 }
    }

    /// The life that this asker serves.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// How many answers were ignored because an earlier life had asked, or nobody.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }
}

/// The open questions of one kind, each with what its asker remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "Memo: Serialize", deserialize = "Memo: Deserialize<'de>"))]
pub struct Open<Q, Memo> {
    memos: BTreeMap<u64, Memo>,
    #[serde(skip)]
    question: PhantomData<fn() -> Q>,
}

impl<Q, Memo> Default for Open<Q, Memo> {
    fn default() -> Self {
        Self { memos: BTreeMap::new(), question: PhantomData }
    }
}

impl<Q: Question, Memo> Open<Q, Memo> {
    /// Asks `question` and remembers `memo` for its answer.
    pub fn ask(&mut self, asker: &mut Asker, question: Q, memo: Memo) -> Ask<Q> {
        asker.asked += 1;
        self.memos.insert(asker.asked, memo);
        Ask { id: AskId { incarnation: asker.incarnation, n: asker.asked }, question }
    }

    /// Takes out the memo that an answer belongs to. `None`, and counted, when an earlier life asked or nobody waits.
    pub fn take(
        &mut self,
        asker: &mut Asker,
        safeguards: Safeguards,
        answer: Answer<Q>,
    ) -> Option<(Memo, Result<Q::Reply, Failure>)> {
        let ours = answer.id.incarnation == asker.incarnation || !safeguards.holds(Safeguard::AnswerIncarnation);
        let memo = if ours { self.memos.remove(&answer.id.n) } else { None };
        if memo.is_none() {
            asker.stale += 1;
        }
        memo.map(|memo| (memo, answer.reply))
    }

    /// Forgets a question: its answer will be ignored and counted. True when it was open.
    pub fn forget_where(&mut self, mut is: impl FnMut(&Memo) -> bool) {
        self.memos.retain(|_, memo| !is(memo));
    }

    /// What is remembered for the open questions, oldest first.
    pub fn memos(&self) -> impl Iterator<Item = &Memo> {
        self.memos.values()
    }

    /// The same, to be changed.
    pub fn memos_mut(&mut self) -> impl Iterator<Item = &mut Memo> {
        self.memos.values_mut()
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memos.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memos.is_empty()
    }
}
