//! Offsets beside the rows: table `_thalweg_offsets`.
//!
//! | column | type | |
//! |---|---|---|
//! | connector | text | name of the connector |
//! | topic | text | |
//! | partition | integer | |
//! | next_offset | bigint | the next offset to read |

use std::collections::HashMap;

use connect_api::{ConnectError, TopicPartition};
use tokio_postgres::Client;

use super::failure::Failure;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _thalweg_offsets (connector text NOT NULL, topic text NOT NULL, \
                      \"partition\" integer NOT NULL, next_offset bigint NOT NULL, \
                      PRIMARY KEY (connector, topic, \"partition\"))";

/// The stored offsets of these partitions; the table is made if it is not there.
pub(super) async fn load(
    client: &Client,
    connector: &str,
    partitions: &[TopicPartition],
) -> Result<HashMap<TopicPartition, i64>, Failure> {
    let there = client
        .query_one("SELECT to_regclass('_thalweg_offsets') IS NOT NULL", &[])
        .await?;
    if !there.get::<_, bool>(0) {
        // Two tasks that make it at once: the loser's error is transient.
        client
            .batch_execute(CREATE)
            .await
            .map_err(|error| match Failure::from(error) {
                Failure::Rows(message) => ConnectError::Transient(message).into(),
                other => other,
            })?;
    }
    let rows = client
        .query(
            "SELECT topic, \"partition\", next_offset FROM _thalweg_offsets WHERE connector = $1",
            &[&connector],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            (
                TopicPartition::new(row.get::<_, String>(0), row.get(1)),
                row.get(2),
            )
        })
        .filter(|(partition, _)| partitions.contains(partition))
        .collect())
}

/// Moves offsets forward from what is `known` (invariant 2 of the module above); part of an open transaction.
pub(super) async fn store(
    client: &Client,
    connector: &str,
    known: &HashMap<TopicPartition, i64>,
    positions: &[(TopicPartition, i64)],
) -> Result<(), Failure> {
    for (partition, next) in positions {
        let before = known.get(partition);
        let moved = client
            .execute(
                "INSERT INTO _thalweg_offsets AS present (connector, topic, \"partition\", next_offset) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (connector, topic, \"partition\") \
                 DO UPDATE SET next_offset = EXCLUDED.next_offset WHERE present.next_offset = $5",
                &[&connector, &&*partition.topic, &partition.partition, next, &before],
            )
            .await?;
        if moved != 1 {
            return Err(ConnectError::Fatal(format!(
                "another task of connector {connector} writes {partition}: its offset in _thalweg_offsets is no \
                 longer {}",
                before.map_or("absent".to_owned(), i64::to_string)
            ))
            .into());
        }
    }
    Ok(())
}
