//! `thalweg produce`: lines of standard input become records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use log_api::{BatchBuilder, Compression, Log, TopicPartition, Writer, partition_for_key};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::exit::Failure;
use crate::start;
use crate::topic::ClusterArgs;

/// A batch is sent once it holds this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// A line waits at most this long for others.
const LINGER: Duration = Duration::from_millis(20);

/// Arguments of `thalweg produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo '{\"id\": 7}' | thalweg produce orders
  printf 'k1:v1\\nk2:v2\\n' | thalweg produce orders --key-separator :")]
pub(crate) struct ProduceArgs {
    /// The topic
    topic: String,
    /// What stands between key and value in a line; without it lines are values without key
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
pub(crate) fn run(args: ProduceArgs) -> Result<()> {
    start::log_to_stderr();
    start::runtime()?.block_on(async move {
        let kafka = args.cluster.connect().await?;
        let description = kafka
            .admin()
            .describe_topic(&args.topic)
            .await?
            .ok_or_else(|| {
                Failure::NotFound(format!(
                    "topic {0} does not exist; create it with `thalweg topic create {0}`",
                    args.topic
                ))
            })?;
        let mut batches = Batches {
            writer: kafka.writer().await?,
            topic: args.topic,
            partitions: description.partitions,
            by_partition: BTreeMap::new(),
            keyless: 0,
        };
        let mut input = BufReader::with_capacity(BATCH_BYTES, tokio::io::stdin()).split(b'\n');
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut lines = 0_usize;
        let mut send_at = None;
        let ended = loop {
            let line = tokio::select! {
                line = input.next_segment() => line,
                () = sleep_until(send_at.unwrap_or_else(Instant::now)), if send_at.is_some() => {
                    batches.send_all().await?;
                    send_at = None;
                    continue;
                }
                _ = interrupt.recv() => break Ok(()),
            };
            let line = match line.context("read standard input") {
                Ok(Some(line)) => line,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let Some((key, value)) = split(line, args.key_separator.as_deref()) else {
                break Err(anyhow::anyhow!(
                    "line {} has no {:?} between key and value",
                    lines + 1,
                    args.key_separator.unwrap_or_default()
                ));
            };
            lines += 1;
            batches
                .append(key, value)
                .await
                .with_context(|| format!("line {lines}, or one shortly before"))?;
            send_at.get_or_insert_with(|| Instant::now() + LINGER);
        };
        // What was read is written, whatever ended the reading.
        batches.send_all().await?;
        eprintln!(
            "{lines} record{} written to {}",
            if lines == 1 { "" } else { "s" },
            batches.topic
        );
        ended
    })
}

/// Key and value of a line; `None` if it lacks the separator.
fn split<'a>(line: &'a [u8], separator: Option<&str>) -> Option<(Option<&'a [u8]>, &'a [u8])> {
    let Some(separator) = separator.map(str::as_bytes) else {
        return Some((None, line));
    };
    let at = line
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((Some(&line[..at]), &line[at + separator.len()..]))
}

/// What was read and not yet sent.
struct Batches {
    writer: Arc<dyn Writer>,
    topic: String,
    partitions: i32,
    by_partition: BTreeMap<i32, BatchBuilder>,
    /// Where records without key go: to one partition until its batch is full (KIP-480).
    keyless: i32,
}

impl Batches {
    async fn append(&mut self, key: Option<&[u8]>, value: &[u8]) -> Result<()> {
        let partition = key.map_or(self.keyless, |key| partition_for_key(key, self.partitions));
        let batch = self
            .by_partition
            .entry(partition)
            .or_insert_with(|| BatchBuilder::new(Compression::None));
        batch.append(chrono::Utc::now().timestamp_millis(), key, Some(value), &[]);
        if batch.size_bytes() >= BATCH_BYTES {
            self.keyless = (self.keyless + 1) % self.partitions;
            self.send(partition).await?;
        }
        Ok(())
    }

    async fn send(&mut self, partition: i32) -> Result<()> {
        let Some(batch) = self.by_partition.remove(&partition) else {
            return Ok(());
        };
        let partition = TopicPartition::new(self.topic.as_str(), partition);
        self.writer.append(&partition, batch).await?;
        Ok(())
    }

    async fn send_all(&mut self) -> Result<()> {
        while let Some(&partition) = self.by_partition.keys().next() {
            self.send(partition).await?;
        }
        Ok(())
    }
}
