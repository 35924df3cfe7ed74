//! `explain`: what went wrong, so that a person understands it.

use super::{ExplainArgs, OK, USAGE, VIOLATED, find_run};
use crate::engine::shrink::shrink;
use crate::recording;
use crate::report::{Explained, Report, explain};
use crate::trace_file::{TraceFile, parse_seed};
use std::io::Write;
use std::path::Path;

pub(super) fn run(args: &ExplainArgs) -> u8 {
    if recording::is_recording(&args.run) {
        return of_recording(args);
    }
    if args.until.is_some() {
        eprintln!("--until is for flight recordings: {} is none", args.run);
        return USAGE;
    }
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
        Explained::Broken(report) => show(args, &report, false),
    }
}

/// Who did what in a flight recording.
fn of_recording(args: &ExplainArgs) -> u8 {
    match recording::tell(args.run.as_ref(), args.until) {
        Ok(told) => show(args, &told.report, told.ok),
        Err(why) => {
            eprintln!("{why}");
            USAGE
        }
    }
}

fn show(args: &ExplainArgs, report: &Report, ok: bool) -> u8 {
    if let Some(path) = &args.html
        && let Err(why) = write(path, &report.html())
    {
        eprintln!("{why}");
        return USAGE;
    }
    if args.json {
        println!("{}", serde_json::json!({ "v": 1, "ok": ok, "report": report }));
    } else if let Some(path) = &args.html {
        println!("{}: {}", report.heading.title, report.heading.event);
        println!("the report is in {}", path.display());
    } else {
        let _ = std::io::stdout().write_all(report.text().as_bytes()); // A reader that has enough may leave.
    }
    if ok { OK } else { VIOLATED }
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
