//! `thalweg produce`: lines of standard input become records.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::{Context, Result};
use clap::Args;
use log_api::{BatchBuilder, Compression, Log, TopicPartition, partition_for_key};

use crate::exit::Failure;
use crate::start;
use crate::topic::ClusterArgs;

/// A batch is sent once it holds this many bytes.
const BATCH_BYTES: usize = 256 << 10;

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
    #[arg(long, short = 'K', value_name = "TEXT")]
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
        let writer = kafka.writer().await?;
        let mut batches: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
        let mut lines = 0_usize;
        let mut keyless = 0_i32;
        for line in std::io::stdin().lock().lines() {
            let line = line.context("read standard input")?;
            lines += 1;
            let (key, value) = match &args.key_separator {
                Some(separator) => line.split_once(separator.as_str()).map_or_else(
                    || {
                        Err(anyhow::anyhow!(
                            "line {lines} has no {separator:?} between key and value"
                        ))
                    },
                    |(key, value)| Ok((Some(key.as_bytes()), value)),
                )?,
                None => (None, line.as_str()),
            };
            let partition = key.map_or(keyless, |key| {
                partition_for_key(key, description.partitions)
            });
            let batch = batches
                .entry(partition)
                .or_insert_with(|| BatchBuilder::new(Compression::None));
            batch.append(
                chrono::Utc::now().timestamp_millis(),
                key,
                Some(value.as_bytes()),
                &[],
            );
            if batch.size_bytes() >= BATCH_BYTES {
                // Keyless records stick to a partition until its batch is full (KIP-480).
                keyless = (keyless + 1) % description.partitions;
                if let Some(batch) = batches.remove(&partition) {
                    writer
                        .append(&TopicPartition::new(args.topic.as_str(), partition), batch)
                        .await?;
                }
            }
        }
        for (partition, batch) in batches {
            writer
                .append(&TopicPartition::new(args.topic.as_str(), partition), batch)
                .await?;
        }
        eprintln!(
            "{lines} record{} written to {}",
            if lines == 1 { "" } else { "s" },
            args.topic
        );
        Ok(())
    })
}
