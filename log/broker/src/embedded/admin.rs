//! Topics, configs and offsets of groups, for this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use log_api::{
    Admin, AdminError, CommittedOffset, GroupDescription, NewTopic, OffsetCommit, OffsetSpec,
    TopicDescription,
};
use log_protocol::{ErrorCode, TopicPartition};
use tokio::time::{Instant, timeout_at};

use crate::api::{blocking, delete_records, delete_topics};
use crate::clock::wall_ms;
use crate::coordinator::group::OFFSET_METADATA_BYTES_MAX;
use crate::coordinator::group::record::OffsetRecord;
use crate::coordinator::group::state::Identity;
use crate::quorum::{Topic, TopicError};
use crate::services::Services;

/// How long [`Admin::committed`] waits for an open transaction; then the caller is told to come back.
const STABLE_WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct EmbeddedAdmin {
    services: Arc<Services>,
}

impl EmbeddedAdmin {
    pub(super) fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    fn topic(&self, name: &str) -> Result<Arc<Topic>, AdminError> {
        self.services
            .topics
            .get(name)
            .ok_or_else(|| AdminError::UnknownTopic(name.to_owned()))
    }

    fn unknown_partition(partition: &TopicPartition) -> AdminError {
        AdminError::Refused(format!("partition {partition} does not exist"))
    }
}

#[async_trait]
impl Admin for EmbeddedAdmin {
    async fn create_topic(&self, topic: NewTopic) -> Result<TopicDescription, AdminError> {
        let services = &self.services;
        let topics = services.topics.clone();
        let created =
            blocking(move || topics.create(&topic.name, topic.partitions, &topic.configs, false))
                .await
                .map_err(|error| AdminError::Unavailable(error.message().to_owned()))?;
        created.map(|topic| describe(&topic)).map_err(topic_error)
    }

