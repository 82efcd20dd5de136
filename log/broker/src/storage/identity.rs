//! The file `partition`: whose records a folder holds.
//!
//! ```text
//! <topic id>-<partition>\n        as the folder is called; written when the folder is made, and at a start that does not find it
//! ```
//! A folder that lies under another one's name would be served as that partition: its records are sound, so nothing else tells.
//!
//! Invariant: without the file, or with one that is cut, nothing is claimed. So it needs no sync.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where it lies.
pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join("partition")
}

/// Notes whose folder this is.
pub(super) fn note(folder: &Path) -> io::Result<()> {
    let line = format!("{}\n", name_of(folder));
    let path = path_in(folder);
    if fs::read_to_string(&path).is_ok_and(|now| now == line) {
        return Ok(());
    }
    fs::write(path, line)
}

/// The partition whose folder this is, if it is another one than its name says.
pub(super) fn stranger(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(path_in(folder)).ok()?;
    let owner = text.strip_suffix('\n').filter(|name| is_partition(name))?;
    (owner != name_of(folder)).then(|| owner.to_owned())
}

fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Whether folders are called so.
fn is_partition(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(topic, number)| {
        topic.len() == 32
            && topic.bytes().all(|byte| byte.is_ascii_hexdigit())
            && number.parse::<u32>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_under_another_name_is_a_stranger_and_one_without_a_whole_note_is_none() {
        let folder = tempfile::tempdir().expect("tempdir");
        let place = |n: u8| folder.path().join(format!("{:032x}-{n}", 0x6b1d));
        fs::create_dir(place(0)).expect("made");
        assert_eq!(stranger(&place(0)), None);
        note(&place(0)).expect("written");
        assert_eq!(stranger(&place(0)), None);
        fs::rename(place(0), place(1)).expect("moved");
        let owner = format!("{:032x}-0", 0x6b1d);
        assert_eq!(stranger(&place(1)), Some(owner.clone()));
        for at in 0..=owner.len() {
            fs::write(path_in(&place(1)), &owner[..at]).expect("cut");
            assert_eq!(stranger(&place(1)), None, "cut at {at}");
        }
        note(&place(1)).expect("written");
        assert_eq!(stranger(&place(1)), None);
    }
}
