//! Offsets of source connectors, and how often those of sinks were reset ([`super::Resets`]).
//!
//! A task writes its offsets in the same transaction as its records; this store only says to which partition and in
//! which bytes, and reads them back when a task starts. The key is `["<connector>",{partition}]` as compact JSON in
//! the connector's own order of fields; when read, partitions compare whatever the order.

use std::collections::HashMap;
use std::sync::Arc;

use connect_api::{JsonMap, SourceOffset};
use log_api::{BatchBuilder, Compression, Log, Records, TopicPartition, partition_for_key};
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::{Follower, StoreError, compacted};

pub(crate) struct OffsetStore {
    topic: Arc<str>,
    partitions: i32,
    state: Mutex<State>,
}

struct State {
    follower: Follower,
    /// By connector: partition (fields sorted, as text) → both as they were written.
    offsets: HashMap<String, HashMap<String, (JsonMap, JsonMap)>>,
}

/// A record for the topic of offsets.
pub(crate) struct OffsetRecord {
    pub(crate) partition: TopicPartition,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl OffsetRecord {
    /// A batch of it alone.
    pub(crate) fn batch(&self) -> BatchBuilder {
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(crate::now_ms(), Some(&self.key), self.value.as_deref(), &[]);
        batch
    }
}

impl OffsetStore {
    pub(crate) async fn open(
        log: &Arc<dyn Log>,
        topic: &str,
        partitions: i32,
    ) -> Result<Self, StoreError> {
        let follower = Follower::open(log, compacted(topic, partitions)).await?;
        Ok(Self {
            topic: topic.into(),
            partitions: follower.partition_count(),
            state: Mutex::new(State {
                follower,
                offsets: HashMap::new(),
            }),
        })
    }

    /// All offsets of a connector that were committed before the call.
    pub(crate) async fn load(&self, connector: &str) -> Result<Vec<SourceOffset>, StoreError> {
        let mut state = self.state.lock().await;
        let State { follower, offsets } = &mut *state;
        follower.catch_up(|records| apply(offsets, records)).await?;
        let mut found: Vec<(&String, &(JsonMap, JsonMap))> =
            offsets.get(connector).into_iter().flatten().collect();
        found.sort_by_key(|(name, _)| name.as_str());
        Ok(found
            .into_iter()
            .map(|(_, (partition, offset))| SourceOffset {
                partition: partition.clone(),
                offset: offset.clone(),
            })
            .collect())
    }

    /// The record that stores an offset; `None` forgets it.
    pub(crate) fn record(
        &self,
        connector: &str,
        partition: &JsonMap,
        offset: Option<&JsonMap>,
    ) -> OffsetRecord {
        let key = print(&(connector, partition));
        let index = partition_for_key(&key, self.partitions);
        OffsetRecord {
            partition: TopicPartition::new(Arc::clone(&self.topic), index),
            key,
            value: offset.map(print),
        }
    }
}

/// JSON text of an object, or of a list with one.
fn print(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("objects with text keys always print")
}

fn apply(offsets: &mut HashMap<String, HashMap<String, (JsonMap, JsonMap)>>, records: &Records) {
    for row in 0..records.len() {
        let parsed = records
            .key(row)
            .map(serde_json::from_slice::<(String, JsonMap)>);
        let Some(Ok((connector, partition))) = parsed else {
            continue;
        };
        let name = sorted(&Json::Object(partition.clone())).to_string();
        let value = records
            .value(row)
            .and_then(|value| serde_json::from_slice::<Option<JsonMap>>(value).ok());
        match value.flatten() {
            Some(offset) => {
                offsets
                    .entry(connector)
                    .or_default()
                    .insert(name, (partition, offset));
            }
            None => {
                if let Some(of_connector) = offsets.get_mut(&connector) {
                    of_connector.remove(&name);
                }
            }
        }
    }
}

/// The same value with the fields of all objects in order of name.
fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(name, _)| name.as_str());
            Json::Object(
                entries
                    .into_iter()
                    .map(|(name, value)| (name.clone(), sorted(value)))
                    .collect(),
            )
        }
        Json::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
