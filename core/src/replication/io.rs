//! What Replication is told, what it commands, and what it asks.

use crate::ask::{Answer, Ask, Incarnation, Question};
use crate::change::Page;
use crate::fault::Halt;
use crate::history::{Announcement, Head, ReadHead};
use crate::position::{Era, Lsn, Position, SchemaVersion};
use crate::source::{Evidence, Fingerprints, SlotState, SourceItem};
use crate::xid::Xid;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// The growing number of the lease: it fences every earlier holder.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub u64);

/// Facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The host started this life.
    Started {
        /// Never the same twice.
        incarnation: Incarnation,
    },
    /// The host wants it to end: finish what is being recorded, release the lease.
    Stopping,
    /// Somebody waits until covered has reached this.
    CoveredWanted {
        /// What is waited for.
        lsn: Lsn,
    },
    /// Answers [`Output::TakeLease`].
    LeaseTaken(Answer<TakeLease>),
    /// Answers [`Output::RenewLease`].
    LeaseRenewed(Answer<RenewLease>),
    /// Answers [`Output::ReleaseLease`].
    LeaseReleased(Answer<ReleaseLease>),
    /// Answers [`Output::InspectSource`].
    SourceInspected(Answer<InspectSource>),
    /// Answers [`Output::LoadProgress`].
    ProgressLoaded(Answer<LoadProgress>),
    /// Answers [`Output::CreateSlot`].
    SlotCreated(Answer<CreateSlot>),
    /// Answers [`Output::SettleSlot`].
    SlotSettled(Answer<SettleSlot>),
    /// Answers [`Output::BeginEra`].
    EraBegun(Answer<BeginEra>),
    /// Answers [`Output::StartStream`].
    StreamStarted(Answer<StartStream>),
    /// Answers [`Output::ReadSource`].
    SourceRead(Answer<ReadSource>),
    /// Answers [`Output::NoteAttempt`].
    AttemptNoted(Answer<NoteAttempt>),
    /// Answers [`Output::RecordPage`].
    PageRecorded(Answer<RecordPage>),
    /// Answers [`Output::SaveCovered`].
    CoveredSaved(Answer<SaveCovered>),
    /// Answers [`Output::InspectTables`].
    TablesInspected(Answer<InspectTables>),
    /// Answers [`Output::RaiseSchema`].
    SchemaRaised(Answer<RaiseSchema>),
    /// Answers [`Output::Prune`].
    Pruned(Answer<Prune>),
    /// Answers [`Output::ReadHead`].
    HeadRead(Answer<ReadHead>),
}

/// Commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Try to become the one replicator.
    TakeLease(Ask<TakeLease>),
    /// Stay it.
    RenewLease(Ask<RenewLease>),
    /// Stop being it.
    ReleaseLease(Ask<ReleaseLease>),
    /// Create or adopt the publication and look at the slot.
    InspectSource(Ask<InspectSource>),
    /// Read era, head and covered, and delete the pieces that no transaction's row finishes.
    LoadProgress(Ask<LoadProgress>),
    /// Create the slot, dropping an unusable one.
    CreateSlot(Ask<CreateSlot>),
    /// Move the slot past what may be decoded wrongly.
    SettleSlot(Ask<SettleSlot>),
    /// Begin an era.
    BeginEra(Ask<BeginEra>),
    /// Open the stream.
    StartStream(Ask<StartStream>),
    /// Take what the stream has, waiting until it has something.
    ReadSource(Ask<ReadSource>),
    /// Count an attempt at a transaction, after an unclean end.
    NoteAttempt(Ask<NoteAttempt>),
    /// Append to history.
    RecordPage(Ask<RecordPage>),
    /// Save an idle advance.
    SaveCovered(Ask<SaveCovered>),
    /// Compare the published tables, adding new ones to the publication.
    InspectTables(Ask<InspectTables>),
    /// Raise the schema number.
    RaiseSchema(Ask<RaiseSchema>),
    /// Delete old history.
    Prune(Ask<Prune>),
    /// Tell all hubs.
    Announce(Arc<Announcement>),
    /// Let Postgres forget the WAL below this.
    Confirm {
        /// Never above what is durably covered.
        lsn: Lsn,
    },
    /// Write a small logical message, so that an idle source moves past what somebody waits for.
    NudgeSource,
    /// Close the stream; unanswered reads of it are answered with a failure or not at all.
    StopStream,
    /// Stop for good and tell the operator.
    Halt(Halt),
    /// All is done after [`Input::Stopping`].
    Stopped,
    /// Where does history end, which another process records?
    ReadHead(Ask<ReadHead>),
}

