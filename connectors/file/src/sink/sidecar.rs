//! `<file>.offsets`: up to where the file is complete, and what it holds up to there.
//!
//! One JSON object, replaced atomically (written beside, synced, renamed, folder synced):
//! ```text
//! {"version":1,"connector":"out","length":4096,
//!  "offsets":[{"topic":"delays","partition":0,"next_offset":17}]}
//! ```

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use connect_api::{ConnectError, TopicPartition};
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
        next_offsets: &HashMap<TopicPartition, i64>,
    ) -> Self {
        let mut offsets: Vec<Offset> = next_offsets
            .iter()
            .map(|(partition, next_offset)| Offset {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                next_offset: *next_offset,
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

    /// Whether it speaks of this connector and of a file that can be this one.
    pub(super) fn check(
        &self,
        connector: &str,
        file: &Path,
        present: u64,
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
        if present < self.length {
            return Err(ConnectError::Fatal(format!(
                "{} holds {present} bytes, but {} were complete: it was cut or replaced. Put it back, or remove {} \
                 to go on behind the group's offsets",
                file.display(),
                self.length,
                sidecar.display()
            )));
        }
        Ok(())
    }

    pub(super) fn into_offsets(self) -> HashMap<TopicPartition, i64> {
        self.offsets
            .into_iter()
            .map(|offset| {
                (
                    TopicPartition::new(offset.topic, offset.partition),
                    offset.next_offset,
                )
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
