//! Where a topic holds keys that we would write otherwise: other producers put `11` or `{"id": 11}` for `{"id":11}`, and
//! into the partition that they choose. INSERT and DELETE write to these places, or the old record of a row would stay
//! beside the new one.
//!
//! Learned from the topic, as far as it reaches when a statement begins, and kept in memory for the next statement.
//!
//! Limits: [`KEYS_MAX`] places of a topic, beyond which statements are refused; [`INSERT_RECORDS_MAX`] records that an
//! INSERT reads before it writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use log_api::{
    Log, PollBudget, Reader, ReaderOptions, Records, Start, TopicDescription, TopicPartition,
    partition_for_key,
};
use parking_lot::Mutex;
use streams::{Decoder, KeyEncoder, SourceMode};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::catalog::Relation;
use crate::diagnostic::{Code, Diagnostic};

/// Places of one topic that are kept.
const KEYS_MAX: usize = 1_000_000;

/// An INSERT into a topic with more records than this that were not read yet writes keys in our own way: it does not
/// take longer than the rows that it writes are worth. A DELETE reads all rows anyway.
const INSERT_RECORDS_MAX: i64 = 1_000_000;

const BUDGET: PollBudget = PollBudget {
    bytes_max: 4 << 20,
    wait_max: Duration::from_millis(50),
};

/// What is known of all topics.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    topics: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Places>>>>,
}

/// The places of one topic.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Which topic of the name.
    topic: Uuid,
    /// The offset that each partition was read to.
    next: Vec<i64>,
    /// By our spelling: where records with another one, or in another partition, have a value.
    places: HashMap<Vec<u8>, Vec<Place>>,
}

/// A partition and the spelling of a key there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub partition: i32,
    pub key: Vec<u8>,
}

impl Places {
    /// Where `key` has a record that we would write otherwise.
    pub(crate) fn of(&self, key: &[u8]) -> &[Place] {
        self.places.get(key).map_or(&[], Vec::as_slice)
    }
}

impl Spellings {
    /// What is known of the relation's topic, up to its end now. `inserts`: only if that is soon done.
    pub(crate) async fn learn(
        &self,
        log: &Arc<dyn Log>,
        relation: &Relation,
        described: &TopicDescription,
        inserts: bool,
    ) -> Result<OwnedMutexGuard<Places>, Diagnostic> {
        let places = {
            let mut topics = self.topics.lock();
            Arc::clone(topics.entry(relation.topic.clone()).or_default())
        };
        let mut places = places.lock_owned().await;
        if places.topic != described.id {
            *places = Places {
                topic: described.id,
                ..Places::default()
            };
        }
        let partitions = usize::try_from(described.partitions).unwrap_or(0);
        places.next.resize(partitions, 0);
        let mut learning = Learning::new(relation, described.partitions)?;
        let mut reader = open(log, relation, &places.next).await?;
        let ends: Vec<(i64, i64)> = (reader.progress().await)
            .map_err(|error| failed(&error))?
            .iter()
            .map(|progress| (progress.position, progress.last_stable_offset))
            .collect();
        let unread: i64 = ends.iter().map(|(at, end)| (end - at).max(0)).sum();
        if inserts && unread > INSERT_RECORDS_MAX {
            return Ok(places);
        }
        loop {
            let progress = reader.progress().await.map_err(|error| failed(&error))?;
            for (next, progress) in places.next.iter_mut().zip(&progress) {
                *next = progress.position;
            }
            let ended =
                (progress.iter().zip(&ends)).all(|(progress, (_, end))| progress.position >= *end);
            if ended {
                return Ok(places);
            }
            for records in reader.poll(BUDGET).await.map_err(|error| failed(&error))? {
                learning.take(&records, &mut places)?;
            }
        }
    }
}

/// A reader of all partitions from these offsets; from the start where they are gone.
async fn open(
    log: &Arc<dyn Log>,
    relation: &Relation,
    next: &[i64],
) -> Result<Box<dyn Reader>, Diagnostic> {
    let from = |start: &dyn Fn(i64) -> Start| {
        let partition = |(number, next): (usize, &i64)| {
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            (
                TopicPartition::new(relation.topic.as_str(), number),
                start(*next),
            )
        };
        next.iter().enumerate().map(partition).collect::<Vec<_>>()
    };
    let resumed = from(&|next| match next {
        0 => Start::Earliest,
        next => Start::Offset(next),
    });
    match log.reader(ReaderOptions::default(), resumed).await {
        Ok(reader) => Ok(reader),
        Err(_) => {
            let all = from(&|_| Start::Earliest);
            let reader = log.reader(ReaderOptions::default(), all).await;
            reader.map_err(|error| failed(&error))
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic::new(Code::Log, error.to_string())
}

/// Decodes the keys of records and compares them with ours.
struct Learning<'a> {
    relation: &'a Relation,
    partitions: i32,
    decoder: Decoder,
    keys: KeyEncoder,
}

impl<'a> Learning<'a> {
    fn new(relation: &'a Relation, partitions: i32) -> Result<Self, Diagnostic> {
        let (mut spec, _) = relation.source(&relation.key);
        // A row that cannot be read has a key all the same.
        spec.checked.clear();
        spec.columns.truncate(relation.key.len());
        let key = match &spec.mode {
            SourceMode::Upsert { key } => key.clone(),
            SourceMode::Append => Vec::new(),
        };
        let decoder = Decoder::new(&spec).map_err(|error| failed(&error))?;
        let keys = KeyEncoder::new(decoder.schema(), &key, relation.key_format)
            .map_err(|error| failed(&error))?;
        Ok(Self {
            relation,
            partitions,
            decoder,
            keys,
        })
    }

    fn take(&mut self, records: &Records, places: &mut Places) -> Result<(), Diagnostic> {
        let decoded = self.decoder.decode(records);
        let keys = self.keys.rows(decoded.batch.columns());
        let partition = records.partition.partition;
        let mut ours = Vec::new();
        for (row, record) in decoded.origin().values().iter().enumerate() {
            let Some(written) = records.key(*record as usize) else {
                continue;
            };
            ours.clear();
            keys.write(row, &mut ours);
            if ours == written && partition == partition_for_key(&ours, self.partitions) {
                continue;
            }
            let gone = (decoded.deleted.as_ref()).is_some_and(|deleted| deleted.value(row));
            let place = Place {
                partition,
                key: written.to_vec(),
            };
            places.set(&ours, place, !gone);
        }
        if places.places.len() > KEYS_MAX {
            let message = format!(
                "topic {} has more than {KEYS_MAX} keys in a spelling or partition of their own",
                self.relation.topic
            );
            return Err(Diagnostic::new(Code::Limit, message).help(
                "have its producer write keys as {\"id\":1}, partitioned by murmur2, and write rows through it",
            ));
        }
        Ok(())
    }
}

impl Places {
    fn set(&mut self, key: &[u8], place: Place, has_value: bool) {
        if !has_value {
            if let Some(known) = self.places.get_mut(key) {
                known.retain(|other| *other != place);
                if known.is_empty() {
                    self.places.remove(key);
                }
            }
            return;
        }
        let known = self.places.entry(key.to_vec()).or_default();
        if !known.contains(&place) {
            known.push(place);
        }
    }
}
