//! Back to the last commit: the one path after a crash, a fence, an abort and an unanswered commit. Steps 2, 3 and 5 are
//! taken for every token, each with its own store and partition of the changelog.
//!
//! 1. Open the transactional id: that ends whatever a predecessor left open, so the changelog's end is fixed.
//! 2. Read the local store's tag. Beyond the changelog's end: it comes from a future that the log has lost. Before the
//!    changelog's start: what lies between is gone. Either is discarded, and a snapshot that fits the changelog takes its
//!    place, or an empty store. If the changelog begins behind an empty store: refuse.
//! 3. Replay the changelog from behind the tag to its end.
//! 4. Check: the positions of the last block are those that the group has committed. A difference means that somebody
//!    else wrote one of them: refuse, with both. A position that the group no longer has is none: offsets of a group
//!    that commits nothing expire after days, and the changelog is the truth.
//! 5. Give the plan's operators the numbers under which they keep their state, and check that it looks as they keep it: as it
//!    was settled when the job was made, and as the state itself says; these two must not differ either. Where the rows are
//!    of another revision of the query, operators may have had other names: see `refresh.rs`.
//!
//! Invariant: when [`restore`] returns, the store is the state of the last commit in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use log_api::{Log, OffsetSpec, PollBudget, ReadError, ReaderOptions, Start, TopicPartition};

use super::inputs::group_positions;
use super::refresh::revision_of;
use super::{JobSpec, TaskError};
use crate::StreamPlan;
use crate::plan::StateManifest;
use crate::state::{Block, BlockHeader, Delta, MANIFEST, StateError, StateStore, Tag, key};

/// Bytes of changelog read at once.
const REPLAY_BYTES: usize = 8 << 20;
/// How long to wait for changelog records that must be there, a poll.
const REPLAY_WAIT: Duration = Duration::from_millis(500);
/// So many polls without a record and without progress, and the log counts as unavailable.
const EMPTY_POLLS_MAX: u32 = 60;

/// Where a job stands.
#[derive(Debug, Clone)]
pub(crate) struct Restored {
    /// Number of the last commit; 0: there was none.
    pub(crate) commit: u64,
    /// What it said.
    pub(crate) header: BlockHeader,
    /// The plan, with the numbers that its operators have in the state.
    pub(crate) plan: StreamPlan,
    /// Changelog blocks that were replayed.
    pub(crate) replayed: u64,
}

/// How a restore ended.
#[derive(Debug)]
pub(crate) enum Restore {
    /// The store is at the last commit.
    Done(Restored),
    /// The store does not belong to this log: start again with an empty one.
    Discard {
        /// What does not fit.
        reason: String,
    },
}

/// Brings the store of a token to the last commit in the log. The transactional id was opened before.
///
/// # Errors
/// From log and store; [`TaskError::Trimmed`], [`TaskError::PlanChanged`].
pub(crate) async fn restore(
    log: &Arc<dyn Log>,
    store: &dyn StateStore,
    changelog: &TopicPartition,
    spec: &JobSpec,
) -> Result<Restore, TaskError> {
    let admin = log.admin();
    let tag = store.tag()?;
    let start = admin.offset(changelog, OffsetSpec::Earliest).await?;
    let end = admin.offset(changelog, OffsetSpec::LastStable).await?;
    if let Some(tag) = &tag
        && tag.changelog_offset >= end
    {
        let reason = format!(
            "local state is at changelog offset {}, the changelog ends at {end}",
            tag.changelog_offset
        );
        return Ok(Restore::Discard { reason });
    }
    let from = tag.as_ref().map_or(0, |tag| tag.changelog_offset + 1);
    if from < start && tag.is_some() {
        let reason =
            format!("local state needs the changelog from {from} on, it starts at {start}");
        return Ok(Restore::Discard { reason });
    }
    if from < start {
        return Err(TaskError::Trimmed {
            changelog: changelog.to_string(),
            needed: from,
            start,
        });
    }
    let replayed = replay(log, store, changelog, from, end).await?;
    let (commit, header) = match store.tag()? {
        Some(tag) => BlockHeader::decode(&tag.header)?,
        None => Default::default(),
    };
    let plan = adopted(store, spec, commit)?;
    Ok(Restore::Done(Restored {
        commit,
        header,
        plan,
        replayed,
    }))
}

/// What the tokens of a job have restored, as one: every commit is one of all of them.
///
/// # Errors
/// [`StateError::Corrupt`] where they do not end with the same commit.
pub(crate) fn together(parts: Vec<Restored>, changelog: &str) -> Result<Restored, TaskError> {
    let commits: Vec<u64> = parts.iter().map(|part| part.commit).collect();
    let mut headers = Vec::with_capacity(parts.len());
    let mut whole: Option<Restored> = None;
    for part in parts {
        headers.push(part.header.clone());
        match &mut whole {
            None => whole = Some(part),
            Some(whole) => whole.replayed += part.replayed,
        }
    }
    let Some(mut whole) = whole else {
        return Err(corrupt(format!("{changelog} has no partition")));
    };
    if let Some(token) = commits.iter().position(|commit| *commit != whole.commit) {
        return Err(corrupt(format!(
            "{changelog}-{token} ends with commit {}, {changelog}-0 with commit {}",
            commits[token], whole.commit
        )));
    }
    whole.header = BlockHeader::whole(headers);
    Ok(whole)
}

fn corrupt(reason: String) -> TaskError {
    TaskError::State(StateError::Corrupt {
        what: "changelog",
        reason,
    })
}

