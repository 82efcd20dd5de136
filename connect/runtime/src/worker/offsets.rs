//! Offsets of stopped connectors, read and altered by users (KIP-875).

use connect_api::{ConnectorKind, JsonMap, TopicPartition};
use log_api::{Admin, OffsetCommit, TransactionOptions};
use serde_json::{Value as Json, json};

use super::{ChangeError, Inner};
use crate::store::{Resets, StoreError};

/// One line of an offsets body; `None` resets the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) partition: JsonMap,
    pub(crate) offset: Option<JsonMap>,
}

/// What is to be done with a connector's offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OffsetsChange {
    Alter(Vec<OffsetEntry>),
    Reset,
}

fn failed(topic: &str) -> impl Fn(log_api::AdminError) -> ChangeError + '_ {
    move |source| {
        StoreError::Admin {
            topic: topic.to_owned(),
            source,
        }
        .into()
    }
}

/// `GET /connectors/{name}/offsets`.
pub(crate) async fn read(
    inner: &Inner,
    name: &str,
    kind: ConnectorKind,
) -> Result<Json, ChangeError> {
    let environment = &inner.environment;
    let entries: Vec<Json> = match kind {
        ConnectorKind::Source => environment
            .offsets
            .load(name)
            .await?
            .into_iter()
            .map(|stored| json!({ "partition": stored.partition, "offset": stored.offset }))
            .collect(),
        ConnectorKind::Sink => {
            let group = format!("connect-{name}");
            let admin = environment.log.admin();
            let topics = admin.list_topics().await.map_err(failed(&group))?;
            let partitions: Vec<TopicPartition> = topics
                .iter()
                .flat_map(|topic| {
                    (0..topic.partitions).map(|index| TopicPartition::new(&*topic.name, index))
                })
                .collect();
            let committed = admin
                .committed(&group, &partitions)
                .await
                .map_err(failed(&group))?;
            committed
                .into_iter()
                .filter_map(|committed| {
                    let offset = committed.offset?;
                    let TopicPartition { topic, partition } = committed.partition;
                    Some(json!({
                        "partition": { "kafka_topic": &*topic, "kafka_partition": partition },
                        "offset": { "kafka_offset": offset },
                    }))
                })
                .collect()
        }
    };
    Ok(json!({ "offsets": entries }))
}

/// Applies a change; the connector is stopped and has no task left.
pub(super) async fn apply(
    inner: &Inner,
    name: &str,
    kind: ConnectorKind,
    change: OffsetsChange,
) -> Result<(), ChangeError> {
    match kind {
        ConnectorKind::Source => apply_source(inner, name, change).await,
        ConnectorKind::Sink => apply_sink(inner, name, change).await,
    }
}

async fn apply_source(inner: &Inner, name: &str, change: OffsetsChange) -> Result<(), ChangeError> {
    let environment = &inner.environment;
    let entries = match change {
        OffsetsChange::Alter(entries) => entries,
        OffsetsChange::Reset => environment
            .offsets
            .load(name)
            .await?
            .into_iter()
            .map(|stored| OffsetEntry {
                partition: stored.partition,
                offset: None,
            })
            .collect(),
    };
    let topic = inner.config.offset_topic.clone();
    let failed = |source| StoreError::Transaction {
        topic: topic.clone(),
        source,
    };
    // The first task's id: a run of it that was left behind is fenced, and cannot overwrite what is written here.
    let options = TransactionOptions {
        transactional_id: format!("{}-{name}-0", inner.config.group_id),
        timeout: std::time::Duration::from_secs(10),
    };
    let mut transaction = environment.log.transaction(options).await.map_err(failed)?;
    for entry in entries {
        let record = environment
            .offsets
            .record(name, &entry.partition, entry.offset.as_ref());
        transaction
            .append(&record.partition, record.batch())
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(())
}

/// The group first, then the count of resets: a crash in between leaves a sink that stores its own offsets where it
/// was, and one that does not where it is to be.
async fn apply_sink(inner: &Inner, name: &str, change: OffsetsChange) -> Result<(), ChangeError> {
    let group = format!("connect-{name}");
    let store = &inner.environment.offsets;
    let admin = inner.environment.log.admin();
    let resets = Resets::among(&store.load(name).await?);
    let counted = match change {
        OffsetsChange::Reset => {
            admin.delete_group(&group).await.map_err(failed(&group))?;
            vec![resets.one_more(None)]
        }
        OffsetsChange::Alter(entries) => {
            let mut offsets = Vec::with_capacity(entries.len());
            for entry in entries {
                offsets.push(sink_offset(&*admin, &group, entry).await?);
            }
            let counted = offsets
                .iter()
                .map(|offset| resets.one_more(Some(&offset.partition)))
                .collect();
            admin
                .commit_offsets(&group, offsets)
                .await
                .map_err(failed(&group))?;
            counted
        }
    };
    let topic = &inner.config.offset_topic;
    let failed = |source| StoreError::Write {
        topic: topic.clone(),
        source,
    };
    let writer = inner.environment.log.writer().await.map_err(failed)?;
    for entry in counted {
        let record = store.record(name, &entry.partition, Some(&entry.offset));
        writer
            .append(&record.partition, record.batch())
            .await
            .map_err(failed)?;
        writer.sync(&[record.partition]).await.map_err(failed)?;
    }
    Ok(())
}

async fn sink_offset(
    admin: &dyn Admin,
    group: &str,
    entry: OffsetEntry,
) -> Result<OffsetCommit, ChangeError> {
    let bad = || {
        ChangeError::Bad(format!(
            "a sink's partition is {{\"kafka_topic\": text, \"kafka_partition\": number}} and its offset \
             {{\"kafka_offset\": number}} or null, not {} and {}",
            Json::Object(entry.partition.clone()),
            entry.offset.clone().map_or(Json::Null, Json::Object),
        ))
    };
    let topic = entry
        .partition
        .get("kafka_topic")
        .and_then(Json::as_str)
        .ok_or_else(bad)?;
    let partition = entry
        .partition
        .get("kafka_partition")
        .and_then(whole)
        .ok_or_else(bad)?;
    let partition = TopicPartition::new(topic, i32::try_from(partition).map_err(|_| bad())?);
    let offset = match &entry.offset {
        Some(offset) => offset.get("kafka_offset").and_then(whole).ok_or_else(bad)?,
        // Groups of the log forget whole groups only: the start stands for "no offset".
        None => admin
            .offset(&partition, log_api::OffsetSpec::Earliest)
            .await
            .map_err(failed(group))?,
    };
    Ok(OffsetCommit {
        partition,
        offset,
        metadata: String::new(),
    })
}

/// A whole number, as number or text (Kafka takes both).
fn whole(json: &Json) -> Option<i64> {
    json.as_i64()
        .or_else(|| json.as_str()?.parse().ok())
        .filter(|number| *number >= 0)
}
