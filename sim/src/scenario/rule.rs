//! How a scenario steers: what is chosen when a situation has come.

use crate::chooser::{Kind, Told};
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
    /// Until what happens to whom a delay is held instead, and at which time from then on.
    pub until: Option<(Kind, Entity, u32)>,
}

/// A rule for one entity, which holds once, at the first occasion.
#[must_use]
pub const fn on(kind: Kind, who: Entity) -> Rule {
    Rule { who: Some(who), ..anybody(kind) }
}

/// A rule for whoever comes.
#[must_use]
pub const fn anybody(kind: Kind) -> Rule {
    Rule { kind, who: None, doing: "", when: |_, _| true, skip: 0, times: 1, pick: 1, until: None }
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

    /// Holds what is delayed until something happens so many times more: 1 is the next time.
    #[must_use]
    pub const fn until(self, kind: Kind, who: Entity, times: u32) -> Self {
        Self { until: Some((kind, who, times)), ..self }
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
        self.rule(world, kind, entity).map_or(0, |rule| rule.pick)
    }

    /// What becomes of a delay.
    #[must_use]
    pub fn tells(&mut self, world: &World, kind: Kind, entity: Entity) -> Told {
        let Some(rule) = self.rule(world, kind, entity) else { return Told::Pick(0) };
        rule.until.map_or(Told::Pick(rule.pick), |(kind, who, times)| Told::Hold { until: (kind, who), times })
    }

    fn rule(&mut self, world: &World, kind: Kind, entity: Entity) -> Option<&'static Rule> {
        let mut holds = None;
        for (rule, met) in self.rules.iter().zip(&mut self.met) {
            let concerned = rule.kind == kind && rule.who.is_none_or(|who| who == entity);
            let doing = rule.doing.is_empty() || rule.doing == world.doing;
            if !concerned || !doing || !(rule.when)(world, entity) {
                continue;
            }
            *met = met.saturating_add(1);
            if holds.is_none() && *met > rule.skip && *met - rule.skip <= rule.times {
                holds = Some(rule);
            }
        }
        holds
    }
}
