//! `thalweg doctor`: looks at a data folder from outside, changes nothing, and says what is wrong and what to do.
//!
//! One file a part: the log (`log.rs`), the state of jobs (`state.rs`), the machine below (`machine.rs`).
//!
//! ```text
//! ok    lock      no process has the folder open
//! note  last use  the process was killed; the next start looks at what was not closed, nothing is lost
//! BAD   disk      312 MiB are free …                    fix: …
//! ```
//!
//! Invariant: it opens nothing for writing and takes no lock that a server would want for longer than a look.

mod log;
mod machine;
mod state;

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::config::ConfigArgs;
use crate::exit::Failure;
use crate::memory::Available;
use crate::shell::hanging;
use crate::{presence, screen, start};

/// Findings of one kind that are told one by one.
const TOLD_MAX: usize = 5;

/// Arguments of `thalweg doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg doctor                     the default data folder
  thalweg doctor --data ./data
  thalweg doctor --records           read every record and check it, too

Ends with code 1 where something is wrong. It changes nothing.")]
pub(crate) struct DoctorArgs {
    /// Read every record, and the state of jobs, and check that it is as it was written; takes as long as reading the folder
    #[arg(long)]
    records: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Ok,
    Note,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    grade: Grade,
    about: &'static str,
    what: String,
    fix: Option<String>,
}

impl Finding {
    fn new(grade: Grade, about: &'static str, what: impl Display) -> Self {
        Self {
            grade,
            about,
            what: what.to_string(),
            fix: None,
        }
    }

    fn fix(mut self, fix: impl Display) -> Self {
        self.fix = Some(fix.to_string());
        self
    }

    fn line(&self, columns: usize) -> String {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Note => "note",
            Grade::Bad => "BAD",
        };
        let mut text = format!("{grade:<5} {:<9} {}", self.about, self.what);
        if let Some(fix) = &self.fix {
            text += &format!(" · fix: {fix}");
        }
        hanging(&text, 16, columns)
    }
}

/// Runs the command.
pub(crate) fn run(config: &ConfigArgs, args: &DoctorArgs) -> Result<()> {
    let settings = config.load()?.settings;
    let data = settings.data;
    let columns = screen::columns().unwrap_or(usize::MAX);
    let holder = start::runtime()?.block_on(presence::holder(&data));
    let served = holder.map(|holder| holder.http.to_string());
    let mut findings = look(&data, served.as_deref(), args.records)?;
    let limit_bytes = settings.memory.limit_bytes()?;
    findings.push(machine::memory_limit(limit_bytes, &Available::here()));
    screen::line(format!("data folder {}", data.display()))?;
    for finding in &findings {
        screen::line(finding.line(columns))?;
    }
    let bad = findings
        .iter()
        .filter(|finding| finding.grade == Grade::Bad);
    match bad.count() {
        0 => screen::line("nothing is wrong"),
        _ => Err(Failure::Reported.into()),
    }
}

/// Everything there is to say of a folder. `served`: where its server answers.
fn look(data: &Path, served: Option<&str>, records: bool) -> Result<Vec<Finding>> {
    if !data.exists() {
        let text = format!(
            "there is no folder {}; --data names another, and a server makes it at its first start",
            data.display()
        );
        return Err(Failure::NotFound(text).into());
    }
    if !data.is_dir() {
        anyhow::bail!(
            "{} is no folder; --data names the data folder",
            data.display()
        );
    }
    let log = data.join("log");
    let mut findings = vec![log::format(&log)];
    findings.extend(use_of(data, &log, served));
    findings.extend(machine::look(data));
    let (topics, of_log) = log::look(&log, records);
    findings.extend(of_log);
    // Of a server that runs, queries keep states that end with them.
    let topics = topics.filter(|_| served.is_none());
    let depth = match (is_locked(&log), records) {
        (true, _) => state::Depth::Held,
        (false, true) => state::Depth::Entries,
        (false, false) => state::Depth::Start,
    };
    findings.extend(state::look(&data.join("streams"), topics.as_deref(), depth));
    findings.extend(leftovers(data));
    Ok(findings)
}

/// The first few findings of a kind, and how many more there are.
fn first_few(about: &'static str, grade: Grade, mut found: Vec<Finding>) -> Vec<Finding> {
    let more = found.len().saturating_sub(TOLD_MAX);
    found.truncate(TOLD_MAX);
    if more > 0 {
        found.push(Finding::new(grade, about, format!("and {more} more")));
    }
    found
}

