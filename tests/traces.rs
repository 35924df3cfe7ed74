//! The committed traces: each was a failure once, or is one without its safeguard, and none is one now.

use dormouse_core::safeguard::Safeguard;
use dormouse_sim::cli::read_traces;
use dormouse_sim::trace_file::{Setup, TraceFile};
use std::path::{Path, PathBuf};

fn traces() -> Vec<(PathBuf, TraceFile)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    read_traces(&dir).unwrap_or_else(|why| panic!("{why}"))
}

/// The trace itself, and those that differ from it in one choice.
fn neighbours(file: &TraceFile) -> Vec<TraceFile> {
    let with = |choices| TraceFile { choices, ..file.clone() };
    let without = |n: usize| {
        let mut choices = file.choices.clone();
        choices.remove(n);
        with(choices)
    };
    let another = |n: usize, pick: u64| {
        let mut choices = file.choices.clone();
        choices[n].pick = pick;
        with(choices)
    };
    let more = Setup { transactions: file.setup.transactions + 1, ..file.setup.clone() };
    let mut all = vec![file.clone(), TraceFile { setup: more, ..file.clone() }];
    for n in 0..file.choices.len() {
        all.push(without(n));
        all.extend((1..=4).filter(|pick| *pick != file.choices[n].pick).map(|pick| another(n, pick)));
    }
    all
}

#[test]
fn no_committed_trace_breaks_a_promise() {
    let mut runs = 0;
    for (path, file) in traces() {
        for neighbour in neighbours(&file) {
            assert_eq!(neighbour.outcome(), None, "{} or beside it:\n{neighbour}", path.display());
            runs += 1;
        }
    }
    assert!(runs > 100, "there is something to run");
}

#[test]
fn each_safeguard_has_a_trace() {
    // That it bites without its safeguard is for the ablation build to show: `dormouse-sim ablate --traces tests/seeds`.
    let traces = traces();
    let missing = Safeguard::ALL
        .iter()
        .filter(|safeguard| traces.iter().all(|(_, file)| file.setup.without != Some(**safeguard)));
    let missing: Vec<_> = missing.map(|safeguard| safeguard.name()).collect();
    assert!(missing.is_empty(), "write them with `dormouse-sim ablate --write tests/seeds`: {missing:?}");
    for (path, file) in traces {
        assert!(file.breaks.is_some(), "{} says what breaks", path.display());
    }
}
