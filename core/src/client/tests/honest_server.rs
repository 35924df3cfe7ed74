//! An honest server that is cut, wakes, resends and backfills at any moment; a store that loses answers. The client must
//! reach the end of history with exactly its rows.

use super::*;
use crate::rng::Rng;
use crate::sum::row_hash;
use proptest::prelude::*;

const PIECE: u32 = 3;

/// A history of single-row transactions and a few large ones, and the row set at each boundary.
struct History {
    transactions: Vec<Transaction>,
}

impl History {
    fn new(rng: &mut Rng) -> Self {
        let mut rows = 0;
        let transactions = (1..=12).map(|n| {
            let many = if rng.below(4) == 0 { 4 + rng.below(8) } else { 1 + rng.below(2) };
            let ids = rows..rows + many;
            rows += many;
            transaction(n * 0x10, ids)
        });
        Self { transactions: transactions.collect() }
    }

    fn end(&self) -> Waypoint {
        boundary(self.transactions.last().expect("some").commit_lsn.0)
    }

    fn sum(&self, through: Waypoint) -> u128 {
        let held = self.transactions.iter().filter(|t| Position::after(t.commit_lsn) <= through.position);
        held.flat_map(|t| t.changes.iter()).fold(0, |sum, change| match change {
            Change::Insert { row, .. } => sum.wrapping_add(row_hash(&relation(), row)),
            _ => sum,
        })
    }

    /// What follows a position: some whole transactions, or a piece.
    fn page(&self, after: Position, rng: &mut Rng) -> Option<Page> {
        let relations: Arc<[_]> = [relation()].into();
        let mut rest = self.transactions.iter().filter(|t| Position::after(t.commit_lsn) > after).peekable();
        let first = *rest.peek()?;
        let begin = if first.commit_lsn == after.commit_lsn { after.index + 1 } else { 0 };
        let changes = u32::try_from(first.changes.len()).expect("few");
        if begin > 0 || changes > PIECE {
            let end = (begin + 1 + u32::try_from(rng.below(u64::from(PIECE))).expect("few")).min(changes);
            let complete = end == changes;
            let run = first.changes[begin as usize..end as usize].into();
            let end_lsn = if complete { first.end_lsn } else { Lsn::ZERO };
            let transactions = vec![Transaction { first: begin, complete, end_lsn, changes: run, ..first.clone() }];
            let index = if complete { Position::WHOLE } else { end - 1 };
            return Some(Page { after, through: at_index(first.commit_lsn.0, index), relations, transactions });
        }
        let small = rest.take_while(|t| t.changes.len() <= PIECE as usize);
        let transactions: Vec<_> = small.take(1 + usize::try_from(rng.below(3)).expect("few")).cloned().collect();
        let through = boundary(transactions.last().expect("one at least").commit_lsn.0);
        Some(Page { after, through, relations, transactions })
    }
}

/// The server's side of one connection.
enum Server {
    Deaf,
    /// A snapshot of everything through here, at message `n`.
    Backfilling {
        id: u64,
        n: u32,
        at: Waypoint,
    },
    Paging {
        sent: Position,
    },
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let history = History::new(&mut rng);
    let mut run = Run::with(Config { seed, window_pages: 4, ..config() });
    run.prompt = false;
    run.start();
    let (mut server, mut backfills, mut acked) = (Server::Deaf, 0, None);
    for step in 0..600 {
        let trouble = step < 300;
        match rng.below(if trouble { 20 } else { 12 }) {
            0..6 => server = serve(&mut run, server, &history, &mut rng, &mut backfills, &mut acked),
            6..10 if !run.asked.is_empty() => run.stored(),
            6..12 => run.pass(Duration::from_millis(rng.below(2_000))),
            12 | 13 => run.closed(),
            14 if !run.asked.is_empty() => {
                let (question, ticket) = run.asked.remove(0).split();
                if rng.below(2) == 0 {
                    run.store.apply(&question.request);
                }
                run.input("lost", Input::Stored(ticket.answer(Err(Failure::Unavailable("lost".into())))));
            }
            15 => {
                // A crash: the question under way may or may not take effect.
                if let Some(ask) = run.asked.pop().filter(|_| rng.below(2) == 0) {
                    run.store.apply(&ask.question.request);
                }
                run.asked.clear();
                run.client = Client::new(run.client.config.clone());
                run.start();
            }
            16 | 17 => {
                // The hub wakes and goes on from the last acknowledgement, or backfills anew.
                server = match (server, acked) {
                    (Server::Paging { .. }, Some(sent)) => Server::Paging { sent },
                    (Server::Backfilling { .. }, _) => begin_backfill(&history, &mut rng, &mut backfills),
                    (server, _) => server,
                };
            }
            _ => {}
        }
        let held = run.store.held();
        let shown = held.shown.map_or(0, |shown| history.sum(shown));
        assert_eq!((held.sum, held.anomalies), (shown, 0), "seed {seed}:\n{}", run.log);
    }
    assert_eq!(run.store.held().staged, Some(history.end()), "seed {seed}:\n{}", run.log);
}

fn begin_backfill(history: &History, rng: &mut Rng, backfills: &mut u64) -> Server {
    *backfills += 1;
    let some = usize::try_from(rng.below(history.transactions.len() as u64)).expect("few");
    Server::Backfilling { id: *backfills, n: 0, at: boundary(history.transactions[some].commit_lsn.0) }
}

/// One step of the server: accepts a connection, or sends the next message.
fn serve(
    run: &mut Run,
    server: Server,
    history: &History,
    rng: &mut Rng,
    backfills: &mut u64,
    acked: &mut Option<Position>,
) -> Server {
    use crate::client::ClientPhase;
    match (run.client.phase(), server) {
        (ClientPhase::Offline, _) => Server::Deaf,
        (ClientPhase::Connecting, _) => {
            run.connect();
            *acked = None;
            Server::Deaf
        }
        (ClientPhase::Greeting, _) => match run.client.held().staged {
            Some(at) => {
                *acked = Some(at.position);
                run.welcome(Some(at));
                Server::Paging { sent: at.position }
            }
            None => {
                run.welcome(None);
                begin_backfill(history, rng, backfills)
            }
        },
        (_, Server::Backfilling { id, n, at }) => {
            let held = history.transactions.iter().filter(|t| Position::after(t.commit_lsn) <= at.position);
            let rows = held.flat_map(|t| t.changes.iter()).filter_map(|change| match change {
                Change::Insert { row, .. } => Some(row.clone()),
                _ => None,
            });
            let rows: Vec<_> = rows.skip(n as usize * 2).take(2).collect();
            if rows.is_empty() {
                run.receive(seam(id, n, None, Some(at.position.commit_lsn.0)));
                *acked = Some(at.position);
                return Server::Paging { sent: at.position };
            }
            let chunk = Arc::new(Chunk { relation: relation(), rows });
            run.receive(ServerMessage::Chunk { backfill: BackfillId(id), n, of: 0, chunk });
            Server::Backfilling { id, n: n + 1, at }
        }
        (_, Server::Paging { sent }) => {
            *acked = run.client.acked().map(|acked| acked.position).or(*acked);
            let Some(page) = history.page(sent, rng) else {
                return Server::Paging { sent };
            };
            let sent = page.through.position;
            run.page(page);
            Server::Paging { sent }
        }
        (_, Server::Deaf) => {
            run.closed();
            Server::Deaf
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn through_cuts_and_crashes_it_reaches_the_end_of_history_with_its_rows(seed in any::<u64>()) {
        run(seed);
    }
}
