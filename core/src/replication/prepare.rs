//! From the lease to a running stream: source and progress are compared, an era is kept or begun, the shape is noted.

use super::Replication;
use super::interrupt::{Interrupted, fenced};
use super::io::*;
use super::outside::{Outside, ask, reply};
use super::phase::{Phase, Ready, Step, Tenure};
use super::stream::Stream;
use crate::ask::Answer;
use crate::history::Head;
use crate::position::Lsn;
use crate::safeguard::Safeguard;
use crate::source::{SlotState, alters_existing_rows};
use crate::time::Timestamp;

/// Below here everything is in history, durably, or stands before the era: what may be confirmed to the slot.
///
/// The head itself is in history, so a commit that begins right behind it is the first that may be missing.
pub(super) fn durably_covered(head: &Head) -> Lsn {
    head.covered.max(Lsn(head.position().commit_lsn.0.saturating_add(1)))
}

/// Why the slot does not join what is recorded, if so.
fn break_in_continuity(source: &SourceState, progress: &Progress) -> Option<String> {
    let (here, then) = (&source.evidence, &progress.evidence);
    if here.system_identifier != then.system_identifier {
        return Some(format!(
            "the database cluster is another one (system identifier {}, was {})",
            here.system_identifier, then.system_identifier
        ));
    }
    if here.database_oid != then.database_oid {
        return Some(format!("the database is another one (oid {}, was {})", here.database_oid, then.database_oid));
    }
    let Some(slot) = &source.slot else { return Some("the replication slot was missing".into()) };
    if !slot.usable {
        return Some("the replication slot was lost, or made for another plugin or database".into());
    }
    let covered = durably_covered(&progress.head);
    (slot.confirmed > covered)
        .then(|| format!("the replication slot stands at {}, but history ends at {covered}", slot.confirmed))
}

/// What was announced is in history for ever, unless the database was restored from a copy, or failed over to a standby that lacked
/// the end of it. Evidence and slot may be those of before, and clients show what no longer is.
fn went_back(progress: &Progress, outside: &Outside) -> Option<String> {
    let (found, told) = (&progress.head.waypoint, &outside.announced?.waypoint);
    let lost = told.position > found.position || (told.position == found.position && told.xid != found.xid);
    (found.era == told.era && lost).then(|| {
        format!(
            "history ends at {} xid {} and {} xid {} was announced: the database was restored",
            found.position, found.xid, told.position, told.xid
        )
    })
}

/// Whether the transaction that was suspected under this lease is in history by now: the answer of its append was lost.
fn has_recorded(tenure: Tenure, progress: Option<&Progress>, outside: &Outside) -> bool {
    let (Some(progress), Some((noted, token))) = (progress, outside.noted) else { return false };
    token == tenure.token && noted <= progress.head.position().commit_lsn
}

impl Replication {
    /// Begins, or begins again, with what the lease's holder must know.
    pub(super) fn prepare(&mut self, tenure: Tenure) {
        self.phase = Phase::Preparing(tenure, Step::Inspecting);
        ask!(&mut self.outside, inspect_source, InspectSource, InspectSource { token: tenure.token });
    }

    /// Takes the step that was waiting for an answer to the next.
    fn step(&mut self, now: Timestamp, next: impl FnOnce(Tenure, Step, &mut Outside) -> Result<Phase, Interrupted>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Preparing(tenure, step) => match next(tenure, step, &mut self.outside) {
                Ok(phase) => self.phase = phase,
                Err(why) => self.interrupt(now, tenure, why),
            },
            other => self.phase = other,
        }
    }

    pub(super) fn on_source_inspected(&mut self, now: Timestamp, answer: Answer<InspectSource>) {
        let reply = reply!(self.outside, inspect_source, answer);
        self.step(now, |tenure, step, outside| {
            let source = fenced(reply)?;
            match step {
                Step::Inspecting => {
                    ask!(outside, load_progress, LoadProgress, LoadProgress { token: tenure.token });
                    Ok(Phase::Preparing(tenure, Step::Loading(source)))
                }
                Step::Verifying(ready) => verify(now, tenure, ready, source, outside),
                other => Ok(Phase::Preparing(tenure, other)),
            }
        });
    }

    pub(super) fn on_progress_loaded(&mut self, now: Timestamp, answer: Answer<LoadProgress>) {
        let reply = reply!(self.outside, load_progress, answer);
        self.step(now, |tenure, step, outside| {
            let progress = fenced(reply)?;
            let Step::Loading(source) = step else { return Ok(Phase::Preparing(tenure, step)) };
            let tenure =
                Tenure { suspect: tenure.suspect && !has_recorded(tenure, progress.as_ref(), outside), ..tenure };
            let reason = match &progress {
                None => Some("the first era".into()),
                Some(progress) => break_in_continuity(&source, progress).or_else(|| went_back(progress, outside)),
            };
            let step = match (reason, progress, &source.slot) {
                (None, Some(progress), Some(slot)) => {
                    let slot = slot.confirmed;
                    keep_era(tenure, slot, source, progress, outside)
                }
                (reason, _, Some(SlotState { confirmed, usable: true })) => {
                    let slot = *confirmed;
                    settle_slot(tenure, slot, source, reason.unwrap_or_default(), outside)
                }
                (reason, ..) => {
                    ask!(outside, create_slot, CreateSlot, CreateSlot { token: tenure.token });
                    Step::CreatingSlot { source, reason: reason.unwrap_or_default() }
                }
            };
            Ok(Phase::Preparing(tenure, step))
        });
    }

    pub(super) fn on_slot_created(&mut self, now: Timestamp, answer: Answer<CreateSlot>) {
        let reply = reply!(self.outside, create_slot, answer);
        self.step(now, |tenure, step, outside| {
            let slot = fenced(reply)?;
            let Step::CreatingSlot { source, reason } = step else { return Ok(Phase::Preparing(tenure, step)) };
            Ok(Phase::Preparing(tenure, settle_slot(tenure, slot, source, reason, outside)))
        });
    }

    pub(super) fn on_slot_settled(&mut self, now: Timestamp, answer: Answer<SettleSlot>) {
        let reply = reply!(self.outside, settle_slot, answer);
        self.step(now, |tenure, step, outside| {
            let slot = fenced(reply)?;
            let Step::SettlingSlot { source, reason } = step else { return Ok(Phase::Preparing(tenure, step)) };
            Ok(Phase::Preparing(tenure, begin_era(tenure, slot, source, reason, outside)))
        });
    }

    pub(super) fn on_era_begun(&mut self, now: Timestamp, answer: Answer<BeginEra>) {
        let reply = reply!(self.outside, begin_era, answer);
        self.step(now, |tenure, step, outside| {
            let head = fenced(reply)?;
            let Step::BeginningEra { slot, source } = step else { return Ok(Phase::Preparing(tenure, step)) };
            let ready = Ready { head, slot, fingerprints: source.fingerprints, evidence: source.evidence };
            Ok(Phase::Preparing(tenure, start_stream(tenure, ready, outside)))
        });
    }

    /// The shape was noted before the stream starts.
    pub(super) fn on_schema_raised_early(&mut self, now: Timestamp, reply: RaiseReply) {
        self.step(now, |tenure, step, outside| {
            let schema = fenced(reply)?;
            let Step::Raising { mut ready, fingerprints } = step else { return Ok(Phase::Preparing(tenure, step)) };
            ready.head.waypoint.schema = schema;
            ready.fingerprints = fingerprints;
            Ok(Phase::Preparing(tenure, start_stream(tenure, ready, outside)))
        });
    }

    pub(super) fn on_stream_started(&mut self, now: Timestamp, answer: Answer<StartStream>) {
        let reply = reply!(self.outside, start_stream, answer);
        self.step(now, |tenure, step, outside| {
            reply?;
            let Step::Starting(ready) = step else { return Ok(Phase::Preparing(tenure, step)) };
            ask!(outside, inspect_source, InspectSource, InspectSource { token: tenure.token });
            Ok(Phase::Preparing(tenure, Step::Verifying(ready)))
        });
    }
}

