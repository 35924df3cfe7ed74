//! What a script consists of: acts of an application, what befalls a server, and questions of the machines.

use dormouse_sim::postgres::Write;

/// Names a transaction of the script.
pub type Tx = u8;
/// Names a client of the script.
pub type Name = &'static str;

/// One step of a script. Whatever it needs to know (a token, a position, an epoch) it takes from earlier replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The application does something.
    Act(Act),
    /// Something befalls the server.
    Fault(Fault),
    /// A machine asks.
    Ask(Step),
    /// A machine asks, the effect happens, and the connection is lost before the answer.
    Lost(Step),
}

/// What an application does, or looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Begin(Tx),
    AssignXid(Tx),
    Write(Tx, Write),
    Commit(Tx),
    /// The commit record is written, and no snapshot sees it before [`Act::Release`]: its standby does not answer.
    CommitHeld(Tx),
    Release(Tx),
    Abort(Tx),
    /// A whole transaction at once.
    Run(Vec<Write>),
    /// A new column with a default.
    Alter {
        table: usize,
        rewrite: bool,
    },
    /// What a new snapshot sees of all tables.
    Rows,
    /// What `pg_current_snapshot()` says.
    Snapshot,
}

/// What befalls a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Checkpoint,
    Restart,
    Crash,
    DropSlot,
    InvalidateSlot,
    /// Somebody else moves our slot to the end of the WAL.
    AdvanceSlot,
    /// The clock goes on.
    Hours(u32),
}

/// With which token a replicator asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Newest,
    /// The one before: a replicator that somebody took over from.
    Earlier,
}

/// A place in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before everything.
    Zero,
    /// Where the era began.
    Start,
    /// After the nth transaction that this script recorded, from 1.
    After(usize),
    /// Inside of it: its changes up to this index are held.
    Inside(usize, u32),
    /// Far beyond the end.
    Future,
}

/// How much is recorded, in pieces of how many changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    All(u32),
    One(u32),
}

/// What a machine asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    TakeLease(Name),
    RenewLease(Whose),
    ReleaseLease(Whose),
    Inspect(Whose),
    LoadProgress(Whose),
    CreateSlot(Whose),
    SettleSlot(Whose),
    /// At the slot that was created or settled, or found by the last look at the source.
    BeginEra(Whose),
    /// From what is covered; `anew` asks from the very beginning, so that the slot alone decides.
    StartStream {
        anew: bool,
    },
    /// Everything that the stream has.
    Read,
    /// Up to what is recorded and covered.
    Confirm,
    Record(Whose, Parts),
    /// The last page once more, as a retry does.
    RecordAgain(Whose),
    /// The first change of the next transaction, whose row does not wait for the last.
    RecordRowFirst,
    NoteAttempt(Whose),
    SaveCovered(Whose),
    Tables(Whose),
    RaiseSchema {
        whose: Whose,
        alters: bool,
    },
    /// The nth last raise as it was asked then, as a retry does, or one that was given up and arrives late.
    RaiseAgain(usize),
    /// Keeps what is younger than one hour, and what somebody needs if it is younger than ten.
    Prune(Whose),
    ReadHead,
    ReadHistory {
        after: Place,
        until: Option<Place>,
        changes_max: u32,
        bytes_max: u32,
    },
    /// The same in the era before.
    ReadOtherEra,
    Judge {
        claim: Option<Place>,
        tables: &'static [&'static str],
    },
    TakeSnapshot {
        await_era_start: bool,
    },
    TakeEpoch {
        client: Name,
        instance: Option<u64>,
        attempt: u64,
        position: Saved,
    },
    /// With the nth epoch that the client got, from 1.
    SavePosition {
        client: Name,
        epoch: usize,
        at: Option<Place>,
        fenced: bool,
        monotonic: bool,
    },
    RenewRegistration {
        client: Name,
        epoch: usize,
    },
    Unregister {
        client: Name,
        epoch: usize,
        fenced: bool,
    },
    /// The rows of all living registrations.
    Registrations,
    /// How often the lease was taken or renewed, as a server sees it when it opens a connection.
    Renewals,
}

/// What a greeting does to the stored position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    Keep,
    Set(Place),
    Clear,
}
