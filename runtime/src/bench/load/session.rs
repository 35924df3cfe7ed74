//! One client without rows: it keeps its place, checks that pages chain, counts numbers, and owes acknowledgements as a real one does.

use super::message::{Message, Page, Place};
use std::fmt::Write;

/// Half of the server's windows, as in the protocol.
const ACK_PAGES: u32 = 32;
const ACK_STAGED: u32 = 4;
const ACK_BYTES: usize = 1024 * 1024;
/// The longest that something stays unacknowledged.
const ACK_AFTER_US: u64 = 1_000_000;

/// What is known of one client.
#[derive(Debug, Default)]
pub(super) struct Session {
    held: Option<Place>,
    /// The backfill that is being staged, and the number that follows.
    staging: Option<(String, u32)>,
    owed: Option<Owed>,
    /// Whether this connection is live.
    pub(super) live: bool,
    base: u64,
    /// By number: 1 and the microseconds from the fleet's start to its arrival; 0 is never.
    pub(super) arrivals: Vec<u32>,
    pub(super) noted: usize,
    pub(super) duplicated: u64,
    pub(super) gaps: u64,
    pub(super) rows: u64,
    pub(super) row_sum: u64,
}

#[derive(Debug)]
struct Owed {
    staged: Option<(String, u32)>,
    messages: u32,
    bytes: usize,
    since_us: u64,
}

/// What follows from a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    On,
    /// Send this.
    Say(String),
    /// Close this connection and come back.
    Leave(String),
}

impl Session {
    pub(super) fn new(base: u64, numbers: usize) -> Self {
        Self { base, arrivals: vec![0; numbers], ..Self::default() }
    }

    /// The greeting of a new connection.
    pub(super) fn hello(&mut self, name: &str, attempt: u64, table: Option<&str>) -> String {
        (self.staging, self.owed, self.live) = (None, None, false);
        let scope = table.map_or_else(|| "\"all\"".to_owned(), |table| format!("[\"{table}\"]"));
        let resume = self.held.as_ref().map_or("null", |place| &place.text);
        format!(
            r#"{{"type":"hello","client":"{name}","instance":"1","attempt":{attempt},"scope":{scope},"resume":{resume}}}"#
        )
    }

    /// Takes a message; `at` is 1 and the microseconds since the fleet's start.
    pub(super) fn on_message(&mut self, message: &Message, bytes: usize, at: u32) -> Next {
        match message {
            Message::Page(page) => self.on_page(page, bytes, at),
            Message::Chunk { backfill, n, rows, ids } => {
                if *n == 0 {
                    (self.rows, self.row_sum) = (0, 0);
                }
                self.rows += rows;
                self.row_sum = self.row_sum.wrapping_add(*ids);
                self.on_staged(backfill, *n, bytes, at)
            }
            Message::Seam { backfill, n, numbers, complete } => {
                if *n == 0 {
                    (self.rows, self.row_sum) = (0, 0);
                }
                self.note(numbers, at);
                let Some(complete) = complete else { return self.on_staged(backfill, *n, bytes, at) };
                if *n != 0 && self.staging != Some((backfill.clone(), *n)) {
                    return Next::Leave("a gap in a backfill".into());
                }
                (self.staging, self.owed) = (None, None);
                self.held = Some(complete.clone());
                Next::Say(ack(complete))
            }
            Message::Live => {
                self.live = true;
                Next::On
            }
            Message::Resync => {
                self.owed = None;
                Next::On
            }
            Message::Fault(code) => Next::Leave(code.clone()),
            Message::Welcome | Message::Shape(_) | Message::Other => Next::On,
        }
    }

    /// What is due to be acknowledged now.
    pub(super) fn overdue(&mut self, now_us: u64) -> Option<String> {
        let due = self.owed.as_ref().is_some_and(|owed| owed.since_us + ACK_AFTER_US <= now_us);
        if due { self.acknowledge() } else { None }
    }

    fn on_page(&mut self, page: &Page, bytes: usize, at: u32) -> Next {
        let Some(held) = &self.held else { return Next::Leave("a page before the backfill's end".into()) };
        let held = held.position;
        if page.after > held {
            self.gaps += 1;
            return Next::Leave("a hole between pages".into());
        }
        if page.through.position > held {
            let mut numbers = page.numbers.as_slice();
            for transaction in &page.transactions {
                let (own, rest) = numbers.split_at(transaction.numbers);
                numbers = rest;
                if transaction.first > held {
                    self.note(own, at);
                }
            }
            self.held = Some(page.through.clone());
        }
        self.owe(None, bytes, at, ACK_PAGES)
    }

