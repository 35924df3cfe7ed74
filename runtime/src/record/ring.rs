//! A folder of segments that never holds more than it may: the oldest go first.

use crate::metrics::RecordCounts;
use dormouse_core::time::Timestamp;
use dormouse_journal::EXTENSION;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A segment gets another after this much, or after its share of the folder.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
/// How the name of a file ends whose first block is not written yet.
const PARTIAL: &str = "partial";

/// The folder.
#[derive(Debug)]
pub(super) struct Ring {
    dir: PathBuf,
    bytes_max: u64,
    lanes: u64,
    started: Timestamp,
    counts: RecordCounts,
    kept: Arc<Mutex<Kept>>,
    /// Held while the process lives, so that no other one deletes what this one writes.
    _lock: fs::File,
}

/// What is in it.
#[derive(Debug, Default)]
struct Kept {
    /// By name, which is by age.
    segments: BTreeMap<String, Segment>,
    bytes: u64,
    created: u64,
}

#[derive(Debug)]
struct Segment {
    bytes: u64,
    open: bool,
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    name: String,
    bytes: u64,
    dir: PathBuf,
    bytes_max: u64,
    kept: Arc<Mutex<Kept>>,
    counts: RecordCounts,
}

impl Ring {
    /// Takes the folder, with what earlier processes left in it.
    pub fn open(dir: &Path, bytes_max: u64, lanes: u64, started: Timestamp, counts: RecordCounts) -> io::Result<Self> {
        // Recordings may hold rows: they are for this user alone.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::Error::other("another process records into this folder")),
            Err(TryLockError::Error(why)) => return Err(why),
        }
        let mut kept = Kept::default();
        for entry in fs::read_dir(dir)? {
            let (entry, path) = entry.map(|entry| (entry.metadata(), entry.path()))?;
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(EXTENSION) => {
                    let bytes = entry?.len();
                    kept.bytes += bytes;
                    kept.segments.insert(name.to_owned(), Segment { bytes, open: false });
                }
                Some(PARTIAL) => fs::remove_file(&path)?,
                _ => {}
            }
        }
        kept.make_room(dir, 0, bytes_max)?;
        counts.kept(kept.bytes);
        let kept = Arc::new(Mutex::new(kept));
        Ok(Self { dir: dir.into(), bytes_max, lanes, started, counts, kept, _lock: lock })
    }

    /// How large a segment may become that begins with so many bytes.
    ///
    /// All open segments together take three quarters of the folder at most, so what is written always finds room.
    pub fn segment_bytes_max(&self, first: u64) -> Result<u64, String> {
        let share = self.bytes_max / self.lanes;
        if first > share / 2 {
            return Err(format!(
                "the machine itself takes {first} bytes, more than half of its share of {share}: raise record-max-mib"
            ));
        }
        // A large checkpoint is worth as many bytes of steps.
        Ok(first + SEGMENT_BYTES.max(first).min(share / 4))
    }

    /// Creates the next segment of a lane, at once with its first bytes: a reader never sees less.
    pub fn create(&self, lane: &str, first: &[u8]) -> Result<File, String> {
        let name = {
            let mut kept = self.lock();
            kept.created += 1;
            let lane = lane.replace('/', "-");
            format!("{:016}-{:06}-{lane}.{EXTENSION}", self.started.micros(), kept.created)
        };
        let (path, partial) = (self.dir.join(&name), self.dir.join(format!("{name}.{PARTIAL}")));
        self.lock().make_room(&self.dir, first.len() as u64, self.bytes_max).map_err(|why| failed(&why))?;
        let created = || {
            let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&partial)?;
            file.write_all(first)?;
            fs::rename(&partial, &path)?;
            Ok(file)
        };
        let file = created().map_err(|why| {
            let _ = fs::remove_file(&partial); // It may not be there.
            failed(&why)
        })?;
        let bytes = first.len() as u64;
        let mut kept = self.lock();
        kept.bytes += bytes;
        kept.segments.insert(name.clone(), Segment { bytes, open: true });
        self.counts.written(bytes, kept.bytes);
        let (dir, counts) = (self.dir.clone(), self.counts.clone());
        Ok(File { file, name, bytes, dir, bytes_max: self.bytes_max, kept: Arc::clone(&self.kept), counts })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Deletes the oldest segments until `more` bytes fit.
    fn make_room(&mut self, dir: &Path, more: u64, bytes_max: u64) -> io::Result<()> {
        while self.bytes + more > bytes_max {
            let oldest = self.segments.iter().find(|(_, segment)| !segment.open).map(|(name, _)| name.clone());
            let Some(name) = oldest else { return Err(io::Error::other("the folder is full of open segments")) };
            match fs::remove_file(dir.join(&name)) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {} // Somebody else may have taken it away.
            }
            self.bytes -= self.segments.remove(&name).map_or(0, |segment| segment.bytes);
        }
        Ok(())
    }
}

impl File {
    /// How large it is.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds to it.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        let more = bytes.len() as u64;
        let made = self.lock().make_room(&self.dir, more, self.bytes_max);
        made.and_then(|()| self.file.write_all(bytes)).map_err(|why| failed(&why))?;
        self.bytes += more;
        let mut kept = self.lock();
        kept.bytes += more;
        if let Some(segment) = kept.segments.get_mut(&self.name) {
            segment.bytes += more;
        }
        self.counts.written(more, kept.bytes);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(segment) = self.lock().segments.get_mut(&self.name) {
            segment.open = false;
        }
    }
}

fn failed(why: &io::Error) -> String {
    format!("a segment cannot be written: {why}")
}
