//! Appends, reads and retention.

use super::{Case, RECORD, STREAM, acts, asks, case, insert, prepared, run};
use crate::conformance::op::{Op, Parts, Place, Step, Whose};

pub fn cases() -> Vec<Case> {
    vec![
        case(
            "an append whose answer is lost",
            STREAM,
            [
                prepared(),
                acts([run([insert(1), insert(2)]), run([insert(3)])]),
                asks([Step::Read]),
                vec![Op::Lost(Step::Record(Whose::Newest, Parts::One(1)))],
                asks([Step::RecordAgain(Whose::Newest), RECORD, Step::ReadHead, read(Place::Start, 9)]),
            ],
        ),
        case(
            "leases",
            STREAM,
            [asks([
                Step::TakeLease("a"),
                Step::TakeLease("b"),
                Step::TakeLease("a"),
                Step::RenewLease(Whose::Earlier),
                Step::ReleaseLease(Whose::Earlier),
                Step::RenewLease(Whose::Newest),
                Step::ReleaseLease(Whose::Newest),
                Step::TakeLease("b"),
                Step::LoadProgress(Whose::Newest),
                Step::ReadHead,
            ])],
        ),
    ]
}

const fn read(after: Place, changes_max: u32) -> Step {
    Step::ReadHistory { after, until: None, changes_max, bytes_max: 1 << 20 }
}
