//! State on disk: one RocksDB a task, in `<state_dir>/<job>/<token>`.
//!
//! One column family holds everything. Several would need atomic flushes and cost a write buffer each; one gives for
//! nothing that a [`Delta`] and its tag, written as one batch, lie in one memtable: what a crash leaves is a prefix
//! of the commits, each whole. There is no write-ahead log: the changelog is one.
//!
//! ```text
//! [META]["format"]  u32 LE, today 2         [META]["tag"]  [changelog offset i64 LE][block header]
//! [META]["owner"]   [changelog's topic id, 16 bytes][token u32 LE]: whose state it is; older stores do not say
//! anything else: as state/key.rs says
//! ```
//!
//! Memory: write buffers are small (most state is a few MiB and idle), and one block cache serves all stores of a
//! process. Write buffers count as its content, and are to take half of it at most: beyond that who writes much waits for its
//! own to be on disk. RocksDB itself would have the writer wait for the buffers of others, which may be idle for good.

mod damage;
mod options;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, ReadOptions, Snapshot, WriteBatch,
    WriteOptions,
};
use uuid::Uuid;

use damage::Place;
pub use options::RocksOptions;

use super::{
    Delta, META, ScanOrder, StateError, StateRead, StateStore, Tag, Visit, VisitPrefix, prefix_end,
};

/// The layout that this file writes.
const FORMAT: u32 = 2;

/// Memory for a look at a store.
const INSPECTION_BYTES: usize = 8 << 20;

/// What a store's write buffers take, those that are being written to disk included.
const OWN_BUFFERS: &str = "rocksdb.cur-size-all-mem-tables";

