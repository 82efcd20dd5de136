//! A batch into the database.
//!
//! With `insert.mode=upsert` only the last change of a key matters: later columns replace earlier ones, and a delete
//! in between makes the row start anew. So a batch is one DELETE and a few INSERTs a table, each over arrays:
//!
//! ```text
//! INSERT INTO t (id, name) SELECT c1::bigint, c2::text FROM unnest($1::text[], $2::text[]) AS u(c1, c2)
//!   ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name
//! ```
//!
//! Where the database refuses values, the batch is done again in halves behind savepoints, down to single rows, and
//! then rolled back: that names the rows.

use std::collections::{BTreeMap, HashMap};

use connect_api::{ConnectError, PutReport, RejectedRow, TopicPartition};

use super::cell::{Cell, cast};
use super::config::{InsertMode, SinkConfig};
use super::failure::Failure;
use super::identity::{self, Identity};
use super::row::{Row, TableName, quote};
use super::session::Session;
use super::table::{self, Table};

type Columns = Vec<(String, Cell)>;
/// SQL and its parameters: one array of texts a column.
type Prepared = (String, Vec<Vec<Option<String>>>);

/// One statement's worth of changes.
#[derive(Debug)]
struct Step {
    table: TableName,
    /// Columns of the primary key.
    key: Vec<String>,
    /// Rows with the same columns in the same order; for deletes, the key's.
    rows: Vec<Columns>,
    delete: bool,
}

/// Writes rows and positions in one transaction, or nothing.
pub(super) async fn apply(
    session: &mut Session,
    config: &SinkConfig,
    connector: &str,
    rows: Vec<(usize, Row)>,
    positions: &[(TopicPartition, i64)],
) -> Result<PutReport, ConnectError> {
    let positions: Vec<(TopicPartition, i64)> = positions
        .iter()
        .filter(|(partition, next)| session.offset(partition).is_none_or(|known| known < *next))
        .cloned()
        .collect();
    if positions.is_empty() {
        return Ok(PutReport::Taken);
    }
    table::prepare(session, config, &rows).await?;
    session
        .client
        .batch_execute("BEGIN")
        .await
        .map_err(Failure::from)?;
    let written = match write(session, config, &rows).await {
        Ok(()) => {
            session
                .offsets
                .store(&session.client, connector, &positions)
                .await
        }
        Err(failure) => Err(failure),
    };
    match written {
        Ok(()) => {
            session
                .client
                .batch_execute("COMMIT")
                .await
                .map_err(Failure::from)?;
            session.offsets.moved(&positions);
            Ok(PutReport::Taken)
        }
        Err(Failure::Rows(message)) => {
            session
                .client
                .batch_execute("ROLLBACK")
                .await
                .map_err(Failure::from)?;
            isolate(session, config, &rows, message).await
        }
        Err(failure) => {
            if matches!(failure, Failure::TableChanged(_)) {
                session.forget_tables();
            }
            // If even this fails, the caller drops the session.
            let _ = session.client.batch_execute("ROLLBACK").await;
            Err(failure.into())
        }
    }
}

