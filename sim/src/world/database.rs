//! Questions on their way to the database and answers on their way back: late, lost, or to somebody who is gone.

use super::severed::{hub_failure, replication_failure};
use super::{Event, World, names};
use crate::chooser::{Kind, per_mille};
use crate::entity::Entity;
use crate::log::words;
use crate::plan::Family;
use crate::postgres::SnapshotBegun;
use crate::probe::Probe;
use dormouse_core::ask::{Answer, Ask, AskId, Question};
use dormouse_core::fault::Failure;
use dormouse_core::hub::{self, SnapshotTaken, TakeSnapshot};
use dormouse_core::replication::{self, Fenced, Recorded};
use std::time::Duration;

pub(super) const QUESTION_US: &[u64] = &[250, 3_000, 25_000, 180_000, 900_000];
pub(super) const ANSWER_US: &[u64] = &[150, 3_000, 25_000, 180_000, 900_000];
const LATE_US: &[u64] = &[30_000, 100_000, 300_000, 1_000_000, 2_500_000];
const COPY_US: &[u64] = &[500, 10_000, 80_000, 300_000];

/// How often it is looked whether a slot can be created.
const SLOT_LOOK: Duration = Duration::from_millis(5);

/// Whether the creation of a slot waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotWait {
    Over,
    GoesOn,
    /// Its session is gone.
    Ended,
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Fails,
    AnswerLost,
    LateEffect,
}

impl World {
    pub(super) fn question_latency(&mut self, entity: Entity) -> Duration {
        let weight = if self.plan.has(Family::Latency) { per_mille(150) } else { per_mille(15) };
        self.delay(Kind::QuestionLatency, entity, QUESTION_US, weight)
    }

    pub(super) fn answer_latency(&mut self, entity: Entity) -> Duration {
        let weight = if self.plan.has(Family::Latency) { per_mille(150) } else { per_mille(15) };
        self.delay(Kind::AnswerLatency, entity, ANSWER_US, weight)
    }

    fn fate(&mut self, entity: Entity, dangerous: bool, rare: u32) -> Fate {
        let weight = match (self.plan.has(Family::Questions), dangerous) {
            (false, _) => 0,
            (true, false) => per_mille(15),
            (true, true) => per_mille(60),
        };
        let danger = if let Entity::Replication(node) = entity { self.danger(node).min(8) } else { rare };
        match self.choose(Kind::QuestionFate, entity, 4, weight * danger) {
            0 => Fate::Answered,
            1 => Fate::Fails,
            2 => Fate::AnswerLost,
            _ => Fate::LateEffect,
        }
    }

    /// A replicator asks the database.
    pub(super) fn ask_as_replication(&mut self, node: u8, question: replication::Output) {
        let entity = Entity::Replication(node);
        let life = self.replications[node as usize].life;
        self.doing = names::of_replication(&question);
        let is_append = matches!(question, replication::Output::RecordPage(_));
        let asked = self.may_ask(node);
        let refused = self.refuses_replication(node, &question);
        let fate = if asked && !refused { self.fate(entity, is_append, 1) } else { Fate::Fails };
        let to = if asked { self.question_latency(entity) } else { self.noticed_after(node) };
        let failed = |world: &mut Self, after: Duration, question: &replication::Output| {
            let input = replication_failure(question, "the database connection was lost");
            if let Some(input) = input {
                world.plan_in(after, Event::ReplicationHears { node, life, input: Box::new(input) });
            }
        };
        match fate {
            Fate::Fails => {
                self.hit(Probe::QuestionFailed);
                self.saw_failure(&question);
                return failed(self, to, &question);
            }
            Fate::AnswerLost => {
                self.hit(Probe::AnswerLost);
                if is_append {
                    self.hit(Probe::AppendAnswerLost);
                }
                let back = self.answer_latency(entity);
                failed(self, to + back, &question);
            }
            Fate::LateEffect if late_effect_is_fenced(&question) => {
                self.hit(Probe::LateEffect);
                failed(self, to, &question);
                if is_append && self.happens(Kind::DropConnection, entity, per_mille(500)) {
                    self.lose_stream(node); // Both connections went the same way.
                }
            }
            Fate::LateEffect => return failed(self, to, &question),
            Fate::Answered => {}
        }
        let late = if fate == Fate::LateEffect { self.late(entity) } else { Duration::ZERO };
        if is_append {
            self.replications[node as usize].recording += 1;
        }
        let event =
            Event::ReplicationAsks { node, life, question: Box::new(question), answered: fate == Fate::Answered };
        self.plan_in(to + late, event);
    }

