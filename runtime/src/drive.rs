//! One loop drives every machine: facts in, commands out, time when it is due, invariants after each fact.

use crate::clock::Clock;
use dormouse_core::ask::{Answer, Ask, Question};
use dormouse_core::fault::Failure;
use dormouse_core::machine::{BrokenInvariant, Machine};
use dormouse_core::time::Timestamp;
use dormouse_journal::record::Dropped;
use futures::FutureExt;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How many broken invariants within a minute end the host instead of another life of its machine.
const BREAKS_MAX: usize = 3;

/// What surrounds a machine: it knows the outside, carries out commands, and builds the machine's lives.
pub trait Host: Send {
    /// What is driven.
    type Machine: Machine<Input: Send + Debug, Output: Send + Debug> + Send;
    /// What arrives, from which the machine's facts are made.
    type Event: Send;

    /// Waits for events and adds them to the batch; false when none will ever come. Cancelling loses none.
    fn receive(&mut self, batch: &mut Vec<Self::Event>) -> impl Future<Output = bool> + Send;

    /// Whether this event is a reason to wake a sleeping machine.
    fn wakes(&self, event: &Self::Event) -> bool;

    /// Builds the machine's next life, and its first fact.
    fn wake(&mut self, now: Timestamp) -> (Self::Machine, <Self::Machine as Machine>::Input);

    /// Turns an event into facts. They are dropped when the machine sleeps.
    fn on_event(&mut self, event: Self::Event, facts: &mut Vec<<Self::Machine as Machine>::Input>) -> Step;

    /// Carries out a command. What takes time is spawned, and its answer arrives as an event.
    fn carry_out(&mut self, now: Timestamp, output: <Self::Machine as Machine>::Output) -> Step;

    /// Called after each batch, with the machine as it stands if it is awake.
    fn settle(&mut self, machine: Option<&Self::Machine>) -> Settled;

    /// Invariants broke too often: tell whoever is concerned, in one sentence.
    fn give_up(&mut self, sentence: String);
}

/// Sees all that a machine is told and says. It cannot interfere, and must not block.
pub trait Witness<M: Machine>: Send {
    /// A life of the machine begins.
    fn begins(&mut self, now: Timestamp, machine: &M);

    /// The machine is told something.
    fn told(&mut self, now: Timestamp, input: &M::Input);

    /// The machine is told that its deadline has come.
    fn timeout(&mut self, now: Timestamp);

    /// The machine said something.
    fn says(&mut self, output: &M::Output);

    /// The machine has said all that follows; `None` when it was dropped before.
    fn stepped(&mut self, now: Timestamp, machine: Option<&M>);

    /// The machine was dropped.
    fn dropped(&mut self, now: Timestamp, why: Dropped);
}

/// What the loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    On,
    /// Drop the machine once nothing waits for it, and wake it at this time at the latest.
    Sleep(Option<Timestamp>),
    /// Drop the machine now, and build the next life from what is kept.
    Evict,
}

/// How a host stands after a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Events wait already.
    Waiting,
    /// No event waits.
    Quiet,
    /// The host's work is done.
    Done,
}

/// Drives a host's machine until it is done. The machine is built when the first fact needs it.
pub async fn drive<H: Host>(clock: Clock, host: H, witness: Option<impl Witness<H::Machine>>) -> H {
    let breaks = Vec::new();
    let mut driver = Driver { clock, host, witness, machine: None, alarm: None, sleep: None, breaks, ended: false };
    let (mut batch, mut facts) = (Vec::new(), Vec::new());
    driver.settle();
    while !driver.ended {
        let deadline = driver.deadline();
        tokio::select! {
            more = driver.host.receive(&mut batch) => if !more { break },
            () = until(clock, deadline) => {}
        }
        driver.on_time();
        for event in batch.drain(..) {
            driver.on_event(event, &mut facts);
            if driver.ended {
                break;
            }
        }
        driver.settle();
    }
    driver.host
}

struct Driver<H: Host, W> {
    clock: Clock,
    host: H,
    witness: Option<W>,
    machine: Option<H::Machine>,
    /// When a sleeping machine wakes by itself.
    alarm: Option<Timestamp>,
    /// The machine's wish to sleep, with its alarm; void once a further fact came.
    sleep: Option<Option<Timestamp>>,
    breaks: Vec<Timestamp>,
    ended: bool,
}

impl<H: Host, W: Witness<H::Machine>> Driver<H, W> {
    fn deadline(&self) -> Option<Timestamp> {
        self.machine.as_ref().map_or(self.alarm, Machine::poll_timeout)
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        self.ensure_awake(now);
        if let Some(machine) = &mut self.machine {
            self.sleep = None;
            if let Some(witness) = &mut self.witness {
                witness.timeout(now);
            }
            machine.handle_timeout(now);
            self.carry_out(now);
        }
    }

