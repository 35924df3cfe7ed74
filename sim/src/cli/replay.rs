//! `replay`: one seed or trace in words.

use super::{OK, ReplayArgs, USAGE, VIOLATED, find_run, journal};
use crate::engine::subject::Subject;
use crate::log::Log;
use crate::world::World;
use serde_json::json;

pub(super) fn run(args: &ReplayArgs) -> u8 {
    if crate::recording::is_recording(&args.run) {
        return journal::run(args);
    }
    let run = match find_run(&args.run, args.without.as_deref()) {
        Ok(run) => run,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let mut world = World::replay(&run, Log::kept());
    world.run();
    let unused = world.chooser.unused();
    if !unused.is_empty() {
        eprintln!("the trace has drifted: {} of its {} choices were never come to", unused.len(), run.choices.len());
        unused.iter().for_each(|choice| eprintln!("  {choice}"));
    }
    if args.json {
        let violation = world.violation.as_ref().map(|v| {
            json!({ "promise": v.promise.to_string(), "oracle": v.oracle, "entity": v.entity.to_string(), "event": v.event })
        });
        println!(
            "{}",
            json!({
                "v": 1, "ok": violation.is_none(), "seed": format!("{}:{}", run.setup.size, run.setup.seed), "events": world.events,
                "hash": world.digest.to_string(), "families": world.plan.families.to_string(), "violation": violation,
                "unused": unused.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "choices": world.chooser.made.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "trace": world.log.lines(),
            })
        );
    } else {
        print(args, &world);
    }
    if world.violation.is_some() { VIOLATED } else { OK }
}

fn print(args: &ReplayArgs, world: &World) {
    println!("seed {}:{} with {}", world.plan.size, world.plan.seed, world.plan.families);
    let lines = world.log.lines();
    if args.all {
        lines.iter().for_each(|line| println!("{line}"));
    } else {
        println!("its choices that were not quiet:");
        lines.iter().filter(|line| line.contains(" ** ")).for_each(|line| println!("{line}"));
        println!("its last events:");
        lines[lines.len().saturating_sub(args.lines)..].iter().for_each(|line| println!("{line}"));
    }
    match &world.violation {
        Some(v) => println!("{} is broken ({}) for {}: {}", v.promise, v.oracle, v.entity, v.event),
        None => println!("nothing broke in {} events, hash {}", world.events, world.digest),
    }
}
