//! Files that an operator edits while the server runs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A file, what it says, and when it was read. It is looked at again now and then; what cannot be read keeps what was.
pub(super) struct Watched<T> {
    path: PathBuf,
    parse: fn(&[u8]) -> Result<T, String>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// As it was when its content was taken, or found to be unusable.
    read: Stamp,
    /// As it was when it was last looked at. A file that still changes is left alone until it rests.
    seen: Stamp,
}

/// Which content a file has, as far as its metadata tell.
type Stamp = Option<(u64, i64, i64, u64)>;

impl<T> Watched<T> {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// One sentence, without anything secret, when it cannot be read or makes no sense.
    pub(super) fn open(path: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<Self, String> {
        let stamp = stamp(path);
        let value = read(path, parse)?;
        let state = State { value: Arc::new(value), read: stamp, seen: stamp };
        Ok(Self { path: path.into(), parse, state: Mutex::new(state) })
    }

    /// What it says.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.lock().value)
    }

    /// Reads it again if it has changed and rests, or, when `at_once`, even if it was written just now. True when it was taken.
    pub(super) fn reread(&self, at_once: bool) -> bool {
        let stamp = stamp(&self.path);
        let mut state = self.lock();
        let rests = std::mem::replace(&mut state.seen, stamp) == stamp;
        if stamp == state.read || !(rests || at_once) {
            return false;
        }
        state.read = stamp;
        match read(&self.path, self.parse) {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!(file = %self.path.display(), "read again");
                true
            }
            Err(why) => {
                tracing::error!("{why}; what it said before stays in force until it is mended");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // No code under this lock leaves it half changed.
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

fn read<T>(path: &Path, parse: fn(&[u8]) -> Result<T, String>) -> Result<T, String> {
    let bytes = std::fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
    parse(&bytes).map_err(|why| format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Result<u32, String> {
        String::from_utf8_lossy(bytes).trim().parse().map_err(|_| "this is no number".into())
    }

    #[test]
    fn a_file_is_taken_once_it_rests_and_nonsense_changes_nothing() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: &str| std::fs::write(file.path(), text).expect("written");
        write("7");
        let watched = Watched::open(file.path(), number).expect("a number");
        assert!(!watched.reread(true), "nothing has changed");
        write("42");
        assert!(!watched.reread(false), "it may still be being written");
        assert!(watched.reread(false) && *watched.get() == 42);
        write("nonsense");
        assert!(!watched.reread(true) && *watched.get() == 42);
        write("1001");
        assert!(watched.reread(true) && *watched.get() == 1001);
        std::fs::remove_file(file.path()).expect("removed");
        assert!(!watched.reread(true) && *watched.get() == 1001);
    }
}
