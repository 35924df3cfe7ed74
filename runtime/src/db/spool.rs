//! Spools: compressed copies of snapshots on our disk, read chunk by chunk by sessions at their own pace.

use super::config::Config;
use super::types::{micros, signed};
use super::{Database, Inner, failure};
use bytes::{Buf, Bytes};
use dormouse_core::change::{Chunk, Relation, Scope};
use dormouse_core::fault::Failure;
use dormouse_core::hub::{ReadChunk, Spool, SpoolId};
use dormouse_core::limits::{CHUNK_BYTES_MAX, CHUNK_ROWS_MAX};
use dormouse_core::row::Row;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long a spool keeps its stretch of history after its node died.
pub(super) const ROW_TTL: Duration = Duration::from_secs(300);
/// How often that is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked at what may go.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// The most snapshots taken at once: each is a long transaction in Postgres.
const SNAPSHOTS_MAX: usize = 2;

/// The spools of this process.
pub(super) struct Spools {
    dir: PathBuf,
    state: Mutex<State>,
    pub(super) permits: Semaphore,
}

#[derive(Default)]
struct State {
    live: BTreeMap<SpoolId, Live>,
    /// Whoever asks for a scope that is just being spooled waits, and then shares.
    gates: BTreeMap<Scope, Arc<tokio::sync::Mutex<()>>>,
    sweeping: bool,
}

struct Live {
    stored: Arc<Stored>,
    spool: Arc<Spool>,
    scope: Scope,
    taken: Instant,
    read: Instant,
    holders: u32,
}

/// A complete spool: a file without a name, gone with its last reader, however the process ends.
pub(super) struct Stored {
    file: File,
    chunks: Vec<Entry>,
    relations: Vec<Arc<Relation>>,
}

struct Entry {
    offset: u64,
    length: u32,
    relation: u32,
}

impl Spools {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        let dir = config.spool_dir.clone().unwrap_or_else(std::env::temp_dir);
        std::fs::create_dir_all(&dir)
            .and_then(|()| tempfile::tempfile_in(&dir).map(drop))
            .map_err(|why| Failure::Refused(format!("spools cannot be written to {}: {why}", dir.display())))?;
        Ok(Self { dir, state: Mutex::default(), permits: Semaphore::new(SNAPSHOTS_MAX) })
    }

    pub(super) fn writer(&self) -> Result<Writer, Failure> {
        let file = tempfile::tempfile_in(&self.dir).map_err(|why| disk(&why))?;
        Ok(Writer { file, offset: 0, chunks: Vec::new(), relations: Vec::new(), rows: 0 })
    }

    /// One at a time may spool a scope.
    pub(super) fn gate(&self, scope: &Scope) -> Arc<tokio::sync::Mutex<()>> {
        let mut state = self.lock();
        state.gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        Arc::clone(state.gates.entry(scope.clone()).or_default())
    }

    /// Another holder of a spool that `fits`, taken no longer ago than `age_max`.
    pub(super) fn share(&self, scope: &Scope, age_max: Duration, fits: impl Fn(&Spool) -> bool) -> Option<Arc<Spool>> {
        let mut state = self.lock();
        let fresh = |live: &&mut Live| live.scope == *scope && live.taken.elapsed() <= age_max && fits(&live.spool);
        let live = state.live.values_mut().rev().find(fresh)?;
        live.holders += 1;
        live.read = Instant::now();
        Some(Arc::clone(&live.spool))
    }

    pub(super) fn insert(&self, spool: &Arc<Spool>, scope: Scope, stored: Stored) {
        let now = Instant::now();
        let live =
            Live { stored: Arc::new(stored), spool: Arc::clone(spool), scope, taken: now, read: now, holders: 1 };
        self.lock().live.insert(spool.id, live);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Answers [`ReadChunk`].
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn read_chunk(&self, q: ReadChunk) -> Result<Option<Arc<Chunk>>, Failure> {
        let stored = {
            let mut state = self.inner.spools.lock();
            let Some(live) = state.live.get_mut(&q.spool) else { return Ok(None) };
            live.read = Instant::now();
            Arc::clone(&live.stored)
        };
        let read = tokio::task::spawn_blocking(move || stored.read(q.n as usize)).await;
        read.map_err(|why| Failure::Unavailable(format!("reading a spool failed: {why}")))?
    }

    /// One holder of a spool is done with it. The last one's leaving ends it, once it is too old to be shared.
    pub fn drop_spool(&self, spool: SpoolId) {
        if let Some(live) = self.inner.spools.lock().live.get_mut(&spool) {
            live.holders = live.holders.saturating_sub(1);
        }
    }

    /// How many bytes our spools take on the disk.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        let state = self.inner.spools.lock();
        let chunks = state.live.values().flat_map(|live| &live.stored.chunks);
        chunks.map(|chunk| u64::from(chunk.length)).sum()
    }

    /// How many spools are on our disk.
    #[must_use]
    pub fn spools(&self) -> usize {
        self.inner.spools.lock().live.len()
    }

    /// Sees to it that spools end, and that history is kept for them until then.
    pub(super) fn start_sweeping(&self) {
        let mut state = self.inner.spools.lock();
        if !std::mem::replace(&mut state.sweeping, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.inner)));
        }
    }

    async fn renew_spools(&self, ended: &[SpoolId]) -> Result<(), Failure> {
        let ids: Vec<i64> = self.inner.spools.lock().live.keys().map(|id| signed(id.0)).collect();
        let ended: Vec<i64> = ended.iter().map(|id| signed(id.0)).collect();
        let client = self.pool().get().await?;
        let sql = "update dormouse.spool set expires_at = clock_timestamp() + $2 * interval '1 microsecond' where id = any($1)";
        client.execute(sql, &[&ids, &micros(ROW_TTL)]).await.map_err(failure::of)?;
        client.execute("delete from dormouse.spool where id = any($1)", &[&ended]).await.map_err(failure::of)?;
        Ok(())
    }
}

