//! Offsets of stopped connectors, read and altered by users (KIP-875).

use std::time::Duration;

use connect_api::{AlteredOffset, ConnectError, ConnectorKind, JsonMap, TopicPartition};
use log_api::{Admin, OffsetCommit, TransactionOptions};
use serde_json::{Value as Json, json};

use super::{ChangeError, Inner};
use crate::definition;
use crate::herder::ConnectorView;
use crate::secrets;
use crate::store::{Resets, StoreError, TargetState};

/// How long a connector may look at offsets that a user sets.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// What is to be done with a connector's offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OffsetsChange {
    Alter(Vec<AlteredOffset>),
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
            let group = sink_group(inner, name);
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

fn sink_group(inner: &Inner, name: &str) -> String {
    let herder = inner.herder.read();
    let config = herder.config(name).cloned().unwrap_or_default();
    definition::group(name, &config)
}

/// Whether offsets of this connector can be changed now.
pub(super) fn check_stopped(view: &ConnectorView) -> Result<(), ChangeError> {
    if view.target == TargetState::Stopped && view.stopping == 0 {
        Ok(())
    } else {
        Err(ChangeError::NotStopped(view.name.clone()))
    }
}

/// Tells the connector of a change before it is made; its code runs in a task of its own. Returns whether it keeps
/// offsets itself.
pub(crate) async fn tell_connector(
    inner: &Inner,
    view: &ConnectorView,
    kind: ConnectorKind,
    change: &OffsetsChange,
) -> Result<bool, ChangeError> {
    check_stopped(view)?;
    let plugin = view
        .config
        .get("connector.class")
        .and_then(|class| inner.plugins.connector(class).cloned());
    let Some(plugin) = plugin else {
        return Ok(false);
    };
    let offsets = match change {
        OffsetsChange::Alter(offsets) => offsets.clone(),
        OffsetsChange::Reset => forgotten(read(inner, &view.name, kind).await?),
    };
    let config = view.config.clone();
    let look = tokio::spawn(async move {
        let config = secrets::resolve(&config)?;
        plugin.alter_offsets(&config, &offsets).await
    });
    let bad = |reason: String| Err(ChangeError::Bad(reason));
    match tokio::time::timeout(LOOK_MAX, look).await {
        Ok(Ok(Ok(keeps))) => Ok(keeps),
        Ok(Ok(Err(ConnectError::Data(reason)))) => bad(reason),
        Ok(Ok(Err(error))) => bad(format!("the connector refuses these offsets: {error}")),
        Ok(Err(error)) => bad(format!("the connector's check of offsets failed: {error}")),
        Err(_) => bad(format!(
            "the connector did not check the offsets within {} s",
            LOOK_MAX.as_secs()
        )),
    }
}

/// The partitions of an offsets body, each to be forgotten.
fn forgotten(mut body: Json) -> Vec<AlteredOffset> {
    let entries = match body["offsets"].take() {
        Json::Array(entries) => entries,
        _ => Vec::new(),
    };
    let partition = |mut entry: Json| match entry["partition"].take() {
        Json::Object(partition) => Some(AlteredOffset {
            partition,
            offset: None,
        }),
        _ => None,
    };
    entries.into_iter().filter_map(partition).collect()
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
            .map(|stored| AlteredOffset {
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
    let group = sink_group(inner, name);
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
    entry: AlteredOffset,
) -> Result<OffsetCommit, ChangeError> {
    let partition = sink_partition(&entry.partition).map_err(ChangeError::Bad)?;
    let offset = match &entry.offset {
        Some(offset) => kafka_offset(offset).map_err(ChangeError::Bad)?,
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

/// A partition of the log as a body names it; errors in Kafka's words.
fn sink_partition(partition: &JsonMap) -> Result<TopicPartition, String> {
    let (Some(topic), Some(number)) = (
        partition.get("kafka_topic"),
        partition.get("kafka_partition"),
    ) else {
        return Err(
            "The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'"
                .to_owned(),
        );
    };
    let topic = topic
        .as_str()
        .ok_or("Kafka topic names must be valid strings and may not be null")?;
    if number.is_null() {
        return Err("Kafka partitions must be valid numbers and may not be null".to_owned());
    }
    let index = whole(number).and_then(|number| i32::try_from(number).ok());
    let index = index.ok_or_else(|| {
        format!(
            "Failed to parse the following Kafka partition value in the provided offsets: '{number}'. Partition \
             values for sink connectors need to be integers."
        )
    })?;
    Ok(TopicPartition::new(topic, index))
}

fn kafka_offset(offset: &JsonMap) -> Result<i64, String> {
    let number = offset.get("kafka_offset").ok_or(
        "The offset for a sink connector should either be null or contain the key 'kafka_offset'",
    )?;
    whole(number).ok_or_else(|| {
        format!(
            "Failed to parse the following Kafka offset value in the provided offsets: '{number}'. Offset values for \
             sink connectors need to be integers, and not negative."
        )
    })
}

/// A whole number, as number or text (Kafka takes both).
fn whole(json: &Json) -> Option<i64> {
    json.as_i64()
        .or_else(|| json.as_str()?.parse().ok())
        .filter(|number| *number >= 0)
}
