//! Questions that wait together are answered together: one statement, one round trip and one commit for all of them.
//!
//! Nobody waits for company: a question goes at once while fewer than [`FLIGHTS_MAX`] statements are under way, and whatever
//! comes meanwhile shares the next one. So a lone greeting is as fast as ever, and a thousand at once cost Postgres a few dozen.

use dormouse_core::fault::Failure;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// How many statements of one kind are under way at once: a second one works while the first waits for the disk.
const FLIGHTS_MAX: usize = 2;
/// The most questions that share a statement.
const TOGETHER_MAX: usize = 256;

type Waiting<Q, R> = Vec<(Q, oneshot::Sender<Result<R, Failure>>)>;

/// The questions of one kind.
pub(super) struct Gather<Q, R> {
    state: Arc<Mutex<State<Q, R>>>,
}

struct State<Q, R> {
    flights: usize,
    waiting: Waiting<Q, R>,
}

impl<Q, R> Default for Gather<Q, R> {
    fn default() -> Self {
        Self { state: Arc::new(Mutex::new(State { flights: 0, waiting: Vec::new() })) }
    }
}

impl<Q: Send + 'static, R: Send + 'static> Gather<Q, R> {
    /// Asks. `work` answers all that wait, in their order; every statement of its begins after the questions came.
    pub(super) async fn ask<W, F>(&self, question: Q, work: W) -> Result<R, Failure>
    where
        W: Fn(Vec<Q>) -> F + Send + 'static,
        F: Future<Output = Vec<Result<R, Failure>>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let takes_off = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.push((question, reply));
            let free = state.flights < FLIGHTS_MAX;
            state.flights += usize::from(free);
            free
        };
        if takes_off {
            // A task of its own: whoever asked may lose interest, and those who share the statement have not.
            tokio::spawn(fly(Arc::clone(&self.state), work));
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Failure::Unavailable("the work on this question ended with a defect".into())))
    }
}

/// Answers batch after batch until nothing waits.
async fn fly<Q, R, W, F>(state: Arc<Mutex<State<Q, R>>>, work: W)
where
    W: Fn(Vec<Q>) -> F,
    F: Future<Output = Vec<Result<R, Failure>>>,
{
    loop {
        let (questions, replies): (Vec<_>, Vec<_>) = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.waiting.is_empty() {
                state.waiting = Vec::new(); // What a storm needed is not kept.
                state.flights -= 1;
                return;
            }
            let together = state.waiting.len().min(TOGETHER_MAX);
            state.waiting.drain(..together).unzip()
        };
        let answers = AssertUnwindSafe(work(questions)).catch_unwind().await;
        for (reply, answer) in replies.into_iter().zip(answers.unwrap_or_default()) {
            let _ = reply.send(answer); // Whoever asked may have gone.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn what_waits_is_answered_together_and_in_order() {
        let gather = Gather::<u32, (u32, usize)>::default();
        let gate = Arc::new(Semaphore::new(0));
        let ask = |n| {
            let gate = Arc::clone(&gate);
            gather.ask(n, move |batch: Vec<u32>| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.expect("open").forget();
                    let together = batch.len();
                    batch.into_iter().map(|n| Ok((n, together))).collect()
                }
            })
        };
        let open = async {
            while gate.available_permits() == 0 {
                tokio::task::yield_now().await;
                let state = gather.state.lock().expect("sound");
                if state.flights == FLIGHTS_MAX && state.waiting.len() == 600 {
                    gate.add_permits(5);
                }
            }
        };
        let departed = async || {
            while !gather.state.lock().expect("sound").waiting.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let first = ask(0);
        let rest = async {
            departed().await;
            let second = ask(1);
            tokio::pin!(second);
            assert!(futures::poll!(&mut second).is_pending());
            departed().await;
            tokio::join!(second, futures::future::join_all((2..602).map(ask)))
        };
        let (first, (second, rest), ()) = tokio::join!(first, rest, open);
        assert_eq!(first, Ok((0, 1)), "a lone question goes at once");
        assert_eq!(second, Ok((1, 1)), "and a second one");
        for (n, answer) in (2..).zip(rest) {
            assert_eq!(answer, Ok((n, if n < 2 + 512 { 256 } else { 88 })));
        }
        assert_eq!(gather.state.lock().expect("sound").flights, 0);
    }

    #[tokio::test]
    async fn work_that_panics_fails_its_own_questions_only() {
        let gather = Gather::<u32, u32>::default();
        let ask = |n| {
            gather.ask(n, |batch: Vec<u32>| async move {
                assert!(!batch.contains(&0), "a defect");
                batch.into_iter().map(Ok).collect()
            })
        };
        assert!(matches!(ask(0).await, Err(Failure::Unavailable(_))));
        assert_eq!(ask(1).await, Ok(1));
    }
}
