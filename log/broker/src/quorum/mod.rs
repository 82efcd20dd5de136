//! The metadata of a single node: topics, their configs, producer ids, and the folder that everything lies in. No raft:
//! a log of records, synced before anybody is told, replayed at the start.
//!
//! ```text
//! create / delete / grow / alter ─ one lock ─> record ─ fdatasync ─> image ─> Topic, Partition
//! start   replay the records ─ unclean? one more record ─> open every partition of the image
//! ```
//!
//! Invariants:
//! 1. The image is what the records say; both change in this order, by the same `apply`.
//! 2. A partition's leader epoch is the number of unclean starts since its topic was made: it rises with each.
//! 3. Only folders whose topic was deleted by a record are removed; others that no topic claims are left.

mod error;
mod image;
mod inspect;
mod metadata_log;
mod name;
mod names;
mod open;
mod security;
mod topic;

#[cfg(test)]
mod tests;

pub(crate) use error::{CloseError, TopicError};
pub use inspect::{InspectedPartition, InspectedTopic, Inspection, inspect};
pub(crate) use name::is_valid as is_valid_name;
pub(crate) use topic::Topic;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use tracing::{debug, info, warn};
use uuid::Uuid;

use self::image::{Image, MetadataRecord, TopicId, TopicImage};
use self::metadata_log::MetadataLog;
use self::open::{each, leftovers, open_topics, partition_folders, topics_of, written_topics};
use crate::security::SecurityView;
use crate::storage::{
    DataFolder, KnownEnds, OpenError, Pace, Partition, RingBudget, Shared, StartKind, StorageError,
    StorageOptions, SyncPool,
};
use crate::topic_config::{TopicConfig, check_new};

/// Producer ids that one record reserves.
const PRODUCER_ID_BLOCK: i64 = 1000;

/// Partitions that a topic may have.
const PARTITIONS_MAX: i32 = 100_000;

/// The topics of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: DataFolder,
    shared: Arc<Shared>,
    metadata: Mutex<Metadata>,
    index: RwLock<Index>,
    security: RwLock<Arc<SecurityView>>,
    cluster_id: String,
    /// Folders of deleted partitions, to be removed.
    leftovers: Mutex<Vec<PathBuf>>,
    /// The upkeep that runs in the background.
    upkeep: Mutex<Option<JoinHandle<()>>>,
    /// The compaction that does; apart, because it may take long.
    cleaning: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
    /// Topics came or went since the list for people was written.
    names_stale: AtomicBool,
    ends: Mutex<EndsNote>,
}

#[derive(Debug)]
struct Metadata {
    log: MetadataLog,
    image: Image,
    next_producer_id: i64,
}

/// The file `ends` as it was written last.
#[derive(Debug, Default)]
struct EndsNote {
    written: KnownEnds,
    written_ms: i64,
}

#[derive(Debug, Default)]
struct Index {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    /// By what names have in common that collide.
    by_shape: HashMap<String, Arc<str>>,
}

impl Index {
    fn insert(&mut self, topic: &Arc<Topic>) {
        let name = topic.name();
        self.by_name.insert(Arc::clone(name), Arc::clone(topic));
        self.by_id.insert(topic.id(), Arc::clone(topic));
        self.by_shape.insert(name::shape(name), Arc::clone(name));
    }
}

