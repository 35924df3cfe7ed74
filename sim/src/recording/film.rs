//! The second look: what each machine was told and said in the steps that are shown, and what it held near the end.

use super::cast::Cast;
use super::survey::{Survey, Trouble};
use super::{STATES_MAX, STEPS_MAX, read};
use crate::entity::Entity;
use crate::log::{What, state};
use dormouse_core::hub::{self, Hub};
use dormouse_core::replication::{self, Replication};
use dormouse_core::time::Timestamp;
use dormouse_journal::journaled::{Journaled, Kind};
use dormouse_journal::record::{Cause, Dropped};
use dormouse_journal::replay::{Played, Replay};
use dormouse_journal::segment::Segment;
use serde_json::Value;
use std::path::Path;

/// The steps that are shown.
#[derive(Debug, Default)]
pub(super) struct Film {
    /// In order of time; at one time the replicator's before the hubs'.
    pub(super) scenes: Vec<Scene>,
    /// Who takes part.
    pub(super) cast: Cast,
    /// The hubs of the process.
    pub(super) hubs: Vec<u8>,
    /// How many steps there are up to the last that is shown.
    pub(super) steps: usize,
    /// How many earlier steps are not shown.
    pub(super) left_out: usize,
}

/// One step of a machine.
#[derive(Debug)]
pub(super) struct Scene {
    /// When.
    pub(super) at: Timestamp,
    /// Whose.
    pub(super) lane: Entity,
    /// What happened.
    pub(super) what: Happened,
    /// What the machine held after it, near the end.
    pub(super) state: Option<Value>,
    /// What is wrong with it.
    pub(super) trouble: Option<Trouble>,
}

/// What happened in a step.
#[derive(Debug)]
pub(super) enum Happened {
    /// The machine was built, or dropped.
    Life(What, String),
    /// A replicator was told something (`None`: its deadline came), and said this.
    Replication(Option<replication::Input>, Vec<replication::Output>),
    /// A hub was.
    Hub(u8, Option<hub::Input>, Vec<hub::Output>),
}

/// A machine whose steps can be shown.
trait Filmed: Journaled {
    fn happened(lane: Entity, input: Option<Self::Input>, outputs: Vec<Self::Output>) -> Happened;
    fn introduces(&self, lane: Entity, cast: &mut Cast);
}

impl Filmed for Replication {
    fn happened(_: Entity, input: Option<replication::Input>, outputs: Vec<replication::Output>) -> Happened {
        Happened::Replication(input, outputs)
    }

    fn introduces(&self, _: Entity, _: &mut Cast) {}
}

impl Filmed for Hub {
    fn happened(lane: Entity, input: Option<hub::Input>, outputs: Vec<hub::Output>) -> Happened {
        Happened::Hub(number(lane), input, outputs)
    }

    fn introduces(&self, lane: Entity, cast: &mut Cast) {
        self.clients().for_each(|(client, session)| cast.knows(number(lane), session, client));
    }
}

/// Which steps are shown.
struct Window {
    since: Timestamp,
    first: Timestamp,
    last: Timestamp,
    states_from: Timestamp,
    trouble: Option<Trouble>,
}

/// Takes the last steps up to `until`, or up to the trouble.
pub(super) fn of(survey: &Survey, until: Option<Timestamp>) -> Result<Film, String> {
    let trouble = survey.trouble.clone().filter(|trouble| until.is_none_or(|until| trouble.at <= until));
    let last = trouble.as_ref().map(|trouble| trouble.at).or(until).unwrap_or(Timestamp(u64::MAX));
    let steps = survey.times.partition_point(|at| *at <= last);
    let (Some(shown), Some(end)) = (survey.times.get(steps.saturating_sub(STEPS_MAX)), steps.checked_sub(1)) else {
        let first = survey.times.first().map_or_else(String::new, |at| format!("; the first is at {at}"));
        return Err(format!("the recording has no step by then{first}"));
    };
    let window = Window {
        since: survey.started(),
        first: *shown,
        last: survey.times[end],
        states_from: survey.times[steps.saturating_sub(STATES_MAX)],
        trouble,
    };
    let left_out = survey.times.partition_point(|at| at < shown);
    let mut film = Film { steps, left_out, ..Film::default() };
    for (file, header) in &survey.segments {
        let lane = match (header.kind, header.lane.rsplit_once('/')) {
            (Kind::Replication, _) => Entity::Replication(0),
            (Kind::Hub, Some((_, n))) => Entity::Hub(n.parse().unwrap_or(u8::MAX)),
            (Kind::Hub, None) => Entity::Hub(0),
        };
        if let Entity::Hub(n) = lane
            && !film.hubs.contains(&n)
        {
            film.hubs.push(n);
        }
        let taken = read(file).and_then(|(bytes, _)| match header.kind {
            Kind::Replication => film.take(&Segment::<Replication>::read(&bytes)?, file, lane, &window),
            Kind::Hub => film.take(&Segment::<Hub>::read(&bytes)?, file, lane, &window),
        });
        drop(taken); // What cannot be read is in the survey.
    }
    film.scenes.sort_by_key(|scene| (scene.at, scene.trouble.is_some(), rank(scene.lane)));
    Ok(film)
}

impl Film {
    fn take<M: Filmed>(
        &mut self,
        segment: &Segment<M>,
        file: &Path,
        lane: Entity,
        window: &Window,
    ) -> Result<(), String> {
        let mut replay = Replay::new(segment);
        while let Some(played) = replay.next_record() {
            let (at, what, trouble) = match played {
                Played::Began { at } if replay.steps() == 0 && segment.header.segment > 0 => {
                    (at, Happened::Life(What::Note, "goes on in its next segment".into()), None)
                }
                Played::Began { at } => (at, Happened::Life(What::Wake, "is there, as in its checkpoint".into()), None),
                Played::Dropped { at, why } => (at, dropped(why, window.since), None),
                Played::Stepped(stepped) => {
                    let wrong = |trouble: &&Trouble| trouble.file == file && trouble.n == stepped.n;
                    let trouble = window.trouble.as_ref().filter(wrong).cloned();
                    let input = match stepped.cause {
                        Cause::Input(input) => Some(input.clone()),
                        Cause::Timeout => None,
                    };
                    (stepped.at, M::happened(lane, input, stepped.outputs), trouble)
                }
            };
            if at > window.last {
                break;
            }
            if at < window.first {
                continue;
            }
            let state = replay.machine().filter(|_| at >= window.states_from).map(state);
            replay.machine().into_iter().for_each(|machine| machine.introduces(lane, &mut self.cast));
            let wrong = trouble.is_some();
            self.scenes.push(Scene { at, lane, what, state, trouble });
            if wrong {
                break;
            }
        }
        Ok(())
    }
}

fn dropped(why: Dropped, since: Timestamp) -> Happened {
    let (what, words) = match why {
        Dropped::Slept { alarm: None } => (What::Sleep, "is dropped to sleep until something happens".into()),
        Dropped::Slept { alarm: Some(at) } => {
            let seconds = at.since(since).as_secs();
            (What::Sleep, format!("is dropped to sleep until something happens, or it is {seconds} s"))
        }
        Dropped::Evicted => (What::Evict, "is dropped by its host".into()),
        Dropped::Broken => (What::Crash, "is dropped: an invariant did not hold".into()),
    };
    Happened::Life(what, words)
}

const fn rank(lane: Entity) -> u8 {
    match lane {
        Entity::Replication(_) => 0,
        _ => 1,
    }
}

const fn number(lane: Entity) -> u8 {
    match lane {
        Entity::Hub(n) => n,
        _ => 0,
    }
}
