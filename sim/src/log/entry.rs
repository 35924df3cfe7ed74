//! One entry of the log.

use crate::entity::Entity;
use dormouse_core::ask::AskId;
use dormouse_core::position::{Lsn, Position};
use dormouse_core::time::Timestamp;
use std::fmt;

/// The most bytes of a raw value that are kept.
const RAW_MAX: usize = 1_500;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A machine is told a fact by its host.
    Input,
    /// A machine hears a message.
    Received,
    /// A machine hears the answer to a question.
    Answer,
    /// The time has come that a machine asked for.
    Timer,
    /// A machine commands something.
    Output,
    /// A machine sends a message.
    Sent,
    /// A machine asks the database, or its store.
    Question,
    /// Something takes effect in the database, or in a store.
    Effect,
    /// A choice that was not quiet.
    Choice,
    /// A process starts.
    Start,
    /// A process ends without having wanted to.
    Crash,
    /// A host drops a hub.
    Evict,
    /// A hub is rebuilt.
    Wake,
    /// A hub offers to sleep and is dropped.
    Sleep,
    /// Something else that helps to understand.
    Note,
    /// A promise broke.
    Violation,
}

impl What {
    /// A short name, for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Received => "received",
            Self::Answer => "answer",
            Self::Timer => "timer",
            Self::Output => "output",
            Self::Sent => "sent",
            Self::Question => "question",
            Self::Effect => "effect",
            Self::Choice => "choice",
            Self::Start => "start",
            Self::Crash => "crash",
            Self::Evict => "evict",
            Self::Wake => "wake",
            Self::Sleep => "sleep",
            Self::Note => "note",
            Self::Violation => "violation",
        }
    }

    /// Whether this is how something that travelled comes in.
    pub(super) const fn takes_what_arrives(self) -> bool {
        matches!(self, Self::Input | Self::Received | Self::Answer | Self::Effect | Self::Note)
    }

    /// Whether somebody does or hears something here: neither a choice nor a verdict.
    #[must_use]
    pub const fn is_step(self) -> bool {
        !matches!(self, Self::Choice | Self::Violation)
    }
}

/// Names the two ends of something that travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// What ties the end of a way to its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// A frame of a connection: which connection, in which direction, and how many came before it.
    Frame {
        /// Which connection.
        connection: u64,
        /// In which direction.
        to_server: bool,
        /// How many were sent before it.
        n: u64,
    },
    /// A dial.
    Dial {
        /// Whose.
        client: u8,
        /// In which life.
        life: u64,
        /// Which.
        socket: u64,
    },
    /// The host's word to its client about a dial: it is open, or it failed.
    Dialled {
        /// Whose.
        client: u8,
        /// In which life.
        life: u64,
        /// Which.
        socket: u64,
    },
    /// A question, by the life that asks and its count.
    Question(u64, u64),
    /// The answer to a question.
    Answer(u64, u64),
    /// An announcement to a hub: where history and covered end.
    Announcement(u8, Position, Lsn),
    /// A hub's wish that covered reach an LSN, to a replicator.
    Covered(u8, Lsn),
    /// A confirmation to the slot.
    Confirm(u8, Lsn),
}

impl Link {
    /// A question of a machine.
    #[must_use]
    pub const fn question(id: AskId) -> Self {
        Self::Question(id.incarnation.0, id.n)
    }

    /// The answer to a question of a machine.
    #[must_use]
    pub const fn answer(id: AskId) -> Self {
        Self::Answer(id.incarnation.0, id.n)
    }

    /// What is sent, when nothing else says so.
    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Frame { .. } => "sends a frame",
            Self::Dial { .. } => "dials",
            Self::Dialled { .. } => "answers a dial",
            Self::Question(..) => "asks",
            Self::Answer(..) => "answers",
            Self::Announcement(..) => "announces",
            Self::Covered(..) => "waits until covered has come further",
            Self::Confirm(..) => "confirms",
        }
    }
}

/// An entry that is being made.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(super) lane: Entity,
    pub(super) what: What,
    pub(super) words: String,
    pub(super) raw: String,
    pub(super) sends: Option<Link>,
    pub(super) receives: Option<Link>,
    pub(super) minor: bool,
}

impl Draft {
    /// An entry of a lane. The words go on from the lane's name.
    #[must_use]
    pub const fn new(lane: Entity, what: What, words: String) -> Self {
        Self { lane, what, words, raw: String::new(), sends: None, receives: None, minor: false }
    }

    /// With the value itself, cut to a bearable length.
    #[must_use]
    pub fn raw(mut self, value: &impl fmt::Debug) -> Self {
        self.raw = format!("{value:?}");
        if self.raw.len() > RAW_MAX {
            let cut = (0..=RAW_MAX).rev().find(|at| self.raw.is_char_boundary(*at)).unwrap_or(0);
            self.raw.truncate(cut);
            self.raw.push('…');
        }
        self
    }

    /// Whether it seldom matters.
    #[must_use]
    pub const fn is_minor(&self) -> bool {
        self.minor
    }

    /// It sends something.
    #[must_use]
    pub const fn sends(mut self, link: Link) -> Self {
        self.sends = Some(link);
        self
    }

    /// It is where something arrives.
    #[must_use]
    pub const fn receives(mut self, link: Link) -> Self {
        self.receives = Some(link);
        self
    }

    /// It seldom matters.
    #[must_use]
    pub const fn minor(mut self) -> Self {
        self.minor = true;
        self
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// In which event of the run: what one event brings about happens at once.
    pub event: u64,
    /// To whom, or by whom.
    pub lane: Entity,
    /// What kind of thing.
    pub what: What,
    /// What happened; goes on from the lane's name.
    pub words: String,
    /// The value itself; empty when there is none.
    pub raw: String,
    /// What leaves here.
    pub sends: Vec<LinkId>,
    /// What arrives here.
    pub receives: Option<LinkId>,
    /// Whether it seldom matters: liveness checks, renewals, reads that find nothing.
    pub minor: bool,
}

impl Entry {
    /// Seconds and microseconds since the world began.
    #[must_use]
    pub fn clock(&self) -> String {
        let since = self.at.since(crate::world::DAWN);
        format!("{}.{:06}", since.as_secs(), since.subsec_micros())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, colon) = match self.what {
            What::Choice => ("** ", ":"),
            What::Violation => ("!! ", ":"),
            _ => ("", ""),
        };
        write!(f, "{:>11} {mark}{}{colon} {}", self.clock(), self.lane, self.words)
    }
}
