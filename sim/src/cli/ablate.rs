//! `ablate`: every safeguard is load-bearing, or it is a defect.

use super::{AblateArgs, USAGE};
use dormouse_core::safeguard::{ABLATION, Safeguard, Safeguards};

const BUILD: &str = "cargo run --release -p dormouse-sim --features ablation --target-dir target/ablation -- ablate";

pub(super) fn run(args: &AblateArgs) -> u8 {
    if !ABLATION {
        eprintln!("the safeguards of this build cannot be switched off; run: {BUILD}");
        return USAGE;
    }
    ablated::run(args)
}

/// All safeguards but one.
pub(super) fn without(name: &str) -> Result<Safeguards, String> {
    if !ABLATION {
        return Err(format!("the safeguards of this build cannot be switched off; build as in: {BUILD}"));
    }
    let safeguard = find(name)?;
    Ok(ablated::without(safeguard))
}

/// The safeguard of this name.
pub(super) fn find(name: &str) -> Result<Safeguard, String> {
    let found = Safeguard::ALL.iter().copied().find(|safeguard| safeguard.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names: Vec<_> = Safeguard::ALL.iter().map(|safeguard| safeguard.name()).collect();
        format!("{name:?} is no safeguard: {}", names.join(", "))
    })
}

#[cfg(not(feature = "ablation"))]
mod ablated {
    use super::{AblateArgs, Safeguard, Safeguards, USAGE};

    pub(super) const fn run(_: &AblateArgs) -> u8 {
        USAGE
    }

    pub(super) const fn without(_: Safeguard) -> Safeguards {
        Safeguards::ALL
    }
}

#[cfg(feature = "ablation")]
mod ablated {
    use super::super::pool::{self, Found, Job, Outcome};
    use super::{AblateArgs, Safeguard, Safeguards, USAGE, find};
    use crate::cli::{OK, VIOLATED, read_traces};
    use crate::engine::shrink::{Shrunk, shrink};
    use crate::plan::Size;
    use crate::trace_file::TraceFile;
    use crate::world::World;
    use serde_json::{Value, json};
    use std::path::Path;

    pub(super) const fn without(safeguard: Safeguard) -> Safeguards {
        Safeguards::ALL.without(safeguard)
    }

