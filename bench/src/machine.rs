//! What the kernel says about processes and the machine, from `/proc`.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Ticks a second in `/proc/PID/stat`: USER_HZ, which Linux never changes for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system CPU seconds of a process so far (all threads, also those that have ended), to 10 ms.
///
/// # Errors
/// The process is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    ticks(&text)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .with_context(|| format!("{path}: {text:?}"))
}

/// `utime + stime`; the command's name stands in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All pages in memory, the program's file pages among them.
    pub(crate) resident_kib: u64,
    /// Of these the ones that no file backs.
    pub(crate) anonymous_kib: u64,
}

/// Memory of a process now.
///
/// # Errors
/// The process is gone.
pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
            .with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory {
        resident_kib: field("VmRSS")?,
        anonymous_kib: field("RssAnon")?,
    })
}

/// A program that runs on one core alone, where that is asked for; the process is the program's own.
pub(crate) fn command_on(program: &OsStr, core: Option<usize>) -> Command {
    match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(program);
            command
        }
    }
}

/// Keeps this process on one core, also the threads that it starts later.
///
/// # Errors
/// There is no `taskset`, or no such core.
pub(crate) fn stay_on(core: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    let status = Command::new("taskset")
        .args(["-apc", &core.to_string(), &pid])
        .stdout(Stdio::null())
        .status()
        .context("start taskset (util-linux)")?;
    anyhow::ensure!(status.success(), "taskset -apc {core} {pid}: {status}");
    Ok(())
}

/// Two cores, one for the side that is measured and one for its driver; none where the machine has only one.
pub(crate) fn two_cores() -> Option<(usize, usize)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores > 1).then_some((0, 1))
}

/// One line that belongs beside every figure.
pub(crate) fn description() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown CPU", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = chrono::Utc::now().format("%Y-%m-%d");
    let profile = if cfg!(debug_assertions) {
        "dev profile: figures mean nothing"
    } else {
        "release profile"
    };
    format!(
        "{date} · {model} · {cores} cores · Linux {} · {profile}",
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 900 0 0 0 17 25 0 0 20 0 1 0 100 0 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();
        assert!(cpu_seconds(pid).expect("it runs") >= 0.0);
        let memory = memory(pid).expect("it runs");
        assert!(memory.resident_kib >= memory.anonymous_kib && memory.anonymous_kib > 0);
    }
}