    async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        delete_topics::delete(&self.services, name)
            .await
            .map_err(|(error, message)| match error {
                ErrorCode::UnknownTopicOrPartition => AdminError::UnknownTopic(name.to_owned()),
                _ => AdminError::Refused(message),
            })
    }

    async fn describe_topic(&self, name: &str) -> Result<Option<TopicDescription>, AdminError> {
        Ok(self.services.topics.get(name).map(|topic| describe(&topic)))
    }

    async fn list_topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
        let mut topics: Vec<TopicDescription> = self
            .services
            .topics
            .list()
            .iter()
            .map(|topic| describe(topic))
            .collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topics)
    }

    async fn create_partitions(&self, name: &str, total: i32) -> Result<(), AdminError> {
        if self.topic(name)?.is_internal() {
            return Err(AdminError::Refused(format!(
                "topic {name} is one that the log keeps for itself"
            )));
        }
        let topics = self.services.topics.clone();
        let owned = name.to_owned();
        blocking(move || topics.grow(&owned, total).map(drop))
            .await
            .map_err(|error| AdminError::Unavailable(error.message().to_owned()))?
            .map_err(topic_error)
    }

    async fn offset(
        &self,
        partition: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<i64, AdminError> {
        let topic = self.topic(&partition.topic)?;
        let found = topic
            .partition(partition.partition)
            .ok_or_else(|| Self::unknown_partition(partition))?;
        found
            .check_readable()
            .map_err(|error| AdminError::Unavailable(error.to_string()))?;
        Ok(match spec {
            OffsetSpec::Earliest => found.log_start_offset(),
            OffsetSpec::Latest => found.high_watermark(),
            OffsetSpec::LastStable => found.last_stable_offset(),
            OffsetSpec::Timestamp(timestamp_ms) => {
                let end = found.high_watermark();
                blocking(move || found.offset_for_timestamp(timestamp_ms))
                    .await
                    .map_err(|error| AdminError::Unavailable(error.message().to_owned()))?
                    .map_err(|error| AdminError::Unavailable(error.to_string()))?
                    .map_or(end, |(offset, _)| offset)
            }
        })
    }

    async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, AdminError> {
        let groups = &self.services.groups;
        let deadline = Instant::now() + STABLE_WAIT_MAX;
        let mut ended = groups.watch_ended_transactions();
        loop {
            let fetched = groups
                .fetch_offsets(group, Some(partitions.to_vec()), true)
                .await
                .map_err(|error| AdminError::Unavailable(error.message().to_owned()))?;
            if fetched.iter().all(|one| !one.unstable) {
                return Ok(fetched
                    .into_iter()
                    .map(|one| CommittedOffset {
                        partition: one.partition,
                        offset: one.record.as_ref().map(|record| record.offset),
                        metadata: one.record.map(|record| record.metadata).unwrap_or_default(),
                    })
                    .collect());
            }
            if !matches!(timeout_at(deadline, ended.changed()).await, Ok(Ok(()))) {
                return Err(AdminError::Unstable(group.to_owned()));
            }
        }
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), AdminError> {
        let now = wall_ms();
        let mut records = Vec::with_capacity(offsets.len());
        for commit in offsets {
            let topic = self.topic(&commit.partition.topic)?;
            if topic.partition(commit.partition.partition).is_none() {
                return Err(Self::unknown_partition(&commit.partition));
            }
            if commit.metadata.len() > OFFSET_METADATA_BYTES_MAX {
                return Err(AdminError::Refused(format!(
                    "offset metadata for {} exceeds {OFFSET_METADATA_BYTES_MAX} bytes",
                    commit.partition
                )));
            }
            let record = OffsetRecord {
                offset: commit.offset,
                leader_epoch: -1,
                metadata: commit.metadata,
                commit_timestamp_ms: now,
            };
            records.push((commit.partition, record));
        }
        let groups = &self.services.groups;
        groups
            .commit_offsets(group, &Identity::standalone(), records)
            .await
            .map_err(|error| match error {
                ErrorCode::UnknownMemberId => AdminError::Refused(format!(
                    "group {group} has members; only they commit its offsets"
                )),
                error => AdminError::Unavailable(error.message().to_owned()),
            })
    }

    async fn groups(&self) -> Result<Vec<GroupDescription>, AdminError> {
        let groups = &self.services.groups;
        let mut described = Vec::new();
        for listed in groups.list() {
            let fetched = groups.fetch_offsets(&listed.group_id, None, false).await;
            let fetched =
                fetched.map_err(|error| AdminError::Unavailable(error.message().to_owned()))?;
            let committed = fetched.into_iter();
            let committed = committed.filter_map(|one| Some((one.partition, one.record?.offset)));
            let mut offsets: Vec<(TopicPartition, i64)> = committed.collect();
            offsets.sort();
            described.push(GroupDescription {
                name: listed.group_id,
                state: listed.phase.to_owned(),
                offsets,
            });
        }
        Ok(described)
    }

    async fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        match self.services.groups.delete(group).await {
            Ok(()) | Err(ErrorCode::GroupIdNotFound) => Ok(()),
            Err(ErrorCode::NonEmptyGroup) => Err(AdminError::Refused(format!(
                "group {group} has members; stop them first"
            ))),
            Err(error) => Err(AdminError::Unavailable(error.message().to_owned())),
        }
    }

    async fn delete_records(&self, offsets: Vec<(TopicPartition, i64)>) -> Result<(), AdminError> {
        for (partition, before) in offsets {
            let (topic, index) = (&partition.topic, partition.partition);
            delete_records::delete(&self.services, topic, index, before)
                .await
                .map_err(|error| {
                    let reason = match error {
                        ErrorCode::PolicyViolation => "the topic is compacted",
                        error => error.message(),
                    };
                    AdminError::Refused(format!(
                        "records of {partition} before {before} cannot be deleted: {reason}"
                    ))
                })?;
        }
        Ok(())
    }
}

fn topic_error(error: TopicError) -> AdminError {
    match error {
        TopicError::Exists(name) => AdminError::TopicExists(name),
        TopicError::Unknown(name) => AdminError::UnknownTopic(name),
        TopicError::InvalidName { name, reason } => AdminError::InvalidTopic {
            name,
            reason: reason.to_owned(),
        },
        TopicError::Collides { name, other } => AdminError::InvalidTopic {
            reason: format!("it differs from that of topic {other} in '.' and '_' alone"),
            name,
        },
        TopicError::Config { name, error } => AdminError::InvalidConfig {
            topic: name,
            reason: error.to_string(),
        },
        refused @ TopicError::InvalidPartitions { .. } => AdminError::Refused(refused.to_string()),
        offline @ TopicError::Offline(_) => AdminError::Unavailable(offline.to_string()),
    }
}

fn describe(topic: &Topic) -> TopicDescription {
    TopicDescription {
        name: topic.name().to_string(),
        id: topic.id(),
        partitions: topic.partitions(),
        configs: topic.set_configs(),
        internal: topic.is_internal(),
    }
}
