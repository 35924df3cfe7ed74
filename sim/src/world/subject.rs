//! The world of Dormouse, as the engine sees it.

use super::World;
use crate::chooser::{Chooser, Kind, Source};
use crate::engine::subject::{Breaks, Subject};
use crate::entity::Entity;
use crate::log::Log;
use crate::oracle::Violation;
use crate::plan::Family;
use crate::trace_file::Setup;

impl Subject for World {
    type Kind = Kind;
    type Entity = Entity;
    type Setup = Setup;

    fn begin(setup: &Setup, source: Source) -> Self {
        Self::of_setup(setup, source, Log::default())
    }

    fn step(&mut self) -> bool {
        self.take_event()
    }

    fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    fn chooser_mut(&mut self) -> &mut Chooser {
        &mut self.chooser
    }

    fn broken(&self) -> Option<Breaks> {
        self.violation.as_ref().map(breaks)
    }

    fn history(&self) -> u128 {
        self.digest.finish()
    }

    fn state(&self) -> u128 {
        self.state_digest()
    }

    fn simplify(&self, setup: &Setup, fails: &mut dyn FnMut(&Setup) -> bool) {
        let mut best = setup.clone();
        // Only the families that it takes.
        for (family, _) in
            Family::ALL.iter().filter(|(family, _)| setup.scenario.is_none() && setup.families.has(*family))
        {
            let fewer = Setup { families: best.families.without(*family), ..best.clone() };
            if fails(&fewer) {
                best = fewer;
            }
        }
        // The fewest transactions, by halving.
        let mut least = 0;
        while least < best.transactions {
            let transactions = least + (best.transactions - least) / 2;
            let fewer = Setup { transactions, ..best.clone() };
            if fails(&fewer) { best = fewer } else { least = transactions + 1 }
        }
        // Of those, the ones that need not commit.
        for (writer, begun) in self.begun().into_iter().enumerate() {
            for n in 0..begun.min(best.transactions) {
                let mut rolled_back = best.rolled_back.clone();
                if rolled_back.insert((u8::try_from(writer).unwrap_or(u8::MAX), n)) {
                    let less = Setup { rolled_back, ..best.clone() };
                    if fails(&less) {
                        best = less;
                    }
                }
            }
        }
    }
}

/// What a violation is, without its circumstances.
fn breaks(violation: &Violation) -> Breaks {
    let entity = violation.entity.to_string();
    let entity = entity.split('/').next().unwrap_or_default().to_owned();
    Breaks { promise: violation.promise.to_string(), oracle: violation.oracle.to_owned(), entity }
}
