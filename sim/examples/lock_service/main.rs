//! Machines of another kind on the simulator's generic part: a lock service with leases and fencing tokens.
//!
//! Two workers write documents of two parts to a storage, each under a lease. A worker begins no write after its lease; but a write
//! can be slow, and a worker can be paused between deciding and sending. So the storage refuses tokens older than the newest that it
//! has seen. The promise: two writers never interleave.
//!
//! `machines` is what one would ship; `names` says what can go wrong for whom; `world` is what stands around the machines.

mod machines;
mod names;
mod world;

use dormouse_sim::engine::chooser::{Scope, Source};
use dormouse_sim::engine::exhaust::{Bounds, Certificate, exhaust};
use dormouse_sim::engine::fork::trace_of;
use dormouse_sim::engine::shrink::{Shrunk, shrink};
use dormouse_sim::engine::subject::Subject;
use dormouse_sim::engine::trace::TraceFile;
use names::{Scene, What};
use std::process::ExitCode;
use world::World;

const SEEDS: u64 = 5_000;
const USAGE: &str = "\
usage: lock_service [--broken]
  without an argument: no seed breaks the promise, and neither does any way through a small scope
  --broken: the storage checks no token; the race is found, shrunk and replayed
exit status: 0 all went as expected, 1 it did not, 2 wrong usage";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let went = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show_right(),
        ["--broken"] => show_broken(),
        ["--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match went {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("not as expected: {why}");
            ExitCode::from(1)
        }
    }
}

fn show_right() -> Result<(), String> {
    let (found, refused) = search(true);
    if let Some(file) = found {
        return Err(format!("a promise broke although tokens are checked:\n{file}"));
    }
    println!("nothing broke in {SEEDS} seeds; the storage refused {refused} writes of an old token");
    let told = enumerate(true);
    println!("{} states, {} met again, {} events, {} ends", told.states, told.merged, told.transitions, told.ends);
    match (&told.broken, told.complete) {
        (Some((breaks, choices)), _) => Err(format!("{breaks:?} after {choices:?}")),
        (None, false) => Err("the scope was not done".into()),
        (None, true) => {
            println!("every way of at most 2 delays and 1 pause keeps the promise");
            Ok(())
        }
    }
}

fn show_broken() -> Result<(), String> {
    let (Some(found), _) = search(false) else { return Err(format!("{SEEDS} seeds do not find the race")) };
    let Shrunk { file, runs } = shrink(&found).ok_or("what broke does not break again")?;
    println!("found; {} choices became {} in {runs} runs:\n\n{file}", found.choices.len(), file.choices.len());
    let (end, again) = replay(&file.to_string())?;
    end.chooser().made.iter().for_each(|choice| println!("{choice}"));
    println!("tokens in the order of their writes: {:?}", end.storage.written);
    if end.broken() != file.breaks || end.history() != again.history() || !end.chooser().unused().is_empty() {
        return Err("the trace replays to something else".into());
    }
    println!("replayed twice to the same history, {:032x}", end.history());
    let mended = TraceFile { setup: Scene { checked: true, ..file.setup.clone() }, ..file };
    if let Some(breaks) = mended.outcome() {
        return Err(format!("with the check the same trace breaks {}", breaks.promise));
    }
    println!("with the check the same choices break nothing");
    Ok(())
}

/// The first seed that breaks a promise, as a trace; and how often the storage refused a write.
fn search(checked: bool) -> (Option<TraceFile<World>>, u64) {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let setup = Scene { seed, documents: 3, checked };
        let mut world = World::begin(&setup, Source::Random);
        world.run();
        refused += world.refused;
        if world.broken().is_some() {
            return (Some(trace_of(&setup, &world)), refused);
        }
    }
    (None, refused)
}

/// Every way through a small scope.
fn enumerate(checked: bool) -> Certificate<World> {
    let budgets = vec![(vec![What::LockDelay, What::StorageDelay], 2), (vec![What::Pause], 1)];
    let scope = Scope { budgets, picks_max: 5 };
    exhaust(&Scene { seed: 1, documents: 2, checked }, scope, Bounds { states_max: None }, |_| {})
}

/// The ends of two runs of a trace file.
fn replay(text: &str) -> Result<(World, World), String> {
    let file: TraceFile<World> = text.parse()?;
    file.run().zip(file.run()).ok_or_else(|| "a machine panicked".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_sim::engine::reanchor::reanchor;

    #[test]
    fn without_the_check_the_race_is_found_shrunk_and_replayed() {
        show_broken().expect("as expected");
        let (breaks, choices) = enumerate(false).broken.expect("the scope holds the race");
        assert_eq!(breaks.promise, "Apart");
        assert!((1..=3).contains(&choices.len()), "{choices:?}");
    }

    #[test]
    fn with_the_check_nothing_breaks_and_the_check_is_what_holds() {
        show_right().expect("as expected");
        assert!(search(true).1 > 0, "a storage that never refused has shown nothing");
    }

    #[test]
    fn the_smallest_trace_is_small_and_reads_as_it_was_written() {
        let (found, _) = search(false);
        let file = shrink(&found.expect("the race is found")).expect("it breaks again").file;
        let again: TraceFile<World> = file.to_string().parse().expect("it reads as it was written");
        assert_eq!(again.to_string(), file.to_string());
        assert!(file.choices.len() <= 3, "{file}");
        for n in 0..file.choices.len() {
            let mut less = file.clone();
            less.choices.remove(n);
            assert_ne!(less.outcome(), file.breaks, "none of the choices can be left out:\n{file}");
        }
    }

    #[test]
    fn a_trace_that_drifted_is_found_again_close_by() {
        let (found, _) = search(false);
        let file = shrink(&found.expect("the race is found")).expect("it breaks again").file;
        let last = file.choices.len() - 1;
        let drifted = |by: u32, pick: u64| {
            let mut drifted = file.clone();
            drifted.choices[last].n += by;
            drifted.choices[last].pick = pick;
            drifted
        };
        let candidates = [1, 2, 3].into_iter().flat_map(|by| [drifted(by, 1), drifted(by, 2), drifted(by, 3)]);
        let drifted: Vec<_> = candidates.filter(|drifted| drifted.outcome() != file.breaks).collect();
        assert!(!drifted.is_empty(), "some of them no longer break the promise");
        for drifted in drifted {
            let again = reanchor(&drifted, 5_000).expect("it is close by");
            assert_eq!(again.outcome(), file.breaks, "{again}");
            assert_ne!(again, drifted);
        }
        // Where the storage checks, there is nothing to be found.
        let mut safe = file;
        safe.setup.checked = true;
        assert!(reanchor(&safe, 5_000).is_none());
    }

    #[test]
    fn a_wrong_line_of_a_trace_is_named() {
        let check = |text: &str, says: &str| {
            let why = text.parse::<TraceFile<World>>().expect_err("it is wrong");
            assert!(why.contains(says), "{why:?} says {says:?}");
        };
        check("trace 1\nseed x", "line 2");
        check("trace 1\nnonsense 1", "expected seed, documents or unchecked");
        check("trace 1\nseed 1\nchoice Pause worker/2 #0 = 1", "an entity of this world");
    }
}
