//! The first look: all segments of the last process, how long they are, and the first step that goes wrong.

use super::{differs, read};
use dormouse_core::hub::Hub;
use dormouse_core::replication::Replication;
use dormouse_core::time::Timestamp;
use dormouse_journal::header::Header;
use dormouse_journal::journaled::{Journaled, Kind};
use dormouse_journal::replay::{Played, Replay};
use dormouse_journal::segment::{Ending, Segment};
use std::path::{Path, PathBuf};

/// What a recording holds.
#[derive(Debug)]
pub(super) struct Survey {
    /// The segments of the last process, with what is known of each.
    pub(super) segments: Vec<(PathBuf, Header)>,
    /// How many segments of earlier processes there are.
    pub(super) earlier: usize,
    /// When each step was taken, in order.
    pub(super) times: Vec<Timestamp>,
    /// The first step that goes wrong.
    pub(super) trouble: Option<Trouble>,
    /// What cannot be read.
    pub(super) unreadable: Vec<String>,
}

/// A step that goes wrong.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// In which segment.
    pub(super) file: PathBuf,
    /// Which step of it.
    pub(super) n: u64,
    /// When.
    pub(super) at: Timestamp,
    /// Whether an invariant of the machine does not hold, rather than that it says something else than it did.
    pub(super) invariant: bool,
    /// What, in words.
    pub(super) what: String,
}

/// Looks through the segments of the last process.
pub(super) fn of(files: &[PathBuf]) -> Result<Survey, String> {
    let mut survey =
        Survey { segments: Vec::new(), earlier: 0, times: Vec::new(), trouble: None, unreadable: Vec::new() };
    for file in files {
        match read(file) {
            Ok((_, header)) => survey.segments.push((file.clone(), header)),
            Err(why) => survey.unreadable.push(format!("{}: {why}", name(file))),
        }
    }
    let Some(last) = survey.segments.iter().map(|(_, header)| header.started).max() else {
        return Err(survey.unreadable.join("\n"));
    };
    let all = survey.segments.len();
    survey.segments.retain(|(_, header)| header.started == last);
    survey.segments.sort_by(|(_, one), (_, two)| (&one.lane, one.segment).cmp(&(&two.lane, two.segment)));
    survey.earlier = all - survey.segments.len();
    for (file, header) in survey.segments.clone() {
        let looked = read(&file).and_then(|(bytes, _)| match header.kind {
            Kind::Replication => survey.look::<Replication>(&file, &bytes),
            Kind::Hub => survey.look::<Hub>(&file, &bytes),
        });
        if let Err(why) = looked {
            survey.unreadable.push(format!("{}: {why}", name(&file)));
        }
    }
    survey.times.sort_unstable();
    Ok(survey)
}

impl Survey {
    /// When the process began to record.
    pub(super) fn started(&self) -> Timestamp {
        self.segments.first().map_or(Timestamp::default(), |(_, header)| header.started)
    }

    fn look<M: Journaled>(&mut self, file: &Path, bytes: &[u8]) -> Result<(), String> {
        let segment = Segment::<M>::read(bytes)?;
        if let Ending::Damaged { at, what } = &segment.ending {
            self.unreadable.push(format!("{}: at byte {at} {what}", name(file)));
        }
        let mut replay = Replay::new(&segment);
        while let Some(played) = replay.next_record() {
            let Played::Stepped(stepped) = played else { continue };
            self.times.push(stepped.at);
            let what = match (&stepped.broken, stepped.difference) {
                (_, Some(difference)) => differs(difference, &stepped),
                (Some(broken), None) => format!("an invariant does not hold: {broken}"),
                (None, None) => continue,
            };
            if self.trouble.as_ref().is_none_or(|known| stepped.at < known.at) {
                let invariant = stepped.difference.is_none();
                let file = file.to_owned();
                self.trouble = Some(Trouble { file, n: stepped.n, at: stepped.at, invariant, what });
            }
            break; // What follows a wrong step says nothing.
        }
        Ok(())
    }
}

/// A segment's name without its folder.
pub(super) fn name(file: &Path) -> String {
    file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
