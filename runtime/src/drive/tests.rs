//! The loop with a machine of nothing but the contract.

use super::*;
use dormouse_core::ensure;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

/// Repeats what it is told, and sleeps, breaks or rings when told to.
struct Parrot {
    outputs: VecDeque<Said>,
    rings_at: Option<Timestamp>,
    broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Woke(u32),
    Word(u32),
    Sleep(Option<Duration>),
    RingAfter(Duration),
    Break,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Woke(u32),
    Word(u32),
    Rang,
    Sleep(Option<Timestamp>),
}

impl Machine for Parrot {
    type Input = Heard;
    type Output = Said;

    fn handle(&mut self, now: Timestamp, input: Heard) {
        match input {
            Heard::Woke(life) => self.outputs.push_back(Said::Woke(life)),
            Heard::Word(word) => self.outputs.push_back(Said::Word(word)),
            Heard::Sleep(after) => self.outputs.push_back(Said::Sleep(after.map(|after| now + after))),
            Heard::RingAfter(after) => self.rings_at = Some(now + after),
            Heard::Break => self.broken = true,
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        if self.rings_at.take_if(|at| *at <= now).is_some() {
            self.outputs.push_back(Said::Rang);
        }
    }

    fn poll_output(&mut self) -> Option<Said> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.rings_at
    }

    fn check(&self) -> Result<(), BrokenInvariant> {
        ensure!(!self.broken, "the parrot is whole");
        Ok(())
    }

    fn check_all(&self) -> Result<(), BrokenInvariant> {
        self.check()
    }
}

enum Event {
    Hear(Heard),
    Ignored(Heard),
    Evict,
    End,
}

struct Cage {
    events: mpsc::Receiver<Event>,
    said: Vec<Said>,
    count: watch::Sender<usize>,
    lives: u32,
    ended: bool,
    gave_up: Option<String>,
}

impl Host for Cage {
    type Machine = Parrot;
    type Event = Event;

    async fn receive(&mut self, batch: &mut Vec<Event>) -> bool {
        self.events.recv_many(batch, 8).await > 0
    }

    fn wakes(&self, event: &Event) -> bool {
        matches!(event, Event::Hear(_))
    }

    fn wake(&mut self, _: Timestamp) -> (Parrot, Heard) {
        self.lives += 1;
        (Parrot { outputs: VecDeque::new(), rings_at: None, broken: false }, Heard::Woke(self.lives))
    }

    fn on_event(&mut self, event: Event, facts: &mut Vec<Heard>) -> Step {
        match event {
            Event::Hear(heard) | Event::Ignored(heard) => facts.push(heard),
            Event::Evict => return Step::Evict,
            Event::End => self.ended = true,
        }
        Step::On
    }

    fn carry_out(&mut self, _: Timestamp, output: Said) -> Step {
        let sleep = if let Said::Sleep(alarm) = output { Some(alarm) } else { None };
        self.said.push(output);
        self.count.send_modify(|count| *count += 1);
        sleep.map_or(Step::On, Step::Sleep)
    }

    fn settle(&mut self, _: Option<&Parrot>) -> Settled {
        match (self.ended, self.events.is_empty()) {
            (true, _) => Settled::Done,
            (false, true) => Settled::Quiet,
            (false, false) => Settled::Waiting,
        }
    }

    fn give_up(&mut self, sentence: String) {
        self.gave_up = Some(sentence);
    }
}

/// Notes what it sees.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<String>>>);

impl Watcher {
    fn note(&self, text: String) {
        self.0.lock().expect("nobody panics with it").push(text);
    }
}

impl Witness<Parrot> for Watcher {
    fn begins(&mut self, _: Timestamp, machine: &Parrot) {
        assert!(machine.outputs.is_empty(), "it has not been told anything");
        self.note("begins".into());
    }
    fn told(&mut self, _: Timestamp, input: &Heard) {
        self.note(format!("told {input:?}"));
    }
    fn timeout(&mut self, _: Timestamp) {
        self.note("timeout".into());
    }
    fn says(&mut self, output: &Said) {
        self.note(format!("says {output:?}"));
    }
    fn stepped(&mut self, _: Timestamp, machine: Option<&Parrot>) {
        assert!(machine.is_none_or(|machine| machine.outputs.is_empty()), "it has said all");
        self.note("stepped".into());
    }
    fn dropped(&mut self, _: Timestamp, why: Dropped) {
        self.note(format!("dropped {why:?}"));
    }
}

/// Sends the events at once, then does the rest, and returns what was said, with the cage as it was in the end.
async fn run(
    events: Vec<Event>,
    rest: impl AsyncFnOnce(mpsc::Sender<Event>, watch::Receiver<usize>),
) -> (Vec<Said>, Cage) {
    run_watched(events, None, rest).await
}