impl Topics {
    /// Opens the log in `folder`; makes it if it is not there. Recovers every partition before it returns.
    ///
    /// # Errors
    /// [`OpenError`]: in use, of a newer format, corrupt, or not readable.
    pub(crate) fn open(folder: &Path, options: StorageOptions) -> Result<Self, OpenError> {
        let folder = DataFolder::open(folder)?;
        let folders = partition_folders(&folder)?;
        let path = folder.metadata();
        let ends = KnownEnds::read(folder.path());
        let written = written_topics(&folders, &ends);
        let (mut log, mut image) = MetadataLog::open(&path, &topics_of(&folders), &written)?;
        let mut append = |image: &mut Image, record: MetadataRecord| {
            log.append(&record)
                .map_err(OpenError::io("write", &folder.metadata()))?;
            image.apply(&record);
            Ok::<(), OpenError>(())
        };
        if image.cluster_id.is_empty() {
            append(
                &mut image,
                MetadataRecord::Cluster {
                    id: Uuid::new_v4().simple().to_string()[..22].to_owned(),
                },
            )?;
        }
        if folder.start().is_unclean() {
            append(&mut image, MetadataRecord::UncleanStart)?;
        }
        let shared = Arc::new(Shared {
            rings: RingBudget::new(options.ring_bytes_max),
            pool: SyncPool::new(),
            closing: AtomicBool::new(false),
            pace: Pace::new(),
            options,
        });
        let index = open_topics(&folder, &image, &ends, &shared)?;
        let leftovers = leftovers(folders, &image);
        let next_producer_id = image.producer_ids_end;
        let inner = Inner {
            cluster_id: image.cluster_id.clone(),
            security: RwLock::new(Arc::new(SecurityView::of(image.security.clone()))),
            folder,
            shared,
            metadata: Mutex::new(Metadata {
                log,
                image,
                next_producer_id,
            }),
            index: RwLock::new(index),
            leftovers: Mutex::new(leftovers),
            upkeep: Mutex::new(None),
            cleaning: Mutex::new(None),
            closed: AtomicBool::new(false),
            names_stale: AtomicBool::new(true),
            ends: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// How the last use of the folder ended.
    pub(crate) fn start_kind(&self) -> StartKind {
        self.inner.folder.start()
    }

    /// All that follows from how the last use ended is done, and on disk.
    ///
    /// # Errors
    /// [`OpenError`] of the file that says so.
    pub(crate) fn mark_running(&self) -> Result<(), OpenError> {
        self.inner.folder.mark_running()
    }

    /// Generated when the folder was made.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.inner.cluster_id
    }

    /// The end of the metadata, in bytes of its log.
    pub(crate) fn metadata_end(&self) -> i64 {
        let size = self.inner.metadata.lock().log.size();
        i64::try_from(size).unwrap_or(i64::MAX)
    }

    /// The topic of this name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.inner.index.read().by_name.get(name).cloned()
    }

