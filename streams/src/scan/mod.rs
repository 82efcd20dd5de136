//! A topic's content once, for a snapshot `SELECT`: from the first record to the last stable offset at the start.
//!
//! ```text
//! offsets      start ──────────── last stable offset (fixed here) ┊ written while the scan runs: not part of it
//! append       every record is a row
//! upsert       the last record of each key is its row, a delete removes it
//! ```
//!
//! Invariants:
//! 1. The end of each partition is fixed before the first record is read.
//! 2. Undecodable records are left out and counted; they never end the scan.
//! 3. Upsert keeps at most twice the live rows (and [`SLACK_ROWS`]) in memory.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use log_api::{
    AdminError, Log, OffsetSpec, PollBudget, ReadError, Reader, ReaderOptions, Records, Start,
    TopicPartition, partition_for_key,
};
use parking_lot::Mutex;
use thiserror::Error;

use crate::decode::{Decoded, Decoder, SourceSpecError};
use crate::encode::KeyEncoder;
use crate::{KeyFormat, SourceMode, SourceSpec};

/// Rows of a batch at the most.
const BATCH_ROWS: usize = 8192;
/// Bytes that one poll gathers.
const POLL_BYTES: usize = 4 << 20;
/// How long one poll waits; a scan reads what is there already, so this only bounds a slow log.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// Polls in a row without any progress after which the scan gives up (a minute).
const EMPTY_POLLS_MAX: usize = 120;
/// Replaced rows that are kept before the live ones are gathered anew.
const SLACK_ROWS: usize = 65_536;
/// Characters of a key in a report.
const KEY_CHARS: usize = 100;

/// Which part of the topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanRange {
    /// Everything that is there and committed when the scan starts.
    Now,
}

/// What a scan left out, and how far it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Records read.
    pub records: u64,
    /// Rows handed out.
    pub rows: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// The first of them: partition, offset, reason.
    pub first_failure: Option<(TopicPartition, i64, String)>,
    /// Records without a value in an append-only topic.
    pub skipped: u64,
    /// Keys of an upsert topic with records in more than one partition: which of them is newer cannot be known.
    pub scattered: u64,
    /// The last of them, and two of its partitions.
    pub scattered_key: Option<(String, [i32; 2])>,
    /// Keys of an upsert topic that lie where Kafka's own choice of a partition would not have put them.
    pub foreign: u64,
    /// For each partition the offset that the scan ends at.
    pub ends: Vec<(TopicPartition, i64)>,
}

/// A scan cannot start or go on.
#[derive(Debug, Clone, Error)]
pub enum ScanError {
    /// There is no such topic.
    #[error("topic {0} does not exist")]
    MissingTopic(String),
    /// The topic cannot be decoded as it is described.
    #[error(transparent)]
    Spec(#[from] SourceSpecError),
    /// The log did not say what it holds.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log said that there is more, and then gave nothing.
    #[error(
        "scan of topic {topic} stopped at offset {position} of {end} in partition {partition}: the log gives no more records"
    )]
    Stalled {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where it stands.
        position: i64,
        /// Where it should end.
        end: i64,
    },
    /// The rows of a table are more than Arrow takes at once.
    #[error("rows of topic {topic} cannot be gathered: {reason}")]
    Gather {
        /// The topic.
        topic: String,
        /// Arrow's words.
        reason: String,
    },
}

/// The batches of a scan.
pub struct ScanStream {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch, ScanError>>,
    report: Arc<Mutex<ScanReport>>,
}

impl std::fmt::Debug for ScanStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanStream")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// Lets a scan's report be read while others drain its stream.
#[derive(Debug, Clone)]
pub struct ScanReportHandle(Arc<Mutex<ScanReport>>);

impl ScanReportHandle {
    /// The report so far; complete once the stream has ended.
    pub fn get(&self) -> ScanReport {
        self.0.lock().clone()
    }
}

impl ScanStream {
    /// The schema of the batches: the source's columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A handle of the report that outlives the stream.
    pub fn report(&self) -> ScanReportHandle {
        ScanReportHandle(Arc::clone(&self.report))
    }
}

