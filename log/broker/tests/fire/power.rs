//! Power cuts: a broker is killed, and its files lose what it had not synced.
//!
//! ```text
//! broker ─ each sync ─▶ notes: inode, bytes            cut: a .log keeps what was synced, and a random part of the rest, or zeros or
//!    └─▶ files         └──────────▶ kill -9 ─▶ cut          garbage in its place; an index that was not synced loses all; another boot
//! ```
//! Everything else is written by replacing a file that was synced before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::child::Process;
use super::ledger::Violation;
use super::load::Progress;
use super::{create_topics_with, free_address, from_environment, judge, seed, under_fire, wrong};

/// Cuts of a test that every change must pass; `make soak-log` makes more.
const CUTS: usize = 5;

/// What becomes of bytes that were written and not synced.
#[derive(Debug, Clone, Copy)]
enum Unsynced {
    /// Some of them are there, some are not, some are others.
    Random,
    /// None of them is there.
    Gone,
}

/// Inodes, and how many bytes of each were made durable.
fn synced(notes: &Path) -> BTreeMap<u64, u64> {
    let notes = fs::read_to_string(notes).expect("the broker has synced something");
    let mut synced = BTreeMap::new();
    for line in notes.lines() {
        let (inode, bytes) = line.split_once(' ').expect("two numbers");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let known = synced.entry(number(inode)).or_default();
        *known = number(bytes).max(*known);
    }
    synced
}

fn files(data: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| {
        let entries = fs::read_dir(path).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.collect::<Vec<_>>()
    };
    let partitions = list(&data.join("partitions"));
    let mut files: Vec<_> = partitions.iter().flat_map(|folder| list(folder)).collect();
    files.sort();
    files
}

/// Whether all partitions that were written to have noted what is on disk.
fn have_checkpoints(data: &Path) -> bool {
    let has = |name: &str| {
        let files = files(data).into_iter();
        let named = files.filter(|path| path.file_name().is_some_and(|file| file == name));
        named
            .filter_map(|path| path.parent().map(Path::to_owned))
            .collect::<BTreeSet<_>>()
    };
    has("00000000000000000000.log").is_subset(&has("checkpoint"))
}

/// Takes from the files in `data` what was not synced; returns how many bytes that were.
fn cut(data: &Path, notes: &Path, unsynced: Unsynced, random: &mut fastrand::Rng) -> u64 {
    let synced = synced(notes);
    let mut lost = 0;
    for path in files(data) {
        let ending = path.extension().and_then(|ending| ending.to_str());
        if !matches!(ending, Some("log" | "index" | "timeindex")) {
            continue;
        }
        let file = fs::File::options().write(true).open(&path).expect("open");
        let meta = file.metadata().expect("stat");
        let safe = synced.get(&meta.ino()).copied().unwrap_or(0);
        let unsafe_bytes = meta.len().saturating_sub(safe);
        if unsafe_bytes == 0 {
            continue;
        }
        let kept = match unsynced {
            Unsynced::Random => random.u64(0..=unsafe_bytes),
            Unsynced::Gone => 0,
        };
        file.set_len(safe + kept).expect("cut");
        lost += unsafe_bytes - kept;
        if matches!(unsynced, Unsynced::Gone) {
            continue;
        }
        match random.u8(..4) {
            // The size was on disk, the content was not.
            0 => file.set_len(meta.len()).expect("zeros"),
            1 => {
                let garbage: Vec<u8> = (kept..unsafe_bytes).map(|_| random.u8(..)).collect();
                file.write_all_at(&garbage, safe + kept).expect("garbage");
            }
            _ => {}
        }
    }
    // The machine that comes up is another boot.
    fs::write(data.join("state"), "running another-boot\n").expect("written");
    lost
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_as_synced_outlives_power_cuts() {
    let seed = seed();
    let cuts = from_environment("THALWEG_LOG_CUTS").map_or(CUTS, |cuts| cuts as usize);
    let folder = tempfile::tempdir().expect("a folder");
    let (data, notes) = (folder.path().join("data"), folder.path().join("syncs"));
    let at = free_address();
    let process = Process::noting_syncs(&data, at, at, Some(&notes));
    create_topics_with(&at.to_string(), Some("sync")).await;
    let (process, sent, moved) = under_fire(&at.to_string(), seed, move |progress| {
        cut_again_and_again(&data, &notes, at, process, (cuts, seed), progress)
    })
    .await;
    judge(at.to_string(), sent, moved).await;
    drop(process);
}

fn cut_again_and_again(
    data: &Path,
    notes: &Path,
    at: SocketAddr,
    mut process: Process,
    (cuts, seed): (usize, u64),
    progress: &Progress,
) -> Process {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lost = 0;
    for _ in 0..cuts {
        // So that the next one is under way, as far as it may be.
        progress.await_commits(random.usize(1..4));
        progress.await_more(random.usize(1..30));
        process.kill();
        lost += cut(data, notes, Unsynced::Random, &mut random);
        process = Process::noting_syncs(data, at, at, Some(notes));
    }
    progress.await_more(100);
    println!("{cuts} power cuts, which took {lost} bytes that were not synced");
    process
}

/// The cut is worth something only if it takes what a broker acknowledges without syncing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_acknowledgements_that_promise_no_sync() {
    let seed = seed();
    let folder = tempfile::tempdir().expect("a folder");
    let (data, notes) = (folder.path().join("data"), folder.path().join("syncs"));
    let at = free_address();
    let process = Process::noting_syncs(&data, at, at, Some(&notes));
    create_topics_with(&at.to_string(), Some("os")).await;
    let written = data.clone();
    let (process, sent, moved) = under_fire(&at.to_string(), seed, move |progress| {
        progress.await_more(300);
        // Soon after its first records a partition notes what is on disk, for which it is synced; the next time is a minute later.
        while !have_checkpoints(&written) {
            progress.await_more(1);
        }
        progress.await_more(300);
        process
    })
    .await;
    process.kill();
    let lost = cut(
        &data,
        &notes,
        Unsynced::Gone,
        &mut fastrand::Rng::with_seed(seed),
    );
    assert!(lost > 0);
    let _process = Process::noting_syncs(&data, at, at, Some(&notes));
    let wrong = wrong(at.to_string(), sent, moved).await;
    assert!(
        wrong.iter().any(|one| matches!(one, Violation::Lost(_))),
        "{wrong:?}"
    );
    // Of transactions, which are synced before they are decided, nothing is missing.
    let of_sent = |one: &Violation| matches!(one, Violation::Lost(value) if value.starts_with('s'));
    assert!(wrong.iter().all(of_sent), "{wrong:?}");
}
