//! Appends, reads and retention.

use super::{Case, EITHER, RECORD, STREAM, acts, ask, asks, case, faults, insert, prepared, run, update};
use crate::conformance::op::{Act, Fault, Op, Parts, Place, Step, Whose};
use dormouse_sim::postgres::Write;

const INSPECT: Step = Step::Inspect(Whose::Newest);
const TABLES: Step = Step::Tables(Whose::Newest);
const PROGRESS: Step = Step::LoadProgress(Whose::Newest);
const PRUNE: Step = Step::Prune(Whose::Newest);
const AGAIN: Step = Step::RecordAgain(Whose::Newest);
const ANEW: Step = Step::StartStream { anew: true };

pub fn cases() -> Vec<Case> {
    let mut all = appends();
    all.extend(reads());
    all.extend(schema());
    all
}

fn appends() -> Vec<Case> {
    vec![
        case(
            "an append whose answer is lost",
            STREAM,
            [
                prepared(),
                acts([run([insert(1), insert(2)]), run([insert(3)])]),
                asks([Step::Read]),
                vec![Op::Lost(one(1))],
                asks([AGAIN, RECORD, Step::ReadHead, read(Place::Start, 9)]),
                acts([run([insert(4)])]),
                asks([Step::Read]),
                vec![Op::Lost(one(9))],
                asks([PROGRESS, RECORD, Step::ReadHead, read(Place::Start, 9)]),
            ],
        ),
        case(
            "pieces exist once the last is recorded",
            STREAM,
            [
                prepared(),
                acts([run([insert(1), insert(2), insert(3), insert(4)]), run([insert(5)])]),
                asks([Step::Read, one(2), read(Place::Start, 9), Step::ReadHead, AGAIN, one(1)]),
                asks([PROGRESS, read(Place::Start, 9), one(3), one(9), read(Place::Start, 9), AGAIN, RECORD]),
                asks([read(Place::Start, 9)]),
            ],
        ),
        case(
            "a row that does not wait for the last piece",
            STREAM,
            [
                prepared(),
                acts([run([insert(1), insert(2), insert(3)])]),
                asks([Step::Read, Step::RecordRowFirst, Step::ReadHead, read(Place::Start, 9), AGAIN]),
                asks([Step::RecordRowFirst, Step::ReadHead, Step::RecordRowFirst, Step::ReadHead]),
                asks([read(Place::Start, 9)]),
            ],
        ),
        case(
            "a replicator that another took over from",
            STREAM,
            [
                prepared(),
                acts([run([insert(1)]), run([insert(2)])]),
                asks([Step::Read, one(9)]),
                faults([Fault::Hours(2)]),
                asks([
                    Step::TakeLease("b"),
                    Step::Record(Whose::Earlier, Parts::One(9)),
                    Step::SaveCovered(Whose::Earlier),
                    Step::NoteAttempt(Whose::Earlier),
                    Step::RaiseSchema { whose: Whose::Earlier, alters: true },
                    Step::Prune(Whose::Earlier),
                    Step::Inspect(Whose::Earlier),
                    Step::Tables(Whose::Earlier),
                    Step::LoadProgress(Whose::Earlier),
                    Step::CreateSlot(Whose::Earlier),
                    Step::SettleSlot(Whose::Earlier),
                    Step::BeginEra(Whose::Earlier),
                    Step::RenewLease(Whose::Earlier),
                    Step::ReleaseLease(Whose::Earlier),
                    Step::NoteAttempt(Whose::Newest),
                    Step::NoteAttempt(Whose::Newest),
                    PROGRESS,
                    RECORD,
                    Step::ReadHead,
                ]),
            ],
        ),
        case(
            "lost answers of a replicator",
            STREAM,
            [
                vec![Op::Lost(Step::TakeLease("a"))],
                asks([Step::TakeLease("b"), Step::TakeLease("a"), INSPECT, Step::CreateSlot(Whose::Newest)]),
                vec![Op::Lost(Step::SettleSlot(Whose::Newest))],
                asks([Step::SettleSlot(Whose::Newest)]),
                vec![Op::Lost(Step::BeginEra(Whose::Newest))],
                asks([Step::ReadHead, PROGRESS, ANEW]),
                acts([run([insert(1)])]),
                asks([Step::Read]),
                vec![Op::Lost(Step::NoteAttempt(Whose::Newest))],
                asks([Step::NoteAttempt(Whose::Newest)]),
                vec![Op::Lost(Step::SaveCovered(Whose::Newest))],
                asks([Step::ReadHead]),
                vec![Op::Lost(Step::RaiseSchema { whose: Whose::Newest, alters: true })],
                asks([Step::ReadHead, RECORD]),
                vec![Op::Lost(Step::RenewLease(Whose::Newest)), Op::Lost(Step::ReleaseLease(Whose::Newest))],
                asks([Step::TakeLease("b")]),
            ],
        ),
        case(
            "before the first era",
            STREAM,
            [asks([
                Step::TakeLease("a"),
                PROGRESS,
                Step::ReadHead,
                Step::Judge { claim: None, tables: &[] },
                Step::TakeSnapshot { await_era_start: true },
                PRUNE,
                ANEW,
                Step::RaiseSchema { whose: Whose::Newest, alters: true },
            ])],
        ),
    ]
}

