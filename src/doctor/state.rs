//! The state of jobs on disk. The log has all of it, so whatever is wrong here is mended by removing it.

use std::fs;
use std::path::Path;

use super::{Finding, Grade, first_few};

/// How deep the stores of a job lie in its folder.
const DEPTH_MAX: usize = 3;

/// What there is to say of the folder of states; `topics`: those that the log has, if that can be told.
pub(super) fn look(streams: &Path, topics: Option<&[String]>) -> Vec<Finding> {
    let Ok(jobs) = fs::read_dir(streams) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for job in jobs.flatten().filter(|job| job.path().is_dir()) {
        let path = job.path();
        let name = job.file_name().to_string_lossy().into_owned();
        let rebuilt = format!(
            "rm -r {} while no server runs: the next start rebuilds it from the log",
            path.display()
        );
        if let Some(damage) = damage(&path, DEPTH_MAX) {
            let what = format!("the state of job {name} cannot be opened: {damage}");
            found.push(Finding::new(Grade::Bad, "state", what).fix(&rebuilt));
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

/// What is wrong with the stores in a folder: each has a file CURRENT, which names the file that lists the others.
fn damage(folder: &Path, depth: usize) -> Option<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return Some(format!("{} cannot be read: {error}", folder.display())),
    };
    let mut folders = Vec::new();
    let (mut tables, mut current) = (false, None);
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        match name.as_str() {
            _ if path.is_dir() => folders.push(path),
            "CURRENT" => current = Some(fs::read_to_string(&path)),
            _ => tables |= name.ends_with(".sst") || name.starts_with("MANIFEST-"),
        }
    }
    let shown = folder.display();
    let of_this = match current {
        Some(Ok(manifest)) if !folder.join(manifest.trim()).exists() => Some(format!(
            "{shown}/CURRENT names {}, which is missing",
            manifest.trim()
        )),
        Some(Err(error)) => Some(format!("{shown}/CURRENT cannot be read: {error}")),
        None if tables => Some(format!("{shown} has no file CURRENT")),
        _ => None,
    };
    let below = folders.iter().filter(|_| depth > 0);
    of_this.or_else(|| {
        below
            .into_iter()
            .find_map(|folder| damage(folder, depth - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("made");
        for (name, content) in files {
            fs::write(folder.join(name), content).expect("written");
        }
    }

    #[test]
    fn a_store_without_its_list_is_told_with_the_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let streams = folder.path();
        let topics = ["_thalweg.spent.changelog".to_owned()];
        assert!(look(streams, Some(&topics)).is_empty());
        let spent = streams.join("spent/t0");
        store(
            &spent,
            &[("CURRENT", "MANIFEST-000005\n"), ("MANIFEST-000005", "x")],
        );
        assert!(look(streams, Some(&topics)).is_empty());
        fs::remove_file(spent.join("MANIFEST-000005")).expect("removed");
        let [finding] = &look(streams, Some(&topics))[..] else {
            panic!("one finding");
        };
        assert_eq!(finding.grade, Grade::Bad);
        assert!(
            finding
                .what
                .ends_with("CURRENT names MANIFEST-000005, which is missing")
        );
        assert!(
            finding
                .fix
                .as_deref()
                .expect("a fix")
                .contains("rebuilds it")
        );
    }

    #[test]
    fn the_state_of_no_job_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        store(&folder.path().join("gone/t0"), &[]);
        let findings = look(folder.path(), Some(&[]));
        assert_eq!((findings.len(), findings[0].grade), (1, Grade::Note));
        assert!(look(folder.path(), None).is_empty());
    }
}
