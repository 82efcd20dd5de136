//! State on disk: one RocksDB a task, in `<state_dir>/<job>/<token>`.
//!
//! One column family holds everything. Several would need atomic flushes and cost a write buffer each; one gives for
//! nothing that a [`Delta`] and its tag, written as one batch, lie in one memtable: what a crash leaves is a prefix
//! of the commits, each whole. There is no write-ahead log: the changelog is one.
//!
//! ```text
//! [META]["format"]  u32 LE, today 2         [META]["tag"]  [changelog offset i64 LE][block header]
//! anything else: as state/key.rs says
//! ```
//!
//! Memory: write buffers are small (most state is a few MiB and idle), and one block cache serves all stores of a
//! process. Write buffers count as its content, and are to take half of it at most: beyond that who writes much waits for its
//! own to be on disk. RocksDB itself would have the writer wait for the buffers of others, which may be idle for good.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, ErrorKind, InfoLogger, LogLevel, Options,
    ReadOptions, Snapshot, WriteBatch, WriteBufferManager, WriteOptions,
};

use super::{
    Delta, META, ScanOrder, StateError, StateRead, StateStore, Tag, Visit, VisitPrefix, prefix_end,
};

/// The layout that this file writes.
const FORMAT: u32 = 2;

/// What a store's write buffers take, those that are being written to disk included.
const OWN_BUFFERS: &str = "rocksdb.cur-size-all-mem-tables";

/// Memory is taken from the system, and counted, in pieces of this size: a store that holds little takes little. With
/// larger ones a thousand stores would be beyond what write buffers may take, and each commit of each a file.
const ARENA_BLOCK_BYTES: usize = 16 << 10;
/// What is gathered for one write to a file. A store has two files open for writing all the time, with a buffer each; by
/// default they are most of what an idle store takes.
const FILE_BUFFER_BYTES: u64 = 4 << 10;
/// Files that are open are found in so many parts of a table, as a power of two. Few threads read a store at once.
const TABLE_CACHE_SHARD_BITS: i32 = 1;

/// What all stores of a process share.
#[derive(Clone)]
pub struct RocksOptions {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer_bytes: usize,
}

impl fmt::Debug for RocksOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksOptions")
            .field("write_buffer_bytes", &self.write_buffer_bytes)
            .finish_non_exhaustive()
    }
}

impl RocksOptions {
    /// A block cache of `cache_bytes` for all stores together, write buffers included, which are of `write_buffer_bytes`; a
    /// store has at most two of them.
    pub fn new(cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        let cache = Cache::new_lru_cache(cache_bytes);
        // Over its limit RocksDB flushes who writes, and lets nobody wait.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            (cache_bytes / 2).max(1),
            false,
            cache.clone(),
        );
        Self {
            cache,
            write_buffers,
            write_buffer_bytes,
        }
    }

    /// Whether write buffers take more than they may all together.
    fn is_over(&self) -> bool {
        self.write_buffers.get_usage() > self.write_buffers.get_buffer_size()
    }

    /// What cache and write buffers hold now, bytes.
    pub fn used_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// Options of the store in `path`.
    fn database(&self, path: &Path) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(16 << 10);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_write_buffer_number(2);
        options.set_arena_block_size(ARENA_BLOCK_BYTES);
        // A store has one writer.
        options.set_allow_concurrent_memtable_write(false);
        options.set_target_file_size_base(16 << 20);
        options.set_max_bytes_for_level_base(64 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES);
        options.set_max_open_files(128);
        options.set_table_cache_num_shard_bits(TABLE_CACHE_SHARD_BITS);
        options.set_max_background_jobs(2);
        options.set_log_level(LogLevel::Warn);
        options.set_info_logger(logger(path));
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        options.set_max_manifest_file_size(4 << 20);
        // Without it each store takes 4 MiB of disk before the first row: there may be a thousand.
        options.set_manifest_preallocation_size(64 << 10);
        options
    }
}

/// What RocksDB has to say of a store goes where the program's own words go, instead of a file in each store.
fn logger(path: &Path) -> InfoLogger {
    let place = path.display().to_string();
    InfoLogger::new_callback_logger(LogLevel::Warn, move |level, text| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(%place, text, "state store"),
        LogLevel::Warn => tracing::debug!(%place, text, "state store"),
        // What it is set to, at every start.
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    })
}

