//! Topics, configs and group offsets of the cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use log_api::{
    Admin, AdminError, CommittedOffset, GroupDescription, NewTopic, OffsetCommit, OffsetSpec,
    TopicDescription, TopicPartition,
};
use parking_lot::Mutex;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewPartitions, NewTopic as RdNewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::{KafkaConfig, error};

/// Groups whose client is kept for the next call.
const GROUP_CLIENTS_MAX: usize = 64;

pub(crate) struct KafkaAdmin {
    config: KafkaConfig,
    client: AdminClient<DefaultClientContext>,
    /// Sees the high watermark as the end of a partition.
    uncommitted: Arc<BaseConsumer>,
    /// Sees the last stable offset as the end of a partition.
    committed: Arc<BaseConsumer>,
    groups: Mutex<HashMap<String, Arc<BaseConsumer>>>,
}

impl KafkaAdmin {
    pub(crate) fn new(config: KafkaConfig) -> Result<Self, KafkaError> {
        Ok(Self {
            client: config.admin().create()?,
            uncommitted: Arc::new(config.consumer("thalweg.admin", true).create()?),
            committed: Arc::new(config.consumer("thalweg.admin", false).create()?),
            groups: Mutex::new(HashMap::new()),
            config,
        })
    }

    fn options(&self) -> AdminOptions {
        let timeout = Some(self.config.request_timeout);
        AdminOptions::new()
            .request_timeout(timeout)
            .operation_timeout(timeout)
    }

