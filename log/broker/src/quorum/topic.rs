//! A topic and its partitions.
//!
//! Invariants:
//! 1. Partitions are numbered from 0 without gaps; their number only grows.
//! 2. A partition's folder is named by the topic's id: a topic that is created anew never finds old records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log_protocol::TopicPartition;
use parking_lot::RwLock;
use uuid::Uuid;

use super::TopicConfig;
use super::image::TopicImage;
use crate::storage::{KnownEnds, OpenError, Partition, PartitionSeed, Shared};

/// A topic of this node.
#[derive(Debug)]
pub(crate) struct Topic {
    name: Arc<str>,
    id: Uuid,
    internal: bool,
    set_configs: RwLock<BTreeMap<String, String>>,
    /// Shared with the partitions.
    config: Arc<RwLock<Arc<TopicConfig>>>,
    partitions: RwLock<Vec<Arc<Partition>>>,
}

impl Topic {
    /// Without partitions yet.
    pub(super) fn new(image: &TopicImage, config: TopicConfig) -> Self {
        Self {
            name: image.name.as_str().into(),
            id: image.id.0,
            internal: image.internal,
            set_configs: RwLock::new(image.configs.clone()),
            config: Arc::new(RwLock::new(Arc::new(config))),
            partitions: RwLock::default(),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its id, never used for another.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it is one that the system keeps for itself.
    pub(crate) fn is_internal(&self) -> bool {
        self.internal
    }

    /// Number of partitions.
    pub(crate) fn partitions(&self) -> i32 {
        self.partitions.read().len() as i32
    }

    /// One partition.
    pub(crate) fn partition(&self, partition: i32) -> Option<Arc<Partition>> {
        self.partitions
            .read()
            .get(usize::try_from(partition).ok()?)
            .cloned()
    }

    /// All partitions, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().clone()
    }

    /// Visits all partitions, in order.
    pub(crate) fn each(&self, visit: impl FnMut(&Arc<Partition>)) {
        self.partitions.read().iter().for_each(visit);
    }

    /// Its configs as they are now, defaults filled in.
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }

    /// The configs that were set on the topic itself.
    pub(crate) fn set_configs(&self) -> BTreeMap<String, String> {
        self.set_configs.read().clone()
    }

    pub(super) fn set_config(&self, set: BTreeMap<String, String>, config: TopicConfig) {
        *self.set_configs.write() = set;
        *self.config.write() = Arc::new(config);
    }

    /// What a partition is opened with; `ends` says what it is known to hold.
    pub(super) fn seed(
        &self,
        partition: i32,
        folder: &Path,
        ends: &KnownEnds,
        leader_epoch: i32,
        shared: &Arc<Shared>,
    ) -> (Uuid, PartitionSeed) {
        let folder = partition_folder(folder, self.id, partition);
        let seed = PartitionSeed {
            id: TopicPartition {
                topic: Arc::clone(&self.name),
                partition,
            },
            known_end: ends.of(&folder),
            known_start: ends.start_of(&folder),
            folder: folder.into(),
            internal: self.internal,
            leader_epoch,
            config: Arc::clone(&self.config),
            shared: Arc::clone(shared),
        };
        (self.id, seed)
    }

    /// The next partition, opened.
    pub(super) fn push(&self, partition: Arc<Partition>) {
        self.partitions.write().push(partition);
    }

    /// Opens partitions up to `total`.
    pub(super) fn add_partitions(
        &self,
        total: i32,
        folder: &Path,
        leader_epoch: i32,
        shared: &Arc<Shared>,
    ) -> Result<(), OpenError> {
        for partition in self.partitions()..total {
            let none = KnownEnds::default();
            let (_, seed) = self.seed(partition, folder, &none, leader_epoch, shared);
            let (partition, _) = Partition::open(seed)?;
            self.push(Arc::new(partition));
        }
        Ok(())
    }
}

/// `<folder>/<topic id>-<partition>`.
pub(super) fn partition_folder(folder: &Path, id: Uuid, partition: i32) -> PathBuf {
    folder.join(format!("{}-{partition}", id.simple()))
}

/// The reverse of [`partition_folder`]'s last part; `None` for names that were not made by it.
pub(super) fn parse_folder(name: &str) -> Option<(Uuid, i32)> {
    let (id, partition) = name.rsplit_once('-')?;
    (id.len() == 32).then_some(())?;
    Some((Uuid::try_parse(id).ok()?, partition.parse().ok()?))
}