    fn late(&mut self, entity: Entity) -> Duration {
        let bucket = self.chooser.draw(Kind::LateEffect, entity, LATE_US.len() as u64);
        Duration::from_micros(LATE_US[usize::try_from(bucket).unwrap_or(0)])
    }

    /// A replicator's question takes effect.
    pub(super) fn replication_asks(&mut self, node: u8, life: u64, question: replication::Output, answered: bool) {
        use replication::{Input, Output};
        self.digest.word(5);
        match self.slot_waits(node, &question) {
            SlotWait::Over => {}
            SlotWait::Ended => return,
            SlotWait::GoesOn => {
                let question = Box::new(question);
                return self.plan_in(SLOT_LOOK, Event::ReplicationAsks { node, life, question, answered });
            }
        }
        let minor = matches!(
            question,
            Output::RenewLease(_)
                | Output::InspectTables(_)
                | Output::Prune(_)
                | Output::NoteAttempt(_)
                | Output::ReadHead(_)
        );
        let whose = Entity::Replication(node);
        self.log.add(|_| words::asked(whose, words::replication_question(&question), &question, minor));
        self.doing = names::of_replication(&question);
        let now = self.now;
        let pg = &mut self.postgres;
        let input = match &question {
            Output::TakeLease(ask) => {
                self.chooser.passes(Kind::Leased, whose);
                Input::LeaseTaken(answer(ask.id, pg.ask_take_lease(now, &ask.question)))
            }
            Output::RenewLease(ask) => Input::LeaseRenewed(answer(ask.id, pg.ask_renew_lease(now, &ask.question))),
            Output::ReleaseLease(ask) => Input::LeaseReleased(answer(ask.id, pg.ask_release_lease(&ask.question))),
            Output::InspectSource(ask) => Input::SourceInspected(answer(ask.id, pg.ask_inspect_source(&ask.question))),
            Output::LoadProgress(ask) => {
                let reply = pg.ask_load_progress(&ask.question);
                if matches!(reply, Ok(Fenced::Done(_))) {
                    self.oracle.leftovers_deleted();
                }
                Input::ProgressLoaded(answer(ask.id, reply))
            }
            Output::CreateSlot(ask) => {
                let reply = pg.ask_create_slot(&ask.question);
                if pg.decodes_by_an_outdated_catalogue() {
                    self.probes.hit(Probe::SlotOutdated);
                }
                Input::SlotCreated(answer(ask.id, reply))
            }
            Output::SettleSlot(ask) => Input::SlotSettled(answer(ask.id, pg.ask_settle_slot(&ask.question))),
            Output::BeginEra(ask) => {
                let reply = pg.ask_begin_era(&ask.question);
                if let Ok(Fenced::Done(head)) = &reply
                    && head.era().counter > 1
                {
                    self.probes.hit(Probe::EraBegan);
                }
                Input::EraBegun(answer(ask.id, reply))
            }
            Output::StartStream(ask) => {
                let reply = pg.ask_start_stream(&ask.question).map(|stream| {
                    let host = &mut self.replications[node as usize];
                    if answered && host.life == life && host.starting > 0 {
                        host.reopened |= host.stream.is_some();
                        (host.stream, host.kept_alive, host.dark) = (Some(stream), 0, false);
                    } else if host.life == life {
                        pg.stop_stream(stream);
                    }
                });
                Input::StreamStarted(answer(ask.id, reply))
            }
            Output::NoteAttempt(ask) => {
                let reply = pg.ask_note_attempt(&ask.question);
                let verdict = self.oracle.attempted(&self.postgres, &ask.question, &reply);
                self.verdict(Entity::Replication(node), verdict);
                Input::AttemptNoted(answer(ask.id, reply))
            }
            Output::RecordPage(ask) => {
                self.replications[node as usize].recording -= 1;
                let reply = pg.ask_record_page(&ask.question);
                match &reply {
                    Ok(Recorded::Recorded { .. }) if ask.question.page.is_piece() => {
                        self.probes.hit(Probe::PieceRecorded);
                    }
                    Ok(Recorded::Superseded) => self.probes.hit(Probe::ReplicatorSuperseded),
                    _ => {}
                }
                self.saw_append(&ask.question, answered);
                self.chooser.passes(Kind::Recorded, whose);
                let verdict = self.oracle.recorded(&self.postgres, &ask.question, &reply);
                self.verdict(Entity::Replication(node), verdict);
                Input::PageRecorded(answer(ask.id, reply))
            }
            Output::SaveCovered(ask) => {
                let reply = pg.ask_save_covered(&ask.question);
                self.probes.hit(Probe::IdleSaved);
                let verdict = self.oracle.covered_saved(&self.postgres, &ask.question, &reply);
                self.verdict(Entity::Replication(node), verdict);
                Input::CoveredSaved(answer(ask.id, reply))
            }
            Output::InspectTables(ask) => Input::TablesInspected(answer(ask.id, pg.ask_inspect_tables(&ask.question))),
            Output::RaiseSchema(ask) => {
                let before = pg.noted();
                let reply = pg.ask_raise_schema(&ask.question);
                self.judge_noted(whose, before);
                Input::SchemaRaised(answer(ask.id, reply))
            }
            Output::Prune(ask) => {
                let before = pg.history_changes();
                let reply = pg.ask_prune(now, &ask.question);
                if pg.history_changes() < before {
                    self.probes.hit(Probe::Pruned);
                }
                Input::Pruned(answer(ask.id, reply))
            }
            Output::ReadHead(ask) => Input::HeadRead(answer(ask.id, pg.ask_read_head(&ask.question))),
            Output::ReadSource(_)
            | Output::Announce(_)
            | Output::Confirm { .. }
            | Output::NudgeSource
            | Output::StopStream
            | Output::Halt(_)
            | Output::Stopped => return, // These are no questions to the database's tables.
        };
        self.log.add(|_| words::answered(whose, words::replication_reply(&input), &input, answered, minor));
        if answered {
            self.tells_renewals(node, life, &input);
            let after = self.answer_latency(whose);
            self.plan_in(after, Event::ReplicationHears { node, life, input: Box::new(input) });
        }
    }

