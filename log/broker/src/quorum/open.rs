//! Opening and closing all partitions, some at a time.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use tracing::warn;
use uuid::Uuid;

use super::image::{Image, TopicId};
use super::{Index, Topic, TopicConfig, topic};
use crate::storage::{DataFolder, OpenError, Partition, PartitionSeed, RecoveryReport, Shared};

/// A partition that was opened, and its topic.
type Opened = (Uuid, Arc<Partition>, RecoveryReport);

/// Opens all partitions of the image, some at a time.
pub(super) fn open_topics(
    folder: &DataFolder,
    image: &Image,
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
            jobs.push(topic.seed(partition, &path, image.leader_epoch(topic_image), shared));
        }
        index
            .by_name
            .insert(Arc::clone(topic.name()), Arc::clone(&topic));
        index.by_id.insert(topic.id(), topic);
    }
    let opened = Mutex::new(Vec::<Opened>::with_capacity(jobs.len()));
    each(&jobs, shared.options.recovery_threads, |(id, seed)| {
        let (partition, report) = Partition::open(seed.clone())?;
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
    if start.is_unclean() {
        warn!(
            ?start,
            scanned_bytes = scanned,
            cut_bytes = cut,
            "log was not closed cleanly"
        );
    }
    Ok(index)
}

/// Runs `work` on all items with a few threads; the first error.
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
                return;
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

/// Folders of partitions that no topic claims.
pub(super) fn leftovers(folder: &DataFolder, image: &Image) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.partitions()) else {
        return Vec::new();
    };
    let mut leftovers = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((id, _)) = name.to_str().and_then(topic::parse_folder) else {
            continue;
        };
        if !image.topics.contains_key(&TopicId(id)) {
            leftovers.push(entry.path());
        }
    }
    leftovers
}