async fn run_watched(
    events: Vec<Event>,
    watcher: Option<Watcher>,
    rest: impl AsyncFnOnce(mpsc::Sender<Event>, watch::Receiver<usize>),
) -> (Vec<Said>, Cage) {
    let (sender, inbox) = mpsc::channel(64);
    let (count, said) = watch::channel(0);
    let cage = Cage { events: inbox, said: Vec::new(), count, lives: 0, ended: false, gave_up: None };
    let driven = tokio::spawn(drive(Clock::start(), cage, watcher));
    for event in events {
        sender.send(event).await.unwrap_or_else(|_| panic!("the driver has ended"));
    }
    rest(sender.clone(), said).await;
    let _ = sender.send(Event::End).await; // It may have given up already.
    let mut cage = driven.await.expect("the driver does not panic");
    (std::mem::take(&mut cage.said), cage)
}

#[tokio::test]
async fn the_first_event_that_matters_builds_the_machine() {
    let events = vec![Event::Ignored(Heard::Word(1)), Event::Hear(Heard::Word(2)), Event::Ignored(Heard::Word(3))];
    let (said, _) = run(events, async |_, _| {}).await;
    assert_eq!(said, [Said::Woke(1), Said::Word(2), Said::Word(3)]);
}

#[tokio::test]
async fn a_sleeping_machine_wakes_for_an_event_as_another_life() {
    let sleep = vec![Event::Hear(Heard::Sleep(None))];
    let (said, _) = run(sleep, async |events, mut said| {
        // On one thread the driver runs until it waits, and so has gone to sleep.
        said.wait_for(|count| *count == 2).await.expect("driven");
        let _ = events.send(Event::Ignored(Heard::Word(1))).await;
        let _ = events.send(Event::Hear(Heard::Word(2))).await;
    })
    .await;
    assert_eq!(said, [Said::Woke(1), Said::Sleep(None), Said::Woke(2), Said::Word(2)]);
}

#[tokio::test]
async fn sleep_is_void_once_something_waits() {
    let events = vec![Event::Hear(Heard::Sleep(None)), Event::Ignored(Heard::Word(1))];
    let (said, _) = run(events, async |_, _| {}).await;
    assert_eq!(said, [Said::Woke(1), Said::Sleep(None), Said::Word(1)]);
}

#[tokio::test]
async fn an_alarm_wakes_and_a_timer_rings() {
    let events = vec![Event::Hear(Heard::Sleep(Some(Duration::from_millis(20))))];
    let (said, cage) = run(events, async |events, mut said| {
        said.wait_for(|count| *count == 3).await.expect("driven");
        let _ = events.send(Event::Hear(Heard::RingAfter(Duration::from_millis(20)))).await;
        said.wait_for(|count| *count == 4).await.expect("driven");
    })
    .await;
    assert!(matches!(said[..], [Said::Woke(1), Said::Sleep(Some(_)), Said::Woke(2), Said::Rang]), "{said:?}");
    assert_eq!(cage.lives, 2);
}

#[tokio::test]
async fn an_evicted_machine_is_built_again_at_once() {
    let (said, _) = run(vec![Event::Hear(Heard::Word(1)), Event::Evict], async |_, _| {}).await;
    assert_eq!(said, [Said::Woke(1), Said::Word(1), Said::Woke(2)]);
}

#[tokio::test]
async fn the_third_broken_invariant_within_a_minute_ends_it() {
    let breaks = || Event::Hear(Heard::Break);
    let (said, cage) = run(vec![breaks(), Event::Hear(Heard::Word(1)), breaks()], async |_, _| {}).await;
    assert_eq!(said, [Said::Woke(1), Said::Woke(2), Said::Word(1), Said::Woke(3)]);
    assert_eq!(cage.gave_up, None);
    let (_, cage) = run(vec![breaks(), breaks(), breaks()], async |_, _| {}).await;
    assert!(cage.gave_up.is_some_and(|sentence| sentence.contains("the parrot is whole")));
}

#[tokio::test]
async fn a_witness_sees_every_life_and_step_in_order() {
    let watcher = Watcher::default();
    let events =
        vec![Event::Hear(Heard::Word(1)), Event::Evict, Event::Hear(Heard::Break), Event::Hear(Heard::Sleep(None))];
    let (_, cage) = run_watched(events, Some(watcher.clone()), async |events, mut said| {
        said.wait_for(|count| *count == 5).await.expect("driven");
        let _ = events.send(Event::Hear(Heard::RingAfter(Duration::from_millis(1)))).await;
        said.wait_for(|count| *count == 7).await.expect("driven");
    })
    .await;
    assert_eq!(cage.lives, 4);
    let seen = watcher.0.lock().expect("nobody panics with it").join("\n");
    let expected = [
        "begins\ntold Woke(1)\nsays Woke(1)\nstepped",
        "told Word(1)\nsays Word(1)\nstepped\ndropped Evicted",
        "begins\ntold Woke(2)\nsays Woke(2)\nstepped",
        "told Break\nstepped\ndropped Broken",
        "begins\ntold Woke(3)\nsays Woke(3)\nstepped",
        "told Sleep(None)\nsays Sleep(None)\nstepped\ndropped Slept { alarm: None }",
        "begins\ntold Woke(4)\nsays Woke(4)\nstepped",
        "told RingAfter(1ms)\nstepped\ntimeout\nsays Rang\nstepped",
    ];
    assert_eq!(seen, expected.join("\n"));
}
