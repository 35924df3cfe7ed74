//! The race catalogue: every race that is held is come to, and none is lost.

use dormouse_core::safeguard::Safeguards;
use dormouse_sim::engine::subject::Subject;
use dormouse_sim::log::Log;
use dormouse_sim::scenario;
use dormouse_sim::trace_file::{Setup, TraceFile};
use dormouse_sim::world::World;

/// How many seeds each scenario is given here; the command line gives more.
const SEEDS: u64 = 5;

#[test]
fn every_race_that_is_held_is_come_to_and_none_is_lost() {
    let mut held_count = 0;
    for (_, scenario) in scenario::all() {
        let Some(held) = scenario.held() else { continue };
        held_count += 1;
        let mut entered = 0;
        for seed in 0..SEEDS {
            let world = scenario.run(seed, Safeguards::ALL, Log::default()).expect("it is held");
            let broken =
                world.violation.as_ref().map(|v| format!("{} ({}) {}: {}", v.promise, v.oracle, v.entity, v.event));
            assert_eq!(broken, None, "{} with seed {seed}", scenario.name);
            entered += u64::from(held.missed(&world).is_empty());
        }
        let least = (SEEDS * held.entered_percent / 100).saturating_sub(u64::from(held.entered_percent < 100)).max(1);
        assert!(entered >= least, "{}: its window was entered in {entered} of {SEEDS} seeds", scenario.name);
    }
    assert!(held_count >= 50, "{held_count} races are held");
}

#[test]
fn a_scenario_is_a_trace_like_others() {
    let scenario = scenario::find("hole-between-pages").expect("it is in the catalogue");
    let world = scenario.run(3, Safeguards::ALL, Log::default()).expect("it is held");
    let setup = Setup::of_scenario(3, scenario, Safeguards::ALL).expect("it is held");
    let file = TraceFile::of_run(setup, world.chooser.made.clone());
    let read: TraceFile = file.to_string().parse().expect("a trace file");
    let mut again = World::replay(&read, Log::default());
    again.run();
    assert_eq!((again.digest, again.events), (world.digest, world.events));
}
