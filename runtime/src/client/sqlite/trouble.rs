//! What can go wrong with a store, and who must act.

use dormouse_core::fault::Failure;
use rusqlite::ErrorCode;
use std::fmt;

/// Why a request could not be carried out. Nothing of it was stored.
#[derive(Debug)]
pub(super) enum Trouble {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// The file holds what this program did not write.
    Foreign(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Trouble {
    /// The same for the client, which tries again, and for the person who must help it.
    pub(super) fn into_failure(self, path: &str) -> Failure {
        let Self::Sql(error) = &self else {
            return Failure::Refused(format!("{path}: {self}; {START_AGAIN}"));
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Failure::Refused(format!("{path} is damaged ({error}); {START_AGAIN}"))
            }
            Some(ErrorCode::ConstraintViolation) => Failure::Refused(format!(
                "{path}: {error}; a unique index or a trigger that was added to a replica's table refuses a row: drop it"
            )),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::Unavailable(format!(
                "{path} is being written by another connection ({error}); only the client may write to it"
            )),
            Some(ErrorCode::DiskFull) => Failure::Unavailable(format!("{path}: the disk is full")),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Failure::Refused(format!("{path} cannot be written: {error}"))
            }
            _ => Failure::Unavailable(format!("{path}: {error}")),
        }
    }
}

/// What helps when the file is beyond repair: all of it can be had again.
pub(super) const START_AGAIN: &str =
    "move it away, with the files -wal and -shm beside it, and everything is synced anew";

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(f),
            Self::Foreign(why) => f.write_str(why),
        }
    }
}
