//! The sources that make their rows: each writes to its topic in the background, as fast as it is asked to.
//!
//! Invariants:
//! 1. The ends of a topic's partitions say which rows are there; nothing else does. So a generator goes on after a crash where
//!    the log ends, and a row is never there twice.
//! 2. A record has the time at which it is written, whatever time its row tells: the log keeps records by their age, and the
//!    rows of a benchmark of 2015 would be gone as soon as it looks.
//! 3. A generator that was asked to end writes nothing more once that is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use log_api::{BatchBuilder, Compression, Log, OffsetSpec, TopicPartition};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::catalog::Relation;
use crate::generate::Generator;

/// A batch has at most so many rows, and about so many bytes.
const BATCH_ROWS: u64 = 1_000;
const BATCH_BYTES: usize = 512 << 10;
/// How often a generator with a rate looks at the clock.
const TICK: Duration = Duration::from_millis(20);
/// How long it waits after the log has refused.
const PAUSE: Duration = Duration::from_secs(1);

/// The generators that run, by the name of their source.
#[derive(Default)]
pub(crate) struct Generators(Mutex<BTreeMap<String, JoinHandle<()>>>);

impl Generators {
    /// Starts the generator of a source, if it has one.
    pub(crate) fn start(&self, log: &Arc<dyn Log>, relation: &Relation) {
        let Some(generator) = relation.generator.clone() else {
            return;
        };
        let (log, topic) = (Arc::clone(log), relation.topic.clone());
        let running = tokio::spawn(async move {
            while let Err(error) = run(&log, &topic, &generator).await {
                warn!(topic, %error, "rows cannot be made; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        });
        let old = self.0.lock().insert(relation.name().to_owned(), running);
        if let Some(old) = old {
            old.abort();
        }
    }

    /// Ends the generator of a source.
    pub(crate) async fn stop(&self, name: &str) {
        let running = self.0.lock().remove(name);
        if let Some(running) = running {
            running.abort();
            // That it was ended is no news.
            let _ = running.await;
        }
    }

    /// Ends all of them.
    pub(crate) async fn stop_all(&self) {
        let running = std::mem::take(&mut *self.0.lock());
        running.values().for_each(JoinHandle::abort);
        for running in running.into_values() {
            let _ = running.await;
        }
    }
}

/// Writes rows until there are no more.
async fn run(
    log: &Arc<dyn Log>,
    topic: &str,
    generator: &Generator,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let admin = log.admin();
    let Some(described) = admin.describe_topic(topic).await? else {
        return Err(format!("topic {topic} does not exist").into());
    };
    let partitions = u64::from(described.partitions.unsigned_abs()).max(1);
    let mut next = Vec::new();
    for number in 0..described.partitions {
        let partition = TopicPartition::new(topic, number);
        let end = admin.offset(&partition, OffsetSpec::Latest).await?;
        let row = end.unsigned_abs() * partitions + u64::from(number.unsigned_abs());
        next.push((partition, row));
    }
    let writer = log.writer().await?;
    let last = generator.rows.unwrap_or(u64::MAX);
    let (began, mut written) = (Instant::now(), 0);
    loop {
        // With a rate: as many as there should be by now.
        let due = match generator.rate {
            None => BATCH_ROWS * partitions,
            Some(rate) => {
                let now = (began.elapsed().as_secs_f64() * rate as f64) as u64;
                now.saturating_sub(written).min(BATCH_ROWS * partitions)
            }
        };
        let each = due.div_ceil(partitions);
        let mut left = due;
        for (partition, row) in &mut next {
            let rows = each.min(left);
            left -= rows;
            let batch = batch(generator, row, partitions, rows.min(BATCH_ROWS), last);
            if !batch.is_empty() {
                written += batch.len() as u64;
                writer.append(partition, batch).await?;
            }
        }
        if next.iter().all(|(_, row)| *row >= last) {
            return Ok(());
        }
        match generator.rate {
            Some(_) => tokio::time::sleep(TICK).await,
            // Others wait for this thread, too.
            None => tokio::task::yield_now().await,
        }
    }
}

/// The next rows of a partition.
fn batch(generator: &Generator, row: &mut u64, step: u64, rows: u64, last: u64) -> BatchBuilder {
    let mut batch = BatchBuilder::new(Compression::None);
    let mut value = Vec::new();
    let now_ms = Utc::now().timestamp_millis();
    for _ in 0..rows {
        if *row >= last || batch.size_bytes() > BATCH_BYTES {
            break;
        }
        value.clear();
        generator.row(*row, &mut value);
        batch.append(now_ms, None, Some(&value), &[]);
        *row += step;
    }
    batch
}
