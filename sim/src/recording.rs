//! Flight recordings of production: where their segments are, and what happened in them as a report that people can read.
//!
//! A recording holds what each machine was told. Driving the machines again gives what they said, so nothing else is needed to
//! draw who did what: [`tell`] looks through all segments once for trouble (`survey`), and once more for what happened before
//! it (`film`), and puts that in the words of the simulator's own reports (`spoken`).

mod cast;
mod film;
mod spoken;
mod survey;

use crate::report::Report;
use dormouse_core::time::Timestamp;
use dormouse_journal::EXTENSION;
use dormouse_journal::header::Header;
use dormouse_journal::journaled::Journaled;
use dormouse_journal::replay::{Difference, Stepped};
use dormouse_journal::words::short;
use std::fs;
use std::path::{Path, PathBuf};

/// The most steps of all machines together that a report tells.
pub const STEPS_MAX: usize = 2_000;
/// From how many steps before the end on the states of machines are told.
const STATES_MAX: usize = 60;

/// Whether a name given on the command line is a recording: a folder, or one of its segments.
#[must_use]
pub fn is_recording(named: &str) -> bool {
    let path = Path::new(named);
    path.is_dir() || path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// The segments of a folder by age, or the one.
///
/// # Errors
/// When the folder cannot be read, or holds none.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let entries = fs::read_dir(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == EXTENSION));
    files.sort();
    if files.is_empty() {
        let path = path.display();
        return Err(format!(
            "{path} holds no segment of a flight recording: give the folder of `dormouse serve --record`"
        ));
    }
    Ok(files)
}

/// A segment's bytes, and what is known of it.
pub(crate) fn read(file: &Path) -> Result<(Vec<u8>, Header), String> {
    let bytes = fs::read(file).map_err(|why| format!("cannot be read: {why}"))?;
    let (header, _) = Header::parse(&bytes)?;
    Ok((bytes, header))
}

/// What a recording comes to.
#[derive(Debug)]
pub struct Told {
    /// Who did what, up to the end of it, to the trouble, or to the time that was asked for.
    pub report: Report,
    /// Whether every step led to what was recorded, and every invariant held.
    pub ok: bool,
}

/// Tells what happened in the last process of a recording: its last [`STEPS_MAX`] steps up to `until`, or up to the first step
/// that does not lead to what was recorded.
///
/// # Errors
/// A sentence on why nothing of it can be read, or nothing happened by then.
pub fn tell(path: &Path, until: Option<Timestamp>) -> Result<Told, String> {
    let survey = survey::of(&files(path)?)?;
    let film = film::of(&survey, until)?;
    Ok(spoken::report(path, &survey, film))
}

/// What differs, in words.
pub(crate) fn differs<M: Journaled>(difference: Difference, stepped: &Stepped<'_, M>) -> String {
    let cause = stepped.cause_in_words();
    let (n, at) = (stepped.n, stepped.at);
    let what = match difference {
        Difference::NoMachine => "there is no machine at this point of the recording".into(),
        Difference::Output { index, recorded } => format!(
            "its output {} of {recorded} was another than it is now: {}",
            index + 1,
            stepped.outputs.get(index).map_or_else(String::new, short)
        ),
        Difference::Count { recorded } => {
            format!("{recorded} outputs followed from it, and now {} do", stepped.outputs.len())
        }
        Difference::Deadline => {
            let deadline = stepped.deadline.map_or_else(|| "never".into(), |at| at.to_string());
            format!(
                "the outputs are the same, and the machine wanted to be called at another time than now ({deadline})"
            )
        }
    };
    format!("step {n} at {at} ({cause}): {what}")
}