/// The reply to [`RaiseSchema`].
pub(super) type RaiseReply = Result<<RaiseSchema as crate::ask::Question>::Reply, crate::fault::Failure>;

fn keep_era(tenure: Tenure, slot: Lsn, source: SourceState, progress: Progress, outside: &mut Outside) -> Step {
    let Progress { head, fingerprints: noted, .. } = progress;
    let SourceState { evidence, fingerprints, .. } = source;
    let reason = alters_existing_rows(&noted, &fingerprints);
    let changed = noted != fingerprints;
    let ready = Ready { head, slot, fingerprints: noted, evidence };
    if !changed {
        return start_stream(tenure, ready, outside);
    }
    let (token, era, from, noted) = (tenure.token, head.era(), head.schema(), ready.fingerprints.clone());
    let question = RaiseSchema { token, era, from, noted, fingerprints: fingerprints.clone(), reason };
    ask!(outside, raise_schema, RaiseSchema, question);
    Step::Raising { ready, fingerprints }
}

/// Nobody knows while which changes of the catalogue the slot was made, be it by us, by a life that ended soon after, or by hand.
fn settle_slot(tenure: Tenure, slot: Lsn, source: SourceState, reason: String, outside: &mut Outside) -> Step {
    if !outside.holds(Safeguard::SettledSlot) {
        return begin_era(tenure, slot, source, reason, outside);
    }
    ask!(outside, settle_slot, SettleSlot, SettleSlot { token: tenure.token });
    Step::SettlingSlot { source, reason }
}

fn begin_era(tenure: Tenure, slot: Lsn, source: SourceState, reason: String, outside: &mut Outside) -> Step {
    let (evidence, fingerprints) = (source.evidence.clone(), source.fingerprints.clone());
    ask!(outside, begin_era, BeginEra, BeginEra { token: tenure.token, start: slot, evidence, fingerprints, reason });
    Step::BeginningEra { slot, source }
}

/// Tells the hubs where history stands, which an earlier holder or a lost answer may have moved, and opens the stream.
fn start_stream(tenure: Tenure, mut ready: Ready, outside: &mut Outside) -> Step {
    ready.head.covered = durably_covered(&ready.head);
    let told = outside.announced.filter(|told| told.era() == ready.head.era());
    let after = told.map_or(ready.head.position(), |told| told.position().min(ready.head.position()));
    outside.announce(after, ready.head, None);
    outside.stream_open = true;
    ask!(outside, start_stream, StartStream, StartStream { token: tenure.token, from: ready.slot });
    Step::Starting(ready)
}

/// Looks at the slot once more now that the stream holds it: one that was put in its place meanwhile would hide a gap.
fn verify(
    now: Timestamp,
    tenure: Tenure,
    ready: Ready,
    source: SourceState,
    outside: &mut Outside,
) -> Result<Phase, Interrupted> {
    let sound = source.slot.as_ref().is_some_and(|slot| slot.usable && slot.confirmed <= ready.head.covered);
    let same = source.evidence.system_identifier == ready.evidence.system_identifier
        && source.evidence.database_oid == ready.evidence.database_oid;
    if !(sound && same) {
        return Err(Interrupted::Failed("the replication slot was replaced while the stream was started".into()));
    }
    let mut stream = Stream::new(tenure, ready, outside);
    stream.start(now, source.fingerprints, outside)?;
    Ok(Phase::Streaming(Box::new(stream)))
}
