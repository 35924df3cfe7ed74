//! The task that owns the source: it starts, reads, confirms and stops for the machine, one thing at a time.

use super::Event;
use crate::drive;
use crate::source::Source;
use dormouse_core::ask::Ask;
use dormouse_core::fault::Failure;
use dormouse_core::position::Lsn;
use dormouse_core::replication::{Input, ReadSource, StartStream};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// How many commands may wait while the stream is being opened. Confirmations come from what was read, so few do.
const COMMANDS_MAX: usize = 256;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    Start(Ask<StartStream>),
    Read(Ask<ReadSource>),
    Confirm(Lsn),
    /// A nudge is in WAL.
    Nudged,
    Stop,
}

/// The host's handle on the task, which ends with it.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    commands: mpsc::Sender<Command>,
}

impl Reader {
    pub(super) fn start<S: Source + 'static>(source: S, events: mpsc::Sender<Event>, tasks: &TaskTracker) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        tasks.spawn(run(source, inbox, events));
        Self { commands }
    }

    /// Gives the task a command; hands it back when there is no room for it.
    pub(super) fn tell(&self, command: Command) -> Result<(), Command> {
        self.commands.try_send(command).map_err(|full| full.into_inner())
    }
}

async fn run<S: Source>(mut source: S, mut commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>) {
    let mut reads = VecDeque::<Ask<ReadSource>>::new();
    loop {
        let question = reads.front().map(|ask| ask.question.clone());
        let event = tokio::select! {
            biased; // A confirmation must not wait behind an endless supply of changes.
            command = commands.recv() => match command {
                None => break,
                Some(Command::Start(ask)) => {
                    reads.clear(); // Nor of any stream before, if there was no room for the command to stop it.
                    Input::StreamStarted(drive::answer(ask, |question| source.start(question)).await)
                }
                Some(Command::Read(ask)) => {
                    reads.push_back(ask);
                    continue;
                }
                Some(Command::Confirm(lsn)) => {
                    source.confirm(lsn);
                    continue;
                }
                Some(Command::Nudged) => {
                    source.nudged();
                    continue;
                }
                Some(Command::Stop) => {
                    source.stop().await;
                    reads.clear(); // The machine expects no answer to what it stopped.
                    continue;
                }
            },
            items = read(&mut source, question) => match reads.pop_front() {
                Some(ask) => {
                    drive::note_failure::<ReadSource>(&items);
                    Input::SourceRead(ask.split().1.answer(items))
                }
                None => continue,
            },
        };
        if events.send(Event::Answered(Box::new(event))).await.is_err() {
            break;
        }
    }
    source.stop().await;
}

/// Reads, if something is asked. A read that is given up for a command loses nothing: it is asked again.
async fn read<S: Source>(
    source: &mut S,
    question: Option<ReadSource>,
) -> Result<Vec<dormouse_core::source::SourceItem>, Failure> {
    match question {
        Some(question) => source.read(question).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_core::ask::{AskId, Incarnation};
    use dormouse_core::replication::Token;
    use dormouse_core::source::SourceItem;
    use std::sync::Mutex;
    use tokio::sync::watch;

    /// Each stream has one item, once it may tell it.
    #[derive(Default)]
    struct Streams {
        left: Mutex<u32>,
        tells: watch::Sender<bool>,
    }

    impl Source for std::sync::Arc<Streams> {
        async fn start(&self, _: StartStream) -> Result<(), Failure> {
            *self.left.lock().expect("no panic") = 1;
            Ok(())
        }

        async fn read(&self, _: ReadSource) -> Result<Vec<SourceItem>, Failure> {
            let _ = self.tells.subscribe().wait_for(|tells| *tells).await;
            let left = std::mem::take(&mut *self.left.lock().expect("no panic"));
            match left {
                0 => std::future::pending().await,
                _ => Ok(vec![SourceItem::Commit { end_lsn: Lsn(1) }]),
            }
        }

        fn confirm(&self, _: Lsn) {}

        async fn stop(&self) {}
    }

    fn ask<Q>(n: u64, question: Q) -> Ask<Q> {
        Ask { id: AskId { incarnation: Incarnation(1), n }, question }
    }

    /// There may have been no room for the command to stop: what was asked of that stream must not swallow what the next one tells.
    #[tokio::test]
    async fn what_was_asked_of_a_stream_is_not_answered_by_the_next() {
        let source = std::sync::Arc::new(Streams::default());
        let (events, mut answers) = mpsc::channel(8);
        let reader = Reader::start(std::sync::Arc::clone(&source), events, &TaskTracker::new());
        let start = || StartStream { token: Token(1), from: Lsn::ZERO };
        let read = || ReadSource { changes_max: 1, bytes_max: 1 };
        for command in [Command::Start(ask(1, start())), Command::Read(ask(2, read())), Command::Start(ask(3, start()))]
        {
            reader.tell(command).expect("there is room");
        }
        for _ in 0..2 {
            let started = answers.recv().await;
            assert!(matches!(&started, Some(Event::Answered(input)) if matches!(**input, Input::StreamStarted(_))));
        }
        reader.tell(Command::Read(ask(4, read()))).expect("there is room");
        source.tells.send_replace(true);
        let Some(Event::Answered(input)) = answers.recv().await else { panic!("an answer") };
        let Input::SourceRead(answer) = *input else { panic!("{input:?}") };
        assert_eq!(answer.id.n, 4);
    }
}
