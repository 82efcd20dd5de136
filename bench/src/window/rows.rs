//! The rows, the same in every run, and what both sides answer.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use log_api::{BatchBuilder, Compression, TopicPartition, partition_for_key};

use super::WindowArgs;
use super::job::{Bench, TOPIC};

/// 2026-01-01T00:00:00Z: the event time of the first row, ms.
const START_MS: i64 = 1_767_225_600_000;
/// Rows come this late at most, ms.
pub(super) const LATENESS_MS: i64 = 1000;
/// Bytes of records in one batch of the topic.
const BATCH_BYTES: usize = 64 << 10;
/// Bytes of the field that no query asks for: it fills a row to about 100 bytes.
const NOTE_BYTES: usize = 44;

/// Window start (µs), key, count, sum, max.
pub(super) type Answer = (i64, String, i64, i64, i64);

/// Makes rows like `{"ts":1767225600123,"k":"key-00042","v":-1234,"note":"…"}`.
pub(super) struct Rows {
    records: u64,
    keys: u64,
    partitions: i32,
    random: fastrand::Rng,
    /// Notes are slices of it.
    text: String,
}

impl Rows {
    pub(super) fn new(args: &WindowArgs) -> Self {
        let mut random = fastrand::Rng::with_seed(42);
        let text = std::iter::repeat_with(|| random.alphanumeric())
            .take(1 << 16)
            .collect();
        Self {
            records: args.records,
            keys: args.keys,
            partitions: args.partitions,
            random,
            text,
        }
    }

    /// Writes the rows to the topic and to the file; gives the bytes of all values.
    pub(super) async fn write(mut self, bench: &Bench, file: &Path) -> Result<u64> {
        let writer = bench.writer().await?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(file)?);
        let partitions: Vec<_> = (0..self.partitions)
            .map(|number| TopicPartition::new(TOPIC, number))
            .collect();
        let batch = || BatchBuilder::with_capacity(Compression::None, BATCH_BYTES + 1024);
        let mut batches: Vec<_> = partitions.iter().map(|_| batch()).collect();
        let mut bytes = 0;
        let mut row = String::new();
        for number in 0..self.records {
            let key = format!("key-{:05}", self.random.u64(..self.keys));
            let time_ms = self.next(number, &key, &mut row);
            bytes += row.len() as u64;
            let at = partition_for_key(key.as_bytes(), self.partitions) as usize;
            batches[at].append(time_ms, Some(key.as_bytes()), Some(row.as_bytes()), &[]);
            if batches[at].size_bytes() >= BATCH_BYTES {
                writer
                    .append(
                        &partitions[at],
                        std::mem::replace(&mut batches[at], batch()),
                    )
                    .await?;
            }
            row.push('\n');
            file.write_all(row.as_bytes())?;
        }
        for (partition, batch) in partitions.iter().zip(batches) {
            if !batch.is_empty() {
                writer.append(partition, batch).await?;
            }
        }
        writer.sync(&partitions).await?;
        file.into_inner().context("write the file")?.sync_all()?;
        Ok(bytes)
    }

    /// Makes the next row; gives its event time.
    fn next(&mut self, number: u64, key: &str, row: &mut String) -> i64 {
        let time_ms = START_MS + number as i64 - self.random.i64(0..LATENESS_MS);
        let value = self.random.i64(-100_000..100_000);
        let from = self.random.usize(..self.text.len() - NOTE_BYTES);
        let note = &self.text[from..from + NOTE_BYTES];
        row.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            row,
            "{{\"ts\":{time_ms},\"k\":\"{key}\",\"v\":{value},\"note\":\"{note}\"}}"
        );
        time_ms
    }
}

/// The named columns as answers, added to `answers`.
pub(super) fn read_answers(batch: &RecordBatch, answers: &mut Vec<Answer>) -> Result<()> {
    let column = |name: &str, data_type: &DataType| {
        let column = batch
            .column_by_name(name)
            .with_context(|| format!("no column {name}"))?;
        cast(column, data_type).with_context(|| format!("column {name}"))
    };
    let starts = column(
        "window_start",
        &DataType::Timestamp(TimeUnit::Microsecond, None),
    )?;
    let keys = column("k", &DataType::Utf8)?;
    let numbers = ["n", "total", "largest"].map(|name| column(name, &DataType::Int64));
    let [counts, sums, maxima] = numbers;
    let (counts, sums, maxima) = (counts?, sums?, maxima?);
    let starts = starts.as_primitive::<TimestampMicrosecondType>();
    let keys = keys.as_string::<i32>();
    let [counts, sums, maxima] =
        [&counts, &sums, &maxima].map(|array| array.as_primitive::<Int64Type>());
    answers.extend((0..batch.num_rows()).map(|row| {
        let key = keys.value(row).to_owned();
        (
            starts.value(row),
            key,
            counts.value(row),
            sums.value(row),
            maxima.value(row),
        )
    }));
    Ok(())
}