    /// Whether a slot is not created, or settled, yet because of transactions that ran when that was asked for.
    fn slot_waits(&mut self, node: u8, question: &replication::Output) -> SlotWait {
        let id = match question {
            replication::Output::CreateSlot(ask) => ask.id,
            replication::Output::SettleSlot(ask) => ask.id,
            _ => return SlotWait::Over,
        };
        let until = match self.replications[node as usize].slot_wait {
            Some((waiting, until)) if waiting == id => until,
            // A later one dropped the slot under it, and ended its session.
            Some((waiting, _)) if waiting > id => return SlotWait::Ended,
            _ => {
                let until = match question {
                    replication::Output::CreateSlot(ask) => self.postgres.slot_waits(&ask.question),
                    replication::Output::SettleSlot(ask) => self.postgres.settle_waits(&ask.question),
                    _ => None,
                };
                let Some(until) = until else { return SlotWait::Over };
                self.replications[node as usize].slot_wait = Some((id, until));
                until
            }
        };
        if self.postgres.runs_since(until) { SlotWait::GoesOn } else { SlotWait::Over }
    }

    /// A hub asks the database.
    pub(super) fn ask_as_hub(&mut self, hub: u8, question: hub::Output) {
        let entity = Entity::Hub(hub);
        let life = self.hubs[hub as usize].life;
        self.doing = names::of_hub(&question);
        self.saw_asking(hub, &question);
        self.judge_asking(hub, &question);
        self.judge_places(hub, &question);
        self.hubs[hub as usize].open += u64::from(!matches!(question, hub::Output::ReadHead(_)));
        let dangerous = matches!(question, hub::Output::SavePositions(_) | hub::Output::Unregister(_));
        // Copies of snapshots lie on the host's own disk.
        let is_local = matches!(question, hub::Output::ReadChunk(_));
        let asked = is_local || self.may_ask(0);
        let refused = self.refuses_hub(hub, &question) || self.registry_refuses(hub, &question);
        // Few removals are asked for, and what is tried again may come after the client has come back.
        let rare = if matches!(question, hub::Output::Unregister(_)) { 4 } else { 1 };
        let fate = if asked && !refused { self.fate(entity, dangerous, rare) } else { Fate::Fails };
        let to = if asked { self.question_latency(entity) } else { self.noticed_after(0) };
        let failed = |world: &mut Self, after: Duration, question: &hub::Output| {
            if let Some(input) = hub_failure(question, "the database connection was lost") {
                world.plan_in(after, Event::HubHears { hub, life, input: Box::new(input) });
            }
        };
        match fate {
            Fate::Fails => {
                self.hit(Probe::QuestionFailed);
                return failed(self, to, &question);
            }
            Fate::AnswerLost => {
                self.hit(Probe::AnswerLost);
                let back = self.answer_latency(entity);
                failed(self, to + back, &question);
            }
            Fate::LateEffect => {
                self.hit(Probe::LateEffect);
                failed(self, to, &question);
            }
            Fate::Answered => {}
        }
        let late = if fate == Fate::LateEffect { self.late(entity) } else { Duration::ZERO };
        let event = Event::HubAsks { hub, life, question: Box::new(question), answered: fate == Fate::Answered };
        self.plan_in(to + late, event);
    }

