//! How often the offsets of a sink were reset or altered: what tells a sink that its own offsets no longer count.
//!
//! Kept among the offsets of the connector, one more each time: `["<c>",{}]` → `{"resets":n}` for all partitions,
//! `["<c>",{"kafka_topic":t,"kafka_partition":p}]` → `{"resets":n}` for one. Java workers read no such records for
//! sinks.

use std::collections::HashMap;

use connect_api::{JsonMap, SourceOffset, TopicPartition};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resets {
    of_all: u64,
    of_one: HashMap<TopicPartition, u64>,
}

impl Resets {
    /// As the offsets of a connector tell them.
    pub(crate) fn among(offsets: &[SourceOffset]) -> Self {
        let mut resets = Self::default();
        for SourceOffset { partition, offset } in offsets {
            let Some(count) = offset.get("resets").and_then(serde_json::Value::as_u64) else {
                continue;
            };
            let topic = partition
                .get("kafka_topic")
                .and_then(|topic| topic.as_str());
            let index = partition
                .get("kafka_partition")
                .and_then(|index| index.as_i64()?.try_into().ok());
            match (topic, index) {
                (Some(topic), Some(index)) => {
                    resets
                        .of_one
                        .insert(TopicPartition::new(topic, index), count);
                }
                _ => resets.of_all = count,
            }
        }
        resets
    }

    /// How often a partition's offset was: never the same number again.
    pub(crate) fn of(&self, partition: &TopicPartition) -> u64 {
        self.of_all + self.of_one.get(partition).copied().unwrap_or(0)
    }

    /// The entry that counts one more, of one partition or of all.
    pub(crate) fn one_more(&self, partition: Option<&TopicPartition>) -> SourceOffset {
        let mut key = JsonMap::new();
        let count = match partition {
            None => self.of_all,
            Some(partition) => {
                key.insert("kafka_topic".to_owned(), (*partition.topic).into());
                key.insert("kafka_partition".to_owned(), partition.partition.into());
                self.of_one.get(partition).copied().unwrap_or(0)
            }
        };
        let offset = JsonMap::from_iter([("resets".to_owned(), (count + 1).into())]);
        SourceOffset {
            partition: key,
            offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_never_comes_again() {
        let partition = TopicPartition::new("t", 3);
        let mut entries = Vec::new();
        let mut seen = vec![Resets::default().of(&partition)];
        for one in [None, Some(&partition), None, Some(&partition)] {
            let entry = Resets::among(&entries).one_more(one);
            entries.retain(|old: &SourceOffset| old.partition != entry.partition);
            entries.push(entry);
            seen.push(Resets::among(&entries).of(&partition));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(
            Resets::among(&entries).of(&TopicPartition::new("t", 0)),
            2,
            "another partition"
        );
    }
}
