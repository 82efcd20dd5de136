//! `thalweg doctor`: looks at a data folder from outside, changes nothing, and says what is wrong and what to do.
//!
//! ```text
//! ok    lock      no process has the folder open
//! note  last use  the process was killed; the next start looks at what was not closed, nothing is lost
//! BAD   disk      312 MiB are free …                    fix: …
//! ```
//!
//! Invariant: it opens nothing for writing and takes no lock that a server would want for longer than a look.

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::config::ConfigArgs;
use crate::exit::Failure;
use crate::memory::{self, Available};
use crate::shell::hanging;
use crate::{presence, screen, start};

/// Less than this and the log may soon refuse writes.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Files that a server with some topics and views has open.
const OPEN_FILES_MIN: u64 = 4096;
/// Findings of one kind that are told one by one.
const TOLD_MAX: usize = 5;
/// The newest format that this version reads; `log_broker` refuses what is newer.
const FORMAT: u32 = 1;

/// Arguments of `thalweg doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg doctor                     the default data folder
  thalweg doctor --data ./data

Ends with code 1 where something is wrong. It changes nothing.")]
pub(crate) struct DoctorArgs {}

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
pub(crate) fn run(config: &ConfigArgs, _args: &DoctorArgs) -> Result<()> {
    let settings = config.load()?.settings;
    let data = settings.data;
    let columns = screen::columns().unwrap_or(usize::MAX);
    let holder = start::runtime()?.block_on(presence::holder(&data));
    let served = holder.map(|holder| holder.http.to_string());
    let mut findings = look(&data, served.as_deref())?;
    findings.push(memory_limit(
        settings.memory.limit_bytes()?,
        &Available::here(),
    ));
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
fn look(data: &Path, served: Option<&str>) -> Result<Vec<Finding>> {
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
    let mut findings = vec![format(&log)];
    findings.extend(metadata(&log.join("metadata.log")));
    findings.extend(use_of(data, &log, served));
    findings.push(disk(data));
    findings.extend(open_files());
    findings.extend(partitions(&log.join("partitions")));
    findings.extend(leftovers(data));
    Ok(findings)
}

/// What a server would keep to.
fn memory_limit(limit_bytes: u64, available: &Available) -> Finding {
    let limit = memory::size_text(limit_bytes);
    let there_is = memory::size_text(available.bytes);
    let source = available.source;
    if limit_bytes <= available.bytes {
        let text = format!("memory.limit comes to {limit}, there is {there_is} ({source})");
        return Finding::new(Grade::Ok, "memory", text);
    }
    let text = format!("memory.limit comes to {limit}, and there is only {there_is} ({source})");
    Finding::new(Grade::Bad, "memory", text)
        .fix("lower memory.limit, to half of that say, or give the server more")
}

fn format(log: &Path) -> Finding {
    let finding = |grade, what: String| Finding::new(grade, "format", what);
    if !log.exists() {
        return finding(
            Grade::Note,
            "there is no log yet: nothing was ever started here".into(),
        );
    }
    let text = match fs::read_to_string(log.join("format")) {
        Ok(text) => text,
        Err(error) => {
            return finding(Grade::Bad, format!("the file log/format cannot be read: {error}"))
                .fix("restore the folder from its copy; the file is written at the first start and never changed");
        }
    };
    let number = text
        .trim_end()
        .rsplit(' ')
        .next()
        .and_then(|word| word.parse().ok());
    match number {
        Some(number @ 1..=FORMAT) => finding(Grade::Ok, format!("format {number}")),
        Some(number) => finding(Grade::Bad, format!("format {number} is of a newer version"))
            .fix("use a thalweg that is at least as new as the one that wrote it"),
        None => finding(
            Grade::Bad,
            "log/format does not say a format of Thalweg".into(),
        )
        .fix("name the right folder with --data"),
    }
}

/// Whether the list of topics begins as one does; a server does not start otherwise.
fn metadata(path: &Path) -> Option<Finding> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut head));
    let finding = |grade, what: String| Finding::new(grade, "topics", what);
    let restore = "restore the folder from its copy";
    match read {
        // It is made at the first start.
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(
            finding(
                Grade::Bad,
                format!("log/metadata.log cannot be read: {error}"),
            )
            .fix("give the user that runs the server the right to read and write it"),
        ),
        Ok(8..) if head.starts_with(b"TWML") => Some(finding(
            Grade::Ok,
            "log/metadata.log begins as it should".into(),
        )),
        Ok(8..) => Some(
            finding(
                Grade::Bad,
                "log/metadata.log does not begin with TWML".into(),
            )
            .fix(restore),
        ),
        Ok(_) => Some(
            finding(
                Grade::Bad,
                "log/metadata.log is cut off in its first bytes".into(),
            )
            .fix(restore),
        ),
    }
}

/// Who has the folder, and how its last use ended.
fn use_of(data: &Path, log: &Path, served: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = log.join("lock");
    // A look at the lock: it is let go of at once.
    let locked = match File::open(&path).map(|file| file.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => true,
        Ok(_) | Err(_) => false,
    };
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

fn disk(data: &Path) -> Finding {
    let free = match rustix::fs::statvfs(data) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => return Finding::new(Grade::Bad, "disk", format!("cannot be asked: {error}")),
    };
    let text = format!("{} are free", size(free));
    if free < FREE_BYTES_MIN {
        return Finding::new(Grade::Bad, "disk", format!("only {text}; a full disk refuses writes"))
            .fix("thalweg topic alter TOPIC --config retention.ms=… or retention.bytes=…, thalweg topic delete TOPIC");
    }
    Finding::new(Grade::Ok, "disk", text)
}

