//! What Postgres' errors mean: the one place where SQLSTATE is read.

use crate::tls::{Peer, explain};
use dormouse_core::fault::Failure;
use tokio_postgres::error::{DbError, Error, SqlState};

/// Sorts an error by who must act.
pub(super) fn of(error: Error) -> Failure {
    match error.as_db_error() {
        Some(db) => of_db_error(db),
        None => match explain(&error, Peer::Database) {
            Some(why) => Failure::Refused(why),
            None => Failure::Unavailable(with_cause(&error)),
        },
    }
}

/// An error of the pool.
pub(super) fn of_pool(error: deadpool_postgres::PoolError) -> Failure {
    match error {
        deadpool_postgres::PoolError::Backend(error) => of(error),
        other => Failure::Unavailable(format!("no database connection: {other}")),
    }
}

/// A broken or foreign content of our own tables.
pub(super) fn corrupt(what: &str) -> Failure {
    Failure::Refused(format!("the schema dormouse holds {what}: restore it, or drop it and start again"))
}

fn of_db_error(db: &DbError) -> Failure {
    let hint = db.hint().map_or_else(String::new, |hint| format!(" ({hint})"));
    let why = format!("{} [{}]{hint}", db.message(), db.code().code());
    if is_refusal(db.code()) { Failure::Refused(why) } else { Failure::Unavailable(why) }
}

/// Whether a SQLSTATE, as five characters, says that asking again is of no use.
pub(crate) fn is_refusal_code(code: &str) -> bool {
    is_refusal(&SqlState::from_code(code))
}

fn is_refusal(code: &SqlState) -> bool {
    // A table or publication may be made or dropped under us, and two nodes may alter ours at once: the next look sees it.
    const PASSING: [SqlState; 4] =
        [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_OBJECT, SqlState::DUPLICATE_OBJECT, SqlState::OBJECT_IN_USE];
    const FOR_THE_OPERATOR: [SqlState; 5] = [
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::INVALID_CATALOG_NAME,
    ];
    if PASSING.contains(code) {
        return false;
    }
    FOR_THE_OPERATOR.contains(code) || matches!(&code.code()[..2], "28" | "22" | "23" | "42")
}

fn with_cause(error: &Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_trouble_and_refusals_are_told_apart() {
        for code in [
            "57P01", "57P03", "08006", "40001", "40P01", "55P03", "55006", "53300", "57014", "42P01", "42704", "42710",
            "25006", "53100",
        ] {
            assert!(!is_refusal_code(code), "{code}");
        }
        for code in ["28P01", "28000", "3D000", "42501", "42883", "53400", "55000", "0A000", "23514"] {
            assert!(is_refusal_code(code), "{code}");
        }
    }
}