/// Become the one replicator, if the lease is free, expired, or this holder's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeLease {
    /// Names this process for people.
    pub holder: String,
    /// How long the lease lasts, by Postgres' clock.
    pub ttl: Duration,
}
impl Question for TakeLease {
    type Reply = LeaseTaken;
}
/// The reply to [`TakeLease`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseTaken {
    /// The token is now ours, and higher than any before.
    Taken {
        /// Fences all earlier ones.
        token: Token,
        /// Whether the holder before released it. If not, a transaction may have ended that process.
        clean: bool,
    },
    /// Another holds it.
    Held {
        /// Who.
        holder: String,
        /// Until when at most, from now.
        remaining: Duration,
    },
}

/// Stay the one replicator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewLease {
    /// Ours.
    pub token: Token,
    /// From now.
    pub ttl: Duration,
}
impl Question for RenewLease {
    type Reply = Fenced<()>;
}

/// Stop being it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLease {
    /// Ours.
    pub token: Token,
}
impl Question for ReleaseLease {
    type Reply = Fenced<()>;
}

/// A reply that depends on the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fenced<T> {
    /// The token was the newest, and the effect is durable.
    Done(T),
    /// A newer token exists: nothing was done.
    Superseded,
}

/// Look at the slot and at the published tables; create or adopt the publication first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectSource {
    /// Ours.
    pub token: Token,
}
impl Question for InspectSource {
    type Reply = Fenced<SourceState>;
}
/// What [`InspectSource`] finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Where we are.
    pub evidence: Evidence,
    /// `None` when there is no slot of our name.
    pub slot: Option<SlotState>,
    /// Of all published tables.
    pub fingerprints: Fingerprints,
}

/// Read what is recorded. Asked after the token was taken, so that no earlier holder adds to it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadProgress {
    /// Ours.
    pub token: Token,
}
impl Question for LoadProgress {
    type Reply = Fenced<Option<Progress>>;
}
/// What is recorded; there is none before the first era.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The head, with durable covered: the greatest of the head's `end_lsn`, the last saved idle advance, and the era's start.
    pub head: Head,
    /// What the era began with.
    pub evidence: Evidence,
    /// As last noted, together with the schema number.
    pub fingerprints: Fingerprints,
}

/// Create the slot; an existing one of our name is dropped first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSlot {
    /// Ours.
    pub token: Token,
}
impl Question for CreateSlot {
    type Reply = Fenced<Lsn>; // The new slot's confirmed LSN.
}

/// Move a slot, before an era begins on it, past all that Postgres may decode by an outdated catalogue: change the catalogue, wait
/// for every transaction that ran then, and advance the slot to where the WAL ends.
///
/// (While a slot that is being created waits for transactions, its decoder keeps the catalogue that it knew at the first write it
/// met. What is altered, published or truncated meanwhile stays unknown to it until the next change of the catalogue commits, and
/// transactions that wrote before that are decoded by the old one even then.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleSlot {
    /// Ours.
    pub token: Token,
}
impl Question for SettleSlot {
    type Reply = Fenced<Lsn>; // The slot's confirmed LSN.
}

/// Begin an era at the slot's confirmed LSN. X0, the xid of this very transaction, is kept in its row: no snapshot is taken
/// before its xmin has reached X0.
///
/// (Postgres' `pg_current_xact_id()`. A snapshot's xmax would be too low: it follows the latest xid that *ended*, so with
/// nothing else going on, a running transaction is itself at xmax, and xmin stands there too.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginEra {
    /// Ours.
    pub token: Token,
    /// The slot's confirmed LSN.
    pub start: Lsn,
    /// Where we are.
    pub evidence: Evidence,
    /// Of all published tables.
    pub fingerprints: Fingerprints,
    /// For people: why.
    pub reason: String,
}
impl Question for BeginEra {
    type Reply = Fenced<Head>; // At the boundary just below `start`, for a commit record may begin exactly there; covered is `start`.
}

/// Open the stream of our slot, ending our own stale walsender if it still holds the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartStream {
    /// Ours.
    pub token: Token,
    /// From here; the slot's confirmed LSN counts when it is later.
    pub from: Lsn,
}
impl Question for StartStream {
    type Reply = ();
}

