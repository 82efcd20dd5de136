//! A look at a log from outside: which topics there are, where they lie, and what of it is wrong.
//!
//! Invariant: nothing is opened for writing, and no lock is taken, so a server may use the folder meanwhile; what it is
//! just writing may then look torn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::TopicConfig;
use super::image::TopicImage;
use super::metadata_log;
use super::open::{partition_folders_in, topics_of, written_topics};
use super::topic::partition_folder;
use crate::error::OpenError;
use crate::storage::{self, BatchWalk, KnownEnds, LogFile, look as look_at};

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
    let partitions = folder.join("partitions");
    let path = folder.join("metadata.log");
    let read = || {
        let folders = partition_folders_in(&partitions)?;
        let ends = KnownEnds::read(folder);
        let written = written_topics(&folders, &ends);
        let (image, torn_bytes) = metadata_log::read(&path, &topics_of(&folders), &written)?;
        Ok::<_, storage::OpenError>((folders, ends, image, torn_bytes))
    };
    // A server that uses the folder may make a topic just now.
    let (folders, ends, image, torn_bytes) = read().or_else(|_| read())?;
    let mut unclaimed: BTreeSet<PathBuf> = folders
        .into_iter()
        .filter(|(id, _)| !image.deleted.contains(id))
        .map(|(_, folder)| folder)
        .collect();
    let mut topics: Vec<InspectedTopic> = image
        .topics
        .values()
        .map(|topic| inspect_topic(topic, &partitions, &ends, records))
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

fn inspect_topic(
    topic: &TopicImage,
    partitions: &Path,
    ends: &KnownEnds,
    records: bool,
) -> InspectedTopic {
    // Settings that cannot be read claim nothing.
    let compacts = TopicConfig::parse(&topic.configs, &BTreeMap::new())
        .map_or(true, |config| config.cleanup_compact);
    let numbers = 0..topic.partitions;
    let partitions = numbers.map(|number| {
        let folder = partition_folder(partitions, topic.id.0, number);
        let (bytes, damage) = match inspect_files(&folder, ends.of(&folder), compacts, records) {
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
fn inspect_files(folder: &Path, known_end: i64, compacts: bool, records: bool) -> io::Result<u64> {
    let bytes = bytes_of(folder)?;
    let (files, damage) = look_at(folder, known_end, compacts).map_err(io::Error::other)?;
    if let Some(damage) = damage {
        let end = damage.known_end;
        let what = format!(
            "{} {}, and the records below offset {end} were on disk",
            shown(&damage.path),
            damage.what
        );
        return Err(io::Error::other(what));
    }
    if records {
        let mut end = 0;
        let segments = files.segments(folder);
        for (n, (segment, known)) in segments.iter().enumerate() {
            let known = if n + 1 < segments.len() {
                u64::MAX
            } else {
                *known
            };
            end = inspect_segment(segment, known)
                .map_err(|reason| io::Error::other(format!("{}: {reason}", shown(segment))))?
                .max(base_offset(segment));
        }
        if end < files.known_end() {
            let known = files.known_end();
            return Err(io::Error::other(format!(
                "the log ends at offset {end}, and the records below offset {known} were on disk"
            )));
        }
    }
    Ok(bytes)
}

/// What all files of a folder take.
fn bytes_of(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Nothing was written to it yet, or it is missed below.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    for entry in entries {
        let path = entry?.path();
        let size = LogFile::open_existing(&path).and_then(|file| file.size());
        bytes += match size {
            // A server that uses the folder took it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            size => size.map_err(|error| io::Error::other(format!("{}: {error}", shown(&path))))?,
        };
    }
    Ok(bytes)
}

fn base_offset(segment: &Path) -> i64 {
    let name = segment.file_stem().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// Reads every batch, and gives the offset behind the last. What is torn behind the first `known` bytes is a write that was never
/// known to be on disk.
fn inspect_segment(path: &Path, known: u64) -> Result<i64, String> {
    let file = LogFile::open_existing(path).map_err(|error| error.to_string())?;
    let size = file.size().map_err(|error| error.to_string())?;
    let mut walk = BatchWalk::new(&file, 0, size);
    let mut next_offset = 0;
    loop {
        let position = walk.position();
        let batch = match walk.next_batch() {
            Ok(Some((_, batch))) => batch,
            Ok(None) => return Ok(next_offset),
            Err(_) if position >= known => return Ok(next_offset),
            Err(error) => return Err(error.to_string()),
        };
        let header = &batch.header;
        if let Err(error) = batch.verify_crc() {
            if position >= known && walk.position() >= size {
                return Ok(next_offset);
            }
            let offset = header.base_offset;
            return Err(format!("byte {position}, offset {offset}: {error}"));
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
