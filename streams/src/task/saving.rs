//! When the stores of a task are saved to a folder, and what may go from the changelog then.
//!
//! ```text
//! commit ─▶ enough written since? ─▶ link the files of every store (this commit, whole) ─▶ copy, on a thread of its own
//! a later commit ─▶ is the copy done? ─▶ trim the changelog below the older of two snapshots
//! ```
//!
//! Invariant: the changelog is trimmed only below a snapshot that was read back. Whatever fails, nothing is trimmed, and the
//! next one is tried after as many bytes again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::state::{Snapshots, StateError, StateStore};
use crate::worker::Alive;

/// Where snapshots go, and how often.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotOptions {
    /// The folder of all jobs' snapshots.
    pub(crate) folder: PathBuf,
    /// Where stores link their files meanwhile: beside them, on one file system.
    pub(crate) work: PathBuf,
    /// Bytes of changelog between two snapshots.
    pub(crate) bytes: u64,
}

impl SnapshotOptions {
    /// The snapshots of a token; `changelog` is the identity of the topic that they belong to.
    pub(crate) fn of(&self, job: &str, changelog: Uuid, token: usize) -> Snapshots {
        Snapshots::new(&self.folder, job, changelog, token)
    }
}

/// For each token the offset below which its changelog is not needed any more.
type Below = Vec<Result<Option<i64>, StateError>>;

/// See the module.
pub(super) struct Saving {
    options: Option<Arc<SnapshotOptions>>,
    job: String,
    changelog: Uuid,
    written: u64,
    copying: Option<JoinHandle<Below>>,
}

impl Saving {
    pub(super) fn new(options: Option<Arc<SnapshotOptions>>, job: &str, changelog: Uuid) -> Self {
        Self {
            options,
            job: job.to_owned(),
            changelog,
            written: 0,
            copying: None,
        }
    }

    /// A commit has written so many bytes to the changelog, and is in the stores; `offsets` says how far they are.
    pub(super) fn committed<'a>(
        &mut self,
        bytes: u64,
        stores: impl Iterator<Item = &'a Arc<dyn StateStore>>,
        offsets: &[i64],
        alive: &Alive,
    ) {
        self.written += bytes;
        let Some(options) = &self.options else { return };
        if self.copying.is_some() || self.written < options.bytes {
            return;
        }
        self.written = 0;
        let mut linked = Vec::with_capacity(offsets.len());
        for (token, (store, &offset)) in stores.zip(offsets).enumerate() {
            let work = options.work.join(format!("t{token}"));
            match link(&**store, &work) {
                Ok(true) => {
                    let snapshots = options.of(&self.job, self.changelog, token);
                    linked.push((snapshots, work, offset));
                }
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(job = %self.job, %error, "no snapshot was taken");
                    return;
                }
            }
        }
        // Who drops the job waits for this: it must not make a folder anew that was just removed.
        let alive = alive.clone();
        self.copying = Some(tokio::task::spawn_blocking(move || {
            let copies = linked.iter();
            let below = copies.map(|(snapshots, work, offset)| snapshots.take(work, *offset));
            let below = below.collect();
            drop(alive);
            below
        }));
    }

    /// What a copy that is done has made superfluous: token, and the offset below which nothing is needed.
    pub(super) async fn superfluous(&mut self) -> Vec<(usize, i64)> {
        if !self.copying.as_ref().is_some_and(JoinHandle::is_finished) {
            return Vec::new();
        }
        let Some(Ok(below)) = (match self.copying.take() {
            Some(copying) => Some(copying.await),
            None => None,
        }) else {
            return Vec::new();
        };
        let mut superfluous = Vec::new();
        for (token, below) in below.into_iter().enumerate() {
            match below {
                Ok(Some(offset)) => superfluous.push((token, offset)),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(job = %self.job, token, %error, "a snapshot was not taken");
                }
            }
        }
        superfluous
    }
}

/// Links the files of a store into a folder that is made anew; `false`: the store has none.
fn link(store: &dyn StateStore, work: &Path) -> Result<bool, StateError> {
    crate::state::RocksStore::remove(work)?;
    store.checkpoint(work)
}