impl Stream for ScanStream {
    type Item = Result<RecordBatch, ScanError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

/// Reads the content of a topic once.
///
/// The watermark of `spec` plays no part. Batches have at most 8192 rows and the source's schema.
///
/// # Errors
/// [`ScanError::MissingTopic`], [`ScanError::Spec`]; others may be worth a retry.
pub async fn scan(
    log: Arc<dyn Log>,
    spec: &SourceSpec,
    range: ScanRange,
) -> Result<ScanStream, ScanError> {
    let ScanRange::Now = range;
    let decoder = Decoder::new(spec)?;
    let schema = Arc::clone(decoder.schema());
    let admin = log.admin();
    let topic = admin.describe_topic(&spec.topic).await?;
    let partitions = topic
        .ok_or_else(|| ScanError::MissingTopic(spec.topic.clone()))?
        .partitions;
    let (mut ends, mut open) = (Vec::new(), Vec::new());
    for partition in 0..partitions {
        let partition = TopicPartition::new(spec.topic.as_str(), partition);
        let end = admin.offset(&partition, OffsetSpec::LastStable).await?;
        let start = admin.offset(&partition, OffsetSpec::Earliest).await?;
        if start < end {
            open.push((partition.clone(), Start::Earliest));
        }
        ends.push((partition, end));
    }
    let report = Arc::new(Mutex::new(ScanReport {
        ends: ends.clone(),
        ..ScanReport::default()
    }));
    let options = ReaderOptions {
        read_uncommitted: false,
        partition_bytes_max: 1 << 20,
    };
    let reader = if open.is_empty() {
        None
    } else {
        Some(log.reader(options, open.clone()).await?)
    };
    let left = ends
        .into_iter()
        .filter(|(at, _)| open.iter().any(|(opened, _)| opened == at));
    let scan = Scan {
        topic: spec.topic.clone(),
        reader,
        decoder,
        left: left.collect(),
        ready: VecDeque::new(),
        report: Arc::clone(&report),
    };
    let batches = match &spec.mode {
        SourceMode::Append => stream::try_unfold(scan, Scan::next_rows).boxed(),
        SourceMode::Upsert { key } => {
            let keys = KeyEncoder::new(&schema, key, KeyFormat::Json)
                .expect("a JSON key takes any columns");
            let mut table = Table::new(spec.topic.clone(), keys, BATCH_ROWS);
            // Keys that are not looked at lie anywhere.
            table.written = KeyEncoder::new(&schema, key, spec.key_format).ok();
            stream::once(scan.fold(table))
                .flat_map(|folded| match folded {
                    Ok(batches) => stream::iter(batches.into_iter().map(Ok)).boxed(),
                    Err(error) => stream::iter([Err(error)]).boxed(),
                })
                .boxed()
        }
    };
    Ok(ScanStream {
        schema,
        batches,
        report,
    })
}

/// A scan under way.
struct Scan {
    topic: String,
    /// `None` where there is nothing to read.
    reader: Option<Box<dyn Reader>>,
    decoder: Decoder,
    /// Partitions that have not reached their end yet, and that end.
    left: Vec<(TopicPartition, i64)>,
    /// Batches that are decoded already.
    ready: VecDeque<RecordBatch>,
    report: Arc<Mutex<ScanReport>>,
}

impl Scan {
    /// The next batch of an append-only topic.
    async fn next_rows(mut self) -> Result<Option<(RecordBatch, Self)>, ScanError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.report.lock().rows += batch.num_rows() as u64;
                return Ok(Some((batch, self)));
            }
            let Some(decoded) = self.next_decoded().await? else {
                return Ok(None);
            };
            let decoded: Vec<Decoded> = decoded.into_iter().map(|(_, rows)| rows).collect();
            self.gather(&decoded)?;
        }
    }

    /// Makes batches of what one poll brought: small partitions do not make small batches.
    fn gather(&mut self, decoded: &[Decoded]) -> Result<(), ScanError> {
        let (mut from, mut rows) = (0, 0);
        for (index, next) in decoded.iter().enumerate() {
            let fits = rows + next.batch.num_rows() <= BATCH_ROWS;
            if !fits {
                self.push_ready(&decoded[from..index])?;
                (from, rows) = (index, 0);
            }
            rows += next.batch.num_rows();
        }
        self.push_ready(&decoded[from..])
    }

    fn push_ready(&mut self, decoded: &[Decoded]) -> Result<(), ScanError> {
        let batches = decoded.iter().map(|decoded| &decoded.batch);
        let batch = match decoded {
            [only] => only.batch.clone(),
            _ => concat_batches(self.decoder.schema(), batches)
                .map_err(|error| gather_error(&self.topic, &error))?,
        };
        if batch.num_rows() > 0 {
            self.ready.push_back(batch);
        }
        Ok(())
    }

    /// Reads an upsert topic to its end and gives the rows that are left.
    async fn fold(mut self, mut table: Table) -> Result<Vec<RecordBatch>, ScanError> {
        while let Some(decoded) = self.next_decoded().await? {
            for (partition, decoded) in decoded {
                table.apply(partition, decoded)?;
            }
        }
        let (scattered, scattered_key) = (table.scattered, table.scattered_key.take());
        let partitions = i32::try_from(self.report.lock().ends.len()).unwrap_or(i32::MAX);
        let foreign = table.foreign(partitions);
        let batches = table.finish()?;
        let mut report = self.report.lock();
        report.rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        (report.scattered, report.scattered_key) = (scattered, scattered_key);
        report.foreign = foreign;
        drop(report);
        Ok(batches)
    }

    /// The next records, decoded, each run with its partition; `None` at the end.
    async fn next_decoded(&mut self) -> Result<Option<Vec<(i32, Decoded)>>, ScanError> {
        let mut empty_polls = 0;
        while let Some(reader) = &mut self.reader
            && !self.left.is_empty()
        {
            let budget = PollBudget {
                bytes_max: POLL_BYTES,
                wait_max: POLL_WAIT,
            };
            let runs = reader.poll(budget).await?;
            if runs.is_empty() {
                // Control records and gaps before the end may bring no run.
                let progress = reader.progress().await?;
                let before = self.left.len();
                self.left.retain(|(at, end)| {
                    let found = progress.iter().find(|progress| progress.partition == *at);
                    found.is_none_or(|found| found.position < *end)
                });
                empty_polls = if self.left.len() < before {
                    0
                } else {
                    empty_polls + 1
                };
                if empty_polls >= EMPTY_POLLS_MAX {
                    return Err(self.stalled(&progress));
                }
                continue;
            }
            let decoded: Vec<(i32, Decoded)> = runs
                .iter()
                .flat_map(|run| {
                    let decoded = self.decode(run).into_iter();
                    decoded.map(|decoded| (run.partition.partition, decoded))
                })
                .collect();
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
    }

    /// Decodes the part of a run that lies before its partition's end, and notes whether that end is reached.
    fn decode(&mut self, run: &Records) -> Vec<Decoded> {
        let Some(index) = self.left.iter().position(|(at, _)| *at == run.partition) else {
            return Vec::new();
        };
        let end = self.left[index].1;
        if run.next_offset >= end {
            let (partition, _) = self.left.swap_remove(index);
            if let Some(reader) = &mut self.reader {
                reader.pause(&[partition], true);
            }
        }
        let length = run.offsets.values().partition_point(|offset| *offset < end);
        let mut report = self.report.lock();
        report.records += length as u64;
        let ranges = (0..length).step_by(BATCH_ROWS);
        ranges
            .map(|from| {
                let range = from..length.min(from + BATCH_ROWS);
                let decoded = self.decoder.decode_range(run, range);
                report.undecodable += decoded.errors.len() as u64;
                report.skipped += decoded.skipped as u64;
                if let (None, Some(failure)) = (&report.first_failure, decoded.errors.first()) {
                    let (offset, reason) = (failure.offset, failure.reason.clone());
                    report.first_failure = Some((run.partition.clone(), offset, reason));
                }
                decoded
            })
            .collect()
    }

    fn stalled(&self, progress: &[log_api::PartitionProgress]) -> ScanError {
        let (at, end) = &self.left[0];
        let found = progress.iter().find(|progress| progress.partition == *at);
        ScanError::Stalled {
            topic: self.topic.clone(),
            partition: at.partition,
            position: found.map_or(-1, |found| found.position),
            end: *end,
        }
    }
}

