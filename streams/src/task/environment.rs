//! What a task finds around it: the log, its names there, its limits, and who else is to know of what it does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log_api::{AdminError, Log, NewTopic, OffsetSpec, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::pace::Pace;
use super::saving::SnapshotOptions;
use super::search::Search;
use super::{JobSpec, Shared, Stop};
use crate::memory::MemoryBudget;
use crate::source::{SourceOptions, group_of};
use crate::worker::Wakes;

/// `max.message.bytes` of changelogs.
const CHANGELOG_MESSAGE_BYTES: usize = 8 << 20;

/// What a job calls its things in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The changelog's topic: a partition a token.
    pub(crate) changelog: String,
    /// The consumer group.
    pub(crate) group: String,
    /// The transactional id.
    pub(crate) transactional_id: String,
    /// Where row errors go.
    pub(crate) errors: String,
    /// Where late rows go, if the query does not say otherwise.
    pub(crate) late: String,
}

impl Names {
    pub(crate) fn new(job: &str, worker: &str) -> Self {
        Self {
            changelog: format!("_thalweg.{job}.changelog"),
            group: group_of(job),
            transactional_id: format!("thalweg.{job}.{worker}"),
            errors: format!("{job}.errors"),
            late: format!("{job}.late"),
        }
    }

    /// Where the state of a token is kept.
    pub(crate) fn changelog_of(&self, token: usize) -> TopicPartition {
        let token = i32::try_from(token).expect("there are few tokens");
        TopicPartition::new(self.changelog.as_str(), token)
    }
}

/// What a task needs from around it.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) names: Names,
    /// How many tokens a job gets that is made now.
    pub(crate) tokens: i32,
    pub(crate) commit_interval: Duration,
    pub(crate) dirty_bytes_max: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) source: SourceOptions,
    pub(crate) shared: Arc<Shared>,
    /// Outlives the tasks that it makes start over.
    pub(crate) search: Arc<Mutex<Search>>,
    /// So does this.
    pub(crate) pace: Arc<Mutex<Pace>>,
    /// The memory of the process.
    pub(crate) budget: MemoryBudget,
    /// Whether the job is to end.
    pub(crate) stop: Arc<Stop>,
    /// Who else is woken by what this job does.
    pub(crate) wakes: Arc<Wakes>,
    /// What wakes this job when it rests.
    pub(crate) wake: Arc<Notify>,
    /// Where its state is saved, if anywhere.
    pub(crate) snapshots: Option<Arc<SnapshotOptions>>,
}

/// A changelog as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Changelog {
    /// Which topic of its name.
    pub(crate) id: Uuid,
    /// For each token where its records start, and where those end that are committed.
    pub(crate) ranges: Vec<(i64, i64)>,
}

impl Environment {
    /// Makes the topics that a new job writes. One that has a changelog has written to its topic: that is not made again,
    /// opening says that it is gone.
    ///
    /// # Errors
    /// From the log.
    pub(crate) async fn create_topics(&self) -> Result<(), AdminError> {
        let changelog = self.names.changelog.as_str();
        if self.log.admin().describe_topic(changelog).await?.is_some() {
            return Ok(());
        }
        let sink = &self.spec.sink;
        let mut topic = NewTopic::new(sink.topic.as_str(), sink.partitions.max(1));
        if !sink.key.is_empty() && sink.form.is_compacted() {
            topic = topic.with("cleanup.policy", "compact");
        }
        self.ensure(topic).await?;
        let changelog = NewTopic::new(changelog, self.tokens.max(1))
            .with("cleanup.policy", "delete")
            .with("retention.ms", "-1")
            .with("max.message.bytes", &CHANGELOG_MESSAGE_BYTES.to_string());
        self.ensure(changelog).await
    }

    /// The changelog as it is: how many tokens the job has was settled when it was made.
    ///
    /// # Errors
    /// From the log.
    pub(crate) async fn changelog(&self) -> Result<Changelog, AdminError> {
        let (admin, topic) = (self.log.admin(), self.names.changelog.as_str());
        let described = admin.describe_topic(topic).await?;
        let described = described.ok_or_else(|| AdminError::UnknownTopic(topic.to_owned()))?;
        let tokens = usize::try_from(described.partitions).unwrap_or(1).max(1);
        let mut ranges = Vec::with_capacity(tokens);
        for token in 0..tokens {
            let partition = self.names.changelog_of(token);
            let start = admin.offset(&partition, OffsetSpec::Earliest).await?;
            let end = admin.offset(&partition, OffsetSpec::LastStable).await?;
            ranges.push((start, end));
        }
        Ok(Changelog {
            id: described.id,
            ranges,
        })
    }

    /// How many rows a source gives at a time.
    pub(super) fn rows_max(&self) -> usize {
        let narrowed = [self.search.lock().step_rows(), self.pace.lock().rows()];
        let narrowed = narrowed.into_iter().flatten();
        narrowed.fold(self.source.rows_max, usize::min)
    }

    /// Makes a topic unless it is there.
    pub(super) async fn ensure(&self, topic: NewTopic) -> Result<(), AdminError> {
        let admin = self.log.admin();
        if admin.describe_topic(&topic.name).await?.is_some() {
            return Ok(());
        }
        match admin.create_topic(topic).await {
            Ok(_) | Err(AdminError::TopicExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Where the local state of a job lies: `<state_dir>/<job>`.
pub(crate) fn job_folder(state_dir: &Path, job: &str) -> PathBuf {
    state_dir.join(job)
}