async fn sweep(inner: Weak<Inner>) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        let database = Database { inner };
        let ended = database.inner.end_spools();
        if !ended.is_empty() || renewed.elapsed() >= RENEW_EVERY {
            match database.in_time(database.renew_spools(&ended)).await {
                Ok(()) => renewed = Instant::now(),
                Err(why) => tracing::warn!(%why, "the spools' stretch of history could not be renewed"),
            }
        }
    }
}

impl Inner {
    fn end_spools(&self) -> Vec<SpoolId> {
        let (share, idle) = (self.config.snapshot_share_max, self.config.spool_idle_max);
        let mut ended = Vec::new();
        self.spools.lock().live.retain(|id, live| {
            // A holder that died never says so: what is not read for long has none.
            let keeps = if live.holders > 0 { live.read.elapsed() < idle } else { live.taken.elapsed() < share };
            if !keeps {
                ended.push(*id);
            }
            keeps
        });
        ended
    }
}

impl Stored {
    fn read(&self, n: usize) -> Result<Option<Arc<Chunk>>, Failure> {
        let Some(entry) = self.chunks.get(n) else { return Ok(None) };
        let mut packed = vec![0; entry.length as usize];
        self.file.read_exact_at(&mut packed, entry.offset).map_err(|why| disk(&why))?;
        let broken = || Failure::Unavailable("a spool on our disk is damaged".into());
        let mut bytes: Bytes = lz4_flex::block::decompress_size_prepended(&packed).map_err(|_| broken())?.into();
        let mut rows = Vec::new();
        while !bytes.is_empty() {
            let length = bytes.try_get_u32().map_err(|_| broken())? as usize;
            if length > bytes.len() {
                return Err(broken());
            }
            rows.push(Row::parse(bytes.split_to(length)).map_err(|_| broken())?);
        }
        let relation = Arc::clone(&self.relations[entry.relation as usize]);
        Ok(Some(Arc::new(Chunk { relation, rows })))
    }
}

/// Writes a spool, one table after the other.
pub(super) struct Writer {
    file: File,
    offset: u64,
    chunks: Vec<Entry>,
    relations: Vec<Arc<Relation>>,
    rows: u64,
}

/// Rows that are not on disk yet.
#[derive(Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    rows: usize,
}

impl Pending {
    /// Adds what `append` writes as one row. True when the chunk is full.
    pub(super) fn push(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        append(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start - 4).expect("a row is at most a few GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.rows += 1;
        self.rows >= CHUNK_ROWS_MAX || self.bytes.len() >= CHUNK_BYTES_MAX
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

impl Writer {
    /// What is written from now on are rows of this table.
    pub(super) fn begin_table(&mut self, relation: Arc<Relation>) {
        self.relations.push(relation);
    }

    /// Writes a chunk of the present table, off the event loop. Returns the emptied buffer, to be filled again.
    pub(super) async fn write(mut self, mut pending: Pending) -> Result<(Self, Pending), Failure> {
        let done = tokio::task::spawn_blocking(move || {
            let packed = lz4_flex::block::compress_prepend_size(&pending.bytes);
            let length = u32::try_from(packed.len()).map_err(|_| std::io::Error::other("a chunk over 4 GiB"))?;
            self.file.write_all(&packed)?;
            let relation = u32::try_from(self.relations.len() - 1).expect("there are few tables");
            self.chunks.push(Entry { offset: self.offset, length, relation });
            self.offset += u64::from(length);
            self.rows += pending.rows as u64;
            pending.bytes.clear();
            // One enormous row must not keep its memory for the rest of the snapshot.
            pending.bytes.shrink_to(2 * CHUNK_BYTES_MAX);
            pending.rows = 0;
            Ok((self, pending))
        });
        let done = done.await.map_err(|why| Failure::Unavailable(format!("writing a spool failed: {why}")))?;
        done.map_err(|why: std::io::Error| disk(&why))
    }

    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn chunks(&self) -> Result<u32, Failure> {
        u32::try_from(self.chunks.len()).map_err(|_| Failure::Refused("a snapshot has more than 2^32 chunks".into()))
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.offset
    }

    pub(super) fn finish(self) -> Stored {
        Stored { file: self.file, chunks: self.chunks, relations: self.relations }
    }
}

fn disk(why: &std::io::Error) -> Failure {
    Failure::Unavailable(format!("the disk of the spools: {why}"))
}
