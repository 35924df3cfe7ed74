//! The machines' own checks notice what is wrong: in production they alone would.
//!
//! A machine is data. So each state that worlds come to is written down, one thing in it is made wrong, and it is read back.

use dormouse_core::hub::Hub;
use dormouse_core::machine::Machine;
use dormouse_core::replication::Replication;
use dormouse_core::safeguard::Safeguards;
use dormouse_sim::chooser::Source;
use dormouse_sim::engine::subject::Subject;
use dormouse_sim::plan::Size;
use dormouse_sim::trace_file::Setup;
use dormouse_sim::world::World;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// So many worlds are looked at, at most, after every so many events.
const SEEDS: u64 = 300;
const EVERY: u64 = 11;

/// What somebody waits for, and would wait for without end.
const HUB_TIMERS: [&str; 12] = [
    "Retry",
    "Histories",
    "Chunks",
    "Snapshots",
    "Save",
    "Renew",
    "Scan",
    "Want",
    "Poll",
    "Lag",
    "Spools",
    "Credential",
];
const REPLICATION_TIMERS: [&str; 9] =
    ["Renew", "Prune", "Retry", "RetryJob", "Inspect", "Silence", "SaveIdle", "Nudge", "Follow"];

/// Questions whose answers sessions of a hub wait for.
const ANSWERED: [&str; 3] = ["epochs", "histories", "chunks"];

/// Questions of which a replicator asks one at a time.
const SINGLE: [&str; 12] = [
    "read_source",
    "record_page",
    "note_attempt",
    "raise_schema",
    "save_covered",
    "inspect_tables",
    "renew_lease",
    "prune",
    "read_head",
    "take_lease",
    "inspect_source",
    "load_progress",
];

/// What was made wrong, and what of it was noticed at least once.
#[derive(Default)]
struct Found {
    tried: BTreeSet<&'static str>,
    noticed: BTreeSet<&'static str>,
}

impl Found {
    /// Makes something of a machine wrong, where that can be, and reads it back; not again what was noticed before.
    fn tries<M: Machine + DeserializeOwned>(&mut self, what: &'static str, make: impl FnOnce() -> Option<Value>) {
        let Some(wrong) = (!self.noticed.contains(what)).then(make).flatten() else { return };
        let machine: M = serde_json::from_str(&wrong.to_string()).expect("what was written is read");
        self.tried.insert(what);
        if machine.check_all().is_err() {
            self.noticed.insert(what);
        }
    }

    /// Each of these was made wrong somewhere, and was noticed somewhere.
    fn includes(&self, all: &[&'static str]) {
        for what in all {
            assert!(self.tried.contains(what), "no world comes to where {what} can be made wrong");
            assert!(self.noticed.contains(what), "{what}: made wrong, and never noticed");
        }
    }
}

/// A machine as data; what is read back is the same.
fn written<M: Machine + Serialize + DeserializeOwned + PartialEq>(machine: &M) -> Value {
    let text = serde_json::to_string(machine).expect("a machine is data");
    assert!(*machine == serde_json::from_str(&text).expect("what was written is read"), "{text} is read back");
    assert!(machine.check_all().is_ok(), "nothing was wrong");
    serde_json::from_str(&text).expect("text")
}

/// The objects of this name, wherever they are.
fn each(value: &mut Value, name: &str, see: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields.iter_mut() {
                if field == name {
                    see(inner);
                }
                each(inner, name, see);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each(item, name, see)),
        _ => {}
    }
}

/// The fields of the first object of this name.
fn with(value: &Value, name: &str, change: impl Fn(&mut Map<String, Value>) -> bool) -> Option<Value> {
    let (mut changed, mut done) = (value.clone(), false);
    each(&mut changed, name, &mut |found| {
        if let Some(fields) = found.as_object_mut().filter(|_| !done) {
            done = change(fields);
        }
    });
    done.then_some(changed)
}

/// Looks at worlds, again and again, until enough was seen.
fn look(mut see: impl FnMut(&World) -> bool) {
    for seed in 0..SEEDS {
        let mut world = World::begin(&Setup::new(seed, Size::S, Safeguards::ALL), Source::Random);
        while world.step() {
            if world.events.is_multiple_of(EVERY) && see(&world) {
                return;
            }
        }
    }
}

/// Takes a timer away.
fn without(written: &Value, timer: &str) -> Option<Value> {
    with(written, "timers", |timers| timers.remove(timer).is_some())
}

/// Counts one too many.
fn miscounted(written: &Value, what: &str, count: &str) -> Option<Value> {
    with(written, what, |fields| {
        let counted = fields.get(count).and_then(Value::as_u64).unwrap_or(0);
        fields.insert(count.into(), (counted + 1).into()).is_some()
    })
}

/// What is remembered of questions that are open.
fn memos(asked: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    let open = if asked.contains_key("open") { asked.get_mut("open")?.as_object_mut()? } else { asked };
    open.get_mut("memos")?.as_object_mut().filter(|memos| !memos.is_empty())
}

/// Forgets questions, so that nobody hears their answers.
fn unasked(written: &Value, question: &str) -> Option<Value> {
    with(written, question, |asked| memos(asked).map(Map::clear).is_some())
}

/// Asks a question twice at once.
fn twice(written: &Value, question: &str) -> Option<Value> {
    with(written, question, |asked| {
        let Some(memos) = memos(asked) else { return false };
        let memo = memos.values().next().cloned();
        memo.is_some_and(|memo| memos.insert(u64::MAX.to_string(), memo).is_none())
    })
}

#[test]
fn a_hub_notices_what_would_wait_for_ever() {
    let all: Vec<_> = HUB_TIMERS.into_iter().chain(ANSWERED).chain(["ring"]).collect();
    let mut found = Found::default();
    look(|world| {
        for hub in world.servers().0 {
            let whole = written(hub);
            HUB_TIMERS.iter().for_each(|timer| found.tries::<Hub>(timer, || without(&whole, timer)));
            ANSWERED.iter().for_each(|question| found.tries::<Hub>(question, || unasked(&whole, question)));
            found.tries::<Hub>("ring", || miscounted(&whole, "ring", "bytes"));
        }
        found.noticed.len() == all.len()
    });
    found.includes(&all);
}

#[test]
fn a_replicator_notices_what_would_wait_for_ever() {
    let all: Vec<_> = REPLICATION_TIMERS.into_iter().chain(SINGLE).chain(["queue"]).collect();
    let mut found = Found::default();
    look(|world| {
        for replicator in world.servers().1 {
            let whole = written(replicator);
            REPLICATION_TIMERS.iter().for_each(|timer| found.tries::<Replication>(timer, || without(&whole, timer)));
            SINGLE.iter().for_each(|question| found.tries::<Replication>(question, || twice(&whole, question)));
            found.tries::<Replication>("queue", || miscounted(&whole, "queue", "changes"));
        }
        found.noticed.len() == all.len()
    });
    found.includes(&all);
}