    /// The promises that must break without a safeguard: any of these is the race it prevents.
    const fn expected(safeguard: Safeguard) -> &'static [&'static str] {
        match safeguard {
            Safeguard::CoveredBeforeConfirm
            | Safeguard::RecordBeforeAnnounce
            | Safeguard::EpochFence
            | Safeguard::MonotonicPosition => &["Durable"],
            Safeguard::Fresh => &["Fresh"],
            Safeguard::CredentialExpires => &["Scoped"],
            Safeguard::TransactionRowLast => &["Atomic", "Complete"],
            Safeguard::CompareAndSet
            | Safeguard::EraStartWait
            | Safeguard::SeamFilter
            | Safeguard::SeamEndsAtF
            | Safeguard::SeamAwaitsCovered => &["Complete", "Ordered"],
            Safeguard::ChainedPages => &["Complete", "Ordered", "Atomic", "Invariant"],
            Safeguard::AnswerIncarnation => &["Durable", "Complete", "Fresh", "Ordered", "Invariant", "Converges"],
        }
    }

    pub(super) fn run(args: &AblateArgs) -> u8 {
        if let Some(dir) = &args.traces {
            return bite(dir, args.json);
        }
        let wanted = match &args.name {
            None => Safeguard::ALL.to_vec(),
            Some(name) => match find(name) {
                Ok(safeguard) => vec![safeguard],
                Err(why) => {
                    eprintln!("{why}");
                    return USAGE;
                }
            },
        };
        let results: Vec<_> = wanted.into_iter().map(|safeguard| ablate(args, safeguard)).collect();
        let ok = results.iter().all(|(_, found)| *found);
        if args.json {
            let safeguards: Vec<_> = results.into_iter().map(|(value, _)| value).collect();
            println!("{}", json!({ "v": 1, "ok": ok, "safeguards": safeguards }));
        }
        if ok { OK } else { VIOLATED }
    }

    /// Each trace must still break its promise without its safeguard.
    fn bite(dir: &Path, as_json: bool) -> u8 {
        let traces = match read_traces(dir) {
            Ok(traces) => traces,
            Err(why) => {
                eprintln!("{why}");
                return USAGE;
            }
        };
        let mut results = Vec::new();
        for (path, file) in &traces {
            let Some(safeguard) = file.setup.without else { continue };
            let mut off: TraceFile = file.clone();
            off.setup.safeguards = without(safeguard);
            let broke = off.outcome();
            let bites = broke.is_some() && broke == file.breaks;
            if !as_json {
                let verdict = if bites { "bites" } else { "NO LONGER BITES" };
                println!("{}: {verdict} without {}", path.display(), safeguard.name());
            }
            results.push(json!({ "file": path.display().to_string(), "safeguard": safeguard.name(), "bites": bites }));
        }
        let missing: Vec<_> = Safeguard::ALL
            .iter()
            .filter(|safeguard| !traces.iter().any(|(_, file)| file.setup.without == Some(**safeguard)))
            .map(|safeguard| safeguard.name())
            .collect();
        if !as_json && !missing.is_empty() {
            println!("no trace for {}", missing.join(", "));
        }
        let ok = missing.is_empty() && results.iter().all(|result| result["bites"] == true);
        if as_json {
            println!("{}", json!({ "v": 1, "ok": ok, "traces": results, "missing": missing }));
        }
        if ok { OK } else { VIOLATED }
    }

    /// The shortest trace of what was found, written where it is wanted.
    fn shortest(args: &AblateArgs, safeguard: Safeguard, found: &Found) -> Option<Shrunk<World>> {
        let mut file = found.file.clone()?;
        file.setup.without = Some(safeguard);
        let mut shrunk = shrink(&file)?;
        shrunk.file.about.push(safeguard.sentence().into());
        if let Some(dir) = &args.write {
            let path = dir.join(format!("{}.trace", safeguard.name()));
            if let Err(why) = std::fs::write(&path, shrunk.file.to_string()) {
                eprintln!("cannot write {}: {why}", path.display());
            }
        }
        Some(shrunk)
    }

    fn ablate(args: &AblateArgs, safeguard: Safeguard) -> (Value, bool) {
        let expected = expected(safeguard);
        let mut from = args.from;
        let (mut seeds, mut cpu_ms, mut others) = (0, 0, 0);
        loop {
            let job = Job {
                size: Size::S,
                from,
                seeds: args.seeds.saturating_sub(seeds),
                seconds: None,
                safeguards: without(safeguard),
                chooser: args.chooser,
                violations_max: 1,
                threads: args.threads,
                progress: false,
                twice_every: 0,
            };
            let outcome: Outcome = pool::run(&job);
            seeds += outcome.count;
            from += outcome.count;
            cpu_ms += u64::try_from(outcome.wall.as_millis()).unwrap_or(u64::MAX) * outcome.cores as u64;
            let found = outcome.violations.iter().find(|found| expected.contains(&found.promise.as_str()));
            if let Some(found) = found {
                let shrunk = shortest(args, safeguard, found);
                let trace = shrunk.as_ref().map_or(&[][..], |shrunk| &shrunk.file.choices);
                let trace: Vec<_> = trace.iter().map(ToString::to_string).collect();
                if !args.json {
                    println!(
                        "{}: {} broken after {seeds} seeds ({cpu_ms} ms of one core)",
                        safeguard.name(),
                        found.promise
                    );
                    println!("  {}: {} ({})", found.entity, found.event, found.oracle);
                    println!("  replay S:{} --without {}", found.seed, safeguard.name());
                    println!("  {} choices, reduced to {}:", found.choices.len(), trace.len());
                    trace.iter().for_each(|choice| println!("    {choice}"));
                }
                let value = json!({
                    "name": safeguard.name(), "expected": expected, "found": true, "promise": found.promise,
                    "oracle": found.oracle, "entity": found.entity, "event": found.event,
                    "seed": format!("S:{}", found.seed), "seeds": seeds, "cpu_ms": cpu_ms, "trace": trace,
                    "shrink_runs": shrunk.map_or(0, |shrunk| shrunk.runs),
                });
                return (value, true);
            }
            others += outcome.violations.len();
            if seeds >= args.seeds || outcome.count == 0 {
                if !args.json {
                    println!(
                        "{}: NOT FOUND in {seeds} seeds ({others} violations of other promises)",
                        safeguard.name()
                    );
                }
                let value = json!({
                    "name": safeguard.name(), "expected": expected, "found": false, "promise": null,
                    "seeds": seeds, "cpu_ms": cpu_ms, "trace": [],
                });
                return (value, false);
            }
        }
    }
}
