//! `explain`: what went wrong, so that a person understands it.

use super::{ExplainArgs, OK, USAGE, VIOLATED, find_run};
use crate::engine::shrink::shrink;
use crate::report::{Explained, Report, explain};
use crate::trace_file::{TraceFile, parse_seed};
use std::path::Path;

pub(super) fn run(args: &ExplainArgs) -> u8 {
    let file = match find_run(&args.run, args.without.as_deref()) {
        Ok(file) => file,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let is_seed = parse_seed(&args.run).is_some();
    let file = if is_seed && !args.whole { shrink(&file).map_or(file, |shrunk| shrunk.file) } else { file };
    match explain(&file, &args.run) {
        Explained::Holds(events) => {
            println!("{}: nothing breaks in {events} events, so there is nothing to explain", args.run);
            if let (Some(safeguard), false) = (file.setup.without, dormouse_core::safeguard::ABLATION) {
                println!(
                    "It breaks a promise without {}; build the simulator so that it can be switched off:",
                    safeguard.name()
                );
                println!(
                    "  cargo run --release -p dormouse-sim --features ablation --target-dir target/ablation -- explain {}",
                    args.run
                );
            }
            OK
        }
        Explained::Broken(report) => {
            if let Some(path) = &args.html
                && let Err(why) = write(path, &report.html())
            {
                eprintln!("{why}");
                return USAGE;
            }
            if args.json {
                println!("{}", serde_json::json!({ "v": 1, "ok": false, "report": report }));
            } else if let Some(path) = &args.html {
                println!(
                    "{} is broken for {}: {}",
                    report.heading.promise, report.heading.entity, report.heading.event
                );
                println!("the report is in {}", path.display());
            } else {
                print!("{}", report.text());
            }
            VIOLATED
        }
    }
}

/// The report of a seed that failed, made small first.
pub(super) fn of_failure(file: &TraceFile, named: &str) -> Option<(TraceFile, Report)> {
    let shrunk = shrink(file)?.file;
    match explain(&shrunk, named) {
        Explained::Broken(report) => Some((shrunk, *report)),
        Explained::Holds(_) => None,
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|why| format!("cannot write {}: {why}", path.display()))
}
