//! Scripts that nobody wrote: drawn step by step, so that the model is asked what its author did not think of.
//!
//! What would wait for a lock is not drawn (see "What differs and stays" in `docs/CONFORMANCE.md`): each open transaction has keys of its
//! own, and while one is open no table is truncated or altered and no slot created.

use super::TABLES;
use super::op::{Act, Fault, Name, Op, Parts, Place, Saved, Step, Tx, Whose};
use dormouse_runtime::source::Kind;
use dormouse_sim::postgres::Write;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Steps behind the preparation.
const STEPS: usize = 40;
/// How many transactions a script has at most at one time.
const OPEN_MAX: usize = 3;
/// Each transaction of a script writes under so many keys of its own.
const KEYS: u64 = 5;
const EVERYTHING: Step = Step::Record(Whose::Newest, Parts::All(100));
const CLIENTS: [Name; 2] = ["a", "b"];

/// What a script draws, and how often.
type Draw = fn(&mut Draft);
const KINDS: [(u32, Draw); 9] = [
    (22, |draft| draft.transaction()),
    (12, |draft| draft.run()),
    (22, |draft| draft.replicate()),
    (12, |draft| draft.read()),
    (14, |draft| draft.register()),
    (6, |draft| draft.look()),
    (4, |draft| draft.reshape()),
    (4, |draft| draft.befall()),
    (4, |draft| draft.prepare_again()),
];

/// The script of a seed, behind a preparation, and the source over which it is played: one in four is polled.
pub fn script(seed: u64) -> (Kind, Vec<Op>) {
    let kind = if seed % 4 == 3 { Kind::Poll } else { Kind::Stream };
    let mut draft = Draft { kind, rng: StdRng::seed_from_u64(seed), ops: Vec::new(), open: Vec::new(), begun: 0 };
    while draft.ops.len() < STEPS {
        let all = KINDS.iter().map(|(weight, _)| weight).sum();
        let mut at = draft.rng.random_range(0..all);
        for (weight, draw) in KINDS {
            if at < weight {
                draw(&mut draft);
                break;
            }
            at -= weight;
        }
    }
    (kind, draft.ops)
}

/// Whether a part of such a script asks for nothing that would wait.
pub fn is_playable(ops: &[Op]) -> bool {
    let mut open: Vec<(Tx, bool)> = Vec::new();
    let told_last = |at: usize| {
        let before = at.checked_sub(2).map(|from| &ops[from..at]);
        matches!(before, Some([Op::Act(Act::AssignXid(a)), Op::Act(Act::Abort(b))]) if a == b)
    };
    ops.iter().enumerate().all(|(at, op)| {
        let act = match op {
            Op::Act(act) => act,
            Op::Fault(Fault::Hours(_)) => {
                let before = at.checked_sub(2).map(|from| &ops[from..at]);
                return before == Some(&[Op::Ask(Step::Read), Op::Ask(EVERYTHING)]);
            }
            Op::Fault(Fault::InvalidateSlot) | Op::Ask(Step::CreateSlot(_) | Step::SettleSlot(_)) => {
                return open.is_empty();
            }
            Op::Fault(_) | Op::Ask(_) | Op::Lost(_) => return true,
        };
        match act {
            Act::Begin(tx) => open.push((*tx, false)),
            Act::Write(tx, Write::Insert { .. }) => {
                open.iter_mut().filter(|(own, _)| own == tx).for_each(|(_, wrote)| *wrote = true);
            }
            Act::CommitHeld(tx) => return open.contains(&(*tx, true)),
            Act::Commit(tx) | Act::Release(tx) | Act::Abort(tx) => open.retain(|(own, _)| own != tx),
            Act::Alter { .. } => return open.is_empty(),
            Act::Run(writes) => {
                return open.is_empty() || !writes.iter().any(|write| matches!(write, Write::Truncate { .. }));
            }
            Act::Snapshot => return told_last(at),
            Act::AssignXid(_) | Act::Write(..) | Act::Rows => {}
        }
        true
    })
}

/// What became of a transaction of the script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Held,
}

struct Draft {
    kind: Kind,
    rng: StdRng,
    ops: Vec<Op>,
    open: Vec<(Tx, Stage)>,
    begun: Tx,
}