/// Take what the stream has. Answered as soon as there is at least one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSource {
    /// The most changes to return; those of the last message come whole, and a TRUNCATE may name many tables.
    pub changes_max: u32,
    /// About the most bytes.
    pub bytes_max: u32,
}
impl Question for ReadSource {
    type Reply = Vec<SourceItem>;
}

/// Count, durably, that this process is about to work on a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteAttempt {
    /// Ours.
    pub token: Token,
    /// Which transaction.
    pub commit_lsn: Lsn,
}
impl Question for NoteAttempt {
    type Reply = Fenced<u32>; // Attempts so far, this one included.
}

/// Append one page, or one piece, to history in one database transaction that locks the lease's row first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPage {
    /// Ours.
    pub token: Token,
    /// Which era.
    pub era: Era,
    /// The last appended position, an unfinished transaction included. The page's `after` may be earlier only by being a boundary of it.
    pub expect: Position,
    /// What to append. Its transactions' xids are still 32 bits wide: the append widens them against a reference it reads.
    pub page: Arc<Page>,
    /// Whether `expect` is compared ([`crate::safeguard::Safeguard::CompareAndSet`]).
    pub compare: bool,
    /// Whether the transaction's row waits for the last piece ([`crate::safeguard::Safeguard::TransactionRowLast`]).
    pub row_last: bool,
}
impl Question for RecordPage {
    type Reply = Recorded;
}
/// The reply to [`RecordPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recorded {
    /// Appended, durably.
    Recorded {
        /// What the xids were widened against.
        reference: Xid,
    },
    /// Nothing was appended, because the last appended position is another than expected.
    AlreadyAt {
        /// The last appended position.
        position: Position,
        /// What xids are widened against now.
        reference: Xid,
    },
    /// A newer token exists: nothing was done.
    Superseded,
}

/// Save that all below `covered` is in history although nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaveCovered {
    /// Ours.
    pub token: Token,
    /// Which era.
    pub era: Era,
    /// Never moves back.
    pub covered: Lsn,
}
impl Question for SaveCovered {
    type Reply = Fenced<()>;
}

/// Read the fingerprints of the published tables; in the default selection, publish new tables first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectTables {
    /// Ours.
    pub token: Token,
}
impl Question for InspectTables {
    type Reply = Fenced<Fingerprints>;
}

/// Note new fingerprints, and raise the schema number when existing rows may have been altered.
///
/// It names what it follows and is refused otherwise, as an append is: one that was slow and was given up with its stream must not
/// write over what was noted since. Asked again after a lost answer it changes nothing, and is answered as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseSchema {
    /// Ours.
    pub token: Token,
    /// Which era.
    pub era: Era,
    /// The number before.
    pub from: SchemaVersion,
    /// What is noted before: where the number stays, this alone tells what came late from what is due.
    pub noted: Fingerprints,
    /// To be kept.
    pub fingerprints: Fingerprints,
    /// `None`: keep the number, only note the fingerprints.
    pub reason: Option<String>,
}
impl Question for RaiseSchema {
    type Reply = Fenced<SchemaVersion>;
}

/// Delete history that nobody needs: older than `keep_min` and acknowledged by every living registration and spool, and always
/// what is older than `keep_max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// Ours.
    pub token: Token,
    /// By commit time.
    pub keep_min: Duration,
    /// By commit time.
    pub keep_max: Duration,
}
impl Question for Prune {
    type Reply = Fenced<Position>; // The horizon: the last position that was deleted.
}

/// What Replication is doing, as `status` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Not started.
    Idle,
    /// Another holds the lease, or the last try failed.
    Standby,
    /// Taking the lease, looking at source and history.
    Preparing,
    /// Reading, recording, announcing, confirming.
    Streaming,
    /// Finishing what is being recorded.
    Stopping,
    /// Stopped at the host's wish.
    Stopped,
    /// Stopped for good until the operator acts.
    Halted,
}

/// A view of Replication for people and monitors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it is doing.
    pub phase: PhaseName,
    /// The lease's number, while held.
    pub token: Option<Token>,
    /// The end of history; covered here is what is known in memory.
    pub head: Option<Head>,
    /// What Postgres was last allowed to forget.
    pub confirmed: Lsn,
    /// Why it halted.
    pub halt: Option<Halt>,
}
