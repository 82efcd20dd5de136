//! The file `names`: which topic lies in which folders, for people who look at the disk.
//!
//! ```text
//! orders<tab>partitions/6b1d…-*
//! ```
//!
//! Invariant: the log writes it and never reads it, so it may be missing, late or wrong and nothing comes of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Topic;
use crate::storage::replace_file;

const HEAD: &str =
    "# topic and where its partitions lie; for people only, the log does not read it\n";

/// Writes the list anew.
pub(super) fn write(path: &Path, topics: &[Arc<Topic>]) -> io::Result<()> {
    let mut text = HEAD.to_owned();
    for topic in topics {
        text += &format!("{}\tpartitions/{}-*\n", topic.name(), topic.id().simple());
    }
    replace_file(path, text.as_bytes())
}
