//! `replay DIR`: a flight recording of production, driven through the same machines again.

mod look;
mod report;

use super::{OK, ReplayArgs, USAGE, VIOLATED};
use crate::recording::{files, read};
use dormouse_core::hub::Hub;
use dormouse_core::replication::Replication;
use dormouse_journal::header::Header;
use dormouse_journal::journaled::{Journaled, Kind};
use dormouse_journal::record::End;
use dormouse_journal::segment::{Ending, Segment};
pub use report::Report;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Replays all segments, or looks closely at one.
pub(super) fn run(args: &ReplayArgs) -> u8 {
    let path = Path::new(&args.run);
    let looks = args.step.is_some() || args.around.is_some() || args.until.is_some();
    if looks {
        if path.is_dir() {
            eprintln!("steps are counted within a segment: name one of the files of {}", path.display());
            return USAGE;
        }
        return look_at(path, args);
    }
    if args.verbose {
        return look_at_all(path, args);
    }
    let reports = match replay(path) {
        Ok(reports) => reports,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let ok = reports.iter().all(Report::ok);
    if args.json {
        println!("{}", json!({ "v": 1, "ok": ok, "segments": reports }));
    } else {
        reports.iter().for_each(Report::print);
        let steps: u64 = reports.iter().map(|report| report.steps).sum();
        let wrong = reports.iter().filter(|report| !report.ok()).count();
        match wrong {
            0 => println!("{} segments, {steps} steps: every one led to the same outputs", reports.len()),
            wrong => {
                println!("{} segments, {steps} steps: {wrong} segments are not as they were recorded", reports.len())
            }
        }
    }
    if ok { OK } else { VIOLATED }
}

/// Replays a folder of segments, or one.
///
/// # Errors
/// When there is none.
pub fn replay(path: &Path) -> Result<Vec<Report>, String> {
    let mut reports: Vec<_> = files(path)?.iter().map(|file| replay_file(file)).collect();
    judge_sequence(&mut reports);
    Ok(reports)
}

fn replay_file(file: &Path) -> Report {
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let (bytes, header) = match read(file) {
        Ok(read) => read,
        Err(why) => return Report::unreadable(name, None, why),
    };
    match header.kind {
        Kind::Replication => replay_as::<Replication>(name, header, &bytes),
        Kind::Hub => replay_as::<Hub>(name, header, &bytes),
    }
}

fn replay_as<M: Journaled>(name: String, header: Header, bytes: &[u8]) -> Report {
    match Segment::<M>::read(bytes) {
        Ok(segment) => Report::of(name, &segment),
        Err(why) => Report::unreadable(name, Some(header), why),
    }
}

fn look_at(file: &Path, args: &ReplayArgs) -> u8 {
    let looked = read(file).and_then(|(bytes, header)| match header.kind {
        Kind::Replication => look::print(&Segment::<Replication>::read(&bytes)?, args),
        Kind::Hub => look::print(&Segment::<Hub>::read(&bytes)?, args),
    });
    looked.unwrap_or_else(|why| {
        eprintln!("{}: {why}", file.display());
        USAGE
    })
}

/// Prints every step of a recording. The first segment that is not as it was recorded says how it ends.
fn look_at_all(path: &Path, args: &ReplayArgs) -> u8 {
    let files = match files(path) {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{why}");
            return USAGE;
        }
    };
    let mut status = OK;
    for file in files {
        if !args.json {
            println!("{}:", file.display());
        }
        let looked = look_at(&file, args);
        status = if status == OK { looked } else { status };
    }
    status
}

/// What only shows when segments stand side by side: one that has no end although another follows it, and one that does not
/// begin with the machine that the one before ended with.
fn judge_sequence(reports: &mut [Report]) {
    let mut last: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for n in 0..reports.len() {
        let Some(header) = &reports[n].header else { continue };
        let lane = (header.started.micros(), header.lane.clone());
        let (number, begins) = (header.segment, reports[n].first_state);
        let Some(before) = last.insert(lane, n) else { continue };
        let (follows, ended) = match (&reports[before].header, &reports[before].ending) {
            (Some(header), Some(ending)) => (header.segment + 1 == number, ending.clone()),
            (None, _) | (_, None) => (false, Ending::Torn { bytes: 0 }),
        };
        match ended {
            Ending::Whole { why: End::Full }
                if follows && reports[before].last_state.is_some_and(|state| Some(state) != begins) =>
            {
                reports[n]
                    .problems
                    .push("it does not begin with the machine that the segment before ended with".into());
            }
            Ending::Torn { .. } if follows => {
                reports[before]
                    .problems
                    .push("it has no end, although another segment of the same process follows".into());
            }
            Ending::Whole { .. } | Ending::Torn { .. } | Ending::Damaged { .. } => {}
        }
    }
}