/// A commit of which not all parts were read yet.
#[derive(Default)]
struct Gathered {
    commit: u64,
    parts: u64,
    next: u64,
    header: Vec<u8>,
    delta: Delta,
}

async fn replay(
    log: &Arc<dyn Log>,
    store: &dyn StateStore,
    changelog: &TopicPartition,
    from: i64,
    end: i64,
) -> Result<u64, TaskError> {
    if from >= end {
        return Ok(0);
    }
    let options = ReaderOptions {
        partition_bytes_max: REPLAY_BYTES,
        ..ReaderOptions::default()
    };
    let mut reader = log
        .reader(options, vec![(changelog.clone(), Start::Offset(from))])
        .await?;
    let mut gathered = Gathered::default();
    let (mut replayed, mut position, mut empty) = (0, from, 0);
    while position < end {
        // After a clean stop only a control record is left, and no poll is worth the wait for that.
        let wait_max = if empty == 0 {
            Duration::ZERO
        } else {
            REPLAY_WAIT
        };
        let runs = reader
            .poll(PollBudget {
                bytes_max: REPLAY_BYTES,
                wait_max,
            })
            .await?;
        for records in &runs {
            for row in 0..records.len() {
                let Some(value) = records.value(row) else {
                    continue;
                };
                let block = Block::decode(value)?;
                if gathered.add(block)? {
                    let whole = std::mem::take(&mut gathered);
                    let tag = Tag {
                        changelog_offset: records.offsets.value(row),
                        header: whole.header,
                    };
                    store.apply(&whole.delta, &tag)?;
                    replayed += 1;
                }
            }
            position = position.max(records.next_offset);
        }
        // Control records at the end bring no run, only a position.
        if let Some(progress) = reader.progress().await?.first() {
            empty = if progress.position > position || !runs.is_empty() {
                0
            } else {
                empty + 1
            };
            position = position.max(progress.position);
        }
        if empty > EMPTY_POLLS_MAX {
            let reason =
                format!("{changelog} gives nothing at offset {position}, below its end {end}");
            return Err(ReadError::Unavailable(reason).into());
        }
    }
    Ok(replayed)
}

impl Gathered {
    /// Adds a part; `true` when the commit is whole.
    fn add(&mut self, block: Block) -> Result<bool, TaskError> {
        if block.part != self.next
            || (self.next > 0 && (block.commit, block.parts) != (self.commit, self.parts))
        {
            return Err(corrupt(format!(
                "part {} of {} of commit {} comes where part {} was expected",
                block.part, block.parts, block.commit, self.next
            )));
        }
        if block.part == 0 {
            self.commit = block.commit;
            self.parts = block.parts;
            self.header = block.header;
        }
        self.delta.entries.extend(block.delta.entries);
        self.next += 1;
        Ok(self.next == self.parts)
    }
}

/// Where a store keeps the manifest of its plan.
pub(crate) fn manifest_key() -> Vec<u8> {
    key::whole(MANIFEST, "plan")
}

/// Step 5 of the module.
fn adopted(store: &dyn StateStore, spec: &JobSpec, commit: u64) -> Result<StreamPlan, TaskError> {
    let changed = |difference: String| TaskError::PlanChanged { difference };
    let with_state = match commit {
        0 => None,
        _ => {
            let written = store.get(&manifest_key())?;
            let written =
                written.ok_or_else(|| changed("nothing says what it holds".to_owned()))?;
            Some(StateManifest::decode(&written)?)
        }
    };
    let settled = spec.manifest.as_ref();
    let with_state = match settled {
        Some(settled) if revision_of(store)? != spec.revision => {
            with_state.map(|with_state| with_state.named_as(settled))
        }
        _ => with_state,
    };
    if let (Some(settled), Some(with_state)) = (settled, &with_state)
        && let Some(difference) = settled.difference(with_state)
    {
        let difference = format!("the state is not the one on record for the view: {difference}");
        return Err(changed(difference));
    }
    let Some(kept) = settled.or(with_state.as_ref()) else {
        return Ok(spec.plan.clone());
    };
    let plan = kept.adopted(&spec.plan);
    match kept.difference(&StateManifest::of(&plan, &spec.sink)) {
        Some(difference) => Err(changed(difference)),
        None => Ok(plan),
    }
}

/// Step 4 of the module.
///
/// # Errors
/// [`TaskError::Mismatch`]; from the log.
pub(crate) async fn check_group(
    log: &Arc<dyn Log>,
    group: &str,
    restored: &Restored,
) -> Result<(), TaskError> {
    let expected = group_positions(&restored.header.sources);
    if expected.is_empty() {
        return Ok(());
    }
    let partitions: Vec<TopicPartition> = expected
        .iter()
        .map(|(partition, _)| partition.clone())
        .collect();
    let committed = log.admin().committed(group, &partitions).await?;
    let committed: BTreeMap<&TopicPartition, Option<i64>> = committed
        .iter()
        .map(|committed| (&committed.partition, committed.offset))
        .collect();
    for (partition, offset) in &expected {
        match committed.get(partition).copied().flatten() {
            None => tracing::info!(
                group, %partition, offset,
                "no offset is committed any more; going on from the changelog's"
            ),
            Some(found) if found != *offset => {
                return Err(TaskError::Mismatch {
                    group: group.to_owned(),
                    partition: partition.to_string(),
                    changelog: *offset,
                    committed: found,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}