    fn on_event(&mut self, event: H::Event, facts: &mut Vec<<H::Machine as Machine>::Input>) {
        let now = self.clock.now();
        if self.host.wakes(&event) {
            self.ensure_awake(now);
        }
        match self.host.on_event(event, facts) {
            Step::On | Step::Sleep(_) => {}
            Step::Evict => {
                self.drop_machine(now, Dropped::Evicted);
                self.ensure_awake(now);
            }
        }
        for fact in facts.drain(..) {
            self.feed(now, fact);
        }
    }

    /// Hands one fact to the machine, if it is awake.
    fn feed(&mut self, now: Timestamp, fact: <H::Machine as Machine>::Input) {
        if let Some(machine) = &mut self.machine {
            self.sleep = None;
            trace("told", &fact);
            if let Some(witness) = &mut self.witness {
                witness.told(now, &fact);
            }
            machine.handle(now, fact);
            self.carry_out(now);
        }
    }

    fn ensure_awake(&mut self, now: Timestamp) {
        while self.machine.is_none() && !self.ended {
            let (machine, woke) = self.host.wake(now);
            if let Some(witness) = &mut self.witness {
                witness.begins(now, &machine);
            }
            (self.machine, self.alarm) = (Some(machine), None);
            self.feed(now, woke);
            if let Some(Err(broken)) = self.machine.as_ref().map(Machine::check_all) {
                self.on_broken(now, &broken);
            }
        }
    }

    fn carry_out(&mut self, now: Timestamp) {
        while let Some(output) = self.machine.as_mut().and_then(Machine::poll_output) {
            trace("says", &output);
            if let Some(witness) = &mut self.witness {
                witness.says(&output);
            }
            match self.host.carry_out(now, output) {
                Step::On => {}
                Step::Sleep(alarm) => self.sleep = Some(alarm),
                Step::Evict => self.machine = None,
            }
        }
        if let Some(witness) = &mut self.witness {
            witness.stepped(now, self.machine.as_ref());
            if self.machine.is_none() {
                witness.dropped(now, Dropped::Evicted);
            }
        }
        if let Some(Err(broken)) = self.machine.as_ref().map(Machine::check) {
            self.on_broken(now, &broken);
            self.ensure_awake(now);
        }
    }

    fn on_broken(&mut self, now: Timestamp, broken: &BrokenInvariant) {
        tracing::error!(%broken, "a machine is dropped and built again from what is durable");
        self.drop_machine(now, Dropped::Broken);
        self.breaks.retain(|at| now.since(*at) < Duration::from_secs(60));
        self.breaks.push(now);
        if self.breaks.len() >= BREAKS_MAX {
            self.ended = true;
            self.host
                .give_up(format!("stopped after {BREAKS_MAX} broken invariants within a minute; the last: {broken}"));
        }
    }

    fn drop_machine(&mut self, now: Timestamp, why: Dropped) {
        if self.machine.take().is_some()
            && let Some(witness) = &mut self.witness
        {
            witness.dropped(now, why);
        }
    }

    /// Ends a batch: lets the machine sleep when it wished to and nothing has come since.
    fn settle(&mut self) {
        match self.host.settle(self.machine.as_ref()) {
            Settled::Waiting => {}
            Settled::Done => self.ended = true,
            Settled::Quiet => {
                if let Some(alarm) = self.sleep.take() {
                    self.drop_machine(self.clock.now(), Dropped::Slept { alarm });
                    self.alarm = alarm;
                    self.host.settle(None);
                }
            }
        }
    }
}

/// Logs which fact or command it was, without its values: rows are not for logs.
fn trace(direction: &str, value: &impl Debug) {
    if tracing::enabled!(tracing::Level::TRACE) {
        let text = format!("{value:?}");
        let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        tracing::trace!("{direction} {name}");
    }
}

async fn until(clock: Clock, deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(clock.instant_of(at)).await,
        None => std::future::pending().await,
    }
}

/// Works on a question and makes its answer, which comes even when the work panics.
pub async fn answer<Q: Question, F>(ask: Ask<Q>, work: impl FnOnce(Q) -> F) -> Answer<Q>
where
    F: Future<Output = Result<Q::Reply, Failure>>,
{
    let (question, ticket) = ask.split();
    let reply = AssertUnwindSafe(work(question)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("the work on a question panicked");
        Err(Failure::Unavailable("the work on this question ended with a defect".into()))
    });
    note_failure::<Q>(&reply);
    ticket.answer(reply)
}

/// Logs why a question has no reply; the machine decides what follows.
pub fn note_failure<Q: Question>(reply: &Result<Q::Reply, Failure>) {
    if let Err(why) = reply {
        let question = std::any::type_name::<Q>();
        tracing::warn!(question = question.rsplit("::").next().unwrap_or(question), "{why}");
    }
}

#[cfg(test)]
mod tests;
