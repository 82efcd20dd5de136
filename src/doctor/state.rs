//! The state of jobs on disk. The log has all of it, so a start discards what is damaged here.

use std::fs;
use std::path::Path;

use streams::state::StateError;

use super::{Finding, Grade, first_few};

/// How closely stores are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Not at all: a process has them open.
    Held,
    /// As a start does.
    Start,
    /// Every entry.
    Entries,
}

/// What there is to say of the folder of states; `topics`: those that the log has, if that can be told.
pub(super) fn look(streams: &Path, topics: Option<&[String]>, depth: Depth) -> Vec<Finding> {
    if streams.exists() && !streams.is_dir() {
        let what = format!(
            "{} is a file, and the state of jobs lies in a folder of that name",
            streams.display()
        );
        let fix = "move it away: a server does not start where it is, and the state is rebuilt from the log";
        return vec![Finding::new(Grade::Bad, "state", what).fix(fix)];
    }
    let Ok(jobs) = fs::read_dir(streams) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for job in jobs.flatten().filter(|job| job.path().is_dir()) {
        let path = job.path();
        let name = job.file_name().to_string_lossy().into_owned();
        let damage = match depth {
            Depth::Held => None,
            Depth::Start | Depth::Entries => {
                streams::inspect_state(&path, depth == Depth::Entries).err()
            }
        };
        if let Some(damage) = damage {
            let (what, fix) = told(&name, &path, &damage);
            found.push(Finding::new(Grade::Bad, "state", what).fix(fix));
        }
        let changelog = format!("_thalweg.{name}.changelog");
        if topics.is_some_and(|topics| !topics.contains(&changelog)) {
            let what = format!("a state of {name} is there, and no job of that name");
            let fix = format!("rm -r {} while no server runs", path.display());
            found.push(Finding::new(Grade::Note, "state", what).fix(fix));
        }
    }
    found.sort_by(|a, b| (b.grade, &a.what).cmp(&(a.grade, &b.what)));
    first_few("state", Grade::Note, found)
}

/// What a start would meet, and what is to be done about it.
fn told(job: &str, path: &Path, damage: &StateError) -> (String, String) {
    match damage {
        StateError::Damaged { place, reason } => (
            format!("the state of job {job} is damaged: {place}: {reason}"),
            "none is needed: the next start discards it and rebuilds it from the log".to_owned(),
        ),
        other => (
            format!("the state of job {job} cannot be opened: {other}"),
            format!(
                "rm -r {} while no server runs: the next start rebuilds it from the log",
                path.display()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use streams::state::{RocksOptions, RocksStore, StateStore};

    use super::*;

    fn store(folder: &Path) {
        let options = RocksOptions::new(1 << 20, 1 << 20);
        let store = RocksStore::open(folder, &options).expect("made");
        store.flush().expect("written");
    }

    #[test]
    fn a_damaged_store_is_told_with_what_becomes_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let streams = folder.path();
        let topics = ["_thalweg.spent.changelog".to_owned()];
        let found = |depth| look(streams, Some(&topics), depth);
        assert!(found(Depth::Entries).is_empty());
        // What was discarded lies there until the next start.
        let old = streams.join("spent/t0/g0");
        store(&old);
        fs::remove_file(old.join("CURRENT")).expect("removed");
        store(&streams.join("spent/t0/g1"));
        assert_eq!(found(Depth::Entries), []);
        let table = fs::read_dir(streams.join("spent/t0/g1")).expect("there");
        let table = table.flatten().map(|entry| entry.path());
        let table = table.filter(|path| path.extension().is_some_and(|end| end == "sst"));
        let table = table.last().expect("a table");
        let mut bytes = fs::read(&table).expect("read");
        bytes[10] ^= 0xff;
        fs::write(&table, bytes).expect("written");
        assert_eq!(found(Depth::Held), []);
        let [finding] = &found(Depth::Start)[..] else {
            panic!("one finding");
        };
        assert_eq!(finding.grade, Grade::Bad);
        assert!(finding.what.contains("t0/g1"), "{}", finding.what);
        let fix = finding.fix.as_deref().expect("a fix");
        assert!(fix.contains("discards it and rebuilds it"), "{fix}");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let streams = folder.path().join("streams");
        fs::write(&streams, "").expect("written");
        let findings = look(&streams, None, Depth::Start);
        assert_eq!((findings.len(), findings[0].grade), (1, Grade::Bad));
        assert!(findings[0].what.contains("is a file"), "{findings:?}");
    }

    #[test]
    fn the_state_of_no_job_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        store(&folder.path().join("gone/g0"));
        let findings = look(folder.path(), Some(&[]), Depth::Entries);
        assert_eq!((findings.len(), findings[0].grade), (1, Grade::Note));
        assert!(look(folder.path(), None, Depth::Entries).is_empty());
    }
}