/// Whether a process has the log open: a look at its lock, which is let go of at once.
fn is_locked(log: &Path) -> bool {
    let lock = File::open(log.join("lock")).map(|file| file.try_lock_shared());
    matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

/// Who has the folder, and how its last use ended.
fn use_of(data: &Path, log: &Path, served: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let locked = is_locked(log);
    let note = data.join("server.json").exists();
    findings.push(match (locked, served) {
        (true, Some(http)) => Finding::new(Grade::Ok, "lock", format!("a server has it, at http://{http}")),
        (true, None) => Finding::new(
            Grade::Note,
            "lock",
            "a process has it open, and no server says that it is this one's: it starts, it stops, or it hangs",
        )
        .fix("wait a moment; fuser log/lock tells the process"),
        (false, _) => Finding::new(Grade::Ok, "lock", "no process has the folder open"),
    });
    if note && !locked {
        findings.push(
            Finding::new(
                Grade::Note,
                "note",
                "server.json is of a server that is gone",
            )
            .fix("none is needed: nobody believes it, and the next start writes it anew"),
        );
    }
    if !locked && let Ok(state) = fs::read_to_string(log.join("state")) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        findings.push(match state.trim_end().split_once(' ') {
            Some(("clean", _)) => Finding::new(Grade::Ok, "last use", "was closed"),
            Some(("running", id)) if id == boot.trim() => Finding::new(
                Grade::Note,
                "last use",
                "the process was killed; the next start looks at what was not closed, and nothing is lost",
            ),
            Some(("running", _)) => Finding::new(
                Grade::Note,
                "last use",
                "the machine went down; what was not synced may be missing (docs/durability.md), the next start cuts what is torn",
            ),
            _ => Finding::new(Grade::Bad, "last use", "log/state is unreadable")
                .fix("none is needed: the next start takes it for a power cut"),
        });
    }
    findings
}

/// Files that a write left half done: harmless, but worth knowing where space is short.
fn leftovers(data: &Path) -> Option<Finding> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if path.extension().is_some_and(|end| end == "tmp") => found.push(path),
                _ => {}
            }
        }
    }
    let first = found.first()?;
    let what = format!(
        "{} unfinished files, such as {}",
        found.len(),
        first.display()
    );
    Some(Finding::new(Grade::Note, "leftover", what).fix("remove them while no server runs"))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        fs::create_dir_all(log.join("partitions")).expect("made");
        fs::write(log.join("format"), "thalweg log format 1\n").expect("written");
        fs::write(log.join("lock"), "").expect("written");
        fs::write(log.join("state"), "clean x\n").expect("written");
        folder
    }

    fn about(findings: &[Finding], about: &str) -> Vec<(Grade, String)> {
        let of = findings.iter().filter(|finding| finding.about == about);
        of.map(|finding| (finding.grade, finding.what.clone()))
            .collect()
    }

    #[test]
    fn a_sound_folder_is_well() {
        let folder = folder();
        let findings = look(folder.path(), None, false).expect("a folder");
        assert_eq!(about(&findings, "format"), [(Grade::Ok, "format 1".into())]);
        assert_eq!(
            about(&findings, "last use"),
            [(Grade::Ok, "was closed".into())]
        );
        assert!(about(&findings, "note").is_empty() && about(&findings, "leftover").is_empty());
    }

    #[test]
    fn what_is_wrong_comes_with_its_fix() {
        let folder = folder();
        fs::write(folder.path().join("log/format"), "thalweg log format 7\n").expect("written");
        fs::write(folder.path().join("log/state"), "running another-boot\n").expect("written");
        fs::write(folder.path().join("server.json"), "{}").expect("written");
        fs::write(folder.path().join("server.json.tmp"), "{}").expect("written");
        let findings = look(folder.path(), None, false).expect("a folder");
        let newer = findings
            .iter()
            .find(|finding| finding.about == "format")
            .expect("told");
        assert_eq!(newer.grade, Grade::Bad);
        assert!(
            newer
                .fix
                .as_deref()
                .expect("a fix")
                .contains("at least as new")
        );
        assert!(
            about(&findings, "last use")[0]
                .1
                .contains("the machine went down")
        );
        assert_eq!(about(&findings, "note").len(), 1);
        assert_eq!(about(&findings, "leftover").len(), 1);
    }

    #[test]
    fn a_held_folder_says_who_holds_it() {
        let folder = folder();
        let lock = File::options()
            .write(true)
            .open(folder.path().join("log/lock"))
            .expect("there");
        lock.lock().expect("locked");
        let findings = look(folder.path(), Some("127.0.0.1:9644"), false).expect("a folder");
        assert_eq!(
            about(&findings, "lock"),
            [(
                Grade::Ok,
                "a server has it, at http://127.0.0.1:9644".into()
            )]
        );
        let findings = look(folder.path(), None, false).expect("a folder");
        assert_eq!(about(&findings, "lock")[0].0, Grade::Note);
        assert!(about(&findings, "last use").is_empty(), "it is in use now");
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = look(file.path(), None, false).expect_err("a file");
        assert!(error.to_string().contains("is no folder"), "{error:#}");
    }

    #[test]
    fn no_folder_is_not_found() {
        let error = look(Path::new("/nonexistent/folder"), None, false).expect_err("none");
        assert!(
            matches!(error.downcast_ref(), Some(Failure::NotFound(_))),
            "{error:#}"
        );
    }
}
