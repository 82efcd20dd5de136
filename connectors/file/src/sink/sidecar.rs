//! `<file>.offsets`: up to where the file is complete, and what it holds up to there.
//!
//! One JSON object, replaced atomically (written beside, synced, renamed, folder synced):
//! ```text
//! {"version":1,"connector":"out","length":4096,
//!  "offsets":[{"topic":"delays","partition":0,"next_offset":17,"incarnation":"9f1c….0"}]}
//! ```
//! `incarnation` is the life of the partition that the offset counts for; files of versions before it have none.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use connect_api::{ConnectError, OpenPartition, TopicPartition};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sidecar {
    version: u32,
    connector: String,
    /// Bytes of the file that are complete.
    pub(super) length: u64,
    offsets: Vec<Offset>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Offset {
    topic: String,
    partition: i32,
    next_offset: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
}

/// The next offset of a partition, and the life of the partition that it counts for.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) next_offset: i64,
    pub(super) incarnation: Option<String>,
}

impl Place {
    pub(super) fn counts_for(&self, incarnation: &str) -> bool {
        self.incarnation
            .as_deref()
            .is_none_or(|own| own == incarnation)
    }
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name: OsString = file.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

impl Sidecar {
    pub(super) fn new(
        connector: &str,
        length: u64,
        places: &HashMap<TopicPartition, Place>,
    ) -> Self {
        let mut offsets: Vec<Offset> = places
            .iter()
            .map(|(partition, place)| Offset {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                next_offset: place.next_offset,
                incarnation: place.incarnation.clone(),
            })
            .collect();
        offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Self {
            version: VERSION,
            connector: connector.to_owned(),
            length,
            offsets,
        }
    }

    /// Reads the sidecar of `file`; `None` if there is none.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, ConnectError> {
        let path = beside(file, ".offsets");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(ConnectError::Fatal(format!(
                    "cannot read {}: {error}",
                    path.display()
                )));
            }
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| ConnectError::Fatal(format!("{} is damaged: {error}", path.display())))
    }

    /// Whether it speaks of this connector and of a file that can be this one: not shorter, unless it is begun anew.
    pub(super) fn check(
        &self,
        connector: &str,
        file: &Path,
        present: u64,
        anew: bool,
    ) -> Result<(), ConnectError> {
        let sidecar = beside(file, ".offsets");
        if self.version > VERSION {
            return Err(ConnectError::Fatal(format!(
                "{} has format {}, this program writes {VERSION}: use a newer program",
                sidecar.display(),
                self.version
            )));
        }
        if self.connector != connector {
            return Err(ConnectError::config(
                "file",
                format!(
                    "{} is written by connector {}; name another file, or remove {} to take it over",
                    file.display(),
                    self.connector,
                    sidecar.display()
                ),
            ));
        }
        if present < self.length && !anew {
            return Err(ConnectError::Fatal(format!(
                "{} holds {present} bytes, but {} were complete: it was cut or replaced. Put it back, or stop \
                 the connector and reset its offsets to write everything again",
                file.display(),
                self.length,
            )));
        }
        Ok(())
    }

    /// Whether all of it speaks of other lives of these partitions.
    pub(super) fn is_void(&self, open: &[OpenPartition]) -> bool {
        !self.offsets.is_empty()
            && self.offsets.iter().all(|offset| {
                open.iter().any(|open| {
                    *open.partition.topic == offset.topic
                        && open.partition.partition == offset.partition
                        && offset
                            .incarnation
                            .as_ref()
                            .is_some_and(|own| *own != open.incarnation)
                })
            })
    }

    /// What it says of each partition.
    pub(super) fn into_places(self) -> HashMap<TopicPartition, Place> {
        self.offsets
            .into_iter()
            .map(|offset| {
                let place = Place {
                    next_offset: offset.next_offset,
                    incarnation: offset.incarnation,
                };
                (TopicPartition::new(offset.topic, offset.partition), place)
            })
            .collect()
    }

    /// Replaces the sidecar of `file`; it is on disk on return.
    pub(super) fn write(&self, file: &Path) -> Result<(), ConnectError> {
        let path = beside(file, ".offsets");
        let replace = || -> io::Result<()> {
            let new = beside(file, ".offsets.new");
            let mut handle = File::create(&new)?;
            handle.write_all(&serde_json::to_vec(self)?)?;
            handle.sync_all()?;
            fs::rename(&new, &path)?;
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            File::open(folder)?.sync_all()
        };
        replace().map_err(|error| {
            ConnectError::Fatal(format!("cannot write {}: {error}", path.display()))
        })
    }
}
