//! The peer: the same query in plain DataFusion over the file, bounded, without any promise about crashes.

use std::path::Path;

use anyhow::{Context, Result};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::file_format::options::JsonReadOptions;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::WindowArgs;
use super::rows::{Answer, read_answers};
use crate::meter::{Cost, Meter};

/// Computes the answers once, ordered.
pub(super) async fn turn(file: &Path, args: &WindowArgs) -> Result<(Cost, Vec<Answer>)> {
    let query = format!(
        "SELECT date_bin(INTERVAL '{} milliseconds', ts) AS window_start, k, \
         count(*) AS n, sum(v) AS total, max(v) AS largest FROM events GROUP BY 1, 2",
        args.window_ms
    );
    let schema = Schema::new(vec![
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("k", DataType::Utf8View, true),
        Field::new("v", DataType::Int64, true),
    ]);
    let path = file.to_str().context("the folder's name is not UTF-8")?;

    let meter = Meter::start()?;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context
        .register_json("events", path, JsonReadOptions::default().schema(&schema))
        .await?;
    let batches = context.sql(&query).await?.collect().await?;
    let cost = meter.stop()?;

    let mut answers = Vec::new();
    for batch in &batches {
        read_answers(batch, &mut answers)?;
    }
    answers.sort_unstable();
    Ok((cost, answers))
}
