//! `memory.limit`: how much memory the server keeps to, and how much there is.
//!
//! By default it is half of what the process may have: the least of the machine's memory and the limits of the control
//! groups that it is in (a container's, a service's), of version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use streams::{MemoryBudget, MemoryUser};

/// In place of a size: half of what there is.
pub(crate) const AUTO: &str = "auto";
/// Less than this and nothing runs.
const LIMIT_BYTES_MIN: u64 = 128 << 20;
/// What is taken to be there where the system does not tell.
const UNKNOWN_BYTES: u64 = 2 << 30;
/// A control group without a limit says a number like this.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// How much memory the process may have, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Available {
    pub bytes: u64,
    pub source: &'static str,
}

impl Available {
    /// As this machine has it.
    pub(crate) fn here() -> Self {
        Self::below(Path::new("/"))
    }

    /// As the files below `root` say.
    fn below(root: &Path) -> Self {
        let machine = machine_bytes(root).map(|bytes| (bytes, "this machine"));
        let group = group_bytes(root).map(|bytes| (bytes, "its control group"));
        let least = machine.into_iter().chain(group).min();
        let (bytes, source) = least.unwrap_or((UNKNOWN_BYTES, "a guess: the system does not tell"));
        Self { bytes, source }
    }
}

/// The limit that `memory.limit` means, bytes.
///
/// # Errors
/// A text that is no size, and one that is too small.
pub(crate) fn limit_bytes(text: &str, available: &Available) -> Result<u64> {
    if text == AUTO {
        return Ok((available.bytes / 2).max(LIMIT_BYTES_MIN));
    }
    match size_bytes(text) {
        Some(bytes) if bytes >= LIMIT_BYTES_MIN => Ok(bytes),
        Some(_) => bail!("memory.limit = {text}: must be at least 128MiB"),
        None => bail!("memory.limit = {text}: expected {AUTO}, or a size such as 512MiB or 4GiB"),
    }
}

/// The budget of a process that keeps to so many bytes.
pub(crate) fn budget(limit_bytes: u64) -> MemoryBudget {
    MemoryBudget::new(usize::try_from(limit_bytes).unwrap_or(usize::MAX))
}

/// What clients may take for requests and for answers, bytes: what is set, within the part that clients have.
pub(crate) fn client_bytes(
    budget: &MemoryBudget,
    requests: usize,
    responses: usize,
) -> (usize, usize) {
    let share = budget.share(MemoryUser::Clients);
    let requests = requests.min(share / 3);
    (requests, responses.min(share - requests))
}

/// A size in words: `1.5 GiB`.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(bits, _)| bytes >= 1 << bits) {
        Some((bits, unit)) => format!("{:.1} {unit}", bytes as f64 / f64::from(1u32 << bits)),
        None => format!("{bytes} bytes"),
    }
}

fn size_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let bits = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << bits)
}

/// From `/proc/meminfo` (proc(5)).
fn machine_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The least limit of the control groups that the process is in, and of those around them (cgroups(7)).
fn group_bytes(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut least: Option<u64> = None;
    for group in groups.lines() {
        let mut parts = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (folder, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path is often that of the host, and what is mounted the group itself.
        let top = root.join(folder);
        let mut folders: Vec<PathBuf> = vec![top.clone()];
        let inside = Path::new(path.trim_start_matches('/'));
        folders.extend(inside.ancestors().map(|ancestor| top.join(ancestor)));
        let limits = folders.into_iter().filter_map(|folder| {
            let limit = fs::read_to_string(folder.join(file)).ok()?;
            let bytes: u64 = limit.trim().parse().ok()?;
            (bytes < NO_LIMIT_BYTES).then_some(bytes)
        });
        least = limits.chain(least).min();
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Available {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        Available::below(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_of_machine_and_control_groups_counts() {
        let bytes = |files: &[(&str, &str)]| machine(files).bytes;
        assert_eq!(bytes(&[MEMINFO]), 16 << 20);
        let v2 = ("proc/self/cgroup", "0::/a/b\n");
        assert_eq!(bytes(&[MEMINFO, v2]), 16 << 20);
        let inner = ("sys/fs/cgroup/a/b/memory.max", "max\n");
        let outer = ("sys/fs/cgroup/a/memory.max", "8388608\n");
        let found = machine(&[MEMINFO, v2, inner, outer]);
        assert_eq!((found.bytes, found.source), (8 << 20, "its control group"));
        // A container that sees its own group as the whole.
        let whole = ("sys/fs/cgroup/memory.max", "4194304");
        assert_eq!(bytes(&[MEMINFO, v2, whole]), 4 << 20);
        let v1 = ("proc/self/cgroup", "5:cpu,memory:/docker/x\n4:cpuset:/y\n");
        let own = (
            "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes",
            "2097152\n",
        );
        let none = (
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        assert_eq!(bytes(&[MEMINFO, v1, own, none]), 2 << 20);
        assert_eq!(bytes(&[MEMINFO, v1, none]), 16 << 20);
        assert_eq!(bytes(&[]), UNKNOWN_BYTES);
    }

    #[test]
    fn a_limit_is_half_of_it_or_a_size() {
        let available = Available {
            bytes: 6 << 30,
            source: "this machine",
        };
        let limit = |text| limit_bytes(text, &available);
        assert_eq!(limit("auto").ok(), Some(3 << 30));
        assert_eq!(limit("512MiB").ok(), Some(512 << 20));
        assert_eq!(limit("4 GB").ok(), Some(4 << 30));
        assert_eq!(limit("268435456").ok(), Some(256 << 20));
        let error = |text| limit(text).expect_err("it is no limit").to_string();
        assert_eq!(error("1k"), "memory.limit = 1k: must be at least 128MiB");
        for text in ["much", "12 bananas", "99999999T", "-1GiB", ""] {
            assert!(error(text).ends_with("expected auto, or a size such as 512MiB or 4GiB"));
        }
        assert_eq!(size_text(3 << 29), "1.5 GiB");
        assert_eq!(size_text(700), "700 bytes");
    }

    #[test]
    fn clients_keep_to_their_part() {
        let small = budget(192 << 20);
        assert_eq!(
            client_bytes(&small, 128 << 20, 256 << 20),
            (8 << 20, 16 << 20)
        );
        let large = budget(64 << 30);
        assert_eq!(
            client_bytes(&large, 128 << 20, 256 << 20),
            (128 << 20, 256 << 20)
        );
    }
}
