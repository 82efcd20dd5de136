//! Opening and closing all partitions, some at a time.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::image::{Image, TopicId};
use super::{Index, Topic, TopicConfig, topic};
use crate::storage::{
    DataFolder, KnownEnds, OpenError, Partition, PartitionSeed, RecoveryReport, Shared,
};

/// A partition that was opened, and its topic.
type Opened = (Uuid, Arc<Partition>, RecoveryReport);

/// Opens all partitions of the image, some at a time.
pub(super) fn open_topics(
    folder: &DataFolder,
    image: &Image,
    ends: &KnownEnds,
    shared: &Arc<Shared>,
) -> Result<Index, OpenError> {
    let path = folder.partitions();
    let mut index = Index::default();
    let mut jobs: Vec<(Uuid, PartitionSeed)> = Vec::new();
    for topic_image in image.topics.values() {
        let config = TopicConfig::parse(&topic_image.configs, &shared.options.topic_defaults)
            .map_err(|error| {
                let reason = format!("topic {}: {error}", topic_image.name);
                OpenError::CorruptMetadata {
                    path: folder.metadata(),
                    position: 0,
                    reason,
                }
            })?;
        let topic = Arc::new(Topic::new(topic_image, config));
        for partition in 0..topic_image.partitions {
            let leader_epoch = image.leader_epoch(topic_image);
            jobs.push(topic.seed(partition, &path, ends, leader_epoch, shared));
        }
        index.insert(&topic);
    }
    let opened = Mutex::new(Vec::<Opened>::with_capacity(jobs.len()));
    each(&jobs, shared.options.recovery_threads, |(id, seed)| {
        let (partition, report) = open_or_offline(seed, index.by_id[id].is_internal())?;
        opened.lock().push((*id, Arc::new(partition), report));
        Ok::<(), OpenError>(())
    })?;
    let (mut scanned, mut cut) = (0, 0);
    let mut opened = opened.into_inner();
    opened.sort_by_key(|(id, partition, _)| (*id, partition.id().partition));
    for (id, partition, report) in opened {
        scanned += report.scanned_bytes;
        cut += report.cut_bytes;
        if let Some(topic) = index.by_id.get(&id) {
            topic.push(partition);
        }
    }
    let start = folder.start();
    match (start.is_unclean(), cut) {
        (false, _) => {}
        // Nothing to do for anybody: a killed process has lost nothing that it had acknowledged.
        (true, 0) => info!(
            ?start,
            scanned_bytes = scanned,
            "the last process ended without a stop; the log was checked and is whole"
        ),
        (true, _) => warn!(
            ?start,
            scanned_bytes = scanned,
            cut_bytes = cut,
            "the last process ended without a stop; what was unfinished or damaged was cut off"
        ),
    }
    Ok(index)
}

/// A partition whose files cannot be read must not keep the others from serving; one that the system keeps for itself must.
fn open_or_offline(
    seed: &PartitionSeed,
    internal: bool,
) -> Result<(Partition, RecoveryReport), OpenError> {
    Partition::open(seed.clone()).or_else(|reason| {
        if internal {
            return Err(OpenError::Partition {
                partition: seed.id.clone(),
                source: Box::new(reason),
            });
        }
        error!(
            partition = %seed.id,
            %reason,
            "partition cannot be opened and is offline: mend or restore what is named and start again, or delete the topic"
        );
        let offline = Partition::offline(seed.clone(), reason.to_string());
        Ok((offline, RecoveryReport::default()))
    })
}

/// Runs `work` on all items with a few threads; the first error, once all are done.
pub(super) fn each<T: Sync, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                failed.lock().get_or_insert(error);
            }
        }
    };
    if threads <= 1 || items.len() < 2 {
        run();
    } else {
        thread::scope(|scope| {
            for _ in 1..threads.min(items.len()) {
                scope.spawn(run);
            }
            run();
        });
    }
    failed.into_inner().map_or(Ok(()), Err)
}

/// Folders of partitions and the topics that they belong to.
pub(super) fn partition_folders(folder: &DataFolder) -> Result<Vec<(TopicId, PathBuf)>, OpenError> {
    partition_folders_in(&folder.partitions())
}

/// The same, of the folder that the partitions lie in.
pub(super) fn partition_folders_in(path: &Path) -> Result<Vec<(TopicId, PathBuf)>, OpenError> {
    let list = || -> io::Result<_> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Some((id, _)) = entry.file_name().to_str().and_then(topic::parse_folder) {
                folders.push((TopicId(id), entry.path()));
            }
        }
        Ok(folders)
    };
    list().map_err(OpenError::io("list", path))
}

/// The topics of these folders.
pub(super) fn topics_of(folders: &[(TopicId, PathBuf)]) -> BTreeSet<TopicId> {
    folders.iter().map(|(id, _)| *id).collect()
}

/// The topics of those folders whose partition is known to have been written to.
pub(super) fn written_topics(
    folders: &[(TopicId, PathBuf)],
    ends: &KnownEnds,
) -> BTreeSet<TopicId> {
    let written = folders.iter().filter(|(_, folder)| ends.of(folder) > 0);
    written.map(|(id, _)| *id).collect()
}

/// Folders that a deletion left. Others that no topic claims are nobody's to remove: the metadata may be what is wrong.
pub(super) fn leftovers(folders: Vec<(TopicId, PathBuf)>, image: &Image) -> Vec<PathBuf> {
    let mut leftovers = Vec::new();
    for (id, folder) in folders {
        if image.deleted.contains(&id) {
            leftovers.push(folder);
        } else if !image.topics.contains_key(&id) {
            warn!(folder = %folder.display(), "folder belongs to no topic that was ever made or deleted here, it is left alone");
        }
    }
    leftovers
}