    /// A hub's question takes effect.
    pub(super) fn hub_asks(&mut self, hub: u8, life: u64, question: hub::Output, answered: bool) {
        use dormouse_core::hub::{Input, Output};
        self.digest.word(6);
        let minor = matches!(question, Output::RenewRegistrations(_));
        self.log.add(|_| words::asked(Entity::Hub(hub), words::hub_question(&question), &question, minor));
        self.doing = names::of_hub(&question);
        self.saw_asked(&question);
        let now = self.now;
        let before = self.oracle.registry_before(&self.postgres, &question);
        self.lose_spool(hub, &question);
        let pg = &mut self.postgres;
        let input = match &question {
            Output::TakeEpoch(ask) => Input::EpochTaken(answer(ask.id, pg.ask_take_epoch(now, &ask.question))),
            Output::JudgePosition(ask) => Input::PositionJudged(answer(ask.id, pg.ask_judge_position(&ask.question))),
            Output::TakeSnapshot(ask) => return self.begin_snapshot(hub, life, ask.clone(), answered),
            Output::ReadChunk(ask) => Input::ChunkRead(answer(ask.id, pg.ask_read_chunk(&ask.question))),
            Output::ReadHistory(ask) => Input::HistoryRead(answer(ask.id, pg.ask_read_history(&ask.question))),
            Output::ReadHead(ask) => Input::HeadRead(answer(ask.id, pg.ask_read_head(&ask.question))),
            Output::SavePositions(ask) => Input::PositionsSaved(answer(ask.id, pg.ask_save_positions(&ask.question))),
            Output::RenewRegistrations(ask) => {
                for (client, _) in &ask.question.entries {
                    if !pg.registrations().contains_key(client) {
                        self.probes.hit(Probe::RanOutInUse);
                        // It is entered again without a place, which its hub knows of those alone that have not left.
                        self.hubs[hub as usize].acked.remove(client);
                    }
                }
                Input::RegistrationsRenewed(answer(ask.id, pg.ask_renew_registrations(now, &ask.question)))
            }
            Output::Unregister(ask) => Input::Unregistered(answer(ask.id, pg.ask_unregister(&ask.question))),
            Output::Send { .. }
            | Output::Close { .. }
            | Output::Attach { .. }
            | Output::Hibernate { .. }
            | Output::WantCovered { .. }
            | Output::DropSpool { .. } => return, // These are no questions to the database.
        };
        if let Output::TakeEpoch(ask) = &question
            && ask.question.position == hub::StoredPosition::Keep
            && let Input::EpochTaken(Answer { reply: Ok(hub::EpochTaken::Taken { stored: Some(_), .. }), .. }) = &input
        {
            self.hit(Probe::ThinResumed);
        }
        if let Input::HistoryRead(Answer { reply: Ok(dormouse_core::history::HistoryRead::Page { page, .. }), .. }) =
            &input
            && page.is_piece()
        {
            self.hit(Probe::PieceRead);
        }
        self.saw_effect(&input);
        let verdict = self.oracle.registry_after(&self.postgres, &before, &question, &input);
        self.verdict(Entity::Hub(hub), verdict);
        self.answer_hub(hub, life, input, answered);
    }