fn reads() -> Vec<Case> {
    let four = || {
        let mut ops = prepared();
        ops.extend(acts([
            run([insert(1), insert(2)]),
            run([insert(3), insert(4)]),
            run([5, 6, 7, 8, 9, 10, 11, 12, 13, 14].map(insert)),
            run([insert(15)]),
        ]));
        ops.extend(asks([Step::Read, RECORD]));
        ops
    };
    vec![
        case(
            "reads at page limits",
            STREAM,
            [
                four(),
                asks([1, 2, 3, 4, 5, 14, 15, 16].map(|changes| read(Place::Start, changes))),
                asks([read(Place::After(2), 4), read(Place::Inside(3, 3), 4), read(Place::Inside(3, 7), 4)]),
                asks([read(Place::Inside(3, 9), 4), read(Place::Inside(1, 0), 9), read(Place::Inside(1, 1), 9)]),
                asks([read(Place::After(3), 9), read(Place::After(4), 9), read(Place::Inside(4, 0), 9)]),
                asks([read(Place::Zero, 9), read(Place::Future, 9), read(Place::Inside(3, 50), 9), Step::ReadOtherEra]),
                asks([read(Place::Inside(1, 50), 1), read(Place::Inside(3, 50), 1)]),
                asks(
                    [1, 2_200, 2_400, 4_350, 4_600, 5_000, 8_700, 9_500, 30_000]
                        .map(|bytes| bytes_of(Place::Start, bytes)),
                ),
                asks([1, 2_200, 5_000].map(|bytes| bytes_of(Place::Inside(3, 4), bytes))),
                asks([
                    until(Place::Start, Place::After(1)),
                    until(Place::Start, Place::After(3)),
                    until(Place::After(2), Place::After(3)),
                    until(Place::Inside(3, 2), Place::After(3)),
                    until(Place::Inside(3, 2), Place::After(4)),
                    until(Place::Start, Place::Future),
                ]),
            ],
        ),
        case(
            "greetings are judged",
            STREAM,
            [
                four(),
                asks([
                    judge(None),
                    judge(Some(Place::Zero)),
                    judge(Some(Place::Start)),
                    judge(Some(Place::After(3))),
                    judge(Some(Place::Inside(3, 2))),
                    judge(Some(Place::Future)),
                    Step::Judge { claim: None, tables: &["public.t1", "public.nothing", "public.t0"] },
                ]),
            ],
        ),
        case(
            "what is old is pruned unless somebody needs it",
            STREAM,
            [
                four(),
                asks([PRUNE, Step::ReadHead]),
                asks([greet("c", Place::After(2))]),
                faults([Fault::Hours(2)]),
                asks([Step::TakeLease("a"), greet("c", Place::Inside(3, 4)), PRUNE, judge(Some(Place::After(2)))]),
                asks([read(Place::Start, 9), read(Place::After(1), 9), read(Place::After(2), 20), Step::ReadHead]),
                acts([run([update(1, 3)])]),
                asks([Step::Read, RECORD]),
                faults([Fault::Hours(9)]),
                asks([PRUNE, Step::ReadHead, judge(Some(Place::After(4))), judge(Some(Place::After(5)))]),
                asks([read(Place::After(4), 9), PROGRESS, Step::Registrations]),
                faults([Fault::Hours(2)]),
                asks([PRUNE, Step::ReadHead, PROGRESS, judge(Some(Place::After(5)))]),
                acts([run([update(1, 4)])]),
                asks([ANEW, Step::Read, RECORD, read(Place::After(5), 9)]),
            ],
        ),
        case(
            "what no snapshot sees yet is not pruned",
            STREAM,
            [
                four(),
                acts([Act::Begin(1), Act::Write(1, update(1, 7)), Act::CommitHeld(1), run([update(2, 8)])]),
                asks([Step::Read, RECORD]),
                faults([Fault::Hours(20)]),
                asks([PRUNE, read(Place::After(4), 9), Step::TakeSnapshot { await_era_start: true }]),
                acts([Act::Release(1)]),
                asks([PRUNE, Step::ReadHead]),
            ],
        ),
    ]
}

