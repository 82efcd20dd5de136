//! `thalweg consume`: the records of a topic, as text or as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use log_api::{Log, OffsetSpec, PollBudget, ReaderOptions, Records, Start, TopicPartition};
use log_kafka::Kafka;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::cluster::ClusterArgs;
use crate::exit::Failure;
use crate::place::Place;
use crate::start;

/// Most records that `--last` takes: they are held to be put in order.
const LAST_MAX: usize = 1_000_000;

/// Arguments of `thalweg consume`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg consume orders --exit              what is there now
  thalweg consume orders --from latest       what comes from now on, until Ctrl-C
  thalweg consume orders --from 2h --exit    what came in the last two hours
  thalweg consume orders --last 10           the last ten records
  thalweg consume orders --exit --key u1 -f '%p/%o %k %v\\n'")]
pub(crate) struct ConsumeArgs {
    /// The topic
    topic: String,
    /// earliest, latest, an offset, or a time (2024-05-01T10:00:00Z, or 2h for two hours ago)
    #[arg(long, default_value = "earliest")]
    from: Place,
    /// Only this partition (may be repeated)
    #[arg(long, short)]
    partition: Vec<i32>,
    /// Only records with this key
    #[arg(long, short)]
    key: Option<String>,
    /// End at the end of the topic
    #[arg(long, short)]
    exit: bool,
    /// End after this many records
    #[arg(long, short = 'n', value_name = "COUNT")]
    max: Option<usize>,
    /// The last records by time, then end
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["from", "max"], value_parser = last)]
    last: Option<usize>,
    /// One JSON object a record: partition, offset, timestamp, key, value, headers
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Like kcat's: %t topic, %p partition, %o offset, %T timestamp, %k key, %s or %v value, %h headers, \n, \t
    #[arg(long, short, default_value = "%v\\n")]
    format: String,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn last(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (1..=LAST_MAX).contains(count));
    count.ok_or_else(|| format!("expected a number from 1 to {LAST_MAX}"))
}