/// Finds the rows that the database refuses; leaves nothing behind.
async fn isolate(
    session: &mut Session,
    config: &SinkConfig,
    rows: &[(usize, Row)],
    first: String,
) -> Result<PutReport, ConnectError> {
    session
        .client
        .batch_execute("BEGIN")
        .await
        .map_err(Failure::from)?;
    let mut rejected = Vec::new();
    // In order, each half on top of what was good before it: rows may also collide with each other.
    let mut waiting = vec![rows];
    while let Some(part) = waiting.pop() {
        session
            .client
            .batch_execute("SAVEPOINT part")
            .await
            .map_err(Failure::from)?;
        match write(session, config, part).await {
            Ok(()) => session
                .client
                .batch_execute("RELEASE part")
                .await
                .map_err(Failure::from)?,
            Err(Failure::Rows(message)) => {
                session
                    .client
                    .batch_execute("ROLLBACK TO part; RELEASE part")
                    .await
                    .map_err(Failure::from)?;
                match part {
                    [] => {}
                    [(index, row)] => rejected.push(RejectedRow {
                        index: *index,
                        message: format!("table {}: {message}", row.table.quoted()),
                    }),
                    _ => {
                        let (left, right) = part.split_at(part.len() / 2);
                        waiting.push(right);
                        waiting.push(left);
                    }
                }
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    session
        .client
        .batch_execute("ROLLBACK")
        .await
        .map_err(Failure::from)?;
    if rejected.is_empty() {
        return Err(ConnectError::Fatal(format!(
            "the database refused the batch, but none of its rows: {first}"
        )));
    }
    Ok(PutReport::Rejected(rejected))
}

/// Writes rows in the open transaction.
async fn write(
    session: &mut Session,
    config: &SinkConfig,
    rows: &[(usize, Row)],
) -> Result<(), Failure> {
    let steps = match config.insert_mode {
        InsertMode::Upsert => {
            let identities = identity::of_rows(session, rows).await?;
            reduced(rows, &identities)
        }
        InsertMode::Insert => in_order(rows),
    };
    for step in steps {
        let Some(table) = session.tables.get(&step.table).cloned() else {
            // Deletes from a table that is not there.
            continue;
        };
        for chunk in step.rows.chunks(config.batch_size.max(1)) {
            let (sql, columns) = statement(config, &step, &table, chunk)?;
            session.execute(&sql, &columns).await?;
        }
    }
    Ok(())
}

/// What is left of a key's changes.
#[derive(Default)]
struct Last {
    delete: bool,
    columns: Option<BTreeMap<String, Cell>>,
    key: Columns,
}

/// The last change of each key, deletes first.
fn reduced(rows: &[(usize, Row)], identities: &[Identity]) -> Vec<Step> {
    let mut order: Vec<(&TableName, Last)> = Vec::new();
    let mut places: HashMap<Identity, usize> = HashMap::new();
    for ((_, row), identity) in rows.iter().zip(identities) {
        let place = *places.entry(*identity).or_insert_with(|| {
            order.push((
                &row.table,
                Last {
                    key: row.key.clone(),
                    ..Last::default()
                },
            ));
            order.len() - 1
        });
        let last = &mut order[place].1;
        match &row.columns {
            None => {
                last.delete = true;
                last.columns = None;
            }
            Some(columns) => {
                last.columns
                    .get_or_insert_default()
                    .extend(columns.iter().cloned());
            }
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    for (table, last) in &order {
        if last.delete {
            add(&mut steps, table, &last.key, last.key.clone(), true);
        }
    }
    let deletes = steps.len();
    let mut inserts = steps.split_off(deletes);
    for (table, last) in order {
        if let Some(columns) = last.columns {
            add(
                &mut inserts,
                table,
                &last.key,
                columns.into_iter().collect(),
                false,
            );
        }
    }
    steps.extend(inserts);
    steps
}

/// Adds a row to the step of its table and columns, wherever that is: keys differ, so order does not matter.
fn add(steps: &mut Vec<Step>, table: &TableName, key: &Columns, row: Columns, delete: bool) {
    let fits = |step: &&mut Step| {
        &step.table == table && step.delete == delete && same_columns(&step.rows[0], &row)
    };
    match steps.iter_mut().find(fits) {
        Some(step) => step.rows.push(row),
        None => steps.push(Step {
            table: table.clone(),
            key: names(key),
            rows: vec![row],
            delete,
        }),
    }
}

/// Every row as it came; neighbours share a statement.
fn in_order(rows: &[(usize, Row)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (_, row) in rows {
        let (columns, delete) = match &row.columns {
            Some(columns) => (columns.clone(), false),
            None => (row.key.clone(), true),
        };
        match steps.last_mut() {
            Some(step)
                if step.table == row.table
                    && step.delete == delete
                    && same_columns(&step.rows[0], &columns) =>
            {
                step.rows.push(columns);
            }
            _ => steps.push(Step {
                table: row.table.clone(),
                key: names(&row.key),
                rows: vec![columns],
                delete,
            }),
        }
    }
    steps
}

fn names(columns: &Columns) -> Vec<String> {
    columns.iter().map(|(name, _)| name.clone()).collect()
}

fn same_columns(a: &Columns, b: &Columns) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a, _), (b, _))| a == b)
}

/// The statement of a chunk and its parameters, one array a column.
fn statement(
    config: &SinkConfig,
    step: &Step,
    table: &Table,
    chunk: &[Columns],
) -> Result<Prepared, Failure> {
    let mut used: Vec<(String, String)> = Vec::new();
    let mut parameters = Vec::new();
    for (place, (column, _)) in step.rows[0].iter().enumerate() {
        let Some(column_type) = table.columns.get(column) else {
            // A column without a type so far: all its values are NULL, or the table was widened for them.
            if chunk.iter().all(|row| row[place].1.text.is_none()) {
                continue;
            }
            return Err(Failure::TableChanged(format!(
                "table {} has no column {column}",
                step.table.quoted()
            )));
        };
        used.push((quote(column), column_type.clone()));
        parameters.push(
            chunk
                .iter()
                .map(|row| row[place].1.for_column(column_type))
                .collect(),
        );
    }
    let arrays: Vec<String> = (1..=used.len())
        .map(|number| format!("${number}::text[]"))
        .collect();
    let aliases: Vec<String> = (1..=used.len())
        .map(|number| format!("c{number}"))
        .collect();
    let from = format!("unnest({}) AS u({})", arrays.join(", "), aliases.join(", "));
    let casts: Vec<String> = used
        .iter()
        .zip(&aliases)
        .map(|((_, column_type), alias)| cast(&format!("u.{alias}"), column_type))
        .collect();
    let name = step.table.quoted();
    let columns: Vec<&str> = used.iter().map(|(column, _)| column.as_str()).collect();
    let sql = if step.delete {
        let conditions: Vec<String> = columns
            .iter()
            .zip(&casts)
            .map(|(column, value)| format!("t.{column} = {value}"))
            .collect();
        format!(
            "DELETE FROM {name} AS t USING {from} WHERE {}",
            conditions.join(" AND ")
        )
    } else if used.is_empty() {
        // Rows of nothing but NULLs, for a table that has no column for them yet.
        format!(
            "INSERT INTO {name} SELECT FROM generate_series(1, {})",
            chunk.len()
        )
    } else {
        let insert = format!(
            "INSERT INTO {name} ({}) SELECT {} FROM {from}",
            columns.join(", "),
            casts.join(", ")
        );
        match config.insert_mode {
            InsertMode::Insert => insert,
            InsertMode::Upsert => {
                let key: Vec<String> = step.key.iter().map(|column| quote(column)).collect();
                let set: Vec<String> = columns
                    .iter()
                    .filter(|column| !key.iter().any(|of_key| of_key == *column))
                    .map(|column| format!("{column} = EXCLUDED.{column}"))
                    .collect();
                let action = match set.is_empty() {
                    true => "DO NOTHING".to_owned(),
                    false => format!("DO UPDATE SET {}", set.join(", ")),
                };
                format!("{insert} ON CONFLICT ({}) {action}", key.join(", "))
            }
        }
    };
    Ok((sql, parameters))
}
