//! How a scenario steers: what is chosen when a situation has come.

use crate::chooser::Kind;
use crate::entity::Entity;
use crate::world::World;

/// A situation, as the world and the entity that a choice concerns show it.
pub type Situation = fn(&World, Entity) -> bool;

/// One thing that is made to happen.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What is chosen.
    pub kind: Kind,
    /// For whom; for anybody when `None`.
    pub who: Option<Entity>,
    /// What is being carried out: an output, a question or a message by name. Anything when empty.
    pub doing: &'static str,
    /// In which situation.
    pub when: Situation,
    /// How many such occasions pass first.
    pub skip: u32,
    /// In how many it is chosen then.
    pub times: u32,
    /// What is picked; above 0, for 0 is what happens anyway.
    pub pick: u64,
}

/// A rule for one entity, which holds once, at the first occasion.
#[must_use]
pub const fn on(kind: Kind, who: Entity) -> Rule {
    Rule { who: Some(who), ..anybody(kind) }
}

/// A rule for whoever comes.
#[must_use]
pub const fn anybody(kind: Kind) -> Rule {
    Rule { kind, who: None, doing: "", when: |_, _| true, skip: 0, times: 1, pick: 1 }
}

impl Rule {
    /// Only while this is being carried out.
    #[must_use]
    pub const fn doing(self, doing: &'static str) -> Self {
        Self { doing, ..self }
    }

    /// Only in this situation.
    #[must_use]
    pub const fn when(self, when: Situation) -> Self {
        Self { when, ..self }
    }

    /// Lets occasions pass first.
    #[must_use]
    pub const fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Holds so many times.
    #[must_use]
    pub const fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Holds every time.
    #[must_use]
    pub const fn always(self) -> Self {
        self.times(u32::MAX)
    }

    /// Picks this.
    #[must_use]
    pub const fn pick(self, pick: u64) -> Self {
        Self { pick, ..self }
    }
}

/// The rules of a run, and how often each was met.
#[derive(Debug, Clone)]
pub struct Steering {
    rules: &'static [Rule],
    met: Vec<u32>,
}

impl Steering {
    /// Rules of which none was met yet.
    #[must_use]
    pub fn new(rules: &'static [Rule]) -> Self {
        Self { rules, met: vec![0; rules.len()] }
    }

    /// What to pick: 0, the quiet choice, unless a rule says otherwise.
    #[must_use]
    pub fn pick(&mut self, world: &World, kind: Kind, entity: Entity) -> u64 {
        let mut pick = 0;
        for (rule, met) in self.rules.iter().zip(&mut self.met) {
            let concerned = rule.kind == kind && rule.who.is_none_or(|who| who == entity);
            let doing = rule.doing.is_empty() || rule.doing == world.doing;
            if !concerned || !doing || !(rule.when)(world, entity) {
                continue;
            }
            *met = met.saturating_add(1);
            if pick == 0 && *met > rule.skip && *met - rule.skip <= rule.times {
                pick = rule.pick;
            }
        }
        pick
    }
}