/// Runs the command.
pub(crate) fn run(args: ConsumeArgs) -> Result<()> {
    start::log_to_stderr();
    start::runtime()?.block_on(async move {
        tokio::select! {
            result = consume(&args) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn consume(args: &ConsumeArgs) -> Result<()> {
    let kafka = args.cluster.connect().await?;
    let admin = kafka.admin();
    let Some(topic) = admin.describe_topic(&args.topic).await? else {
        bail!(args.cluster.cluster().await?.unknown_topic(&args.topic));
    };
    let mut partitions = Vec::new();
    for number in 0..topic.partitions {
        if args.partition.is_empty() || args.partition.contains(&number) {
            partitions.push(TopicPartition::new(args.topic.as_str(), number));
        }
    }
    let absent = |number: &&i32| !(0..topic.partitions).contains(*number);
    if let Some(number) = args.partition.iter().find(absent) {
        bail!(Failure::NotFound(format!(
            "topic {} has no partition {number}: there are {}, from 0",
            args.topic, topic.partitions
        )));
    }
    match args.last {
        Some(count) => show_last(args, &kafka, &partitions, count).await,
        None => show(args, &kafka, &partitions).await,
    }
}

impl ConsumeArgs {
    fn wants(&self, records: &Records, row: usize) -> bool {
        let key = self.key.as_deref().map(str::as_bytes);
        key.is_none_or(|key| records.key(row) == Some(key))
    }

    fn record(&self, records: &Records, row: usize) -> Vec<u8> {
        if self.json {
            return (as_json(records, row) + "\n").into_bytes();
        }
        as_text(&self.format, records, row)
    }
}

fn budget() -> PollBudget {
    PollBudget {
        bytes_max: 4 << 20,
        wait_max: Duration::from_millis(200),
    }
}

/// Prints records as they come.
async fn show(args: &ConsumeArgs, kafka: &Kafka, partitions: &[TopicPartition]) -> Result<()> {
    let mut assignment = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let start = match args.from {
            Place::Earliest => Start::Earliest,
            Place::Latest => Start::Latest,
            place => Start::Offset(place.offset(kafka.admin().as_ref(), partition).await?),
        };
        assignment.push((partition.clone(), start));
    }
    let mut reader = kafka.reader(ReaderOptions::default(), assignment).await?;
    let mut left = args.max.unwrap_or(usize::MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while left > 0 {
        let polled = reader.poll(budget()).await?;
        let nothing = polled.is_empty();
        for records in &polled {
            for row in 0..records.len() {
                if left > 0 && args.wants(records, row) {
                    out.write_all(&args.record(records, row))
                        .context("write standard output")?;
                    left -= 1;
                }
            }
        }
        out.flush().context("write standard output")?;
        if nothing && args.exit && reader.progress().await?.iter().all(|p| p.is_caught_up()) {
            break;
        }
    }
    Ok(())
}

/// Prints the last records of all partitions, in the order of their time.
///
/// Offsets are not records: markers of transactions, compaction and `--key` leave gaps. So it looks further back until
/// there are enough.
async fn show_last(
    args: &ConsumeArgs,
    kafka: &Kafka,
    partitions: &[TopicPartition],
    count: usize,
) -> Result<()> {
    let admin = kafka.admin();
    let mut bounds = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let first = admin.offset(partition, OffsetSpec::Earliest).await?;
        let end = admin.offset(partition, OffsetSpec::LastStable).await?;
        bounds.push((partition, first, end.max(first)));
    }
    let mut back = i64::try_from(count).unwrap_or(i64::MAX);
    loop {
        let from = |first: i64, end: i64| end.saturating_sub(back).max(first);
        let assignment = bounds
            .iter()
            .map(|&(partition, first, end)| (partition.clone(), Start::Offset(from(first, end))))
            .collect();
        let found = read_to(args, kafka, assignment, &bounds, count).await?;
        let all = bounds
            .iter()
            .all(|&(_, first, end)| from(first, end) == first);
        if found.len() >= count || all {
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            for record in found.values() {
                out.write_all(record).context("write standard output")?;
            }
            return out.flush().context("write standard output");
        }
        back = back.saturating_mul(8);
    }
}

/// Time, partition, offset: the order in which the last records are shown.
type Order = (i64, i32, i64);

/// The last `count` records that are wanted, up to the ends.
async fn read_to(
    args: &ConsumeArgs,
    kafka: &Kafka,
    assignment: Vec<(TopicPartition, Start)>,
    bounds: &[(&TopicPartition, i64, i64)],
    count: usize,
) -> Result<BTreeMap<Order, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut reader = kafka.reader(ReaderOptions::default(), assignment).await?;
    loop {
        let positions = reader.progress().await?;
        let at_end = positions
            .iter()
            .zip(bounds)
            .all(|(at, (_, _, end))| at.position >= *end);
        if at_end {
            return Ok(found);
        }
        for records in reader.poll(budget()).await? {
            for row in (0..records.len()).filter(|row| args.wants(&records, *row)) {
                let (time, offset) = (records.timestamps.value(row), records.offsets.value(row));
                let order = (time, records.partition.partition, offset);
                found.insert(order, args.record(&records, row));
                if found.len() > count {
                    found.pop_first();
                }
            }
        }
    }
}

fn as_json(records: &Records, row: usize) -> String {
    let headers: Vec<String> = records
        .headers(row)
        .map(|(name, value)| {
            let value = value.map(String::from_utf8_lossy);
            format!("{{{}:{}}}", json!(name), json!(value))
        })
        .collect();
    format!(
        r#"{{"partition":{},"offset":{},"timestamp":{},"key":{},"value":{},"headers":[{}]}}"#,
        records.partition.partition,
        records.offsets.value(row),
        records.timestamps.value(row),
        structured(records.key(row)),
        structured(records.value(row)),
        headers.join(",")
    )
}

/// JSON letter for letter (unless it has more than one line), anything else as a string.
fn structured(bytes: Option<&[u8]>) -> Cow<'_, str> {
    let Some(bytes) = bytes else {
        return "null".into();
    };
    let is_json = !bytes.contains(&b'\n') && serde_json::from_slice::<IgnoredAny>(bytes).is_ok();
    match std::str::from_utf8(bytes) {
        Ok(text) if is_json => text.into(),
        _ => json!(String::from_utf8_lossy(bytes)).to_string().into(),
    }
}

fn as_text(format: &str, records: &Records, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('%', Some(code)) => {
                characters.next();
                match code {
                    't' => out.extend_from_slice(records.partition.topic.as_bytes()),
                    'p' => {
                        out.extend_from_slice(records.partition.partition.to_string().as_bytes())
                    }
                    'o' => out.extend_from_slice(records.offsets.value(row).to_string().as_bytes()),
                    'T' => {
                        out.extend_from_slice(records.timestamps.value(row).to_string().as_bytes())
                    }
                    'k' => out.extend_from_slice(records.key(row).unwrap_or_default()),
                    'h' => out.extend_from_slice(&headers(records, row)),
                    's' | 'v' => out.extend_from_slice(records.value(row).unwrap_or_default()),
                    other => out.extend_from_slice(other.to_string().as_bytes()),
                }
            }
            ('\\', Some('n')) => {
                characters.next();
                out.push(b'\n');
            }
            ('\\', Some('t')) => {
                characters.next();
                out.push(b'\t');
            }
            (other, _) => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// `name=value` with commas between them.
fn headers(records: &Records, row: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in records.headers(row) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.unwrap_or_default());
    }
    out
}
