//! The hand-written scripts, by concern.

mod history;
mod registry;
mod stream;
mod visibility;

use super::op::{Act, Fault, Op, Parts, Step, Whose};
use dormouse_runtime::source::Kind;
use dormouse_sim::postgres::Write;

/// A script with a name.
pub struct Case {
    pub name: &'static str,
    /// Over which sources it is played.
    pub kinds: &'static [Kind],
    pub ops: Vec<Op>,
}

pub fn all() -> Vec<Case> {
    [visibility::cases(), stream::cases(), history::cases(), registry::cases()].into_iter().flatten().collect()
}

const EITHER: &[Kind] = &[Kind::Stream, Kind::Poll];
const STREAM: &[Kind] = &[Kind::Stream];

fn case(name: &'static str, kinds: &'static [Kind], parts: impl IntoIterator<Item = Vec<Op>>) -> Case {
    Case { name, kinds, ops: parts.into_iter().flatten().collect() }
}

/// Lease, publication, slot, era and stream, as a replicator prepares them.
pub(super) fn prepared() -> Vec<Op> {
    let mut ops = era();
    ops.push(ask(Step::StartStream { anew: false }));
    ops
}

/// The same without a stream.
fn era() -> Vec<Op> {
    let steps = [
        Step::TakeLease("a"),
        Step::Inspect(Whose::Newest),
        Step::LoadProgress(Whose::Newest),
        Step::CreateSlot(Whose::Newest),
        Step::SettleSlot(Whose::Newest),
        Step::BeginEra(Whose::Newest),
    ];
    steps.into_iter().map(ask).collect()
}

fn ask(step: Step) -> Op {
    Op::Ask(step)
}

fn asks<const N: usize>(steps: [Step; N]) -> Vec<Op> {
    steps.into_iter().map(ask).collect()
}

fn acts<const N: usize>(acts: [Act; N]) -> Vec<Op> {
    acts.into_iter().map(Op::Act).collect()
}

fn faults<const N: usize>(faults: [Fault; N]) -> Vec<Op> {
    faults.into_iter().map(Op::Fault).collect()
}

fn run<const N: usize>(writes: [Write; N]) -> Act {
    Act::Run(writes.to_vec())
}

const fn insert(key: u64) -> Write {
    Write::Insert { table: 0, key, value: 10 * key }
}

const fn update(key: u64, value: u64) -> Write {
    Write::Update { table: 0, key, value, large: false }
}

/// Everything that the stream has goes to history.
const RECORD: Step = Step::Record(Whose::Newest, Parts::All(100));
