//! Opens a store: makes it, or makes sure that it is one, and that no other client has it.

use super::SqliteStore;
use super::state::{APPLICATION_ID, FORMAT, LAYOUT, State};
use super::trouble::START_AGAIN;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a write waits for another connection's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many prepared statements are kept: a handful for each of a few hundred tables.
const STATEMENTS_KEPT: usize = 1_024;
/// The log beside the file is cut to this size, in bytes, after a large transaction.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// How sure a transaction is once the client counts on it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// It survives a loss of power. What was acknowledged to the server is held for certain.
    #[default]
    Full,
    /// It survives the end of the process, and a loss of power may undo the last ones. The store is whole all the same, and what
    /// was undone comes again when the client greets, for it says itself where it stands. Several times faster on slow disks.
    Normal,
}

/// How a store is opened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How sure a transaction is.
    pub synchronous: Synchronous,
    /// Looks for damage first (`PRAGMA quick_check`): takes as long as reading the whole file.
    pub check: bool,
}

/// Why a store cannot be opened. The file is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another client, or another process, has it open.
    #[error("{} is in use by another client; end that one, or give this one a file of its own", .0.display())]
    InUse(PathBuf),
    /// The file is something else.
    #[error("{} is no store of Dormouse ({why}); it is left alone: name another file", path.display())]
    NotAStore {
        /// Which file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// A newer Dormouse wrote it.
    #[error("{} was written by a newer Dormouse (format {found}, this one knows {FORMAT}); use that version, or another file", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i32,
    },
    /// It is damaged.
    #[error("{} is damaged ({why}); {START_AGAIN}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// It cannot be opened, made, or written.
    #[error("{} cannot be opened: {why}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

impl SqliteStore {
    /// Opens a store, or makes one where there is no file.
    ///
    /// # Errors
    /// When the file is in use, damaged, of a newer version, or no store.
    pub fn open_with(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let lock = Lock::take(&path)?;
        let fails = |error: rusqlite::Error| classify(&path, &error);
        let mut connection = Connection::open(&path).map_err(fails)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(fails)?;
        // Before anything is written: is it ours?
        let is_new = judge(&connection, &path)?;
        configure(&connection, options).map_err(fails)?;
        if is_new {
            create(&mut connection).map_err(fails)?;
        }
        if options.check {
            check(&connection, &path)?;
        }
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let state = State::load(&connection).map_err(|trouble| match trouble {
            super::Trouble::Sql(error) => fails(error),
            super::Trouble::Foreign(why) => OpenError::Damaged { path: path.clone(), why },
        })?;
        let reader = open_reader(&path).map_err(fails)?;
        let held = state.held();
        Ok(Self { path, connection, reader, state, held, is_doubtful: false, _lock: lock })
    }
}

/// A connection for an application's queries, which can only read. It sees whole transactions, also while the client writes,
/// and never waits for it.
///
/// # Errors
/// As SQLite says; above all when there is no file yet.
pub fn open_reader(path: impl AsRef<Path>) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.busy_timeout(BUSY_TIMEOUT)?;
    Ok(reader)
}

/// Whether the file is empty and may be made a store.
fn judge(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let read = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let read = || {
        let objects = read("select count(*) from sqlite_master")?;
        Ok((read("pragma application_id")?, read("pragma user_version")?, objects))
    };
    match read().map_err(|error| classify(path, &error))? {
        (APPLICATION_ID, FORMAT, _) => Ok(false),
        (APPLICATION_ID, found, _) if found > FORMAT => Err(OpenError::Newer { path: path.to_owned(), found }),
        (0, 0, 0) => Ok(true),
        (_, _, objects) => {
            let why = format!("a SQLite file of another program, with {objects} tables and indexes");
            Err(OpenError::NotAStore { path: path.to_owned(), why })
        }
    }
}

fn configure(connection: &Connection, options: SqliteOptions) -> rusqlite::Result<()> {
    // Changes the file, for all its connections and for good: readers never wait for the writer, nor it for them.
    connection.query_row("pragma journal_mode = wal", [], |_| Ok(()))?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    connection.execute_batch(&format!(
        "pragma synchronous = {synchronous}; pragma foreign_keys = off; pragma temp_store = memory;
         pragma legacy_alter_table = on; pragma cache_size = -16000;"
    ))?;
    connection.query_row(&format!("pragma journal_size_limit = {WAL_BYTES_KEPT}"), [], |_| Ok(()))
}

/// In one transaction, so that a file is either empty or a whole store.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(LAYOUT)?;
    transaction.execute_batch(&format!("pragma application_id = {APPLICATION_ID}; pragma user_version = {FORMAT};"))?;
    transaction.commit()
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = connection.query_row("pragma quick_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(|error| classify(path, &error))?.as_str() {
        "ok" => Ok(()),
        why => Err(OpenError::Damaged { path: path.to_owned(), why: why.into() }),
    }
}

fn classify(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore { path, why },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, why },
        _ => OpenError::Unusable { path, why },
    }
}

/// How long a lock is tried for, and how often.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Held as long as the store is open, and let go by the system when the process ends, however it ends.
///
/// The lock is on a file beside the store: opening and closing the store's own file here would end SQLite's locks on it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> Result<Self, OpenError> {
        let unusable = |why: std::io::Error| OpenError::Unusable { path: path.to_owned(), why: why.to_string() };
        let mut beside = path.as_os_str().to_owned();
        beside.push("-lock");
        let file = File::options().create(true).truncate(false).write(true).open(beside).map_err(unusable)?;
        // A process that is being started somewhere else in this program has all our files, until it becomes another program:
        // a store that was closed just now may still be locked by that for a moment.
        let patient_until = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < patient_until => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
                Err(TryLockError::Error(why)) => return Err(unusable(why)),
            }
        }
    }
}
