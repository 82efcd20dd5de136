//! `thalweg consume`: the records of a topic, as text or as JSON.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use log_api::{Log, PollBudget, ReaderOptions, Records, Start, TopicPartition};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::exit::Failure;
use crate::start;
use crate::topic::ClusterArgs;

/// Arguments of `thalweg consume`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thalweg consume orders --exit              what is there now
  thalweg consume orders --from latest       what comes from now on, until Ctrl-C
  thalweg consume orders --exit -f '%p/%o %k %v\\n'")]
pub(crate) struct ConsumeArgs {
    /// The topic
    topic: String,
    /// earliest, latest, or an offset
    #[arg(long, default_value = "earliest")]
    from: String,
    /// End at the end of the topic
    #[arg(long, short)]
    exit: bool,
    /// End after this many records
    #[arg(long, short = 'n', value_name = "COUNT")]
    max: Option<usize>,
    /// One JSON object a record: partition, offset, timestamp, key, value, headers
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Like kcat's: %t topic, %p partition, %o offset, %T timestamp, %k key, %s or %v value, \n, \t
    #[arg(long, short, default_value = "%v\\n")]
    format: String,
    #[command(flatten)]
    cluster: ClusterArgs,
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
    let start = match args.from.as_str() {
        "earliest" | "beginning" => Start::Earliest,
        "latest" | "end" => Start::Latest,
        offset => Start::Offset(offset.parse().map_err(|_| {
            anyhow::anyhow!("--from {offset}: expected earliest, latest or an offset")
        })?),
    };
    let kafka = args.cluster.connect().await?;
    let Some(topic) = kafka.admin().describe_topic(&args.topic).await? else {
        bail!(Failure::NotFound(format!(
            "topic {} does not exist",
            args.topic
        )));
    };
    let assignment = (0..topic.partitions)
        .map(|partition| (TopicPartition::new(args.topic.as_str(), partition), start))
        .collect();
    let mut reader = kafka.reader(ReaderOptions::default(), assignment).await?;
    let mut left = args.max.unwrap_or(usize::MAX);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let budget = PollBudget {
        bytes_max: 4 << 20,
        wait_max: Duration::from_millis(200),
    };
    while left > 0 {
        let polled = reader.poll(budget).await?;
        let nothing = polled.is_empty();
        for records in &polled {
            for row in 0..records.len().min(left) {
                if args.json {
                    writeln!(out, "{}", as_json(records, row))
                } else {
                    out.write_all(&as_text(&args.format, records, row))
                }
                .context("write standard output")?;
            }
            left -= records.len().min(left);
        }
        out.flush().context("write standard output")?;
        if nothing && args.exit && reader.progress().await?.iter().all(|p| p.is_caught_up()) {
            break;
        }
    }
    Ok(())
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
