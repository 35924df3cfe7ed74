//! The phases, each with what exists only in it.

use super::io::*;
use super::stream::Stream;
use crate::fault::Halt;
use crate::history::Head;
use crate::position::Lsn;
use crate::source::{Evidence, Fingerprints};
use serde::{Deserialize, Serialize};

/// What Replication is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Idle,
    /// The lease is asked for, or the wait before asking runs.
    Standby,
    /// The lease is ours; the stream does not run yet.
    Preparing(Tenure, Step),
    Streaming(Box<Stream>),
    Stopping(Ending),
    Stopped,
    Halted(Halt),
}

/// One time of holding the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tenure {
    pub token: Token,
    /// The holder before did not release the lease, so a transaction may have ended it. Until one is recorded.
    pub suspect: bool,
}

/// What is being prepared; each step waits for one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// For the wait after a failure.
    Waiting,
    Inspecting,
    Loading(SourceState),
    CreatingSlot {
        source: SourceState,
        reason: String,
    },
    SettlingSlot {
        source: SourceState,
        reason: String,
    },
    BeginningEra {
        slot: Lsn,
        source: SourceState,
    },
    Raising {
        ready: Ready,
        fingerprints: Fingerprints,
    },
    Starting(Ready),
    /// The stream holds the slot: only now nobody can put another in its place.
    Verifying(Ready),
}

/// What a stream starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// With durable covered.
    pub head: Head,
    /// The slot's confirmed LSN.
    pub slot: Lsn,
    /// As noted in our schema.
    pub fingerprints: Fingerprints,
    /// Where we are.
    pub evidence: Evidence,
}

/// What is waited for before the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// The lease, which was asked for and may come.
    Taking,
    /// The append under way.
    Recording(Box<Stream>),
    /// The lease's release.
    Releasing,
}

impl Phase {
    /// The name that people know it by.
    pub const fn name(&self) -> PhaseName {
        match self {
            Self::Idle => PhaseName::Idle,
            Self::Standby => PhaseName::Standby,
            Self::Preparing(..) => PhaseName::Preparing,
            Self::Streaming(_) => PhaseName::Streaming,
            Self::Stopping(_) => PhaseName::Stopping,
            Self::Stopped => PhaseName::Stopped,
            Self::Halted(_) => PhaseName::Halted,
        }
    }

    /// The lease, while it is held.
    pub fn tenure(&self) -> Option<Tenure> {
        match self {
            Self::Preparing(tenure, _) => Some(*tenure),
            Self::Streaming(stream) | Self::Stopping(Ending::Recording(stream)) => Some(stream.tenure),
            Self::Idle | Self::Standby | Self::Stopping(_) | Self::Stopped | Self::Halted(_) => None,
        }
    }

    /// The stream, while there is one.
    pub fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Streaming(stream) | Self::Stopping(Ending::Recording(stream)) => Some(stream),
            _ => None,
        }
    }
}