    /// Runs a blocking call of a consumer off the runtime's threads.
    async fn blocking<T: Send + 'static>(
        &self,
        consumer: &Arc<BaseConsumer>,
        topic: &str,
        call: impl FnOnce(&BaseConsumer) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let consumer = Arc::clone(consumer);
        tokio::task::spawn_blocking(move || call(&consumer))
            .await
            .map_err(|error| AdminError::Unavailable(error.to_string()))?
            .map_err(|error| error::admin(topic, &error))
    }

    /// The client that speaks for a group.
    pub(crate) fn group(&self, group: &str) -> Result<Arc<BaseConsumer>, AdminError> {
        let mut groups = self.groups.lock();
        if let Some(consumer) = groups.get(group) {
            return Ok(Arc::clone(consumer));
        }
        if groups.len() >= GROUP_CLIENTS_MAX {
            groups.clear();
        }
        let consumer: BaseConsumer = self
            .config
            .consumer(group, false)
            .create()
            .map_err(|error| AdminError::Unavailable(error.to_string()))?;
        let consumer = Arc::new(consumer);
        groups.insert(group.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }

    async fn partitions(&self, topic: Option<&str>) -> Result<Vec<(String, i32)>, AdminError> {
        let (name, timeout) = (topic.map(str::to_owned), self.config.request_timeout);
        self.blocking(
            &self.uncommitted,
            topic.unwrap_or_default(),
            move |consumer| {
                let metadata = consumer.fetch_metadata(name.as_deref(), timeout)?;
                Ok(metadata
                    .topics()
                    .iter()
                    .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty())
                    .map(|topic| {
                        let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                        (topic.name().to_owned(), count)
                    })
                    .collect())
            },
        )
        .await
    }

    async fn configs(&self, topic: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let resources = [ResourceSpecifier::Topic(topic)];
        let described = self
            .client
            .describe_configs(resources.iter(), &self.options())
            .await
            .map_err(|error| error::admin(topic, &error))?;
        let Some(Ok(resource)) = described.into_iter().next() else {
            return Ok(BTreeMap::new());
        };
        Ok(resource
            .entries
            .into_iter()
            .filter(|entry| entry.source == ConfigSource::DynamicTopic)
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    fn description(
        name: String,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> TopicDescription {
        let internal = name.starts_with("__") || name.starts_with("_thalweg.");
        TopicDescription {
            name,
            id: uuid::Uuid::nil(),
            partitions,
            configs,
            internal,
        }
    }
}

/// The outcome of one of several operations.
fn first<T>(
    name: &str,
    results: Vec<Result<T, (String, RDKafkaErrorCode)>>,
) -> Result<(), AdminError> {
    for result in results {
        result.map_err(|(_, code)| error::admin_code(name, code))?;
    }
    Ok(())
}

#[async_trait]
impl Admin for KafkaAdmin {
    async fn create_topic(&self, topic: NewTopic) -> Result<TopicDescription, AdminError> {
        let mut new = RdNewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
        for (key, value) in &topic.configs {
            new = new.set(key, value);
        }
        let results = self
            .client
            .create_topics([&new], &self.options())
            .await
            .map_err(|error| error::admin(&topic.name, &error))?;
        first(&topic.name, results)?;
        Ok(Self::description(
            topic.name,
            topic.partitions,
            topic.configs,
        ))
    }

    async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let results = self
            .client
            .delete_topics(&[name], &self.options())
            .await
            .map_err(|error| error::admin(name, &error))?;
        first(name, results)
    }

    async fn describe_topic(&self, name: &str) -> Result<Option<TopicDescription>, AdminError> {
        // The client that asks makes no topics by asking (`allow.auto.create.topics`).
        let found = self.partitions(Some(name)).await?;
        let Some((name, partitions)) = found.into_iter().find(|(topic, _)| topic == name) else {
            return Ok(None);
        };
        let configs = self.configs(&name).await?;
        Ok(Some(Self::description(name, partitions, configs)))
    }

    async fn list_topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
        let mut topics = self.partitions(None).await?;
        topics.sort();
        Ok(topics
            .into_iter()
            .map(|(name, partitions)| Self::description(name, partitions, BTreeMap::new()))
            .collect())
    }

    async fn create_partitions(&self, name: &str, total: i32) -> Result<(), AdminError> {
        let total = usize::try_from(total)
            .map_err(|_| AdminError::Refused(format!("topic {name}: {total} partitions")))?;
        let results = self
            .client
            .create_partitions([&NewPartitions::new(name, total)], &self.options())
            .await
            .map_err(|error| error::admin(name, &error))?;
        first(name, results)
    }

    async fn offset(
        &self,
        partition: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<i64, AdminError> {
        let timeout = self.config.request_timeout;
        let consumer = if spec == OffsetSpec::LastStable {
            &self.committed
        } else {
            &self.uncommitted
        };
        let asked = partition.clone();
        self.blocking(consumer, &partition.topic, move |consumer| {
            let (topic, number) = (&*asked.topic, asked.partition);
            let ends = || consumer.fetch_watermarks(topic, number, timeout);
            Ok(match spec {
                OffsetSpec::Earliest => ends()?.0,
                OffsetSpec::Latest | OffsetSpec::LastStable => ends()?.1,
                OffsetSpec::Timestamp(time) => {
                    let mut list = TopicPartitionList::new();
                    list.add_partition_offset(topic, number, Offset::Offset(time))?;
                    let found = consumer.offsets_for_times(list, timeout)?;
                    match found.elements().first().map(|element| element.offset()) {
                        Some(Offset::Offset(offset)) if offset >= 0 => offset,
                        _ => ends()?.1,
                    }
                }
            })
        })
        .await
    }

    async fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<CommittedOffset>, AdminError> {
        let timeout = self.config.request_timeout;
        let consumer = self.group(group)?;
        let asked = partitions.to_vec();
        self.blocking(&consumer, group, move |consumer| {
            let mut list = TopicPartitionList::new();
            for partition in &asked {
                list.add_partition(&partition.topic, partition.partition);
            }
            let found = consumer.committed_offsets(list, timeout)?;
            Ok(asked
                .into_iter()
                .map(|partition| {
                    let element = found.find_partition(&partition.topic, partition.partition);
                    let offset = element.as_ref().and_then(|element| match element.offset() {
                        Offset::Offset(offset) => Some(offset),
                        _ => None,
                    });
                    let metadata = element
                        .map(|element| element.metadata().to_owned())
                        .unwrap_or_default();
                    CommittedOffset {
                        partition,
                        offset,
                        metadata,
                    }
                })
                .collect())
        })
        .await
    }

    async fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetCommit>,
    ) -> Result<(), AdminError> {
        let consumer = self.group(group)?;
        self.blocking(&consumer, group, move |consumer| {
            let mut list = TopicPartitionList::new();
            for commit in &offsets {
                let (topic, partition) = (&commit.partition.topic, commit.partition.partition);
                list.add_partition(topic, partition);
                if let Some(mut element) = list.find_partition(topic, partition) {
                    element.set_offset(Offset::Offset(commit.offset))?;
                    element.set_metadata(&commit.metadata);
                }
            }
            consumer.commit(&list, CommitMode::Sync)
        })
        .await
    }

    async fn groups(&self) -> Result<Vec<GroupDescription>, AdminError> {
        let timeout = self.config.request_timeout;
        let listed = self.blocking(&self.uncommitted, "", move |consumer| {
            let listed = consumer.fetch_group_list(None, timeout)?;
            let groups = listed.groups().iter();
            Ok(groups
                .map(|group| (group.name().to_owned(), group.state().to_owned()))
                .collect::<BTreeMap<_, _>>())
        });
        let listed = listed.await?;
        let topics = self.partitions(None).await?;
        let partitions: Vec<TopicPartition> = (topics.iter())
            .flat_map(|(topic, count)| {
                (0..*count).map(|partition| TopicPartition::new(topic.as_str(), partition))
            })
            .collect();
        let mut described = Vec::with_capacity(listed.len());
        for (name, state) in listed {
            let committed = self.committed(&name, &partitions).await?;
            let committed = committed.into_iter();
            let mut offsets: Vec<(TopicPartition, i64)> = committed
                .filter_map(|one| Some((one.partition, one.offset?)))
                .collect();
            offsets.sort();
            described.push(GroupDescription {
                name,
                state,
                offsets,
            });
        }
        Ok(described)
    }

    async fn delete_group(&self, group: &str) -> Result<(), AdminError> {
        self.groups.lock().remove(group);
        let results = self
            .client
            .delete_groups(&[group], &self.options())
            .await
            .map_err(|error| error::admin(group, &error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((_, code)) => {
                    return Err(AdminError::Refused(format!("group {group}: {code}")));
                }
            }
        }
        Ok(())
    }

    async fn delete_records(&self, offsets: Vec<(TopicPartition, i64)>) -> Result<(), AdminError> {
        let mut list = TopicPartitionList::new();
        let mut topic = String::new();
        for (partition, offset) in &offsets {
            topic = partition.topic.to_string();
            list.add_partition_offset(
                &partition.topic,
                partition.partition,
                Offset::Offset(*offset),
            )
            .map_err(|error| error::admin(&topic, &error))?;
        }
        self.client
            .delete_records(&list, &self.options())
            .await
            .map(|_| ())
            .map_err(|error| error::admin(&topic, &error))
    }
}
