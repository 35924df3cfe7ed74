//! What Postgres' errors mean for a source, and when a slot is given up.

use crate::db::{Database, is_refusal_code};
use dormouse_core::fault::Failure;
use std::sync::atomic::{AtomicU32, Ordering};

/// How often in a row Postgres may fail to decode its own WAL before the slot is given up.
const UNDECODABLE_MAX: u32 = 3;

/// Sorts an error of the server by who must act; `why` is what people are told.
pub(super) fn sort(code: Option<&str>, why: String) -> Failure {
    match code {
        // It was made anew behind our back, and the slot's WAL is older.
        Some("42704") if why.contains("publication") => {
            Failure::Refused(format!("{why}: it was created after the slot, so drop the slot to begin a new era"))
        }
        // A slot that vanished or was invalidated is found, and made again, by the next look at the source.
        Some("42704" | "55000") => Failure::Unavailable(why),
        Some(code) if is_refusal_code(code) => Failure::Refused(why),
        _ => Failure::Unavailable(why),
    }
}

/// Whether another process has the slot.
pub(super) fn is_busy(code: Option<&str>) -> bool {
    code == Some("55006")
}

/// The five characters of a text that ends in `(SQLSTATE 55006)`.
pub(super) fn sqlstate(text: &str) -> Option<&str> {
    let (_, rest) = text.rsplit_once("SQLSTATE ")?;
    rest.get(..5)
}

/// Counts how often in a row Postgres failed to decode its own WAL.
///
/// It can fail for ever in a slot that was made while a table was being truncated ("could not map filenode"). Such a slot is
/// dropped: a new era begins, every client gets everything again, and nothing is lost unseen.
#[derive(Debug, Default)]
pub(super) struct Undecodable(AtomicU32);

impl Undecodable {
    /// A transaction was decoded.
    pub(super) fn decoded(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The source failed.
    pub(super) fn failed(&self, failure: &Failure) {
        if sqlstate(failure.reason()).is_some_and(|code| code.starts_with("XX")) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops the slot, and fails, when decoding failed too often.
    ///
    /// It belongs where the source is started, which is never given up half-way as a read is.
    pub(super) async fn give_up(&self, database: &Database) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) < UNDECODABLE_MAX {
            return Ok(());
        }
        tracing::error!("Postgres cannot decode this slot's WAL: a new slot begins a new era");
        database.drop_slot().await?;
        self.decoded();
        Err(Failure::Unavailable("the slot could not be decoded and was dropped".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_server_are_sorted() {
        let check = |text: &str, refused: bool| {
            let failure = sort(sqlstate(text), text.to_owned());
            assert_eq!(matches!(failure, Failure::Refused(_)), refused, "{failure:?}");
        };
        check("replication slot \"d\" is active for PID 1 (SQLSTATE 55006)", false);
        check("replication slot \"d\" does not exist (SQLSTATE 42704)", false);
        check("can no longer get changes from replication slot \"d\" (SQLSTATE 55000)", false);
        check("terminating connection due to administrator command (SQLSTATE 57P01)", false);
        check("could not map filenode (SQLSTATE XX000)", false);
        check("publication \"p\" does not exist (SQLSTATE 42704)", true);
        check("must be superuser or replication role (SQLSTATE 42501)", true);
        check("no code", false);
        assert!(is_busy(sqlstate("busy (SQLSTATE 55006)")));
    }
}
