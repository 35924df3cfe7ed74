//! How a seed's world is searched, by the name that the command line has for it.

use crate::chooser::Source;
use crate::engine::chooser::Pct;
use crate::engine::fork::fork;
use crate::engine::subject::Subject;
use crate::plan::{Families, Family};
use crate::probe::Probe;
use crate::trace_file::Setup;
use crate::world::World;
use clap::ValueEnum;

/// How many things a race of the sort that `pct` looks for needs.
const DEPTH: u32 = 3;
/// How many futures each rare state gets.
const FUTURES: u64 = 3;
/// States that a run in a hundred or so comes to, and from which many go wrong in few ways.
const RARE: [Probe; 8] = [
    Probe::NodeCrashedWhileRecording,
    Probe::ReplicatorSuperseded,
    Probe::AppendAnswerLost,
    Probe::HubEvictedBackfilling,
    Probe::HubWokeWithoutAttachment,
    Probe::StaleAnswer,
    Probe::EraBegan,
    Probe::ClientCrashedStaged,
];

/// How choices are made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ChooserArg {
    /// By the seed, each on its own.
    #[default]
    Random,
    /// Three things go wrong in a run, anywhere; all else is quiet.
    Pct,
    /// By the seed, and several futures of each rare state.
    Fork,
}

/// How a seed's world is made, to measure what each part of that is good for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "ablation"), expect(dead_code, reason = "`ablate --ways` compares them"))]
pub(super) enum Way {
    /// As it is.
    #[default]
    AsItIs,
    /// With no more faults in dangerous windows than elsewhere.
    EvenWeights,
    /// With all families in every run.
    AllFamilies,
    /// With all families that a seed draws but this one.
    Without(Family),
}

impl Way {
    /// The world of a seed, made this way.
    pub(super) fn of(self, setup: Setup) -> Setup {
        match self {
            Self::AsItIs => setup,
            Self::EvenWeights => Setup { even: true, ..setup },
            Self::AllFamilies => Setup { families: Families::all(), ..setup },
            Self::Without(family) => Setup { families: setup.families.without(family), ..setup },
        }
    }
}

/// Runs the world of a seed: one end, or several.
pub(super) fn ends(setup: &Setup, chooser: ChooserArg) -> Vec<World> {
    let begin = |source| World::begin(setup, source);
    match chooser {
        ChooserArg::Random => vec![to_end(begin(Source::Random))],
        ChooserArg::Pct => vec![to_end(begin(Source::Pct(Pct::new(setup.seed, DEPTH))))],
        ChooserArg::Fork => {
            let mut seen = [0; RARE.len()];
            fork(begin(Source::Random), FUTURES, |world| {
                let now = RARE.map(|probe| world.probes.count(probe).min(1));
                std::mem::replace(&mut seen, now) != now
            })
        }
    }
}

fn to_end(mut world: World) -> World {
    world.run();
    world
}
