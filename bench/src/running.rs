//! What the benchmarks of jobs share: where topics end, and how long a job is waited for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow::datatypes::{Field, Schema, SchemaRef};
use log_api::{Log, OffsetSpec, TopicPartition};
use streams::JobHandle;

/// A job that does not commit for so long never will.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The end of every partition of a topic.
pub(crate) async fn ends(
    log: &dyn Log,
    topic: &str,
    partitions: i32,
) -> Result<Vec<(TopicPartition, i64)>> {
    let admin = log.admin();
    let mut ends = Vec::new();
    for number in 0..partitions {
        let partition = TopicPartition::new(topic, number);
        let end = admin.offset(&partition, OffsetSpec::Latest).await?;
        ends.push((partition, end));
    }
    Ok(ends)
}

/// Waits for the commit that covers `ends`.
pub(crate) async fn committed(job: &JobHandle, ends: &[(TopicPartition, i64)]) -> Result<()> {
    let mut commits = job.commits();
    loop {
        let commit = commits.borrow_and_update().clone();
        // A job that has read nothing yet knows no partition.
        if !commit.positions.is_empty() && commit.covers(ends) {
            return Ok(());
        }
        let Ok(changed) = tokio::time::timeout(SILENCE_MAX, commits.changed()).await else {
            let status = job.status();
            bail!(
                "no commit for {} s: the job is {}, {:?}",
                SILENCE_MAX.as_secs(),
                status.state,
                status.error
            );
        };
        changed.context("the job is gone")?;
    }
}

pub(crate) fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}