    /// The topic of this id.
    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.inner.index.read().by_id.get(&id).cloned()
    }

    /// All topics, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Topic>> {
        self.inner.index.read().by_name.values().cloned().collect()
    }

    /// Creates a topic; durable when it returns. Waits for the disk.
    ///
    /// # Errors
    /// [`TopicError::Exists`], or what of name, partitions or configs is refused.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: &BTreeMap<String, String>,
        internal: bool,
    ) -> Result<Arc<Topic>, TopicError> {
        self.check_create(name, partitions, configs)?;
        let config = self.parse(name, configs)?;
        let mut metadata = self.inner.metadata.lock();
        // Somebody else may have been quicker.
        self.check_free(name)?;
        let id = TopicId(Uuid::new_v4());
        let (name, configs) = (name.to_owned(), configs.clone());
        self.commit(
            &mut metadata,
            MetadataRecord::TopicCreated {
                name,
                id,
                partitions,
                configs,
                internal,
            },
        )?;
        let image = metadata.image.topics.get(&id).expect("applied above");
        let topic = self.make_topic(image, metadata.image.leader_epoch(image), config)?;
        self.insert(&topic);
        info!(topic = %topic.name(), id = %topic.id(), partitions, "topic created");
        Ok(topic)
    }

    /// What [`Topics::create`] would refuse, without doing it.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check_create(
        &self,
        name: &str,
        partitions: i32,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), TopicError> {
        name::check(name).map_err(|reason| TopicError::InvalidName {
            name: name.to_owned(),
            reason,
        })?;
        self.check_free(name)?;
        check_partitions(name, partitions, 0)?;
        for (key, value) in configs {
            check_config(name, key, value)?;
        }
        self.parse(name, configs).map(drop)
    }

    /// Whether no topic is in the way of one of this name.
    fn check_free(&self, name: &str) -> Result<(), TopicError> {
        let index = self.inner.index.read();
        if index.by_name.contains_key(name) {
            return Err(TopicError::Exists(name.to_owned()));
        }
        match index.by_shape.get(&name::shape(name)) {
            Some(other) => Err(TopicError::Collides {
                name: name.to_owned(),
                other: other.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// Deletes a topic; its records are gone for good. Waits for the disk.
    ///
    /// # Errors
    /// [`TopicError::Unknown`].
    pub(crate) fn delete(&self, name: &str) -> Result<(), TopicError> {
        let mut metadata = self.inner.metadata.lock();
        let topic = self
            .get(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        self.commit(
            &mut metadata,
            MetadataRecord::TopicDeleted {
                id: TopicId(topic.id()),
            },
        )?;
        {
            let mut index = self.inner.index.write();
            index.by_name.remove(name);
            index.by_id.remove(&topic.id());
            index.by_shape.remove(&name::shape(name));
        }
        self.inner.names_stale.store(true, Ordering::Release);
        let folder = self.inner.folder.partitions();
        let mut leftovers = self.inner.leftovers.lock();
        for partition in topic.all() {
            partition.mark_deleted();
            leftovers.push(topic::partition_folder(
                &folder,
                topic.id(),
                partition.id().partition,
            ));
        }
        info!(topic = name, "topic deleted");
        Ok(())
    }

    /// Raises the number of partitions to `total`. Waits for the disk.
    ///
    /// # Errors
    /// [`TopicError::InvalidPartitions`] if it is not a rise.
    pub(crate) fn grow(&self, name: &str, total: i32) -> Result<(), TopicError> {
        let mut metadata = self.inner.metadata.lock();
        let topic = self
            .get(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        check_partitions(name, total, topic.partitions())?;
        self.commit(
            &mut metadata,
            MetadataRecord::PartitionsAdded {
                id: TopicId(topic.id()),
                total,
            },
        )?;
        let image = metadata
            .image
            .topics
            .get(&TopicId(topic.id()))
            .expect("known and not deleted under the lock");
        let leader_epoch = metadata.image.leader_epoch(image);
        let folder = self.inner.folder.partitions();
        let shared = &self.inner.shared;
        topic
            .add_partitions(total, &folder, leader_epoch, shared)
            .map_err(|error| TopicError::Offline(error.to_string()))
    }

    /// Sets (`Some`) or unsets (`None`) configs; the others stay. Takes effect at once. Waits for the disk.
    ///
    /// # Errors
    /// [`TopicError::Config`]; then nothing changed.
    pub(crate) fn alter(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), TopicError> {
        let mut metadata = self.inner.metadata.lock();
        let (topic, configs) = self.altered(name, changes)?;
        let config = self.parse(name, &configs)?;
        self.commit(
            &mut metadata,
            MetadataRecord::ConfigsSet {
                id: TopicId(topic.id()),
                configs: configs.clone(),
            },
        )?;
        topic.set_config(configs, config);
        Ok(())
    }

    /// What [`Topics::alter`] would refuse, without doing it.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check_alter(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(), TopicError> {
        self.altered(name, changes).map(drop)
    }

    /// The topic, and what it would set.
    fn altered(
        &self,
        name: &str,
        changes: &[(String, Option<String>)],
    ) -> Result<(Arc<Topic>, BTreeMap<String, String>), TopicError> {
        let topic = self
            .get(name)
            .ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        let mut configs = topic.set_configs();
        for (key, value) in changes {
            if let Some(value) = value {
                check_config(name, key, value)?;
            }
            match value {
                Some(value) => configs.insert(key.clone(), value.clone()),
                None => configs.remove(key),
            };
        }
        self.parse(name, &configs)?;
        Ok((topic, configs))
    }

    /// Partitions that are offline or hold damaged records, and why.
    pub(crate) fn offline(&self) -> Vec<StorageError> {
        let partitions = self.list().into_iter().flat_map(|topic| topic.all());
        partitions
            .filter_map(|partition| partition.trouble())
            .collect()
    }

    /// A producer id that was never given out before. Waits for the disk once in a thousand.
    ///
    /// # Errors
    /// [`TopicError::Offline`].
    pub(crate) fn next_producer_id(&self) -> Result<i64, TopicError> {
        let mut metadata = self.inner.metadata.lock();
        let id = metadata.next_producer_id;
        if id >= metadata.image.producer_ids_end {
            self.commit(
                &mut metadata,
                MetadataRecord::ProducerIds {
                    end: id + PRODUCER_ID_BLOCK,
                },
            )?;
        }
        metadata.next_producer_id = id + 1;
        Ok(id)
    }

    /// The periodic work; to be called every 250 ms or so. Never waits for the disk: what does runs on two threads of
    /// their own, compaction on the one, all else on the other.
    pub(crate) fn maintain(&self, now_ms: i64) {
        if self.inner.closed.load(Ordering::Acquire) {
            return;
        }
        let mut due = Vec::new();
        let mut dirty = Vec::new();
        for topic in self.list() {
            topic.each(|partition| {
                let dirty_bytes = partition.dirty_bytes(now_ms);
                if dirty_bytes > 0 {
                    dirty.push((dirty_bytes, Arc::clone(partition)));
                }
                if partition.tick(now_ms) {
                    due.push(Arc::clone(partition));
                }
            });
        }
        let inner = Arc::clone(&self.inner);
        let stale = inner.names_stale.load(Ordering::Acquire);
        if stale || !due.is_empty() || !inner.leftovers.lock().is_empty() {
            in_background("log-upkeep", &self.inner.upkeep, move || {
                inner.remove_leftovers();
                inner.write_names();
                inner.each_until_closed(due, |partition| partition.upkeep(now_ms));
                inner.note_ends(now_ms);
            });
        }
        let inner = Arc::clone(&self.inner);
        if !dirty.is_empty() {
            dirty.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            in_background("log-compact", &self.inner.cleaning, move || {
                let dirtiest_first = dirty.into_iter().map(|(_, partition)| partition);
                inner.each_until_closed(dirtiest_first, |partition| partition.clean(now_ms));
            });
        }
    }

    /// Everything to disk, and the folder marked as closed cleanly. Later appends and changes are refused, reads go on.
    /// Waits for the disk.
    ///
    /// # Errors
    /// The first partition that could not be saved; the folder is not marked then.
    pub(crate) fn close(&self) -> Result<(), CloseError> {
        self.inner.shared.closing.store(true, Ordering::Release);
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let closed = self.save_all();
        // A change that was being written is on disk when the lock is free.
        let _last = self.inner.metadata.lock();
        self.inner.folder.release();
        closed
    }

    /// Ends what runs, and saves every partition.
    fn save_all(&self) -> Result<(), CloseError> {
        for thread in [&self.inner.upkeep, &self.inner.cleaning] {
            if let Some(running) = thread.lock().take()
                && running.join().is_err()
            {
                warn!("upkeep thread panicked");
            }
        }
        let partitions: Vec<_> = self.list().iter().flat_map(|topic| topic.all()).collect();
        each(
            &partitions,
            self.inner.shared.options.recovery_threads,
            |partition| partition.close(),
        )?;
        self.inner.remove_leftovers();
        self.inner.write_names();
        self.inner.note_ends(i64::MAX);
        if partitions.iter().any(|partition| !partition.is_opened()) {
            // Leader epochs are to rise at the next start: what it finds there may have been mended by cutting it.
            warn!("closed with partitions that could not be opened");
            return Ok(());
        }
        self.inner
            .folder
            .mark_clean()
            .map_err(|error| CloseError::Mark(error.to_string()))
    }

    fn parse(
        &self,
        name: &str,
        configs: &BTreeMap<String, String>,
    ) -> Result<TopicConfig, TopicError> {
        TopicConfig::parse(configs, &self.inner.shared.options.topic_defaults).map_err(|error| {
            TopicError::Config {
                name: name.to_owned(),
                error,
            }
        })
    }

    /// Makes a record durable, then true.
    fn commit(&self, metadata: &mut Metadata, record: MetadataRecord) -> Result<(), TopicError> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(TopicError::Offline("the log is closed".to_owned()));
        }
        metadata
            .log
            .append(&record)
            .map_err(|error| TopicError::Offline(error.to_string()))?;
        metadata.image.apply(&record);
        Ok(())
    }

    fn make_topic(
        &self,
        image: &TopicImage,
        leader_epoch: i32,
        config: TopicConfig,
    ) -> Result<Arc<Topic>, TopicError> {
        let topic = Topic::new(image, config);
        let folder = self.inner.folder.partitions();
        topic
            .add_partitions(image.partitions, &folder, leader_epoch, &self.inner.shared)
            .map_err(|error| TopicError::Offline(error.to_string()))?;
        Ok(Arc::new(topic))
    }

    fn insert(&self, topic: &Arc<Topic>) {
        self.inner.index.write().insert(topic);
        self.inner.names_stale.store(true, Ordering::Release);
    }
}

/// Runs `work` on a thread of its own, unless the one before it still runs.
fn in_background(
    name: &str,
    running: &Mutex<Option<JoinHandle<()>>>,
    work: impl FnOnce() + Send + 'static,
) {
    let mut running = running.lock();
    if running.as_ref().is_some_and(|one| !one.is_finished()) {
        return;
    }
    match thread::Builder::new().name(name.to_owned()).spawn(work) {
        Ok(started) => *running = Some(started),
        Err(error) => {
            warn!(%error, name, "thread cannot be started, trying again at the next tick")
        }
    }
}

impl Inner {
    fn each_until_closed(
        &self,
        partitions: impl IntoIterator<Item = Arc<Partition>>,
        work: impl Fn(&Partition),
    ) {
        for partition in partitions {
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            work(&partition);
        }
    }

    /// Writes the list of names for people, if topics came or went.
    fn write_names(&self) {
        if !self.names_stale.swap(false, Ordering::AcqRel) {
            return;
        }
        let topics: Vec<_> = self.index.read().by_name.values().cloned().collect();
        let path = self.folder.names();
        if let Err(error) = names::write(&path, &topics) {
            debug!(path = %path.display(), %error, "the list of names cannot be written");
        }
    }

    /// Writes where the partitions are known to end, as often as they save it themselves.
    fn note_ends(&self, now_ms: i64) {
        let every_ms = self.shared.options.checkpoint_interval_ms;
        let mut note = self.ends.lock();
        if now_ms.saturating_sub(note.written_ms) < every_ms {
            return;
        }
        let topics: Vec<_> = self.index.read().by_id.values().cloned().collect();
        let mut ends = KnownEnds::default();
        for partition in topics.iter().flat_map(|topic| topic.all()) {
            let start = partition.known_start();
            ends.set(partition.folder(), start, partition.known_end());
        }
        if ends != note.written {
            if let Err(error) = ends.write(self.folder.path()) {
                warn!(%error, "the file ends cannot be written, trying again later");
                return;
            }
            note.written = ends;
        }
        note.written_ms = now_ms;
    }

    fn remove_leftovers(&self) {
        let leftovers = std::mem::take(&mut *self.leftovers.lock());
        for folder in leftovers {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    // Tried again at the next start.
                    warn!(folder = %folder.display(), %error, "folder of a deleted partition cannot be removed");
                }
                _ => {}
            }
        }
    }
}

fn check_config(topic: &str, key: &str, value: &str) -> Result<(), TopicError> {
    check_new(key, value).map_err(|error| TopicError::Config {
        name: topic.to_owned(),
        error,
    })
}

fn check_partitions(name: &str, partitions: i32, now: i32) -> Result<(), TopicError> {
    let reason = if partitions < 1 {
        "it needs at least one"
    } else if partitions <= now {
        "the number of partitions can only be raised"
    } else if partitions > PARTITIONS_MAX {
        "the limit is 100000"
    } else {
        return Ok(());
    };
    Err(TopicError::InvalidPartitions {
        name: name.to_owned(),
        partitions,
        reason,
    })
}
