//! `reanchor`: traces that drifted, found again close by.

use super::{ReanchorArgs, USAGE, VIOLATED};
use crate::trace_file::TraceFile;
use dormouse_core::safeguard::ABLATION;
use std::path::Path;

/// What became of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchored {
    /// It breaks its promise as it is.
    Same,
    /// It breaks it again, with other counts, picks, or another setup; the file was written.
    Again,
    /// It was not found close by.
    Lost,
}

/// Looks for the failure of a trace close by, and writes the file when it is found. `file` has its safeguard off.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn anchor(path: &Path, file: &TraceFile, runs_max: u32) -> Result<Anchored, String> {
    let Some(found) = crate::engine::reanchor::reanchor(file, runs_max) else { return Ok(Anchored::Lost) };
    // Also one that still breaks is written: in the present form of trace files, which tells the families.
    std::fs::write(path, found.to_string()).map_err(|why| format!("cannot write {}: {why}", path.display()))?;
    Ok(if found == *file { Anchored::Same } else { Anchored::Again })
}

pub(super) fn run(args: &ReanchorArgs) -> u8 {
    if !ABLATION {
        eprintln!(
            "whether a trace breaks its promise without its safeguard is seen in the build with the feature `ablation` only; run: \
             cargo run --release -p dormouse-sim --features ablation --target-dir target/ablation -- reanchor {}",
            args.path.display()
        );
        return USAGE;
    }
    match all(args) {
        Ok(status) => status,
        Err(why) => {
            eprintln!("{why}");
            USAGE
        }
    }
}

fn all(args: &ReanchorArgs) -> Result<u8, String> {
    let traces = if args.path.is_dir() {
        super::read_traces(&args.path)?
    } else {
        vec![(args.path.clone(), super::read_trace(&args.path)?)]
    };
    let (mut results, mut lost) = (Vec::new(), 0);
    for (path, mut file) in traces {
        let says = match file.setup.without {
            // What was mended breaks nothing any more; only its form is renewed.
            None => {
                std::fs::write(&path, file.to_string())
                    .map_err(|why| format!("cannot write {}: {why}", path.display()))?;
                "is of no safeguard: written as it is"
            }
            Some(safeguard) => {
                file.setup.safeguards = super::ablate::without(safeguard.name())?;
                match anchor(&path, &file, args.runs)? {
                    Anchored::Same => "breaks its promise as it is",
                    Anchored::Again => "breaks its promise again, close by",
                    Anchored::Lost => {
                        lost += 1;
                        "NOT FOUND close by; `ablate NAME --write FOLDER` looks for another"
                    }
                }
            }
        };
        if !args.json {
            println!("{}: {says}", path.display());
        }
        results.push(serde_json::json!({ "file": path.display().to_string(), "says": says }));
    }
    if args.json {
        println!("{}", serde_json::json!({ "v": 1, "ok": lost == 0, "traces": results }));
    }
    Ok(if lost == 0 { super::OK } else { VIOLATED })
}
