//! Offsets beside the rows: table `_thalweg_offsets`.
//!
//! | column | type | |
//! |---|---|---|
//! | connector | text | name of the connector |
//! | topic | text | |
//! | partition | integer | |
//! | next_offset | bigint | the next offset to read |
//! | incarnation | text | the life of the partition that it counts for; NULL in rows of versions before it |

use std::collections::HashMap;

use connect_api::{ConnectError, OpenPartition, TopicPartition};
use tokio_postgres::Client;

use super::failure::{self, Failure};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _thalweg_offsets (connector text NOT NULL, topic text NOT NULL, \
                      \"partition\" integer NOT NULL, next_offset bigint NOT NULL, \
                      PRIMARY KEY (connector, topic, \"partition\")); \
                      ALTER TABLE _thalweg_offsets ADD COLUMN IF NOT EXISTS incarnation text";

const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('_thalweg_offsets') \
                        AND attname = 'incarnation' AND NOT attisdropped)";

/// The offsets of the partitions that a task has open.
#[derive(Default)]
pub(super) struct Offsets(HashMap<TopicPartition, Entry>);

struct Entry {
    incarnation: String,
    row: Option<Row>,
}

/// A row of the table.
struct Row {
    next: i64,
    incarnation: Option<String>,
}

impl Entry {
    /// The next offset to read, if the row is of this incarnation.
    fn next(&self) -> Option<i64> {
        let row = self.row.as_ref()?;
        let counts = row
            .incarnation
            .as_ref()
            .is_none_or(|of_row| *of_row == self.incarnation);
        counts.then_some(row.next)
    }
}

async fn is_there(client: &Client) -> Result<bool, Failure> {
    Ok(client.query_one(IS_THERE, &[]).await?.get(0))
}

impl Offsets {
    /// Reads those of these partitions; the table is made if it is not there.
    pub(super) async fn load(
        client: &Client,
        connector: &str,
        partitions: &[OpenPartition],
    ) -> Result<Self, Failure> {
        if !is_there(client).await?
            && let Err(error) = client.batch_execute(CREATE).await
        {
            match failure::of_definition(error) {
                // Another task made it at the same time.
                Failure::NameTaken(_) if is_there(client).await? => {}
                Failure::NameTaken(message) => return Err(ConnectError::Fatal(message).into()),
                other => return Err(other),
            }
        }
        let mut entries: HashMap<TopicPartition, Entry> = partitions
            .iter()
            .map(|open| {
                let entry = Entry {
                    incarnation: open.incarnation.clone(),
                    row: None,
                };
                (open.partition.clone(), entry)
            })
            .collect();
        let rows = client
            .query(
                "SELECT topic, \"partition\", next_offset, incarnation FROM _thalweg_offsets WHERE connector = $1",
                &[&connector],
            )
            .await?;
        for row in rows {
            let partition = TopicPartition::new(row.get::<_, String>(0), row.get(1));
            if let Some(entry) = entries.get_mut(&partition) {
                entry.row = Some(Row {
                    next: row.get(2),
                    incarnation: row.get(3),
                });
            }
        }
        Ok(Self(entries))
    }

    /// The next offset to read of a partition.
    pub(super) fn next(&self, partition: &TopicPartition) -> Option<i64> {
        self.0.get(partition)?.next()
    }

    /// The next offsets of all partitions that have one.
    pub(super) fn all(&self) -> HashMap<TopicPartition, i64> {
        self.0
            .iter()
            .filter_map(|(partition, entry)| Some((partition.clone(), entry.next()?)))
            .collect()
    }

    /// Writes positions over the rows that are known (invariant 2 of the module above); part of an open transaction.
    pub(super) async fn store(
        &self,
        client: &Client,
        connector: &str,
        positions: &[(TopicPartition, i64)],
    ) -> Result<(), Failure> {
        for (partition, next) in positions {
            let Some(entry) = self.0.get(partition) else {
                return Err(ConnectError::Fatal(format!("{partition} is not open")).into());
            };
            let before = entry.row.as_ref().map(|row| row.next);
            let written_for = entry.row.as_ref().and_then(|row| row.incarnation.as_ref());
            let moved = client
                .execute(
                    "INSERT INTO _thalweg_offsets AS present (connector, topic, \"partition\", next_offset, incarnation) \
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (connector, topic, \"partition\") \
                     DO UPDATE SET next_offset = EXCLUDED.next_offset, incarnation = EXCLUDED.incarnation \
                     WHERE present.next_offset = $6 AND present.incarnation IS NOT DISTINCT FROM $7",
                    &[
                        &connector,
                        &&*partition.topic,
                        &partition.partition,
                        next,
                        &entry.incarnation,
                        &before,
                        &written_for,
                    ],
                )
                .await?;
            if moved != 1 {
                return Err(ConnectError::Fatal(format!(
                    "another task of connector {connector} writes {partition}: its offset in _thalweg_offsets is no \
                     longer {}",
                    before.map_or("absent".to_owned(), |before| before.to_string())
                ))
                .into());
            }
        }
        Ok(())
    }

    /// The transaction with these positions committed.
    pub(super) fn moved(&mut self, positions: &[(TopicPartition, i64)]) {
        for (partition, next) in positions {
            if let Some(entry) = self.0.get_mut(partition) {
                entry.row = Some(Row {
                    next: *next,
                    incarnation: Some(entry.incarnation.clone()),
                });
            }
        }
    }
}
