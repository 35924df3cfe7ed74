//! What a world of Dormouse is, as a number: what is left out here cannot be asked by a step.

use super::World;
use crate::chooser::Kind;
use crate::engine::state::State;
use std::fmt;

/// Lives and generations are only ever compared for equality.
const RENAMED: [&str; 5] = ["Incarnation", "life", "generation", "in_flight_of", "client_life"];

impl World {
    pub(super) fn state_digest(&self) -> u128 {
        let mut state = State::new(self.now, &RENAMED);
        let queue: Vec<_> = self.queue.iter().collect();
        let parts: [&dyn fmt::Debug; 15] = [
            &queue,
            &self.postgres,
            &self.replications,
            &self.hubs,
            &self.clients,
            &self.network,
            &self.workload,
            &self.oracle,
            &self.quiet,
            &self.window,
            &self.disk_full_until,
            &self.poison,
            &self.held,
            &self.prompt,
            &self.copy,
        ];
        parts.into_iter().for_each(|part| state.part(part));
        // The workload goes on from where its draws are; the differences between latencies are none in a search of all ways.
        for kind in [Kind::Work, Kind::LateEffect] {
            self.chooser.drawn(kind).iter().for_each(|n| state.number(u64::from(*n)));
        }
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_core::ask::Incarnation;
    use dormouse_core::time::Timestamp;

    #[test]
    fn lives_are_renamed() {
        let of = |a, b| {
            let mut state = State::new(Timestamp::ZERO, &RENAMED);
            state.part(&[Incarnation(a), Incarnation(b)]);
            state.finish()
        };
        assert_eq!(of(4, 9), of(7, 8));
        assert_ne!(of(4, 4), of(7, 8));
    }
}
