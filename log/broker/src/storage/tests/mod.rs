//! A partition in a temporary folder: written, killed, cut, opened again.

mod append;
mod compaction;
mod crash;
mod damage;
mod read;
mod retention;
mod served;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use log_protocol::{BatchBuilder, Compression, ProducerStamp, Record, TopicPartition, batches};
use parking_lot::RwLock;

use super::*;
use crate::partition::{AppendOrigin, Appended};
use crate::topic_config::TopicConfig;

pub(super) const NOW: i64 = 1_700_000_000_000;

/// The seed of a random test: printed, and replayed with `SEED=…`.
pub(super) fn seed() -> u64 {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    seed
}

/// A partition's folder and configs, through any number of openings.
pub(super) struct Lab {
    folder: tempfile::TempDir,
    config: Arc<RwLock<Arc<TopicConfig>>>,
    shared: Arc<Shared>,
}

impl Lab {
    pub(super) fn new(configs: &[(&str, &str)]) -> Self {
        Self::with(configs, StorageOptions::default())
    }

    pub(super) fn with(configs: &[(&str, &str)], options: StorageOptions) -> Self {
        let shared = Shared {
            pool: SyncPool::new(),
            rings: RingBudget::new(options.ring_bytes_max),
            closing: AtomicBool::new(false),
            pace: Pace::new(),
            options,
        };
        Self {
            folder: memory_folder(),
            config: Arc::new(RwLock::new(Arc::new(parse(configs)))),
            shared: Arc::new(shared),
        }
    }

    pub(super) fn set(&self, configs: &[(&str, &str)]) {
        *self.config.write() = Arc::new(parse(configs));
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("partition")
    }

    pub(super) fn open(&self) -> Partition {
        self.open_at(&self.path(), 0)
    }

    pub(super) fn open_at(&self, path: &Path, leader_epoch: i32) -> Partition {
        let opened = self.try_open(path, leader_epoch, 0);
        opened.map_err(|error| error.to_string()).expect("open").0
    }

    pub(super) fn try_open(
        &self,
        path: &Path,
        leader_epoch: i32,
        known_end: i64,
    ) -> Result<(Partition, RecoveryReport), OpenError> {
        let seed = PartitionSeed {
            id: TopicPartition::new("orders", 3),
            folder: path.into(),
            known_end,
            known_start: 0,
            internal: false,
            leader_epoch,
            config: Arc::clone(&self.config),
            shared: Arc::clone(&self.shared),
        };
        Partition::open(seed)
    }

    /// The folder as a crash leaves it, elsewhere.
    pub(super) fn copy(&self, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        let _ = fs::remove_dir_all(&target);
        fs::create_dir_all(&target).expect("create");
        for entry in fs::read_dir(self.path()).expect("list") {
            let entry = entry.expect("entry");
            fs::copy(entry.path(), target.join(entry.file_name())).expect("copy");
        }
        target
    }

    pub(super) fn files(&self, ending: &str) -> Vec<PathBuf> {
        files(&self.path(), ending)
    }
}

/// In memory where there is such a place: what these tests ask does not depend on a disk, and syncs are slow.
fn memory_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("tempdir")
}

pub(super) fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    files.sort();
    files
}

fn parse(configs: &[(&str, &str)]) -> TopicConfig {
    let set = configs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    TopicConfig::parse(&set, &BTreeMap::new()).expect("configs")
}

/// Records `(key, value)` of one batch, a millisecond apart.
pub(super) fn batch_of(
    records: &[(Option<&str>, Option<&str>)],
    at_ms: i64,
    stamp: ProducerStamp,
) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for (n, (key, value)) in records.iter().enumerate() {
        builder.append(
            at_ms + n as i64,
            key.map(str::as_bytes),
            value.map(str::as_bytes),
            &[],
        );
    }
    builder.build(stamp)
}

/// `count` records with values of `size` bytes.
pub(super) fn filled(count: i32, size: usize, at_ms: i64) -> Bytes {
    let value = "v".repeat(size);
    let records: Vec<_> = (0..count).map(|_| (None, Some(value.as_str()))).collect();
    batch_of(&records, at_ms, ProducerStamp::NONE)
}

pub(super) fn stamp(id: i64, epoch: i16, sequence: i32, transactional: bool) -> ProducerStamp {
    ProducerStamp {
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        transactional,
    }
}

pub(super) fn put(partition: &Partition, bytes: Bytes) -> Appended {
    partition
        .append(bytes, AppendOrigin::Client, NOW)
        .expect("append")
}

/// Everything that a reader sees from `from` on, in fetches of `bytes_max`.
pub(super) fn read_all(
    partition: &Partition,
    from: i64,
    bytes_max: usize,
    isolation: Isolation,
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut from = from;
    loop {
        let fetched = partition.read(from, bytes_max, isolation).expect("read");
        if fetched.records.is_empty() {
            return records;
        }
        for batch in batches(&fetched.records) {
            let batch = batch.expect("whole batches");
            batch.verify_crc().expect("crc");
            assert!(
                batch.header.last_offset() >= from,
                "batch before the offset asked for"
            );
            let next = batch.header.next_offset();
            if !batch.header.is_control() {
                for record in batch.records(1 << 20).expect("records") {
                    let record = record.expect("record");
                    if record.offset >= from {
                        records.push(record);
                    }
                }
            }
            from = next;
        }
    }
}

pub(super) fn values(records: &[Record]) -> Vec<(i64, String)> {
    let text =
        |record: &Record| String::from_utf8(record.value.clone().unwrap_or_default().to_vec());
    records
        .iter()
        .map(|record| (record.offset, text(record).expect("text")))
        .collect()
}

pub(super) fn all(partition: &Partition) -> Vec<Record> {
    read_all(
        partition,
        partition.log_start_offset(),
        1 << 20,
        Isolation::ReadUncommitted,
    )
}