/// Where the row of a key is.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
    partition: i32,
    /// Its key was seen in another partition, too.
    scattered: bool,
}

/// The rows of an upsert topic by key: the last one wins.
struct Table {
    topic: String,
    keys: KeyEncoder,
    /// The keys as producers write them.
    written: Option<KeyEncoder>,
    batch_rows: usize,
    /// Where the row of a key is.
    live: HashMap<Box<[u8]>, Place>,
    /// Keys that were seen in more than one partition, and the last of them.
    scattered: u64,
    scattered_key: Option<(String, [i32; 2])>,
    batches: Vec<RecordBatch>,
    stored_rows: usize,
    key: Vec<u8>,
}

impl Table {
    fn new(topic: String, keys: KeyEncoder, batch_rows: usize) -> Self {
        Self {
            topic,
            keys,
            written: None,
            batch_rows,
            live: HashMap::new(),
            scattered: 0,
            scattered_key: None,
            batches: Vec::new(),
            stored_rows: 0,
            key: Vec::new(),
        }
    }

    /// Keys that another partitioner than Kafka's has put where they are.
    fn foreign(&self, partitions: i32) -> u64 {
        let Some(written) = self.written.as_ref().filter(|_| partitions > 1) else {
            return 0;
        };
        let mut places: Vec<&Place> = self.live.values().collect();
        places.sort_by_key(|place| place.batch);
        let (mut foreign, mut key) = (0, Vec::new());
        for same_batch in places.chunk_by(|a, b| a.batch == b.batch) {
            let Some(batch) = same_batch.first().and_then(|at| self.batches.get(at.batch)) else {
                continue;
            };
            let rows = written.rows(batch.columns());
            for place in same_batch {
                key.clear();
                let is_written = rows.write(place.row, &mut key);
                let home = partition_for_key(&key, partitions);
                foreign += u64::from(is_written && home != place.partition);
            }
        }
        foreign
    }

