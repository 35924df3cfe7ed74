//! A replicator keeps its pace: it reads on while it records, what waited together shares a page, and an idle advance is saved rarely.

use super::World;
use crate::entity::Entity;
use crate::oracle::Promise;
use dormouse_core::ask::{Answer, AskId};
use dormouse_core::change::Page;
use dormouse_core::fault::Failure;
use dormouse_core::position::{Lsn, Position};
use dormouse_core::replication::{Input, Output, PhaseName, Recorded};
use dormouse_core::source::SourceItem;
use dormouse_core::time::Timestamp;

/// What a page weighs beside its transactions, and each of these beside its changes.
const OVERHEAD: usize = 128;

/// What is known of a stream that a replicator follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    /// The read that is under way.
    reads: Option<AskId>,
    /// The transaction whose begin it was told last, and the last whose end.
    begun: Lsn,
    ended: Lsn,
    /// The append that was asked for last, and what the page follows.
    asked: Option<(AskId, Position)>,
    /// A transaction was recorded: no end of a process is laid at its door any more.
    is_steady: bool,
    /// The last idle advance that was saved, when, and whether that failed.
    saved: Option<(Timestamp, Lsn)>,
    /// It is told of a failure: which, and what it said of its trouble before.
    told: Option<(Failure, Option<String>)>,
}

impl Pace {
    /// It is told something.
    fn hears(&mut self, input: &Input) {
        match input {
            Input::SourceRead(answer) if self.reads == Some(answer.id) => {
                self.reads = None;
                for item in answer.reply.iter().flatten() {
                    match item {
                        SourceItem::Begin { commit_lsn, .. } => self.begun = *commit_lsn,
                        SourceItem::Commit { .. } => self.ended = self.begun.max(self.ended),
                        _ => {}
                    }
                }
            }
            Input::PageRecorded(Answer { id, reply: Ok(Recorded::Recorded { .. }) }) => {
                self.is_steady |= self.asked.is_some_and(|(asked, _)| asked == *id);
            }
            Input::CoveredSaved(Answer { reply: Err(_), .. }) => self.saved = None,
            _ => {}
        }
    }

    /// Whether another page than before is asked for.
    fn asks(&mut self, id: AskId, page: &Page) -> bool {
        let before = self.asked.replace((id, page.after));
        before.is_none_or(|(_, after)| after != page.after)
    }
}

impl World {
    /// A replicator is about to hear something.
    pub(super) fn note_pace(&mut self, node: u8, input: &Input) {
        if !self.chooser.is_exhaustive() {
            let told = failure(input).map(|failure| (failure.clone(), self.trouble(node)));
            let pace = &mut self.replications[node as usize].pace;
            pace.told = told;
            pace.hears(input);
        }
    }

    /// A replicator puts something out.
    pub(super) fn judge_pace(&mut self, node: u8, output: &Output) {
        if self.chooser.is_exhaustive() {
            return; // What is remembered here would only keep equal states apart.
        }
        let now = self.replication_now(node);
        let pace = &mut self.replications[node as usize].pace;
        match output {
            Output::StartStream(_) => *pace = Pace::default(),
            Output::ReadSource(ask) => pace.reads = Some(ask.id),
            Output::RecordPage(ask) => {
                let is_new = pace.asks(ask.id, &ask.question.page);
                if is_new && pace.is_steady {
                    self.judge_shared(node, &ask.question.page);
                }
            }
            Output::SaveCovered(ask) => {
                let covered = ask.question.covered;
                let before = pace.saved.replace((now, covered));
                self.judge_saving(node, before, (now, covered));
            }
            _ => {}
        }
    }

    /// A page is appended: it has all that was read by then and would fit, for each append is a transaction that waits for the disk.
    fn judge_shared(&mut self, node: u8, page: &Page) {
        let Some(last) = page.transactions.last().filter(|last| last.complete && last.first == 0) else { return };
        let Some(next) = self.postgres.commits_after(last.commit_lsn).first() else { return };
        let limits = self.plan.limits();
        let weight = OVERHEAD + next.changes.iter().map(|decoded| decoded.change.weight()).sum::<usize>();
        let fits = page.changes() + next.changes.len() <= limits.changes as usize
            && page.weight() + weight <= limits.recorded_bytes as usize;
        let was_read = next.commit_lsn <= self.replications[node as usize].pace.ended;
        if fits && was_read && self.oracle.is_all_kept() {
            let event = format!(
                "{} was read and would fit, and is left to another page than {}",
                next.commit_lsn, last.commit_lsn
            );
            self.violate(Promise::Bounded, "shared page", Entity::Replication(node), event);
        }
    }

    /// An idle advance is saved: that makes WAL, which makes another, so it waits until it is large, or old.
    fn judge_saving(&mut self, node: u8, before: Option<(Timestamp, Lsn)>, (now, covered): (Timestamp, Lsn)) {
        let Some((at, from)) = before else { return };
        let config = self.plan.replication(node);
        if now.since(at) < config.idle_save_every && covered.0.saturating_sub(from.0) < config.idle_save_bytes {
            let event = format!("saves that it has covered {covered}, {:?} after it had saved {from}", now.since(at));
            self.violate(Promise::Bounded, "saved rarely", Entity::Replication(node), event);
        }
    }

    /// A replicator has done what it could: so many bytes wait to be recorded, and with none it reads.
    pub(super) fn judge_queue(&mut self, node: u8, queued: usize) {
        let verdict = self.oracle.queues(queued);
        self.verdict(Entity::Replication(node), verdict);
        if self.chooser.is_exhaustive() {
            return;
        }
        let host = &self.replications[node as usize];
        let streams = host.machine.as_ref().is_some_and(|machine| machine.phase() == PhaseName::Streaming);
        if streams && queued == 0 && host.pace.reads.is_none() {
            let event = "nothing waits to be recorded, and it does not read on".into();
            self.violate(Promise::Converges, "reads on", Entity::Replication(node), event);
        }
        self.judge_trouble(node);
    }

    fn trouble(&self, node: u8) -> Option<String> {
        let machine = self.replications[node as usize].machine.as_ref()?;
        machine.trouble().map(ToOwned::to_owned)
    }

    /// It has heard of a failure: if that is its trouble, it says what it was told.
    fn judge_trouble(&mut self, node: u8) {
        let told = self.replications[node as usize].pace.told.take();
        let (Some((failure, before)), Some(trouble)) = (told, self.trouble(node)) else { return };
        if before.as_ref() != Some(&trouble) && trouble != failure.reason() {
            let event = format!("is told {failure}, and says that its trouble is: {trouble}");
            self.violate(Promise::Converges, "trouble", Entity::Replication(node), event);
        }
    }
}

fn failure(input: &Input) -> Option<&Failure> {
    macro_rules! any {
        ($($name:ident)+) => {
            match input {
                $(Input::$name(answer) => answer.reply.as_ref().err(),)+
                _ => None,
            }
        };
    }
    any!(SourceInspected ProgressLoaded SlotCreated SlotSettled EraBegun StreamStarted SourceRead AttemptNoted PageRecorded CoveredSaved TablesInspected SchemaRaised)
}
