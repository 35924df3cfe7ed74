//! What a database must be able to do here, be it a model or real.

use super::op::{Act, Fault};
use super::reply::{Anchors, Answered, Did};
use dormouse_core::fault::Failure;
use dormouse_core::history::{ReadHead, ReadHistory};
use dormouse_core::hub::{JudgePosition, RenewRegistrations, SavePositions, TakeEpoch, TakeSnapshot, Unregister};
use dormouse_core::position::Lsn;
use dormouse_core::replication::{
    BeginEra, CreateSlot, InspectSource, InspectTables, LoadProgress, NoteAttempt, Prune, RaiseSchema, RecordPage,
    ReleaseLease, RenewLease, SaveCovered, SettleSlot, StartStream, TakeLease,
};
use dormouse_core::source::SourceItem;

/// A question of core's machines.
#[derive(Debug, Clone)]
pub enum Question {
    TakeLease(TakeLease),
    RenewLease(RenewLease),
    ReleaseLease(ReleaseLease),
    InspectSource(InspectSource),
    LoadProgress(LoadProgress),
    CreateSlot(CreateSlot),
    SettleSlot(SettleSlot),
    BeginEra(BeginEra),
    StartStream(StartStream),
    NoteAttempt(NoteAttempt),
    RecordPage(RecordPage),
    SaveCovered(SaveCovered),
    InspectTables(InspectTables),
    RaiseSchema(RaiseSchema),
    Prune(Prune),
    ReadHead(ReadHead),
    ReadHistory(ReadHistory),
    JudgePosition(JudgePosition),
    /// Answered with all its chunks.
    TakeSnapshot(TakeSnapshot),
    TakeEpoch(TakeEpoch),
    SavePositions(SavePositions),
    RenewRegistrations(RenewRegistrations),
    Unregister(Unregister),
    /// The living registrations.
    Registrations,
    /// How often the lease was taken or renewed.
    Renewals,
}

/// One database.
pub trait Subject {
    /// What it is called where a difference is told.
    const NAME: &'static str;

    /// The application does something.
    async fn act(&mut self, act: &Act) -> Did;

    /// Something befalls the server.
    async fn befall(&mut self, fault: Fault);

    /// A machine asks. When the answer is lost, the effect has happened once this returns.
    async fn ask(&mut self, question: Question, answer_lost: bool) -> Result<Answered, Failure>;

    /// All that the stream tells until everything committed by now is told.
    async fn read(&mut self) -> Result<Vec<SourceItem>, Failure>;

    /// Lets the slot forget what is below, and sees to it that it has heard so.
    async fn confirm(&mut self, lsn: Lsn);

    /// The run is over: which transactions there were.
    async fn anchors(&mut self) -> Anchors;
}