    fn apply(&mut self, partition: i32, decoded: Decoded) -> Result<(), ScanError> {
        let batch = decoded.batch;
        let number = self.batches.len();
        let keys = self.keys.rows(batch.columns());
        for row in 0..batch.num_rows() {
            self.key.clear();
            keys.write(row, &mut self.key);
            let mut place = Place {
                batch: number,
                row,
                partition,
                scattered: false,
            };
            if let Some(before) = self.live.get(self.key.as_slice()) {
                place.scattered = before.scattered || before.partition != partition;
                if place.scattered && !before.scattered {
                    let key = String::from_utf8_lossy(&self.key);
                    let key = key.chars().take(KEY_CHARS).collect();
                    self.scattered += 1;
                    self.scattered_key = Some((key, [before.partition, partition]));
                }
            }
            if decoded
                .deleted
                .as_ref()
                .is_some_and(|deleted| deleted.value(row))
            {
                self.live.remove(self.key.as_slice());
            } else if let Some(before) = self.live.get_mut(self.key.as_slice()) {
                *before = place;
            } else {
                self.live.insert(self.key.as_slice().into(), place);
            }
        }
        drop(keys);
        self.stored_rows += batch.num_rows();
        self.batches.push(batch);
        if self.stored_rows > 2 * self.live.len() + SLACK_ROWS {
            self.compact()?;
        }
        Ok(())
    }

    /// Gathers the live rows into new batches and lets go of everything else, the fetched bytes too.
    fn compact(&mut self) -> Result<(), ScanError> {
        let mut places: Vec<(Place, Box<[u8]>)> =
            self.live.drain().map(|(key, place)| (place, key)).collect();
        places.sort_unstable_by_key(|(place, _)| (place.batch, place.row));
        let old: Vec<&RecordBatch> = self.batches.iter().collect();
        let mut batches = Vec::with_capacity(places.len().div_ceil(self.batch_rows));
        for chunk in places.chunks(self.batch_rows) {
            let indices: Vec<_> = chunk
                .iter()
                .map(|(place, _)| (place.batch, place.row))
                .collect();
            let gathered = interleave_record_batch(&old, &indices)
                .and_then(|batch| without_shared_buffers(&batch))
                .map_err(|error| gather_error(&self.topic, &error))?;
            batches.push(gathered);
        }
        let batch_rows = self.batch_rows;
        let keys = places.into_iter().enumerate();
        self.live = keys
            .map(|(index, (place, key))| {
                let (batch, row) = (index / batch_rows, index % batch_rows);
                (
                    key,
                    Place {
                        batch,
                        row,
                        ..place
                    },
                )
            })
            .collect();
        self.batches = batches;
        self.stored_rows = self.live.len();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>, ScanError> {
        self.compact()?;
        Ok(self.batches)
    }
}

/// The same rows with texts that no longer hold on to the fetched bytes.
fn without_shared_buffers(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(own_texts);
    RecordBatch::try_new(batch.schema(), columns.collect::<Result<_, _>>()?)
}

/// The array with texts of its own, also inside of lists, structs and maps.
fn own_texts(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(_) | DataType::Struct(_) | DataType::Map(..) => {
            let data = array.to_data();
            let children = data.child_data().iter();
            let children =
                children.map(|child| Ok(own_texts(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<Vec<_>, ArrowError>>()?;
            make_array(data.into_builder().child_data(children).build()?)
        }
        _ => Arc::clone(array),
    })
}

fn gather_error(topic: &str, error: &ArrowError) -> ScanError {
    ScanError::Gather {
        topic: topic.to_owned(),
        reason: error.to_string(),
    }
}
