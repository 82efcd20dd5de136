//! The two topics of the catalog: reading them whole at start, and writing one record at a time.
//!
//! Invariants:
//! 1. An object is in the topic before anything else of it exists, and goes from it last.
//! 2. Records come back in an order in which each follows what it refers to, whichever was written last: one that was paused
//!    or replaced lies behind those that read it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use log_api::{
    AdminError, BatchBuilder, Compression, Log, NewTopic, PollBudget, ReadError, ReaderOptions,
    Start, TopicPartition, WriteError,
};
use thiserror::Error;
use tracing::warn;
use uuid::Uuid;

use super::record::{CatalogRecord, VERSION};

/// The catalog's topic.
pub(crate) const CATALOG_TOPIC: &str = "_thalweg.catalog";

/// The modules' topic.
pub(crate) const MODULES_TOPIC: &str = "_thalweg.modules";

/// Largest module; the topic takes no larger record.
pub(crate) const MODULE_BYTES_MAX: usize = 64 << 20;

/// Bytes of one poll while the catalog is read.
const POLL_BYTES_MAX: usize = 4 << 20;

/// The catalog cannot be read or written.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("topic {topic}: {error}")]
    Admin {
        topic: &'static str,
        error: AdminError,
    },
    #[error("read the catalog: {0}")]
    Read(#[from] ReadError),
    #[error("write the catalog: {0}")]
    Write(#[from] WriteError),
}

/// Reads and writes catalog records and modules.
pub(crate) struct CatalogStore {
    log: Arc<dyn Log>,
}

impl CatalogStore {
    /// Opens the catalog; makes its topics if they are missing.
    pub(crate) async fn open(log: Arc<dyn Log>) -> Result<Self, StoreError> {
        let modules = NewTopic::internal_compacted(MODULES_TOPIC).with(
            "max.message.bytes",
            &(MODULE_BYTES_MAX + (1 << 20)).to_string(),
        );
        for (topic, new) in [
            (CATALOG_TOPIC, NewTopic::internal_compacted(CATALOG_TOPIC)),
            (MODULES_TOPIC, modules),
        ] {
            match log.admin().create_topic(new).await {
                Ok(_) | Err(AdminError::TopicExists(_)) => {}
                Err(error) => return Err(StoreError::Admin { topic, error }),
            }
        }
        Ok(Self { log })
    }

    /// All objects, each behind those that it refers to.
    pub(crate) async fn records(&self) -> Result<Vec<(Uuid, CatalogRecord)>, StoreError> {
        let mut records: Vec<(Uuid, CatalogRecord)> = Vec::new();
        let all = self.read_all(CATALOG_TOPIC, |_| true).await?;
        for (key, value) in all {
            let id = std::str::from_utf8(&key)
                .ok()
                .and_then(|key| Uuid::parse_str(key).ok());
            let Some(id) = id else {
                warn!(key = %String::from_utf8_lossy(&key), "catalog record with a foreign key skipped");
                continue;
            };
            records.retain(|(other, _)| *other != id);
            let Some(value) = value else { continue };
            match serde_json::from_slice::<CatalogRecord>(&value) {
                Ok(record) if record.version > VERSION => {
                    warn!(%id, version = record.version, name = record.name, "catalog record of a later version skipped");
                }
                Ok(record) => records.push((id, record)),
                Err(error) => warn!(%id, %error, "catalog record of an unknown form skipped"),
            }
        }
        Ok(ordered(records))
    }

    /// One object.
    pub(crate) async fn record(&self, id: Uuid) -> Result<Option<CatalogRecord>, StoreError> {
        let records = self.records().await?.into_iter();
        let mut found = records.filter(|(other, _)| *other == id);
        Ok(found.next().map(|(_, record)| record))
    }

    /// The bytes of a module.
    pub(crate) async fn module(&self, hash: &str) -> Result<Option<Bytes>, StoreError> {
        let all = self
            .read_all(MODULES_TOPIC, |key| key == hash.as_bytes())
            .await?;
        Ok(all.into_iter().next_back().and_then(|(_, value)| value))
    }

    /// Writes an object.
    pub(crate) async fn put(&self, id: Uuid, record: &CatalogRecord) -> Result<(), StoreError> {
        let value = serde_json::to_vec(record).expect("a record of strings and numbers is JSON");
        self.append(
            CATALOG_TOPIC,
            id.to_string().as_bytes(),
            Some(&value),
            record.created,
        )
        .await
    }

    /// Forgets an object.
    pub(crate) async fn remove(&self, id: Uuid, now_ms: i64) -> Result<(), StoreError> {
        self.append(CATALOG_TOPIC, id.to_string().as_bytes(), None, now_ms)
            .await
    }

    /// Writes a module under its content address.
    pub(crate) async fn put_module(
        &self,
        hash: &str,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.append(MODULES_TOPIC, hash.as_bytes(), Some(bytes), now_ms)
            .await
    }

    async fn append(
        &self,
        topic: &'static str,
        key: &[u8],
        value: Option<&[u8]>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let partition = TopicPartition::new(topic, 0);
        let mut batch = BatchBuilder::new(Compression::None);
        batch.append(now_ms, Some(key), value, &[]);
        let writer = self.log.writer().await?;
        writer.append(&partition, batch).await?;
        writer.sync(&[partition]).await?;
        Ok(())
    }

    async fn read_all(
        &self,
        topic: &'static str,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<(Bytes, Option<Bytes>)>, StoreError> {
        let partition = TopicPartition::new(topic, 0);
        let options = ReaderOptions::default();
        let mut reader = self
            .log
            .reader(options, vec![(partition, Start::Earliest)])
            .await?;
        let budget = PollBudget {
            bytes_max: POLL_BYTES_MAX,
            wait_max: Duration::from_millis(50),
        };
        let mut all = Vec::new();
        // `is_caught_up` waits for open transactions to end; nobody writes here in one.
        while !reader
            .progress()
            .await?
            .iter()
            .all(|progress| progress.is_caught_up())
        {
            for records in reader.poll(budget).await? {
                for row in 0..records.len() {
                    let Some(key) = records.key(row).filter(|key| wanted(key)) else {
                        continue;
                    };
                    let value = records.value(row).map(Bytes::copy_from_slice);
                    all.push((Bytes::copy_from_slice(key), value));
                }
            }
        }
        Ok(all)
    }
}

/// Puts each record behind those that it refers to.
fn ordered(mut left: Vec<(Uuid, CatalogRecord)>) -> Vec<(Uuid, CatalogRecord)> {
    let mut missing: HashSet<Uuid> = left.iter().map(|(id, _)| *id).collect();
    let mut ordered = Vec::with_capacity(left.len());
    loop {
        let is_ready = |(_, record): &(Uuid, CatalogRecord)| {
            let mut references = record.references.iter();
            references.all(|reference| !missing.contains(&reference.id))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(is_ready);
        if ready.is_empty() {
            // A circle, which no statement makes: each then says for itself what it lacks.
            ordered.extend(rest);
            return ordered;
        }
        for (id, _) in &ready {
            missing.remove(id);
        }
        ordered.extend(ready);
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Reference;

    #[test]
    fn what_is_referred_to_comes_first_whenever_it_was_written() {
        let ids: Vec<Uuid> = (0..4).map(Uuid::from_u128).collect();
        let record = |name: &str, reads: &[usize]| CatalogRecord {
            version: VERSION,
            kind: "view".to_owned(),
            name: name.to_owned(),
            sql: String::new(),
            dialect: CatalogRecord::DIALECT.to_owned(),
            created: 0,
            references: (reads.iter())
                .map(|&read| Reference {
                    id: ids[read],
                    name: String::new(),
                    module: None,
                })
                .collect(),
            module: None,
            paused: false,
            dropping: false,
            state: None,
            revision: 0,
        };
        let records = vec![
            (ids[2], record("c", &[1])),
            (ids[3], record("d", &[2, 0])),
            (ids[1], record("b", &[0])),
            (ids[0], record("a", &[])),
        ];
        let names: Vec<String> = ordered(records)
            .into_iter()
            .map(|(_, record)| record.name)
            .collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }
}
