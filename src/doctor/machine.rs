//! What the machine gives a data folder: a disk with room, rights, files that may be open.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, StatVfsMountFlags, access, statfs, statvfs};

use super::{Finding, Grade, size};
use crate::memory::{self, Available};
use crate::open_files;

/// Less than this and the log may soon refuse writes.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Files that can still be made: a partition takes a handful.
const FREE_FILES_MIN: u64 = 10_000;
/// Files that a server with some topics and views has open.
const OPEN_FILES_MIN: u64 = 4096;

/// Kinds of file systems that are not what a log wants, by the number that the kernel gives them.
const KINDS: &[(u64, &str, &str)] = &[
    (
        0x6969,
        "NFS",
        "locks and syncs may not hold there what they promise",
    ),
    (
        0xff53_4d42,
        "CIFS",
        "locks and syncs may not hold there what they promise",
    ),
    (
        0xfe53_4d42,
        "SMB",
        "locks and syncs may not hold there what they promise",
    ),
    (
        0x0102_1994,
        "tmpfs",
        "it is memory, and gone with the next start of the machine",
    ),
];

/// Everything about the machine.
pub(super) fn look(data: &Path) -> Vec<Finding> {
    let mut findings = disk(data);
    findings.extend(rights(data));
    findings.extend(kind(data));
    findings.extend(open_files());
    findings
}

fn disk(data: &Path) -> Vec<Finding> {
    let stat = match statvfs(data) {
        Ok(stat) => stat,
        Err(error) => {
            let what = format!("cannot be asked how much is free: {error}");
            return vec![Finding::new(Grade::Bad, "disk", what)];
        }
    };
    let mut findings = Vec::new();
    if stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
        findings.push(
            Finding::new(
                Grade::Bad,
                "disk",
                "the file system is mounted to be read only",
            )
            .fix("mount -o remount,rw, or --data with another folder"),
        );
    }
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let what = format!("{} are free", size(free));
    findings.push(if free < FREE_BYTES_MIN {
        let what = format!("only {what}; a full disk refuses writes");
        Finding::new(Grade::Bad, "disk", what).fix(
            "thalweg topic alter TOPIC --config retention.ms=… or retention.bytes=…, thalweg topic delete TOPIC",
        )
    } else {
        Finding::new(Grade::Ok, "disk", what)
    });
    // A file system without a number of its own for files tells 0 of 0.
    if stat.f_files > 0 && stat.f_favail < FREE_FILES_MIN {
        let what = format!(
            "only {} more files can be made there (df -i)",
            stat.f_favail
        );
        findings.push(
            Finding::new(Grade::Bad, "disk", what)
                .fix("remove what has many small files, or --data with another folder"),
        );
    }
    findings
}

fn rights(data: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let log = data.join("log");
    for folder in [data, log.as_path()] {
        let Ok(about) = fs::metadata(folder) else {
            continue;
        };
        let shown = folder.display();
        if access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
            let what = format!(
                "{shown} is not this user's to write (it is of user {})",
                about.uid()
            );
            findings.push(
                Finding::new(Grade::Bad, "rights", what)
                    .fix("run as the user that the server runs as, or chown -R the folder"),
            );
        }
    }
    if let Ok(about) = fs::metadata(&log)
        && about.permissions().mode() & 0o077 != 0
    {
        let what = format!(
            "other users may enter {}, where all records lie",
            log.display()
        );
        findings.push(
            Finding::new(Grade::Note, "rights", what).fix(format!("chmod go= {}", log.display())),
        );
    }
    findings
}

fn kind(data: &Path) -> Option<Finding> {
    let stat = statfs(data).ok()?;
    // The number is of 32 bits, whatever its type is here.
    let number = u64::try_from(stat.f_type).ok()? & 0xffff_ffff;
    let (_, name, harm) = KINDS.iter().find(|(kind, ..)| *kind == number)?;
    let what = format!("the folder lies on {name}: {harm}");
    Some(
        Finding::new(Grade::Note, "disk", what)
            .fix("--data with a folder on a disk of this machine"),
    )
}

fn open_files() -> Option<Finding> {
    let limit = open_files::limit()?;
    if limit < OPEN_FILES_MIN {
        let what = format!("a server may open {limit} files; each partition and view takes some");
        return Some(Finding::new(Grade::Note, "files", what).fix(format!(
            "ulimit -Hn {OPEN_FILES_MIN}, or LimitNOFILE= of its service"
        )));
    }
    let what = format!("a server may open {limit}");
    Some(Finding::new(Grade::Ok, "files", what))
}

/// What a server would keep to.
pub(super) fn memory_limit(limit_bytes: u64, available: &Available) -> Finding {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_log_that_others_may_enter_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        fs::create_dir(&log).expect("made");
        for (mode, told) in [(0o700, 0), (0o750, 1), (0o755, 1)] {
            fs::set_permissions(&log, fs::Permissions::from_mode(mode)).expect("set");
            let findings = rights(folder.path());
            assert_eq!(findings.len(), told, "{mode:o}: {findings:?}");
            assert!(findings.iter().all(|finding| finding.fix.is_some()));
        }
    }
}
