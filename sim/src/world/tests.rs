use super::*;
use crate::engine::subject::Subject;
use crate::plan::Family;

fn world(seed: u64) -> World {
    World::new(seed, Size::S, Safeguards::ALL, Log::default())
}

fn run(seed: u64) -> World {
    let mut world = world(seed);
    world.run();
    world
}

#[test]
fn the_promises_hold() {
    for seed in 0..150 {
        let world = run(seed);
        let report = world
            .violation
            .as_ref()
            .map(|v| format!("S:{seed} {} ({}) {}: {}", v.promise, v.oracle, v.entity, v.event));
        assert_eq!(report, None);
        assert!(world.finished, "S:{seed} ends because it has come to rest");
    }
}

#[test]
fn two_runs_of_a_seed_agree() {
    for seed in 0..20 {
        let (one, two) = (run(seed), run(seed));
        assert_eq!((one.digest, one.events), (two.digest, two.events), "S:{seed}");
        assert_eq!(one.chooser.made, two.chooser.made, "S:{seed}");
    }
}

#[test]
fn a_world_is_a_value() {
    for seed in [3, 8, 21] {
        let mut world = world(seed);
        for _ in 0..400 {
            world.step();
        }
        let mut fork = world.clone();
        world.run();
        fork.run();
        assert_eq!(world.digest, fork.digest, "S:{seed}");
    }
}

#[test]
fn a_trace_changes_nothing() {
    let mut traced = World::new(5, Size::S, Safeguards::ALL, Log::kept());
    traced.run();
    assert_eq!(traced.digest, run(5).digest);
    assert!(traced.log.lines().len() > 100, "and says what happened");
}

#[test]
fn another_seed_is_another_run() {
    assert_ne!(run(1).digest, run(2).digest);
}

#[test]
fn most_of_what_can_happen_happens_soon() {
    let mut probes = Probes::default();
    for seed in 1_000..1_500 {
        probes.add(&run(seed).probes);
    }
    let unhit: Vec<_> = probes.unhit().map(Probe::words).collect();
    assert!(unhit.len() <= 8, "never reached in 500 seeds: {unhit:?}");
}

#[test]
fn a_seed_without_faults_is_quiet() {
    let calm = [
        Family::NodeCrash,
        Family::Evict,
        Family::Cuts,
        Family::Questions,
        Family::ClientCrash,
        Family::PostgresRestart,
    ];
    let calm = (0..3_000).map(world).find(|world| calm.iter().all(|family| !world.plan.has(*family)));
    let mut world = calm.expect("some seed has none of six families");
    world.run();
    assert!(world.violation.is_none());
    assert_eq!(world.probes.count(Probe::NodeCrashed) + world.probes.count(Probe::HubEvicted), 0);
    assert!(world.probes.count(Probe::BackfillCompleted) > 0, "it works all the same");
}

#[test]
fn a_run_from_its_own_trace_is_the_same_run() {
    for seed in 0..40 {
        let first = run(seed);
        let file = TraceFile::of_run(Setup::new(seed, Size::S, Safeguards::ALL), first.chooser.made.clone());
        let mut again = World::replay(&file, Log::default());
        again.run();
        assert_eq!((again.digest, again.events), (first.digest, first.events), "S:{seed}");
        assert_eq!(again.chooser.unused(), []);
    }
}

#[test]
fn a_trace_without_choices_is_a_run_without_faults() {
    let file = TraceFile::of_run(Setup::new(5, Size::S, Safeguards::ALL), Vec::new());
    let mut world = World::replay(&file, Log::default());
    world.run();
    assert!(world.violation.is_none() && world.finished && world.chooser.made.is_empty());
    assert!(world.begun().iter().sum::<u32>() > 0);
}
