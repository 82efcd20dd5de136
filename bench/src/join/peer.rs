//! The peer: the same query in plain DataFusion over the files, bounded, without any promise about crashes.

use std::path::Path;

use anyhow::{Context, Result};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::file_format::options::JsonReadOptions;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::rows::{Answer, facts_file, places_file, read_answers};
use crate::meter::{Cost, Meter};

const QUERY: &str = "SELECT p.region, count(*) AS n, sum(f.v) AS total \
                     FROM facts f JOIN places p ON f.k = p.id GROUP BY p.region";

/// Computes the answers once, ordered.
pub(super) async fn turn(folder: &Path) -> Result<(Cost, Vec<Answer>)> {
    let facts = Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
    ]);
    let places = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("region", DataType::Utf8View, true),
    ]);
    let files = [
        ("facts", facts_file(folder), facts),
        ("places", places_file(folder), places),
    ];
    let meter = Meter::start()?;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for (name, path, schema) in &files {
        let path = path.to_str().context("the folder's name is not UTF-8")?;
        let options = JsonReadOptions::default().schema(schema);
        context.register_json(*name, path, options).await?;
    }
    let batches = context.sql(QUERY).await?.collect().await?;
    let cost = meter.stop()?;

    let mut answers = Vec::new();
    for batch in &batches {
        read_answers(batch, &mut answers)?;
    }
    answers.sort_unstable();
    Ok((cost, answers))
}