/// A [`StateStore`] on disk.
pub struct RocksStore {
    db: Arc<DB>,
    path: PathBuf,
    options: RocksOptions,
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn storage(path: &Path, error: impl fmt::Display) -> StateError {
    StateError::Storage {
        place: path.display().to_string(),
        reason: error.to_string(),
    }
}

fn meta(name: &str) -> Vec<u8> {
    let mut key = META.to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

impl RocksStore {
    /// Opens the store in `path`, which is made if it is missing.
    ///
    /// # Errors
    /// [`StateError::Storage`], also while somebody else has it open; [`StateError::Corrupt`];
    /// [`StateError::NewerFormat`].
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, StateError> {
        std::fs::create_dir_all(path).map_err(|error| storage(path, error))?;
        let db = DB::open(&options.database(path), path).map_err(|error| match error.kind() {
            ErrorKind::Corruption => StateError::Corrupt {
                what: "state store",
                reason: error.to_string(),
            },
            _ => storage(path, error),
        })?;
        let store = Self {
            db: Arc::new(db),
            path: path.to_owned(),
            options: options.clone(),
        };
        match store.get(&meta("format"))? {
            Some(bytes) => {
                let found = bytes.try_into().map(u32::from_le_bytes).unwrap_or(u32::MAX);
                if found > FORMAT {
                    return Err(StateError::NewerFormat {
                        place: path.display().to_string(),
                        found,
                        known: FORMAT,
                    });
                }
                if found < FORMAT {
                    return Err(StateError::Corrupt {
                        what: "state store",
                        reason: format!("it has format {found}, this program knows {FORMAT}"),
                    });
                }
            }
            None => {
                let mut batch = WriteBatch::default();
                batch.put(meta("format"), FORMAT.to_le_bytes());
                store.write(batch)?;
            }
        }
        Ok(store)
    }

    /// Deletes the store in `path`; one that is not there is fine.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    pub fn remove(path: &Path) -> Result<(), StateError> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(storage(path, error)),
            _ => Ok(()),
        }
    }

    /// Writes its buffers to disk where they have a part in it that there are too many.
    fn make_room(&self) -> Result<(), StateError> {
        if !self.options.is_over() {
            return Ok(());
        }
        let own = self.db.property_int_value(OWN_BUFFERS);
        let own = own.map_err(|error| storage(&self.path, error))?;
        let much = self.options.write_buffer_bytes as u64 / 8;
        match own {
            Some(own) if own > much => self.flush(),
            _ => Ok(()),
        }
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StateError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db
            .write_opt(batch, &options)
            .map_err(|error| storage(&self.path, error))
    }
}

/// Walks an iterator, which knows its bounds; shared by the store and its snapshots.
fn scan<D: rocksdb::DBAccess>(
    mut iterator: rocksdb::DBRawIteratorWithThreadMode<'_, D>,
    order: ScanOrder,
    visit: &mut Visit<'_>,
) -> Result<(), rocksdb::Error> {
    match order {
        ScanOrder::Ascending => iterator.seek_to_first(),
        ScanOrder::Descending => iterator.seek_to_last(),
    }
    while let Some((key, value)) = iterator.item() {
        if visit(key, value) == ControlFlow::Break(()) {
            return Ok(());
        }
        match order {
            ScanOrder::Ascending => iterator.next(),
            ScanOrder::Descending => iterator.prev(),
        }
    }
    iterator.status()
}

/// Bounds that keep the store's own entries out; `None` for an empty range.
fn bounded(from: &[u8], to: &[u8]) -> Option<ReadOptions> {
    let mut options = ReadOptions::default();
    let meta = META.to_be_bytes();
    let to = if to.is_empty() || to > meta.as_slice() {
        meta.as_slice()
    } else {
        to
    };
    if from >= to {
        return None;
    }
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    Some(options)
}

/// What lies under the tag's key.
fn decode_tag(bytes: Option<Vec<u8>>) -> Result<Option<Tag>, StateError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let (offset, header) = bytes
        .split_first_chunk::<8>()
        .ok_or_else(|| StateError::Corrupt {
            what: "tag of the state store",
            reason: format!("{} bytes", bytes.len()),
        })?;
    Ok(Some(Tag {
        changelog_offset: i64::from_le_bytes(*offset),
        header: header.to_vec(),
    }))
}

