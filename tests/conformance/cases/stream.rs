//! The slot and its stream.

use super::{Case, EITHER, RECORD, STREAM, acts, asks, case, faults, insert, prepared, run, update};
use crate::conformance::op::{Act, Fault, Step, Whose};
use dormouse_sim::postgres::Write;

const INSPECT: Step = Step::Inspect(Whose::Newest);
const ANEW: Step = Step::StartStream { anew: true };

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "every kind of change",
            EITHER,
            [
                prepared(),
                acts([
                    run([insert(1), insert(2), insert(3)]),
                    run([
                        update(1, 7),
                        Write::Update { table: 0, key: 2, value: 8, large: true },
                        Write::Move { table: 0, key: 2, to: 9, value: 4 },
                        Write::Delete { table: 0, key: 3 },
                        Write::Insert { table: 1, key: 1, value: 1 },
                    ]),
                    run([insert(4), Write::Truncate { table: 0 }, insert(5)]),
                ]),
                asks([Step::Read, RECORD, INSPECT]),
            ],
        ),
        case(
            "what is not confirmed comes again",
            EITHER,
            [
                prepared(),
                acts([run([insert(1)])]),
                asks([Step::Read, RECORD, Step::Confirm, INSPECT]),
                acts([run([insert(2)])]),
                asks([Step::Read, ANEW, Step::Read, RECORD]),
                asks([ANEW, Step::Read, Step::Confirm, INSPECT]),
                asks([ANEW, Step::Read]),
            ],
        ),
        case(
            "an orderly restart",
            EITHER,
            [
                prepared(),
                acts([run([insert(1)])]),
                asks([Step::Read, RECORD, Step::Confirm]),
                acts([run([insert(2)])]),
                faults([Fault::Restart]),
                asks([Step::Read, INSPECT, ANEW, Step::Read, RECORD]),
            ],
        ),
        case(
            "a crash after a checkpoint",
            EITHER,
            [
                prepared(),
                acts([run([insert(1)])]),
                asks([Step::Read, RECORD, Step::Confirm]),
                faults([Fault::Checkpoint]),
                acts([run([insert(2)])]),
                faults([Fault::Crash]),
                asks([INSPECT, ANEW, Step::Read, RECORD]),
            ],
        ),
        case(
            "a crash shows what is committed and rolls back the rest",
            EITHER,
            [
                prepared(),
                acts([
                    Act::Begin(1),
                    Act::Write(1, insert(1)),
                    Act::CommitHeld(1),
                    Act::Begin(2),
                    Act::Write(2, insert(2)),
                    Act::Rows,
                ]),
                faults([Fault::Crash]),
                acts([Act::Rows, Act::Snapshot, Act::Commit(2), Act::Release(1)]),
                asks([ANEW, Step::Read]),
            ],
        ),
        case(
            "keepalives while a transaction is open, and idle",
            EITHER,
            [
                prepared(),
                acts([Act::Begin(1), Act::Write(1, insert(1))]),
                asks([Step::Read, Step::SaveCovered(Whose::Newest), Step::ReadHead]),
                acts([run([insert(2)])]),
                asks([Step::Read, RECORD, Step::Read, Step::SaveCovered(Whose::Newest), Step::ReadHead]),
                acts([Act::Commit(1)]),
                asks([Step::Read, RECORD, Step::ReadHead, Step::Confirm, INSPECT, ANEW, Step::Read]),
            ],
        ),
        case(
            "a dropped slot, and another in its place",
            EITHER,
            [
                prepared(),
                acts([run([insert(1)])]),
                asks([Step::Read, RECORD]),
                faults([Fault::DropSlot]),
                acts([run([insert(2)])]),
                asks([
                    INSPECT,
                    Step::SettleSlot(Whose::Newest),
                    Step::Read,
                    ANEW,
                    Step::CreateSlot(Whose::Newest),
                    INSPECT,
                ]),
                asks([Step::SettleSlot(Whose::Newest), INSPECT, Step::BeginEra(Whose::Newest), ANEW]),
                acts([run([insert(3)])]),
                asks([Step::Read, RECORD, Step::ReadOtherEra]),
            ],
        ),
        case(
            "an invalidated slot",
            STREAM, // Polling finds it out at the first read, a little later.
            [
                prepared(),
                acts([run([insert(1)])]),
                faults([Fault::InvalidateSlot]),
                asks([INSPECT, Step::SettleSlot(Whose::Newest), ANEW, Step::CreateSlot(Whose::Newest), INSPECT]),
                asks([Step::SettleSlot(Whose::Newest), Step::BeginEra(Whose::Newest)]),
                acts([run([insert(2)])]),
                asks([ANEW, Step::Read, RECORD]),
            ],
        ),
        case(
            "a slot that somebody else moved",
            EITHER,
            [
                prepared(),
                acts([run([insert(1)]), run([insert(2)])]),
                faults([Fault::AdvanceSlot]),
                asks([INSPECT, ANEW, Step::Read]),
                acts([run([insert(3)])]),
                asks([Step::Read]),
            ],
        ),
        case(
            "a transaction that runs while the slot is created",
            EITHER,
            [
                asks([Step::TakeLease("a"), INSPECT]),
                acts([Act::Begin(1), Act::Write(1, insert(1))]),
                asks([Step::CreateSlot(Whose::Newest), INSPECT]),
                acts([Act::Write(1, insert(2)), Act::Commit(1)]),
                asks([Step::CreateSlot(Whose::Newest), INSPECT, Step::BeginEra(Whose::Newest), ANEW, Step::Read]),
            ],
        ),
        case(
            "a transaction that runs while the slot is settled",
            EITHER,
            [
                asks([Step::TakeLease("a"), INSPECT, Step::CreateSlot(Whose::Newest), ANEW]),
                acts([Act::Begin(1), Act::Write(1, insert(1))]),
                asks([Step::SettleSlot(Whose::Newest), INSPECT]),
                acts([run([insert(3)]), Act::Write(1, insert(2)), Act::Commit(1)]),
                asks([Step::SettleSlot(Whose::Newest), INSPECT, Step::BeginEra(Whose::Newest), ANEW]),
                acts([run([insert(4)])]),
                asks([Step::Read]),
            ],
        ),
        case(
            "a commit held invisible while the slot is created",
            STREAM,
            [
                prepared(),
                acts([Act::Begin(1), Act::Write(1, insert(1)), Act::CommitHeld(1)]),
                asks([Step::CreateSlot(Whose::Newest), INSPECT, ANEW]),
                acts([Act::Release(1)]),
                asks([Step::CreateSlot(Whose::Newest), INSPECT, Step::BeginEra(Whose::Newest), ANEW, Step::Read]),
            ],
        ),
        case(
            "a slot moved past a commit that is not visible yet",
            STREAM,
            [
                prepared(),
                acts([Act::Begin(1), Act::Write(1, insert(1)), Act::CommitHeld(1)]),
                faults([Fault::AdvanceSlot]),
                asks([INSPECT, Step::BeginEra(Whose::Newest), ANEW, Step::Read]),
                asks([Step::TakeSnapshot { await_era_start: true }, Step::TakeSnapshot { await_era_start: false }]),
                acts([Act::Release(1)]),
                asks([Step::TakeSnapshot { await_era_start: true }, Step::Read]),
            ],
        ),
    ]
}
