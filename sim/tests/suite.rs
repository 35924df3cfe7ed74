//! The simulator as a test of the machines: the promises hold on many seeds, and everything that can happen does.
//!
//! It is also the only test that `cargo mutants` is given (`.cargo/mutants.toml`): what it does not notice, nobody would.

#[path = "suite/checks.rs"]
mod checks;
#[path = "suite/clients.rs"]
mod clients;
#[path = "suite/measures.rs"]
mod measures;

use dormouse_core::safeguard::Safeguards;
use dormouse_sim::chooser::Source;
use dormouse_sim::engine::subject::Subject;
use dormouse_sim::plan::Size;
use dormouse_sim::probe::{Probe, Probes};
use dormouse_sim::trace_file::Setup;
use dormouse_sim::world::World;

/// Within so many seeds every probe is hit.
const SEEDS: u64 = 2_000;
const THREADS: u64 = 2;

/// Runs every `THREADS`th seed from this one on: what was reached, and the first violation.
fn share(size: Size, from: u64, seeds: u64) -> (Probes, Option<String>) {
    let mut probes = Probes::default();
    for seed in (from..seeds).step_by(usize::try_from(THREADS).expect("few")) {
        let mut world = World::begin(&Setup::new(seed, size, Safeguards::ALL), Source::Random);
        world.run();
        probes.add(&world.probes);
        if let Some(v) = &world.violation {
            let what = format!("{size}:{seed} {} ({}) {}: {}", v.promise, v.oracle, v.entity, v.event);
            return (probes, Some(what));
        }
    }
    (probes, None)
}

fn suite(size: Size, seeds: u64) -> Probes {
    let mut probes = Probes::default();
    let shares: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || share(size, n, seeds))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no machine panics")).collect()
    });
    for (reached, violation) in shares {
        assert_eq!(violation, None);
        probes.add(&reached);
    }
    probes
}

#[test]
fn the_promises_hold_and_everything_is_reached() {
    let unhit: Vec<_> = suite(Size::S, SEEDS).unhit().map(Probe::words).collect();
    assert_eq!(unhit, Vec::<&str>::new(), "within {SEEDS} seeds");
}

#[test]
fn the_promises_hold_in_larger_worlds() {
    suite(Size::M, 40);
}
