//! A look at a log from outside: which topics there are, where they lie, and what of it is wrong.
//!
//! Invariant: nothing is opened for writing, and no lock is taken, so a server may use the folder meanwhile; what it is
//! just writing may then look torn.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::image::TopicImage;
use super::metadata_log;
use super::open::partition_folders_in;
use super::topic::partition_folder;
use crate::error::OpenError;
use crate::storage::{self, BatchWalk, LogFile};

/// What a log's folder holds.
#[derive(Debug)]
pub struct Inspection {
    /// All topics, by name.
    pub topics: Vec<InspectedTopic>,
    /// Folders of partitions that belong to no topic.
    pub unclaimed: Vec<PathBuf>,
    /// Bytes at the end of the list of topics that are no whole record: the next start cuts them off.
    pub torn_bytes: u64,
}

/// A topic on disk.
#[derive(Debug)]
pub struct InspectedTopic {
    /// Its name.
    pub name: String,
    /// One that the system keeps for itself.
    pub internal: bool,
    /// Its partitions, from 0.
    pub partitions: Vec<InspectedPartition>,
}

/// A partition on disk.
#[derive(Debug)]
pub struct InspectedPartition {
    /// Where it lies.
    pub folder: PathBuf,
    /// What its files take.
    pub bytes: u64,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// Looks at the log in `folder`; with `records`, reads every batch and checks its CRC.
///
/// # Errors
/// [`OpenError`]: the list of topics cannot be read or is damaged.
pub fn inspect(folder: &Path, records: bool) -> Result<Inspection, OpenError> {
    look(folder, records).map_err(|error| OpenError::of_storage(folder, error))
}

fn look(folder: &Path, records: bool) -> Result<Inspection, storage::OpenError> {
    let (image, torn_bytes) = metadata_log::read(&folder.join("metadata.log"))?;
    let partitions = folder.join("partitions");
    let mut unclaimed: BTreeSet<PathBuf> = partition_folders_in(&partitions)?
        .into_iter()
        .filter(|(id, _)| !image.deleted.contains(id))
        .map(|(_, folder)| folder)
        .collect();
    let mut topics: Vec<InspectedTopic> = image
        .topics
        .values()
        .map(|topic| inspect_topic(topic, &partitions, records))
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    for partition in topics.iter().flat_map(|topic| &topic.partitions) {
        unclaimed.remove(&partition.folder);
    }
    Ok(Inspection {
        topics,
        unclaimed: unclaimed.into_iter().collect(),
        torn_bytes,
    })
}

fn inspect_topic(topic: &TopicImage, partitions: &Path, records: bool) -> InspectedTopic {
    let numbers = 0..topic.partitions;
    let partitions = numbers.map(|number| {
        let folder = partition_folder(partitions, topic.id.0, number);
        let (bytes, damage) = match inspect_files(&folder, records) {
            Ok(bytes) => (bytes, None),
            Err(error) => (0, Some(error.to_string())),
        };
        InspectedPartition {
            folder,
            bytes,
            damage,
        }
    });
    InspectedTopic {
        name: topic.name.clone(),
        internal: topic.internal,
        partitions: partitions.collect(),
    }
}

/// What the files of a partition take; the error says which of them is wrong and how.
fn inspect_files(folder: &Path, records: bool) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Nothing was written to it yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let of_file = |error: io::Error| io::Error::other(format!("{}: {error}", shown(&path)));
        let file = LogFile::open_existing(&path).map_err(of_file)?;
        bytes += file.size().map_err(of_file)?;
        if path.extension().is_some_and(|end| end == "log") {
            segments.push(path);
        }
    }
    segments.sort();
    if records {
        let last = segments.last().cloned();
        for segment in segments {
            let is_last = last.as_deref() == Some(segment.as_path());
            inspect_segment(&segment, is_last)
                .map_err(|reason| io::Error::other(format!("{}: {reason}", shown(&segment))))?;
        }
    }
    Ok(bytes)
}

/// Reads every batch. What is torn at the end of the last segment is a write that was never acknowledged.
fn inspect_segment(path: &Path, is_last: bool) -> Result<(), String> {
    let file = LogFile::open_existing(path).map_err(|error| error.to_string())?;
    let size = file.size().map_err(|error| error.to_string())?;
    let mut walk = BatchWalk::new(&file, 0, size);
    let mut next_offset = 0;
    loop {
        let position = walk.position();
        let batch = match walk.next_batch() {
            Ok(Some((_, batch))) => batch,
            Ok(None) => return Ok(()),
            Err(_) if is_last => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let header = &batch.header;
        if let Err(error) = batch.verify_crc() {
            let at_end = walk.position() >= size;
            return match is_last && at_end {
                true => Ok(()),
                false => Err(format!(
                    "byte {position}, offset {}: {error}",
                    header.base_offset
                )),
            };
        }
        if header.base_offset < next_offset {
            let offset = header.base_offset;
            return Err(format!(
                "byte {position}: offset {offset} comes behind {next_offset}"
            ));
        }
        next_offset = header.last_offset() + 1;
    }
}

fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
