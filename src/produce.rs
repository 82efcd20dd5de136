//! `thalweg produce`: lines of standard input become records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use log_api::{BatchBuilder, Compression, Log, TopicPartition, Writer, partition_for_key};
use log_protocol::ErrorCode;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

use crate::cluster::ClusterArgs;
use crate::exit::Failure;
use crate::topic::counted;
use crate::{place, screen, start};

/// A batch is sent once it holds this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// A line waits at most this long for others.
const LINGER: Duration = Duration::from_millis(20);

/// A batch that is not acknowledged for so long is asked about; and again after twice as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Arguments of `thalweg produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  echo '{\"id\": 7}' | thalweg produce orders
  printf 'k1:v1\\nk2:v2\\n' | thalweg produce orders --key-separator :
  echo '{\"id\": 7}' | thalweg produce orders --key 7 --header source=test --partition 0")]
pub(crate) struct ProduceArgs {
    /// The topic
    topic: String,
    /// What stands between key and value in a line; without it lines are values without key
    #[arg(long, short = 'K', value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(long, short, conflicts_with = "key_separator")]
    key: Option<String>,
    /// To this partition, whatever the key
    #[arg(long, short)]
    partition: Option<i32>,
    /// A header of every record (may be repeated)
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The time of every record, e.g. 2024-05-01T10:00:00Z; without it, now
    #[arg(long, value_parser = timestamp)]
    timestamp: Option<i64>,
    /// An empty value is null: it deletes its key from a table
    #[arg(long, short = 'Z')]
    null: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "expected NAME=VALUE, for example source=test".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

fn timestamp(text: &str) -> Result<i64, String> {
    place::time(text, chrono::Utc::now().timestamp_millis()).ok_or_else(|| {
        "expected a time such as 2024-05-01T10:00:00Z, or 2h for two hours ago".to_owned()
    })
}

/// Runs the command.
pub(crate) fn run(args: ProduceArgs) -> Result<()> {
    start::log_to_stderr();
    start::runtime()?.block_on(async move {
        let kafka = args.cluster.connect().await?;
        let Some(description) = kafka.admin().describe_topic(&args.topic).await? else {
            let cluster = args.cluster.cluster().await?;
            let unknown = cluster.unknown_topic(&args.topic);
            let create = format!("create it with `thalweg topic create {}`", args.topic);
            bail!(Failure::NotFound(format!("{unknown}; or {create}")));
        };
        let partitions = description.partitions;
        if let Some(partition) = args.partition.filter(|at| !(0..partitions).contains(at)) {
            bail!(Failure::NotFound(format!(
                "topic {} has no partition {partition}: there are {partitions}, from 0",
                args.topic
            )));
        }
        let mut batches = Batches {
            writer: kafka.writer().await?,
            cluster: args.cluster,
            topic: args.topic,
            partitions,
            partition: args.partition,
            headers: args.headers,
            timestamp: args.timestamp,
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
            let key = key.or(args.key.as_deref().map(str::as_bytes));
            let value = (!(args.null && value.is_empty())).then_some(value);
            batches
                .append(key, value)
                .await
                .with_context(|| format!("line {lines}, or one shortly before"))?;
            send_at.get_or_insert_with(|| Instant::now() + LINGER);
        };
        // What was read is written, whatever ended the reading.
        batches.send_all().await?;
        let lines = i64::try_from(lines).unwrap_or(i64::MAX);
        screen::note(format!(
            "{} written to {}",
            counted(lines, "record"),
            batches.topic
        ));
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
    cluster: ClusterArgs,
    topic: String,
    partitions: i32,
    /// The one that was asked for.
    partition: Option<i32>,
    headers: Vec<(String, String)>,
    /// The time that was asked for.
    timestamp: Option<i64>,
    by_partition: BTreeMap<i32, BatchBuilder>,
    /// Where records without key go: to one partition until its batch is full (KIP-480).
    keyless: i32,
}

impl Batches {
    async fn append(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<()> {
        let by_key = key.map(|key| partition_for_key(key, self.partitions));
        let partition = self.partition.or(by_key).unwrap_or(self.keyless);
        let now = || chrono::Utc::now().timestamp_millis();
        let time = self.timestamp.unwrap_or_else(now);
        let headers: Vec<(&str, Option<&[u8]>)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), Some(value.as_bytes())))
            .collect();
        let batch = self
            .by_partition
            .entry(partition)
            .or_insert_with(|| BatchBuilder::new(Compression::None));
        batch.append(time, key, value, &headers);
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
        let at = TopicPartition::new(self.topic.as_str(), partition);
        let mut written = self.writer.append(&at, batch);
        let mut patience = PATIENCE;
        loop {
            match timeout(patience, &mut written).await {
                Ok(written) => return Ok(written.map(drop)?),
                Err(_) => self.ask_about(&at).await?,
            }
            patience *= 2;
        }
    }

    /// Says why there is no acknowledgement: the client library tries again without a word. An error where that is of no use.
    async fn ask_about(&self, at: &TopicPartition) -> Result<()> {
        let asked = async { self.cluster.cluster().await?.fault_of(at).await };
        let why = match asked.await {
            Ok(code @ ErrorCode::KafkaStorageError) => {
                let code = code.message().trim_end_matches('.');
                bail!(Failure::Server(format!(
                    "partition {at} takes no records: {code}; the server's log, its /readyz and `thalweg doctor` name the cause"
                )));
            }
            Ok(code) if code.is_error() => code.message().trim_end_matches('.').to_owned(),
            Ok(_) => "no acknowledgement yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        screen::message(format!("partition {at}: {why}; trying again"));
        Ok(())
    }

    async fn send_all(&mut self) -> Result<()> {
        while let Some(&partition) = self.by_partition.keys().next() {
            self.send(partition).await?;
        }
        Ok(())
    }
}