    fn answer_hub(&mut self, hub: u8, life: u64, input: hub::Input, answered: bool) {
        let minor = matches!(input, hub::Input::RegistrationsRenewed(_));
        self.log.add(|_| words::answered(Entity::Hub(hub), words::hub_reply(&input), &input, answered, minor));
        if answered {
            let after = self.answer_latency(Entity::Hub(hub));
            self.plan_in(after, Event::HubHears { hub, life, input: Box::new(input) });
        }
    }

    fn begin_snapshot(&mut self, hub: u8, life: u64, ask: Ask<TakeSnapshot>, answered: bool) {
        match self.postgres.snapshot_begin(&ask.question) {
            Ok(SnapshotBegun::Answered(reply)) => {
                if reply == SnapshotTaken::EraStarting {
                    self.hit(Probe::EraStarting);
                }
                self.answer_hub(hub, life, hub::Input::SnapshotTaken(answer(ask.id, Ok(reply))), answered);
            }
            Ok(begun) => {
                let weight = if self.plan.has(Family::Latency) { per_mille(300) } else { per_mille(80) };
                let after = self.delay(Kind::CopyLatency, Entity::Hub(hub), COPY_US, weight);
                let (ask, begun) = (Box::new(ask), Box::new(begun));
                self.plan_in(after, Event::SnapshotCopied { hub, life, ask, begun, answered });
            }
            Err(failure) => {
                self.answer_hub(hub, life, hub::Input::SnapshotTaken(answer(ask.id, Err(failure))), answered);
            }
        }
    }

    pub(super) fn snapshot_copied(
        &mut self,
        hub: u8,
        life: u64,
        ask: Ask<TakeSnapshot>,
        begun: SnapshotBegun,
        answered: bool,
    ) {
        let SnapshotBegun::Begun(id) = begun else { return };
        self.doing = "TakeSnapshot";
        self.digest.word(7);
        let reply = self.postgres.snapshot_finish(id);
        self.saw_copied(&reply);
        if let Ok(SnapshotTaken::Spooled(spool)) = &reply {
            self.hit(Probe::SnapshotTaken);
            if !spool.snapshot.running.is_empty() {
                self.hit(Probe::SnapshotWithRunning);
            }
            let host = &mut self.hubs[hub as usize];
            if host.life == life && host.machine.is_some() && answered {
                host.spools.push(spool.id);
            } else {
                self.postgres.drop_spool(spool.id); // The file is removed with the process, or with the failed copy.
            }
        }
        self.answer_hub(hub, life, hub::Input::SnapshotTaken(answer(ask.id, reply)), answered);
    }
}

fn answer<Q: Question>(id: AskId, reply: Result<Q::Reply, Failure>) -> Answer<Q> {
    Answer { id, reply }
}

/// Whether the token fences a late effect of this question, so that it may come after the machine has gone on.
const fn late_effect_is_fenced(question: &replication::Output) -> bool {
    use replication::Output;
    matches!(
        question,
        Output::TakeLease(_)
            | Output::RenewLease(_)
            | Output::LoadProgress(_)
            | Output::RecordPage(_)
            | Output::SaveCovered(_)
            | Output::NoteAttempt(_)
            | Output::Prune(_)
    )
}