/// A [`StateStore`] on disk.
pub struct RocksStore {
    db: Arc<DB>,
    place: Arc<Place>,
    options: RocksOptions,
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore")
            .field("place", &self.place)
            .finish_non_exhaustive()
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
        let place = Place::new(path);
        std::fs::create_dir_all(path).map_err(|error| place.not_made(&error))?;
        let database = options.database(path);
        // Named, so that it can be asked for many keys at once.
        let family = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, database.clone());
        let db = DB::open_cf_descriptors(&database, path, [family]);
        let db = db.map_err(|error| place.failed(error))?;
        let store = Self {
            db: Arc::new(db),
            place,
            options: options.clone(),
        };
        if store.format()?.is_none() {
            let mut batch = WriteBatch::default();
            batch.put(meta("format"), FORMAT.to_le_bytes());
            store.write(batch)?;
        }
        Ok(store)
    }

    /// Reads the store in `path` without changing it: what a start looks at, and if `thoroughly` every entry.
    ///
    /// # Errors
    /// [`StateError::Damaged`] and what else [`Self::open`] would say.
    pub fn inspect(path: &Path, thoroughly: bool) -> Result<(), StateError> {
        let place = Place::new(path);
        let options = RocksOptions::new(INSPECTION_BYTES, INSPECTION_BYTES);
        let db = DB::open_for_read_only(&options.database(path), path, false);
        let store = Self {
            db: Arc::new(db.map_err(|error| place.failed(error))?),
            place,
            options,
        };
        store.format()?;
        store.tag()?;
        if thoroughly {
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            let entries = store.db.raw_iterator_opt(options);
            let all = &mut |_: &[u8], _: &[u8]| ControlFlow::Continue(());
            scan(entries, ScanOrder::Ascending, all).map_err(|error| store.place.failed(error))?;
        }
        Ok(())
    }

    /// The layout that it has; `None` in a new one.
    fn format(&self) -> Result<Option<u32>, StateError> {
        let Some(bytes) = self.get(&meta("format"))? else {
            return Ok(None);
        };
        let found = bytes.try_into().map(u32::from_le_bytes).unwrap_or(u32::MAX);
        match found.cmp(&FORMAT) {
            std::cmp::Ordering::Equal => Ok(Some(found)),
            std::cmp::Ordering::Greater => Err(StateError::NewerFormat {
                place: self.place.to_string(),
                found,
                known: FORMAT,
            }),
            std::cmp::Ordering::Less => Err(self.place.damaged(format!(
                "it has format {found}, this program knows {FORMAT}"
            ))),
        }
    }

    /// Makes it the state of this token of the job with this changelog.
    ///
    /// # Errors
    /// [`StateError::Damaged`] where it is another's.
    pub fn claim(&self, changelog: Uuid, token: u32) -> Result<(), StateError> {
        let mut owner = changelog.as_bytes().to_vec();
        owner.extend_from_slice(&token.to_le_bytes());
        match self.get(&meta("owner"))? {
            Some(found) if found == owner => Ok(()),
            Some(_) => {
                let reason = "it belongs to another changelog, or to another part of the keys";
                Err(self.place.damaged(reason.to_owned()))
            }
            None => {
                let mut batch = WriteBatch::default();
                batch.put(meta("owner"), owner);
                self.write(batch)
            }
        }
    }

    /// Deletes the store in `path`; one that is not there is fine.
    ///
    /// # Errors
    /// [`StateError::Storage`].
    pub fn remove(path: &Path) -> Result<(), StateError> {
        let removed = match path.is_dir() {
            true => std::fs::remove_dir_all(path),
            // Where a folder should be there is a file.
            false => std::fs::remove_file(path),
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Place::new(path).storage(&error))
            }
            _ => Ok(()),
        }
    }

    /// Writes its buffers to disk where they have a part in it that there are too many.
    fn make_room(&self) -> Result<(), StateError> {
        if !self.options.is_over() {
            return Ok(());
        }
        let own = self.db.property_int_value(OWN_BUFFERS);
        let own = own.map_err(|error| self.place.failed(error))?;
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
            .map_err(|error| self.place.failed(error))
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
        self.db.get(key).map_err(|error| self.place.failed(error))
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let Some(family) = self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME) else {
            return keys.iter().map(|key| self.get(key)).collect();
        };
        // One walk through the files for all of them; it sorts them itself where that is needed.
        let found = (self.db).batched_multi_get_cf(family, keys, keys.is_sorted());
        let values = found.into_iter().map(|value| {
            let value = value.map_err(|error| self.place.failed(error))?;
            Ok(value.map(|bytes| bytes.to_vec()))
        });
        values.collect()
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
            .map_err(|error| self.place.failed(error))
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
        iterator.status().map_err(|error| self.place.failed(error))
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
        Arc::new(RocksSnapshot::new(&self.db, &self.place))
    }

    fn checkpoint(&self, folder: &Path) -> Result<bool, StateError> {
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Place::new(folder).storage(&error))?;
        }
        // What is wrong with the folder is nothing that is wrong with the store.
        let checkpoint = Checkpoint::new(&self.db);
        checkpoint
            .and_then(|checkpoint| checkpoint.create_checkpoint(folder))
            .map(|()| true)
            .map_err(|error| Place::new(folder).storage(&error))
    }

    fn damage(&self) -> Option<StateError> {
        self.place.damage()
    }

    fn flush(&self) -> Result<(), StateError> {
        self.db.flush().map_err(|error| self.place.failed(error))
    }
}

/// The store as it was at one moment. Keeps the database open.
struct RocksSnapshot {
    /// Borrows from `db`; declared first, so dropped first.
    snapshot: Snapshot<'static>,
    /// Keeps alive what `snapshot` points to.
    _db: Arc<DB>,
    place: Arc<Place>,
}

impl RocksSnapshot {
    #[expect(
        unsafe_code,
        reason = "a snapshot that outlives its borrow of the store, for readers on other threads"
    )]
    fn new(db: &Arc<DB>, place: &Arc<Place>) -> Self {
        let db = Arc::clone(db);
        let snapshot = db.snapshot();
        // SAFETY: only the lifetime changes. The snapshot points into the heap allocation of the `Arc`, which `_db` keeps
        // alive and which never moves; fields drop in declaration order, so the snapshot goes before the database. The
        // `'static` reference never leaves this struct: its methods hand out owned bytes only.
        let snapshot = unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Self {
            snapshot,
            _db: db,
            place: Arc::clone(place),
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
            .map_err(|error| self.place.failed(error))
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        let values = self.snapshot.multi_get(keys).into_iter();
        values
            .map(|value| value.map_err(|error| self.place.failed(error)))
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
        scan(self.snapshot.raw_iterator_opt(options), order, visit)
            .map_err(|error| self.place.failed(error))
    }
}