impl StateRead for RocksStore {
    fn tag(&self) -> Result<Option<Tag>, StateError> {
        decode_tag(self.get(&meta("tag"))?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.db.get(key).map_err(|error| storage(&self.path, error))
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        self.db
            .multi_get(keys)
            .into_iter()
            .map(|value| value.map_err(|error| storage(&self.path, error)))
            .collect()
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        let Some(options) = bounded(from, to) else {
            return Ok(());
        };
        scan(self.db.raw_iterator_opt(options), order, visit)
            .map_err(|error| storage(&self.path, error))
    }

    /// With one iterator: to make one costs more than to move it.
    fn scan_prefixes(
        &self,
        prefixes: &[&[u8]],
        visit: &mut VisitPrefix<'_>,
    ) -> Result<(), StateError> {
        let (Some(first), Some(last)) = (prefixes.first(), prefixes.last()) else {
            return Ok(());
        };
        let Some(options) = bounded(first, &prefix_end(last)) else {
            return Ok(());
        };
        let mut iterator = self.db.raw_iterator_opt(options);
        let mut begun = false;
        for (index, prefix) in prefixes.iter().enumerate() {
            // Where it stands behind the prefix before this one it need not be moved.
            if !begun || iterator.key().is_some_and(|key| key < *prefix) {
                iterator.seek(prefix);
                begun = true;
            }
            while let Some((key, value)) = iterator.item() {
                if !key.starts_with(prefix) || visit(index, key, value).is_break() {
                    break;
                }
                iterator.next();
            }
        }
        iterator
            .status()
            .map_err(|error| storage(&self.path, error))
    }
}

impl StateStore for RocksStore {
    fn apply(&self, delta: &Delta, tag: &Tag) -> Result<(), StateError> {
        let mut batch = WriteBatch::default();
        for (key, value) in &delta.entries {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let mut value = tag.changelog_offset.to_le_bytes().to_vec();
        value.extend_from_slice(&tag.header);
        batch.put(meta("tag"), value);
        self.write(batch)?;
        self.make_room()
    }

    fn snapshot(&self) -> Arc<dyn StateRead> {
        Arc::new(RocksSnapshot::new(&self.db, &self.path))
    }

    fn checkpoint(&self, folder: &Path) -> Result<bool, StateError> {
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(|error| storage(folder, error))?;
        }
        let checkpoint = Checkpoint::new(&self.db).map_err(|error| storage(&self.path, error))?;
        let linked = checkpoint.create_checkpoint(folder);
        linked
            .map(|()| true)
            .map_err(|error| storage(folder, error))
    }

    fn flush(&self) -> Result<(), StateError> {
        self.db.flush().map_err(|error| storage(&self.path, error))
    }
}

/// The store as it was at one moment. Keeps the database open.
struct RocksSnapshot {
    /// Borrows from `db`; declared first, so dropped first.
    snapshot: Snapshot<'static>,
    /// Keeps alive what `snapshot` points to.
    _db: Arc<DB>,
    path: PathBuf,
}

impl RocksSnapshot {
    #[expect(
        unsafe_code,
        reason = "a snapshot that outlives its borrow of the store, for readers on other threads"
    )]
    fn new(db: &Arc<DB>, path: &Path) -> Self {
        let db = Arc::clone(db);
        let snapshot = db.snapshot();
        // SAFETY: only the lifetime changes. The snapshot points into the heap allocation of the `Arc`, which `_db` keeps
        // alive and which never moves; fields drop in declaration order, so the snapshot goes before the database. The
        // `'static` reference never leaves this struct: its methods hand out owned bytes only.
        let snapshot = unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Self {
            snapshot,
            _db: db,
            path: path.to_owned(),
        }
    }
}

