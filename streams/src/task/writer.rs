//! The transaction of a commit: outputs, side records, changelog blocks and positions, all or nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use log_api::{
    BatchBuilder, Compression, NewTopic, OffsetCommit, TopicPartition, Transaction,
    TransactionError,
};

use super::inputs::group_positions;
use super::tokens::Share;
use super::{Environment, TaskError};
use crate::operator::SideRecord;
use crate::source::event_time_text;
use crate::state::{Delta, SourcePosition, encode_blocks};
use crate::time::Watermark;

/// A batch of side records is closed before it outgrows this.
const SIDE_BATCH_BYTES: usize = 900 << 10;

/// What a commit says, besides the rows that it has for the output.
pub(super) struct Block<'a> {
    /// Which commit.
    pub(super) number: u64,
    /// What has changed in the state, by token, and the headers of the changelog.
    pub(super) deltas: &'a [Delta],
    pub(super) headers: &'a [Vec<u8>],
    /// How far the inputs are read.
    pub(super) sources: &'a [SourcePosition],
    /// Event time of the output.
    pub(super) watermark: Watermark,
}

/// Writes the commits of a task under one transactional id.
pub(super) struct Writer {
    transaction: Box<dyn Transaction>,
    environment: Environment,
    /// Side topics that are there.
    topics: HashSet<Arc<str>>,
}

impl Writer {
    pub(super) fn new(transaction: Box<dyn Transaction>, environment: Environment) -> Self {
        Self {
            transaction,
            environment,
            topics: HashSet::new(),
        }
    }

    /// One transaction; gives for each token the offset of its last changelog record. What is certainly not committed does
    /// not hold up readers afterwards.
    ///
    /// # Errors
    /// From the log. Where the outcome is unknown, only opening the id again may end the transaction.
    pub(super) async fn write(
        &mut self,
        block: Block<'_>,
        shares: Vec<Share>,
        now_ms: i64,
    ) -> Result<Vec<i64>, TaskError> {
        let error = match self.commit(block, shares, now_ms).await {
            Ok(offsets) => return Ok(offsets),
            Err(error) => error,
        };
        let is_over = matches!(
            error,
            TaskError::Transaction(TransactionError::Unknown(_) | TransactionError::Fenced(_))
        );
        if !is_over && let Err(aborting) = self.transaction.abort().await {
            let job = &self.environment.spec.name;
            tracing::debug!(%job, error = %aborting, "abort failed");
        }
        Err(error)
    }

    async fn commit(
        &mut self,
        block: Block<'_>,
        shares: Vec<Share>,
        now_ms: i64,
    ) -> Result<Vec<i64>, TaskError> {
        let (mut outputs, mut side) = (Vec::new(), Vec::new());
        for share in shares {
            outputs.extend(share.outputs);
            side.extend(share.side);
        }
        let side = side_batches(side, now_ms);
        for (partition, _) in &side {
            if !self.topics.contains(&partition.topic) {
                let topic = NewTopic::new(&*partition.topic, 1);
                self.environment.ensure(topic).await?;
                self.topics.insert(Arc::clone(&partition.topic));
            }
        }
        let mut appends = 0;
        for (partition, batch) in outputs.into_iter().chain(side) {
            self.transaction.append(&partition, batch).await?;
            appends += 1;
        }
        // For each token which append was the last of its own.
        let mut ends = Vec::with_capacity(block.deltas.len());
        for (token, (header, delta)) in block.headers.iter().zip(block.deltas).enumerate() {
            let changelog = self.environment.names.changelog_of(token);
            let key = token.to_string();
            for bytes in encode_blocks(block.number, header, delta) {
                let mut batch = BatchBuilder::with_capacity(Compression::Lz4, bytes.len() + 64);
                batch.append(now_ms, Some(key.as_bytes()), Some(&bytes), &[]);
                self.transaction.append(&changelog, batch).await?;
                appends += 1;
            }
            ends.push(appends - 1);
        }
        // Whoever reads the output learns its event time from here.
        let metadata = event_time_text(block.watermark);
        let offsets = group_positions(block.sources)
            .into_iter()
            .map(|(partition, offset)| OffsetCommit {
                partition,
                offset,
                metadata: metadata.clone(),
            })
            .collect();
        let group = &self.environment.names.group;
        self.transaction.commit_offsets(group, offsets).await?;
        let bases = self.transaction.commit().await?;
        if bases.len() != appends {
            let id = self.environment.names.transactional_id.clone();
            return Err(TransactionError::Unknown(id).into());
        }
        // One record a batch, so its base is its offset.
        Ok(ends.into_iter().map(|end| bases[end]).collect())
    }
}

/// Side records as batches for partition 0 of their topics.
fn side_batches(records: Vec<SideRecord>, now_ms: i64) -> Vec<(TopicPartition, BatchBuilder)> {
    let mut open: BTreeMap<Arc<str>, BatchBuilder> = BTreeMap::new();
    let mut batches = Vec::new();
    for record in records {
        let size = record.size_bytes();
        // A record that was read from a topic of larger messages keeps its place, not its content.
        let fits = size <= SIDE_BATCH_BYTES;
        let builder = open
            .entry(Arc::clone(&record.topic))
            .or_insert_with(|| BatchBuilder::new(Compression::None));
        if !builder.is_empty()
            && builder.size_bytes() + size.min(SIDE_BATCH_BYTES) > SIDE_BATCH_BYTES
        {
            let full = std::mem::replace(builder, BatchBuilder::new(Compression::None));
            batches.push((TopicPartition::new(Arc::clone(&record.topic), 0), full));
        }
        let headers: Vec<(&str, Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(name, value)| (*name, Some(value.as_slice())))
            .collect();
        let timestamp_ms = if record.timestamp_ms < 0 {
            now_ms
        } else {
            record.timestamp_ms
        };
        let (key, value) = if fits {
            (record.key.as_deref(), record.value.as_deref())
        } else {
            (None, None)
        };
        builder.append(timestamp_ms, key, value, &headers);
    }
    let rest = open.into_iter().filter(|(_, builder)| !builder.is_empty());
    batches.extend(rest.map(|(topic, builder)| (TopicPartition::new(topic, 0), builder)));
    batches
}