fn schema() -> Vec<Case> {
    let alter = |rewrite| vec![Op::Act(Act::Alter { table: 0, rewrite })];
    let raise = |alters| ask(Step::RaiseSchema { whose: Whose::Newest, alters });
    vec![
        case(
            "alterations that the stream does not tell",
            EITHER,
            [
                prepared(),
                acts([run([insert(1), insert(2)])]),
                asks([Step::Read, RECORD, TABLES]),
                alter(false),
                asks([TABLES, Step::Read]),
                vec![raise(true)],
                asks([Step::ReadHead, PROGRESS, read(Place::Start, 9), Step::TakeSnapshot { await_era_start: true }]),
                alter(true),
                asks([TABLES]),
                acts([run([insert(3), update(1, 4)]), run([Write::Truncate { table: 1 }])]),
                asks([Step::Read, RECORD, TABLES]),
                vec![raise(false)],
                asks([Step::ReadHead, read(Place::Start, 9), Step::TakeSnapshot { await_era_start: true }]),
                acts([Act::Rows]),
            ],
        ),
        case(
            "a table is altered between two changes of others",
            EITHER,
            [
                prepared(),
                acts([run([insert(1)]), Act::Begin(1), Act::Write(1, Write::Insert { table: 1, key: 1, value: 1 })]),
                alter(false),
                acts([Act::Alter { table: 1, rewrite: true }, run([insert(2)]), Act::Commit(1)]),
                alter(true),
                acts([run([insert(3)])]),
                asks([Step::Read, RECORD, read(Place::Start, 9)]),
            ],
        ),
        case(
            "a raise that is asked again, or arrives late",
            STREAM,
            [
                prepared(),
                alter(false),
                asks([TABLES]),
                vec![raise(true)],
                asks([Step::RaiseAgain(1), Step::ReadHead]),
                alter(true),
                asks([TABLES]),
                vec![raise(true)],
                asks([Step::RaiseAgain(2), Step::RaiseAgain(1), PROGRESS]),
                vec![raise(false)],
                asks([Step::RaiseAgain(2), Step::RaiseAgain(1), PROGRESS, INSPECT, Step::BeginEra(Whose::Newest)]),
                asks([Step::RaiseAgain(2), Step::RaiseAgain(1), PROGRESS]),
            ],
        ),
        case(
            "a raised schema waits for those who ran",
            STREAM,
            [
                prepared(),
                acts([Act::Begin(1), Act::Write(1, insert(1))]),
                asks([TABLES]),
                vec![raise(false)],
                asks([Step::TakeSnapshot { await_era_start: true }]),
                vec![raise(true)],
                asks([Step::TakeSnapshot { await_era_start: true }, Step::TakeSnapshot { await_era_start: false }]),
                acts([Act::Commit(1)]),
                asks([Step::TakeSnapshot { await_era_start: true }]),
            ],
        ),
        case(
            "a snapshot waits for who holds the table alone",
            STREAM,
            [
                prepared(),
                acts([run([insert(1)]), Act::Begin(1), Act::Write(1, Write::Truncate { table: 0 })]),
                asks([Step::TakeSnapshot { await_era_start: true }]),
                acts([Act::Commit(1)]),
                asks([Step::TakeSnapshot { await_era_start: true }]),
            ],
        ),
    ]
}

const fn one(piece: u32) -> Step {
    Step::Record(Whose::Newest, Parts::One(piece))
}

const fn read(after: Place, changes_max: u32) -> Step {
    Step::ReadHistory { after, until: None, changes_max, bytes_max: 1 << 20 }
}

const fn bytes_of(after: Place, bytes_max: u32) -> Step {
    Step::ReadHistory { after, until: None, changes_max: 100, bytes_max }
}

const fn until(after: Place, until: Place) -> Step {
    Step::ReadHistory { after, until: Some(until), changes_max: 100, bytes_max: 1 << 20 }
}

const fn judge(claim: Option<Place>) -> Step {
    Step::Judge { claim, tables: &[] }
}

const fn greet(client: &'static str, at: Place) -> Step {
    use crate::conformance::op::Saved;
    Step::TakeEpoch { client, instance: None, attempt: 0, position: Saved::Set(at) }
}
