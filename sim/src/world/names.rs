//! What is being carried out, by name: how scenarios say where a fault falls.

use dormouse_core::store::StoreRequest;
use dormouse_core::wire::{ClientMessage, ServerMessage};
use dormouse_core::{client, hub, replication};

macro_rules! names {
    ($value:expr, $of:path, $($variant:ident)+) => {{
        use $of as Of;
        match $value { $(Of::$variant { .. } => stringify!($variant),)+ }
    }};
}

/// The name of a replicator's output.
pub(super) const fn of_replication(output: &replication::Output) -> &'static str {
    names!(output, replication::Output, Announce Confirm NudgeSource StopStream Halt Stopped ReadSource StartStream TakeLease
        RenewLease ReleaseLease InspectSource LoadProgress CreateSlot SettleSlot BeginEra NoteAttempt RecordPage SaveCovered
        InspectTables RaiseSchema Prune ReadHead)
}

/// The name of a hub's output; that of a message is the message's.
pub(super) fn of_hub(output: &hub::Output) -> &'static str {
    match output {
        hub::Output::Send { message, .. } => of_message(message),
        output => names!(output, hub::Output, Send Close Attach Hibernate WantCovered DropSpool TakeEpoch JudgePosition
            TakeSnapshot ReadChunk ReadHistory ReadHead SavePositions RenewRegistrations Unregister),
    }
}

/// The name of a client's output; that of a message is the message's.
pub(super) const fn of_client(output: &client::Output) -> &'static str {
    match output {
        client::Output::Send { message, .. } => of_saying(message),
        output => names!(output, client::Output, Dial Send SendCredential Ping Close Store Notify),
    }
}

/// The name of what a server says.
pub(super) const fn of_message(message: &ServerMessage) -> &'static str {
    names!(message, ServerMessage, Welcome Page Chunk Seam Schema Live Resync Credential Fault)
}

/// The name of what a client says.
pub(super) const fn of_saying(message: &ClientMessage) -> &'static str {
    names!(message, ClientMessage, Hello Ack Staged Credential Bye)
}

/// The name of what a store is asked.
pub(super) const fn of_store(request: &StoreRequest) -> &'static str {
    names!(request, StoreRequest, ApplyPage StageChunk StageSeam ReadHeld)
}