impl StateRead for RocksSnapshot {
    fn tag(&self) -> Result<Option<Tag>, StateError> {
        decode_tag(self.get(&meta("tag"))?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.snapshot
            .get(key)
            .map_err(|error| storage(&self.path, error))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        let Some(options) = bounded(from, to) else {
            return Ok(());
        };
        scan(self.snapshot.raw_iterator_opt(options), order, visit)
            .map_err(|error| storage(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_conformance_suite() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(1 << 20, 1 << 20);
        super::super::conformance::run(
            &mut |name| Arc::new(RocksStore::open(&folder.path().join(name), &options).unwrap()),
            true,
        );
    }

    #[test]
    fn many_stores_keep_to_one_limit() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(8 << 20, 8 << 20);
        let open = |number: i32| {
            let path = folder.path().join(number.to_string());
            RocksStore::open(&path, &options).unwrap()
        };
        let stores: Vec<RocksStore> = (0..6).map(open).collect();
        let value = vec![7; 16 << 10];
        let mut most = 0;
        for round in 0..300_i64 {
            for store in &stores {
                let entries = vec![(round.to_be_bytes().to_vec(), Some(value.clone()))];
                let tag = Tag {
                    changelog_offset: round,
                    header: Vec::new(),
                };
                store.apply(&Delta { entries }, &tag).unwrap();
            }
            most = most.max(options.used_bytes());
        }
        // What is being flushed counts until it is on disk.
        assert!(most < 16 << 20, "{most} bytes for 28 MiB in 6 stores");
        assert!(most > 1 << 20, "write buffers are counted: {most}");
    }

    #[test]
    fn many_stores_of_few_rows_take_little_memory() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(64 << 20, 8 << 20);
        let open = |number: i32| {
            let path = folder.path().join(number.to_string());
            let store = RocksStore::open(&path, &options).unwrap();
            for commit in 0..20_i64 {
                let entries = vec![(commit.to_be_bytes().to_vec(), Some(vec![7; 100]))];
                let tag = Tag {
                    changelog_offset: commit,
                    header: vec![7; 100],
                };
                store.apply(&Delta { entries }, &tag).unwrap();
            }
            store
        };
        let stores: Vec<RocksStore> = (0..100).map(open).collect();
        let used = options.used_bytes();
        assert!(used < 4 << 20, "{used} bytes of {} stores", stores.len());
    }

    #[test]
    fn an_empty_store_takes_little_disk() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let store = RocksStore::open(folder.path(), &RocksOptions::new(1 << 20, 1 << 20)).unwrap();
        let files = std::fs::read_dir(folder.path()).unwrap();
        let taken = files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512);
        let taken: u64 = taken.sum();
        assert!(taken < 200 << 10, "{taken} bytes");
        drop(store);
    }

    #[test]
    fn what_was_not_flushed_is_gone_with_its_tag() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(1 << 20, 1 << 20);
        let store = RocksStore::open(folder.path(), &options).unwrap();
        let tag = |offset| Tag {
            changelog_offset: offset,
            header: vec![7],
        };
        let put = |key: &[u8]| Delta {
            entries: vec![(key.to_vec(), Some(vec![1]))],
        };
        store.apply(&put(b"a"), &tag(3)).unwrap();
        store.flush().unwrap();
        store.apply(&put(b"b"), &tag(4)).unwrap();
        // A copy of the folder is what a crash leaves: nothing of the process's memory.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let crashed = RocksStore::open(copy.path(), &options).unwrap();
        assert_eq!(crashed.tag().unwrap(), Some(tag(3)));
        assert_eq!(crashed.get(b"a").unwrap(), Some(vec![1]));
        assert_eq!(crashed.get(b"b").unwrap(), None);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(1 << 20, 1 << 20);
        let store = RocksStore::open(folder.path(), &options).unwrap();
        let mut batch = WriteBatch::default();
        batch.put(meta("format"), 3u32.to_le_bytes());
        store.write(batch).unwrap();
        store.flush().unwrap();
        drop(store);
        let error = RocksStore::open(folder.path(), &options).unwrap_err();
        assert!(
            matches!(
                error,
                StateError::NewerFormat {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn an_older_format_is_no_store_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(1 << 20, 1 << 20);
        let store = RocksStore::open(folder.path(), &options).unwrap();
        let mut batch = WriteBatch::default();
        batch.put(meta("format"), 1u32.to_le_bytes());
        store.write(batch).unwrap();
        store.flush().unwrap();
        drop(store);
        let error = RocksStore::open(folder.path(), &options).unwrap_err();
        assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn a_checkpoint_holds_what_was_never_flushed_and_nothing_later() {
        let folder = tempfile::tempdir().unwrap();
        let options = RocksOptions::new(1 << 20, 1 << 20);
        let store = RocksStore::open(&folder.path().join("store"), &options).unwrap();
        let put = |value: &[u8], changelog_offset| {
            let delta = Delta {
                entries: vec![(b"a".to_vec(), Some(value.to_vec()))],
            };
            let tag = Tag {
                changelog_offset,
                header: Vec::new(),
            };
            store.apply(&delta, &tag).unwrap();
        };
        put(b"1", 7);
        let copy = folder.path().join("work").join("copy");
        assert!(store.checkpoint(&copy).unwrap());
        put(b"2", 8);
        let copy = RocksStore::open(&copy, &options).unwrap();
        assert_eq!(copy.get(b"a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(copy.tag().unwrap().unwrap().changelog_offset, 7);
    }

    #[test]
    fn a_snapshot_outlives_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = RocksStore::open(folder.path(), &RocksOptions::new(1 << 20, 1 << 20)).unwrap();
        let delta = Delta {
            entries: vec![(b"a".to_vec(), Some(b"1".to_vec()))],
        };
        store
            .apply(
                &delta,
                &Tag {
                    changelog_offset: 0,
                    header: Vec::new(),
                },
            )
            .unwrap();
        let snapshot = store.snapshot();
        drop(store);
        assert_eq!(snapshot.get(b"a").unwrap(), Some(b"1".to_vec()));
    }
}