fn open_files() -> Option<Finding> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    if limit < OPEN_FILES_MIN {
        let what = format!("a process may open {limit} files; each partition and view takes some");
        return Some(
            Finding::new(Grade::Note, "files", what).fix(format!("ulimit -n {OPEN_FILES_MIN}")),
        );
    }
    Some(Finding::new(
        Grade::Ok,
        "files",
        format!("a process may open {limit}"),
    ))
}

/// Whether the files of partitions are whole, as far as names and sizes tell.
fn partitions(folder: &Path) -> Vec<Finding> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let (mut count, mut bytes, mut bad) = (0_u64, 0_u64, Vec::new());
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        count += 1;
        let files = match fs::read_dir(&path) {
            Ok(files) => files,
            Err(error) => {
                bad.push((path, error.to_string()));
                continue;
            }
        };
        for file in files.flatten() {
            let path = file.path();
            match fs::File::open(&path).and_then(|file| file.metadata()) {
                Ok(metadata) => bytes += metadata.len(),
                Err(error) => bad.push((path, error.to_string())),
            }
        }
    }
    let what = format!("{count} partitions, {}", size(bytes));
    let mut findings = vec![Finding::new(Grade::Ok, "log", what)];
    let more = bad.len().saturating_sub(TOLD_MAX);
    for (path, error) in bad.into_iter().take(TOLD_MAX) {
        let what = format!("{} cannot be read: {error}", path.display());
        findings.push(
            Finding::new(Grade::Bad, "log", what)
                .fix("give the user that runs the server the right to read and write it"),
        );
    }
    if more > 0 {
        findings.push(Finding::new(Grade::Bad, "log", format!("and {more} more")));
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
        fs::create_dir_all(log.join("partitions/one")).expect("made");
        fs::write(log.join("format"), "thalweg log format 1\n").expect("written");
        fs::write(log.join("lock"), "").expect("written");
        fs::write(log.join("state"), "clean x\n").expect("written");
        fs::write(log.join("partitions/one/0.log"), vec![0; 2048]).expect("written");
        folder
    }

    fn about(findings: &[Finding], about: &str) -> Vec<(Grade, String)> {
        let of = findings.iter().filter(|finding| finding.about == about);
        of.map(|finding| (finding.grade, finding.what.clone()))
            .collect()
    }

    #[test]
    fn a_limit_of_memory_beyond_what_there_is_is_told() {
        let available = Available {
            bytes: 2 << 30,
            source: "its control group",
        };
        let found = memory_limit(1 << 30, &available);
        assert_eq!(found.grade, Grade::Ok);
        assert_eq!(
            found.what,
            "memory.limit comes to 1.0 GiB, there is 2.0 GiB (its control group)"
        );
        let found = memory_limit(3 << 30, &available);
        assert_eq!(found.grade, Grade::Bad);
        assert!(
            found
                .fix
                .is_some_and(|fix| fix.starts_with("lower memory.limit"))
        );
    }

    #[test]
    fn a_sound_folder_is_well() {
        let folder = folder();
        let findings = look(folder.path(), None).expect("a folder");
        assert_eq!(about(&findings, "format"), [(Grade::Ok, "format 1".into())]);
        assert_eq!(
            about(&findings, "last use"),
            [(Grade::Ok, "was closed".into())]
        );
        assert_eq!(
            about(&findings, "log"),
            [(Grade::Ok, "1 partitions, 2 KiB".into())]
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
        let findings = look(folder.path(), None).expect("a folder");
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
        let findings = look(folder.path(), Some("127.0.0.1:9644")).expect("a folder");
        assert_eq!(
            about(&findings, "lock"),
            [(
                Grade::Ok,
                "a server has it, at http://127.0.0.1:9644".into()
            )]
        );
        let findings = look(folder.path(), None).expect("a folder");
        assert_eq!(about(&findings, "lock")[0].0, Grade::Note);
        assert!(about(&findings, "last use").is_empty(), "it is in use now");
    }

    #[test]
    fn the_list_of_topics_begins_with_its_letters() {
        let folder = folder();
        let path = folder.path().join("log/metadata.log");
        for (head, grade) in [
            (&b"TWML\0\x01\0\0"[..], Grade::Ok),
            (b"garbage here", Grade::Bad),
            (b"TW", Grade::Bad),
        ] {
            fs::write(&path, head).expect("written");
            let findings = look(folder.path(), None).expect("a folder");
            assert_eq!(about(&findings, "topics")[0].0, grade, "{head:?}");
        }
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = look(file.path(), None).expect_err("a file");
        assert!(error.to_string().contains("is no folder"), "{error:#}");
    }

    #[test]
    fn no_folder_is_not_found() {
        let error = look(Path::new("/nonexistent/folder"), None).expect_err("none");
        assert!(
            matches!(error.downcast_ref(), Some(Failure::NotFound(_))),
            "{error:#}"
        );
    }
}
