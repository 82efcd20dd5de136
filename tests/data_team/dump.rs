//! What the topics of a source hold: change events in JSON, counted by what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use log_api::{
    Log, OffsetSpec, PartitionProgress, PollBudget, ReaderOptions, Start, TopicPartition,
};
use log_kafka::{Kafka, KafkaConfig};
use serde_json::Value;

/// The values in the topics of a prefix; tombstones are none.
pub(super) struct Topics(Vec<Value>);

/// The log at an address.
pub(super) fn open(address: &str) -> Kafka {
    Kafka::connect(KafkaConfig::new(address)).unwrap()
}

impl Topics {
    /// Everything that is committed now.
    pub(super) async fn read(log: &Kafka, prefix: &str) -> Self {
        let start = format!("{prefix}.");
        let (mut assignment, mut ends) = (Vec::new(), BTreeMap::new());
        let admin = log.admin();
        for topic in admin.list_topics().await.unwrap() {
            if !topic.name.starts_with(&start) {
                continue;
            }
            assert_eq!(topic.partitions, 1, "{}", topic.name);
            let partition = TopicPartition::new(topic.name.as_str(), 0);
            let end = admin.offset(&partition, OffsetSpec::LastStable).await;
            ends.insert(topic.name, end.unwrap());
            assignment.push((partition, Start::Earliest));
        }
        let mut values = Vec::new();
        if assignment.is_empty() {
            return Self(values);
        }
        let mut reader = log
            .reader(ReaderOptions::default(), assignment)
            .await
            .unwrap();
        let budget = PollBudget {
            bytes_max: 4 << 20,
            wait_max: Duration::from_millis(50),
        };
        let is_read = |at: &PartitionProgress| at.position >= ends[&*at.partition.topic];
        while !reader.progress().await.unwrap().iter().all(is_read) {
            for records in reader.poll(budget).await.unwrap() {
                let present = (0..records.len()).filter_map(|row| records.value(row));
                values.extend(present.map(|value| serde_json::from_slice::<Value>(value).unwrap()));
            }
        }
        Self(values)
    }

    /// Events of an operation.
    pub(super) fn count(&self, op: &str) -> usize {
        let events = self.0.iter();
        events.filter(|event| event["op"] == op).count()
    }
}