impl Draft {
    fn below(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn act(&mut self, act: Act) {
        self.ops.push(Op::Act(act));
    }

    /// One question in ten loses its answer.
    fn ask(&mut self, step: Step) {
        let lost = self.one_in(10);
        self.ops.push(if lost { Op::Lost(step) } else { Op::Ask(step) });
    }

    /// One in eight asks with the token of an earlier replicator.
    fn whose(&mut self) -> Whose {
        if self.one_in(8) { Whose::Earlier } else { Whose::Newest }
    }

    fn write(&mut self, tx: Tx) -> Write {
        let table = self.below(TABLES);
        let first = u64::from(tx) * KEYS;
        let key = first + self.rng.random_range(0..KEYS - 1);
        let value = self.rng.random_range(0..1_000);
        match self.below(8) {
            0..4 => Write::Insert { table, key, value },
            4 | 5 => Write::Update { table, key, value, large: self.one_in(2) },
            6 => Write::Move { table, key, to: first + self.rng.random_range(0..KEYS - 1), value },
            _ => Write::Delete { table, key },
        }
    }

    fn run(&mut self) {
        let many = 1 + self.below(4);
        let mut writes: Vec<_> = (0..many).map(|_| self.write(0)).collect();
        if self.open.is_empty() && self.one_in(8) {
            writes.push(Write::Truncate { table: self.below(TABLES) });
        }
        self.act(Act::Run(writes));
    }

    fn transaction(&mut self) {
        if self.open.is_empty() || (self.open.len() < OPEN_MAX && self.one_in(4)) {
            self.begun += 1;
            self.open.push((self.begun, Stage::Open));
            return self.act(Act::Begin(self.begun));
        }
        let at = self.below(self.open.len());
        let (tx, stage) = self.open[at];
        let act = match (stage, self.below(8)) {
            (Stage::Held, 0..4) => Act::Release(tx),
            (Stage::Held, _) => return self.look(),
            (Stage::Open, 0..4) => Act::Write(tx, self.write(tx)),
            (Stage::Open, 4) => Act::AssignXid(tx),
            (Stage::Open, 5) => Act::Abort(tx),
            (Stage::Open, 6) => {
                // A commit that wrote nothing waits for nobody: it has a row that no other statement is about.
                let key = u64::from(tx) * KEYS + KEYS - 1;
                self.act(Act::Write(tx, Write::Insert { table: 0, key, value: 1 }));
                self.open[at].1 = Stage::Held;
                return self.act(Act::CommitHeld(tx));
            }
            (Stage::Open, _) => Act::Commit(tx),
        };
        if matches!(act, Act::Release(_) | Act::Abort(_) | Act::Commit(_)) {
            self.open.swap_remove(at);
        }
        self.act(act);
    }

    fn replicate(&mut self) {
        let whose = self.whose();
        let piece = [1, 2, 100][self.below(3)];
        let step = match self.below(16) {
            0..4 => return self.ops.push(Op::Ask(Step::Read)),
            4..8 => Step::Record(whose, Parts::All(piece)),
            8 | 9 => Step::Record(whose, Parts::One(piece)),
            10 => Step::RecordAgain(whose),
            11 | 12 => return self.ops.push(Op::Ask(Step::Confirm)),
            13 => Step::SaveCovered(whose),
            14 => Step::NoteAttempt(whose),
            _ => Step::Prune(whose),
        };
        // What takes several transactions loses no answer: of which would it be?
        match step {
            Step::Record(_, Parts::All(_)) | Step::Prune(_) => self.ops.push(Op::Ask(step)),
            _ => self.ask(step),
        }
    }

    fn place(&mut self) -> Place {
        let nth = 1 + self.below(6);
        match self.below(8) {
            0 => Place::Zero,
            1 => Place::Start,
            2 => Place::Future,
            3 => Place::Inside(nth, self.rng.random_range(0..3)),
            _ => Place::After(nth),
        }
    }

    fn read(&mut self) {
        let step = match self.below(10) {
            0 | 1 => Step::ReadHead,
            2..6 => Step::ReadHistory {
                after: self.place(),
                until: if self.one_in(3) { Some(self.place()) } else { None },
                changes_max: [1, 3, 9][self.below(3)],
                bytes_max: [1, 3_000, 1 << 20][self.below(3)],
            },
            6 => Step::ReadOtherEra,
            7 => Step::Judge {
                claim: if self.one_in(4) { None } else { Some(self.place()) },
                tables: [&[][..], &["public.t0"], &["public.t0", "public.gone"]][self.below(3)],
            },
            _ => Step::TakeSnapshot { await_era_start: !self.one_in(4) },
        };
        self.ops.push(Op::Ask(step));
    }

    fn register(&mut self) {
        let client = CLIENTS[self.below(CLIENTS.len())];
        let (epoch, fenced) = (1 + self.below(3), !self.one_in(4));
        let step = match self.below(10) {
            0..4 => Step::TakeEpoch {
                client,
                instance: if self.one_in(3) { None } else { Some(self.rng.random_range(1..3)) },
                attempt: self.rng.random_range(1..5),
                position: match self.below(4) {
                    0 => Saved::Clear,
                    1 => Saved::Set(self.place()),
                    _ => Saved::Keep,
                },
            },
            4..7 => Step::SavePosition {
                client,
                epoch,
                at: if self.one_in(6) { None } else { Some(self.place()) },
                fenced,
                monotonic: !self.one_in(4),
            },
            7 => Step::RenewRegistration { client, epoch },
            8 => Step::Unregister { client, epoch, fenced },
            _ => return self.ops.push(Op::Ask(Step::Registrations)),
        };
        self.ask(step);
    }

    fn look(&mut self) {
        if self.one_in(2) {
            return self.act(Act::Rows);
        }
        // A server's own transactions take ids too, and xmax follows the latest that ended: let that be one that is told.
        self.begun += 1;
        [Act::Begin(self.begun), Act::AssignXid(self.begun), Act::Abort(self.begun), Act::Snapshot]
            .into_iter()
            .for_each(|act| self.act(act));
    }

    fn reshape(&mut self) {
        match self.below(4) {
            0 | 1 if self.open.is_empty() => {
                let (table, rewrite) = (self.below(TABLES), self.one_in(2));
                self.act(Act::Alter { table, rewrite });
            }
            0..3 => self.ops.push(Op::Ask(Step::Tables(Whose::Newest))),
            _ if self.one_in(3) => {
                let nth = 1 + self.below(2);
                self.ask(Step::RaiseAgain(nth));
            }
            _ => {
                let (whose, alters) = (self.whose(), self.one_in(2));
                self.ask(Step::RaiseSchema { whose, alters });
            }
        }
    }

    fn befall(&mut self) {
        let fault = match self.below(8) {
            // Polling finds an invalidated slot later.
            4 if self.kind == Kind::Poll => Fault::DropSlot,
            0 | 1 => Fault::Checkpoint,
            2 => Fault::Restart,
            3 => Fault::Crash,
            4 if self.open.is_empty() => [Fault::DropSlot, Fault::InvalidateSlot, Fault::AdvanceSlot][self.below(3)],
            _ => Fault::Hours([2, 3, 20][self.below(3)]),
        };
        if matches!(fault, Fault::Hours(_)) {
            // What is stored can be moved into the past; what is still to be stored has the time at which it was committed.
            self.ops.extend([Op::Ask(Step::Read), Op::Ask(EVERYTHING)]);
        }
        self.ops.push(Op::Fault(fault));
        if matches!(fault, Fault::Restart | Fault::Crash) {
            self.open.clear();
        }
        if !matches!(fault, Fault::Checkpoint | Fault::Hours(_)) {
            self.prepare_again();
        }
    }

    /// As a replicator does after trouble, or another that takes over; sometimes with another era.
    fn prepare_again(&mut self) {
        let holder = CLIENTS[self.below(CLIENTS.len())];
        let mut steps = vec![Step::TakeLease(holder), Step::Inspect(Whose::Newest), Step::LoadProgress(Whose::Newest)];
        if self.open.is_empty() && self.one_in(3) {
            steps.extend([
                Step::CreateSlot(Whose::Newest),
                Step::SettleSlot(Whose::Newest),
                Step::BeginEra(Whose::Newest),
            ]);
        }
        // Polling begins where the slot stands, whatever is asked for.
        steps.push(Step::StartStream { anew: self.kind == Kind::Poll || self.one_in(8) });
        self.ops.extend(steps.into_iter().map(Op::Ask));
    }
}
