//! What the metadata records add up to.
//!
//! Invariants:
//! 1. `apply` is the only way to change the image, live and at replay.
//!
//! PURE.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::security::{SecurityImage, SecurityRecord};

/// A topic's id; text in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct TopicId(pub(super) Uuid);

impl From<TopicId> for String {
    fn from(id: TopicId) -> Self {
        id.0.to_string()
    }
}

impl TryFrom<String> for TopicId {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Uuid::try_parse(&text).map(Self)
    }
}

/// One change of the metadata; JSON in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum MetadataRecord {
    /// The cluster got its id.
    Cluster {
        /// 22 characters, as Kafka's.
        id: String,
    },
    /// The log was opened after it was not closed: leader epochs rise.
    UncleanStart,
    /// A topic was created.
    TopicCreated {
        /// Its name.
        name: String,
        /// Its id.
        id: TopicId,
        /// Its number of partitions.
        partitions: i32,
        /// Configs that were set.
        configs: BTreeMap<String, String>,
        /// One that the system keeps for itself.
        internal: bool,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// Its id.
        id: TopicId,
    },
    /// A topic got more partitions.
    PartitionsAdded {
        /// Its id.
        id: TopicId,
        /// How many there are now.
        total: i32,
    },
    /// The configs that a topic sets are these now.
    ConfigsSet {
        /// Its id.
        id: TopicId,
        /// All of them.
        configs: BTreeMap<String, String>,
    },
    /// Producer ids below this were reserved.
    ProducerIds {
        /// One past the last.
        end: i64,
    },
    /// Passwords, rules of access or quotas were changed.
    Security {
        /// How.
        record: SecurityRecord,
    },
    /// The image so far, in the place of all records before; the first of a rewritten log.
    Image {
        /// See [`Image`].
        image: Image,
    },
}

/// A topic as the records say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopicImage {
    pub(super) name: String,
    pub(super) id: TopicId,
    pub(super) partitions: i32,
    pub(super) configs: BTreeMap<String, String>,
    pub(super) internal: bool,
    /// Unclean starts before it was created.
    pub(super) born: i32,
}

/// All of the metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    pub(super) cluster_id: String,
    pub(super) unclean_starts: i32,
    pub(super) producer_ids_end: i64,
    pub(super) topics: BTreeMap<TopicId, TopicImage>,
    /// Deleted topics that may still have folders.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) deleted: BTreeSet<TopicId>,
    #[serde(default, skip_serializing_if = "SecurityImage::is_empty")]
    pub(super) security: SecurityImage,
}

impl Image {
    /// Applies a record; one about a topic that is not there changes nothing.
    pub(super) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Cluster { id } => self.cluster_id.clone_from(id),
            MetadataRecord::UncleanStart => self.unclean_starts += 1,
            MetadataRecord::TopicCreated {
                name,
                id,
                partitions,
                configs,
                internal,
            } => {
                let topic = TopicImage {
                    name: name.clone(),
                    id: *id,
                    partitions: *partitions,
                    configs: configs.clone(),
                    internal: *internal,
                    born: self.unclean_starts,
                };
                self.topics.insert(*id, topic);
            }
            MetadataRecord::TopicDeleted { id } => {
                self.topics.remove(id);
                self.deleted.insert(*id);
            }
            MetadataRecord::PartitionsAdded { id, total } => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.partitions = *total;
                }
            }
            MetadataRecord::ConfigsSet { id, configs } => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.configs.clone_from(configs);
                }
            }
            MetadataRecord::ProducerIds { end } => {
                self.producer_ids_end = self.producer_ids_end.max(*end)
            }
            MetadataRecord::Security { record } => self.security.apply(record),
            MetadataRecord::Image { image } => self.clone_from(image),
        }
    }

    /// The leader epoch of a topic's partitions.
    pub(super) fn leader_epoch(&self, topic: &TopicImage) -> i32 {
        self.unclean_starts - topic.born
    }
}