    fn on_staged(&mut self, backfill: &str, n: u32, bytes: usize, at: u32) -> Next {
        let follows = self.staging.as_ref().is_some_and(|(id, next)| id == backfill && *next == n);
        if n != 0 && !follows {
            return Next::Leave("a gap in a backfill".into());
        }
        self.staging = Some((backfill.to_owned(), n + 1));
        self.owe(Some((backfill.to_owned(), n)), bytes, at, ACK_STAGED)
    }

    fn owe(&mut self, staged: Option<(String, u32)>, bytes: usize, at: u32, messages_max: u32) -> Next {
        let since_us = u64::from(at);
        let owed = self.owed.get_or_insert(Owed { staged: None, messages: 0, bytes: 0, since_us });
        owed.staged = staged;
        owed.messages += 1;
        owed.bytes += bytes;
        if owed.messages >= messages_max || owed.bytes >= ACK_BYTES {
            self.acknowledge().map_or(Next::On, Next::Say)
        } else {
            Next::On
        }
    }

    fn acknowledge(&mut self) -> Option<String> {
        match self.owed.take()?.staged {
            Some((backfill, n)) => Some(format!(r#"{{"type":"staged","backfill":"{backfill}","n":{n}}}"#)),
            None => self.held.as_ref().map(ack),
        }
    }

    fn note(&mut self, numbers: &[u32], at: u32) {
        for number in numbers {
            let n = u64::from(*number).checked_sub(self.base + 1).and_then(|n| usize::try_from(n).ok());
            let Some(arrival) = n.and_then(|n| self.arrivals.get_mut(n)) else { continue };
            if *arrival == 0 {
                *arrival = at;
                self.noted += 1;
            } else {
                self.duplicated += 1;
            }
        }
    }
}

fn ack(place: &Place) -> String {
    let mut text = String::with_capacity(32 + place.text.len());
    write!(text, r#"{{"type":"ack","through":{}}}"#, place.text).expect("a string takes all");
    text
}

#[cfg(test)]
mod tests {
    use super::super::message::parse;
    use super::*;

    fn place(position: &str) -> String {
        format!(r#"{{"era":"1-00000000000000e1","schema":1,"position":"{position}","xid":"7","committed_at_us":1}}"#)
    }

    fn page(after: &str, through: &str, number: u32) -> String {
        let transactions =
            format!(r#"[{{"commit_lsn":"{through}","xid":"7","changes":[["i",5,["1",{number},"x"]]]}}]"#);
        format!(r#"{{"type":"page","after":"{after}","through":{},"transactions":{transactions}}}"#, place(through))
    }

    fn said(session: &mut Session, text: &str) -> Next {
        session.on_message(&parse(text, 5).expect("a message"), text.len(), 9)
    }

    #[test]
    fn what_comes_twice_or_not_at_all_is_counted() {
        let mut session = Session::new(100, 3);
        let seam = format!(r#"{{"type":"seam","backfill":"7","n":0,"complete":{}}}"#, place("0/10"));
        assert_eq!(said(&mut session, &seam), Next::Say(format!(r#"{{"type":"ack","through":{}}}"#, place("0/10"))));
        assert_eq!(said(&mut session, &page("0/10", "0/20", 101)), Next::On);
        assert_eq!(said(&mut session, &page("0/10", "0/20", 101)), Next::On, "a page that is held is dropped");
        assert_eq!((session.noted, session.duplicated), (1, 0));
        assert_eq!(said(&mut session, &page("0/20", "0/30", 101)), Next::On);
        assert_eq!((session.noted, session.duplicated), (1, 1), "the same number in another transaction is a double");
        assert!(matches!(said(&mut session, &page("0/40", "0/50", 103)), Next::Leave(_)));
        assert_eq!((session.gaps, session.arrivals.as_slice()), (1, &[9, 0, 0][..]));
        assert_eq!(session.overdue(1_000_000), None);
        assert_eq!(session.overdue(1_000_009), Some(format!(r#"{{"type":"ack","through":{}}}"#, place("0/30"))));
        assert!(session.hello("a", 2, None).contains(&place("0/30")));
    }

    #[test]
    fn acknowledgements_come_at_half_a_window() {
        let mut session = Session::new(0, 0);
        let chunk = |n: u32| format!(r#"{{"type":"chunk","backfill":"7","n":{n},"schema":5,"rows":[["1",0]]}}"#);
        (0..3).for_each(|n| assert_eq!(said(&mut session, &chunk(n)), Next::On));
        assert_eq!(said(&mut session, &chunk(3)), Next::Say(r#"{"type":"staged","backfill":"7","n":3}"#.into()));
        assert!(matches!(said(&mut session, &chunk(5)), Next::Leave(_)));
        assert_eq!((session.rows, session.row_sum), (5, 5));
    }
}
