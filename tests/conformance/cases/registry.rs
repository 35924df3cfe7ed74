//! Leases and registrations.

use super::{Case, RECORD, STREAM, acts, asks, case, faults, insert, prepared, run};
use crate::conformance::op::{Fault, Op, Place, Saved, Step, Whose};

pub fn cases() -> Vec<Case> {
    let two = || {
        let mut ops = prepared();
        ops.extend(acts([run([insert(1), insert(2)]), run([insert(3)])]));
        ops.extend(asks([Step::Read, RECORD]));
        ops
    };
    vec![
        case(
            "leases",
            STREAM,
            [
                asks([
                    Step::Renewals,
                    Step::TakeLease("a"),
                    Step::TakeLease("b"),
                    Step::Renewals,
                    Step::TakeLease("a"),
                    Step::RenewLease(Whose::Earlier),
                    Step::ReleaseLease(Whose::Earlier),
                    Step::Renewals,
                    Step::RenewLease(Whose::Newest),
                    Step::Renewals,
                    Step::ReleaseLease(Whose::Newest),
                    Step::TakeLease("b"),
                    Step::Renewals,
                ]),
                faults([Fault::Hours(1)]),
                asks([Step::TakeLease("a"), Step::RenewLease(Whose::Newest)]),
                faults([Fault::Hours(1)]),
                asks([Step::TakeLease("a")]),
                faults([Fault::Hours(2)]),
                asks([Step::RenewLease(Whose::Newest), Step::TakeLease("a")]),
                faults([Fault::Hours(2)]),
                asks([Step::TakeLease("a"), Step::ReleaseLease(Whose::Newest), Step::RenewLease(Whose::Newest)]),
                asks([Step::TakeLease("b"), Step::ReleaseLease(Whose::Newest), Step::ReleaseLease(Whose::Newest)]),
                asks([Step::Renewals]),
            ],
        ),
        case(
            "greetings take epochs",
            STREAM,
            [
                two(),
                asks([
                    greet("c", Some(1), 1, Saved::Keep),
                    greet("c", Some(1), 1, Saved::Keep),
                    greet("c", Some(1), 0, Saved::Set(Place::After(1))),
                    greet("c", Some(1), 2, Saved::Set(Place::After(1))),
                    greet("d", None, 0, Saved::Set(Place::Inside(1, 0))),
                    greet("d", None, 0, Saved::Keep),
                    greet("c", Some(2), 0, Saved::Keep),
                    greet("c", Some(2), 1, Saved::Clear),
                    greet("c", None, 0, Saved::Keep),
                    greet("c", Some(2), 0, Saved::Set(Place::After(2))),
                    Step::Registrations,
                ]),
            ],
        ),
        case(
            "instances that were replaced are set apart",
            STREAM,
            [
                two(),
                asks([greet("c", Some(1), 1, Saved::Set(Place::After(1))), greet("c", Some(2), 1, Saved::Keep)]),
                asks([greet("c", Some(1), 2, Saved::Clear), greet("c", Some(1), 1, Saved::Keep), Step::Registrations]),
                asks([greet("c", Some(2), 1, Saved::Keep), greet("c", Some(2), 2, Saved::Keep), Step::Registrations]),
                asks([greet("c", None, 0, Saved::Keep), greet("c", Some(2), 3, Saved::Keep), renew("c", 3)]),
                asks(std::array::from_fn::<_, 9, _>(|n| greet("c", Some(3 + n as u64), 1, Saved::Keep))),
                asks(std::array::from_fn::<_, 11, _>(|n| greet("c", Some(1 + n as u64), 9, Saved::Keep))),
                asks([leave("c", 3, false), greet("c", Some(3), 10, Saved::Keep), Step::Registrations]),
            ],
        ),
        case(
            "positions are fenced and never move back",
            STREAM,
            [
                two(),
                asks([greet("c", Some(1), 1, Saved::Clear), save("c", 1, Some(Place::After(1)), true, true)]),
                asks([save("c", 1, Some(Place::Inside(1, 0)), true, true), Step::Registrations]),
                asks([save("c", 1, Some(Place::Inside(1, 0)), true, false), Step::Registrations]),
                asks([greet("c", Some(1), 2, Saved::Keep), save("c", 1, Some(Place::After(2)), true, true)]),
                asks([Step::Registrations, save("c", 1, Some(Place::After(2)), false, true), Step::Registrations]),
                asks([save("c", 2, Some(Place::Start), true, true), Step::Registrations]),
                asks([save("c", 2, None, true, true), Step::Registrations]),
                asks([save("c", 2, Some(Place::After(1)), true, true), Step::Registrations]),
            ],
        ),
        case(
            "registrations end and are renewed",
            STREAM,
            [
                two(),
                asks([greet("c", Some(1), 1, Saved::Set(Place::After(1))), greet("c", Some(2), 1, Saved::Keep)]),
                asks([renew("c", 1), renew("c", 2), leave("c", 1, true), Step::Registrations, leave("c", 2, true)]),
                asks([Step::Registrations, renew("c", 1), Step::Registrations]),
                asks([greet("c", Some(1), 1, Saved::Keep), leave("c", 1, false), Step::Registrations]),
                asks([greet("c", Some(1), 1, Saved::Set(Place::After(2)))]),
                faults([Fault::Hours(1)]),
                asks([renew("c", 4), Step::Registrations]),
                faults([Fault::Hours(1)]),
                asks([Step::Registrations]),
                faults([Fault::Hours(1)]),
                asks([Step::Registrations, save("c", 4, Some(Place::After(2)), true, true), renew("c", 4)]),
                asks([Step::Registrations]),
                faults([Fault::Hours(2)]),
                asks([Step::Prune(Whose::Newest), renew("c", 3), Step::Registrations, save("c", 4, None, true, true)]),
                asks([save("c", 9, None, true, true), save("e", 1, None, true, true)]),
            ],
        ),
        case(
            "lost answers of hubs",
            STREAM,
            [
                two(),
                vec![Op::Lost(greet("c", Some(1), 1, Saved::Set(Place::After(1))))],
                asks([Step::Registrations, greet("c", Some(1), 1, Saved::Keep), greet("c", Some(1), 2, Saved::Keep)]),
                vec![Op::Lost(save("c", 1, Some(Place::After(2)), true, true))],
                asks([Step::Registrations, save("c", 1, Some(Place::After(2)), true, true), Step::Registrations]),
                vec![Op::Lost(renew("c", 1)), Op::Lost(leave("c", 1, true))],
                asks([Step::Registrations, leave("c", 1, true), renew("c", 1), Step::Registrations]),
            ],
        ),
    ]
}

const fn greet(client: &'static str, instance: Option<u64>, attempt: u64, position: Saved) -> Step {
    Step::TakeEpoch { client, instance, attempt, position }
}

const fn save(client: &'static str, epoch: usize, at: Option<Place>, fenced: bool, monotonic: bool) -> Step {
    Step::SavePosition { client, epoch, at, fenced, monotonic }
}

const fn renew(client: &'static str, epoch: usize) -> Step {
    Step::RenewRegistration { client, epoch }
}

const fn leave(client: &'static str, epoch: usize, fenced: bool) -> Step {
    Step::Unregister { client, epoch, fenced }
}
