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
//! then rolled back: that names the rows. So it is with tables and columns that cannot be made for a row, and with
//! constraints that look when the transaction ends (which is why they are made to look before it does).

use std::collections::{BTreeMap, HashMap};

use connect_api::{ConnectError, PutReport, RejectedRow, TopicPartition};

use super::cell::{Cell, cast};
use super::config::{InsertMode, SinkConfig};
use super::failure::Failure;
use super::identity::{self, Identity};
use super::row::{Row, TableName, quote};
use super::session::Session;
use super::table::{self, Column, Table};

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
    /// The keys have NULLs in them, which no constraint finds equal: rows are deleted before they are inserted.
    null_keys: bool,
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
    let mut prepared = table::prepare(session, config, &rows).await;
    if matches!(prepared, Err(Failure::NameTaken(_))) {
        // If another task made the same at once, it is there now.
        session.forget_tables();
        prepared = table::prepare(session, config, &rows).await;
    }
    match prepared {
        Ok(()) => {}
        Err(Failure::Rows(message) | Failure::NameTaken(message)) => {
            let found = isolate(session, config, &rows, Work::Prepare).await?;
            run(session, "ROLLBACK").await?;
            // What was made is gone again.
            session.forget_tables();
            return report(found.refused, &message);
        }
        Err(failure) => return Err(failure.into()),
    }
    run(session, "BEGIN").await?;
    match transaction(session, config, connector, &rows, &positions).await {
        Ok(()) => {
            session.offsets.moved(&positions);
            Ok(PutReport::Taken)
        }
        Err(Failure::Rows(message)) => {
            run(session, "ROLLBACK").await?;
            let found = isolate(session, config, &rows, Work::Write).await?;
            if !found.refused.is_empty() || !found.in_order {
                run(session, "ROLLBACK").await?;
                return report(found.refused, &message);
            }
            // The whole was refused, but none of its parts: they are all in the open transaction.
            commit(session, connector, &positions).await?;
            session.offsets.moved(&positions);
            Ok(PutReport::Taken)
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

/// All of a batch in the open transaction, and its end.
async fn transaction(
    session: &mut Session,
    config: &SinkConfig,
    connector: &str,
    rows: &[(usize, Row)],
    positions: &[(TopicPartition, i64)],
) -> Result<(), Failure> {
    write(session, config, rows).await?;
    commit(session, connector, positions).await
}

/// Stores the positions beside the rows of the open transaction and ends it.
async fn commit(
    session: &Session,
    connector: &str,
    positions: &[(TopicPartition, i64)],
) -> Result<(), Failure> {
    let offsets = &session.offsets;
    offsets.store(&session.client, connector, positions).await?;
    // An error of the first statement is one of the rows, and nothing was committed.
    run(session, "SET CONSTRAINTS ALL IMMEDIATE; COMMIT").await
}

async fn run(session: &Session, sql: &str) -> Result<(), Failure> {
    Ok(session.client.batch_execute(sql).await?)
}

/// What is tried with parts of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Making tables and columns.
    Prepare,
    /// Writing rows.
    Write,
}

/// A row that was refused, and why.
struct Refused<'a> {
    row: &'a [(usize, Row)],
    message: String,
    deferred: bool,
}

/// What trying a batch in parts found.
struct Isolated<'a> {
    refused: Vec<Refused<'a>>,
    /// Whether the rows that were not refused are in the transaction in the order of the batch.
    in_order: bool,
}

/// Finds the rows that the database refuses; leaves a transaction open that holds the others.
async fn isolate<'a>(
    session: &mut Session,
    config: &SinkConfig,
    rows: &'a [(usize, Row)],
    work: Work,
) -> Result<Isolated<'a>, Failure> {
    run(session, "BEGIN").await?;
    if work == Work::Prepare {
        session.forget_tables();
    }
    let mut refused = bisect(session, config, vec![rows], work).await?;
    let in_order = refused.iter().all(|row| !row.deferred);
    // A row may need one that comes after it, until the transaction ends: such rows have another try.
    loop {
        let (again, mut rest): (Vec<_>, Vec<_>) = refused.into_iter().partition(|row| row.deferred);
        let tried = again.len();
        let parts = again.into_iter().rev().map(|refused| refused.row).collect();
        let still = bisect(session, config, parts, work).await?;
        let settled = still.is_empty() || still.len() == tried;
        rest.extend(still);
        refused = rest;
        if settled {
            return Ok(Isolated { refused, in_order });
        }
    }
}

/// Tries parts, the last one first, each on top of what was good before it (rows may also collide with each other),
/// and the halves of a part that is refused, down to single rows.
async fn bisect<'a>(
    session: &mut Session,
    config: &SinkConfig,
    mut waiting: Vec<&'a [(usize, Row)]>,
    work: Work,
) -> Result<Vec<Refused<'a>>, Failure> {
    let mut refused = Vec::new();
    while let Some(part) = waiting.pop() {
        run(session, "SAVEPOINT part").await?;
        let (message, deferred) = match attempt(session, config, part, work).await {
            Ok(()) => continue,
            Err(Failure::Rows(message) | Failure::NameTaken(message)) => (message, false),
            Err(Failure::Deferred(message)) => (message, true),
            Err(failure) => return Err(failure),
        };
        run(session, "ROLLBACK TO part; RELEASE part").await?;
        if work == Work::Prepare {
            session.forget_tables();
        }
        match part {
            [] => {}
            [_] => refused.push(Refused {
                row: part,
                message,
                deferred,
            }),
            _ => {
                let (left, right) = part.split_at(part.len() / 2);
                waiting.push(right);
                waiting.push(left);
            }
        }
    }
    Ok(refused)
}

/// Tries a part behind the savepoint `part`, which is gone if it worked.
async fn attempt(
    session: &mut Session,
    config: &SinkConfig,
    part: &[(usize, Row)],
    work: Work,
) -> Result<(), Failure> {
    match work {
        Work::Prepare => {
            table::prepare(session, config, part).await?;
            run(session, "RELEASE part").await
        }
        Work::Write => {
            write(session, config, part).await?;
            // Looks, and then is as lax as before for the parts that follow.
            let look = "SAVEPOINT look; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO look; RELEASE look; RELEASE part";
            match run(session, look).await {
                Err(Failure::Rows(message)) => Err(Failure::Deferred(message)),
                looked => looked,
            }
        }
    }
}

/// The rows that are refused, in the order of the batch.
fn report(refused: Vec<Refused>, first: &str) -> Result<PutReport, ConnectError> {
    if refused.is_empty() {
        return Err(ConnectError::Fatal(format!(
            "the database refused the batch, but none of its rows: {first}"
        )));
    }
    let mut rejected: Vec<RejectedRow> = refused
        .into_iter()
        .flat_map(|refused| {
            refused
                .row
                .iter()
                .map(move |row| (row, refused.message.clone()))
        })
        .map(|((index, row), message)| RejectedRow {
            index: *index,
            message: format!("table {}: {message}", row.table.quoted()),
        })
        .collect();
    rejected.sort_by_key(|row| row.index);
    Ok(PutReport::Rejected(rejected))
}

/// Writes rows in the open transaction.
async fn write(
    session: &mut Session,
    config: &SinkConfig,
    rows: &[(usize, Row)],
) -> Result<(), Failure> {
    // An emptied table ends a part: what comes behind is there again.
    for part in rows.split_inclusive(|(_, row)| row.truncates) {
        match part.split_last() {
            Some(((_, last), before)) if last.truncates => {
                write_rows(session, config, before).await?;
                if session.tables.contains_key(&last.table) {
                    run(session, &format!("TRUNCATE TABLE {}", last.table.quoted())).await?;
                }
            }
            _ => write_rows(session, config, part).await?,
        }
    }
    Ok(())
}

/// Writes rows none of which stands for a whole table.
async fn write_rows(
    session: &mut Session,
    config: &SinkConfig,
    rows: &[(usize, Row)],
) -> Result<(), Failure> {
    if config.insert_mode == InsertMode::Insert {
        return run_steps(session, config, in_order(rows)).await;
    }
    // Rows that move end a part: what comes behind may be about their new key.
    for part in rows.split_inclusive(|(_, row)| row.moved_to.is_some()) {
        let (rest, moved) = match part.split_last() {
            Some(((_, last), before)) if last.moved_to.is_some() => (before, Some(last)),
            _ => (part, None),
        };
        let identities = identity::of_rows(session, rest, config.decimals).await?;
        run_steps(
            session,
            config,
            reduced(rest, &identities, config.takes_null_keys()),
        )
        .await?;
        if let Some((row, new)) = moved.and_then(|row| row.moved_to.as_ref().map(|new| (row, new)))
        {
            move_row(session, config, row, new).await?;
        }
    }
    Ok(())
}

async fn run_steps(
    session: &mut Session,
    config: &SinkConfig,
    steps: Vec<Step>,
) -> Result<(), Failure> {
    for step in steps {
        let Some(table) = session.tables.get(&step.table).cloned() else {
            // Deletes from a table that is not there.
            continue;
        };
        let is_missing = |column: &String| !table.columns.contains_key(column);
        if step.delete && step.null_keys && step.key.iter().any(is_missing) {
            // No row has such a key.
            continue;
        }
        for chunk in step.rows.chunks(config.batch_size.max(1)) {
            let (sql, columns) = statement(config, &step, &table, chunk)?;
            session.execute(&sql, &columns).await?;
        }
    }
    Ok(())
}

/// Gives a row another key. Where the row is there, one that has the new key already is what an earlier attempt, or an
/// earlier life of the topic, left.
async fn move_row(
    session: &mut Session,
    config: &SinkConfig,
    row: &Row,
    new: &Columns,
) -> Result<(), Failure> {
    let Some(table) = session.tables.get(&row.table).cloned() else {
        return Ok(());
    };
    let name = row.table.quoted();
    let (mut parameters, mut is_old, mut is_new, mut of_old, mut set) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((column, old), (_, new)) in row.key.iter().zip(new) {
        let Some(described) = table.columns.get(column) else {
            return Err(missing(&row.table, column));
        };
        for cell in [old, new] {
            let cells = std::iter::once(cell);
            parameters.push(table::sent(column, described, cells, config.decimals)?);
        }
        let place = parameters.len();
        let quoted = quote(column);
        let old = cast(&format!("u.c{}", place - 1), &described.sql_type);
        let new = cast(&format!("u.c{place}"), &described.sql_type);
        is_old.push(format!("t.{quoted} = {old}"));
        is_new.push(format!("t.{quoted} = {new}"));
        of_old.push(format!("o.{quoted} = {old}"));
        set.push(format!("{quoted} = {new}"));
    }
    let from = unnested(parameters.len());
    let (is_old, is_new, of_old) = (
        is_old.join(" AND "),
        is_new.join(" AND "),
        of_old.join(" AND "),
    );
    let make_room = format!(
        "DELETE FROM {name} AS t USING {from} WHERE {is_new} AND NOT ({is_old}) \
         AND EXISTS (SELECT FROM {name} AS o WHERE {of_old})"
    );
    let rename = format!(
        "UPDATE {name} AS t SET {} FROM {from} WHERE {is_old}",
        set.join(", ")
    );
    session.execute(&make_room, &parameters).await?;
    session.execute(&rename, &parameters).await?;
    Ok(())
}

fn missing(table: &TableName, column: &str) -> Failure {
    Failure::TableChanged(format!("table {} has no column {column}", table.quoted()))
}

/// Arrays of text as rows `u` of columns `c1`, `c2`, ….
fn unnested(columns: usize) -> String {
    let arrays: Vec<String> = (1..=columns)
        .map(|number| format!("${number}::text[]"))
        .collect();
    let aliases: Vec<String> = (1..=columns).map(|number| format!("c{number}")).collect();
    format!("unnest({}) AS u({})", arrays.join(", "), aliases.join(", "))
}

/// What is left of a key's changes.
#[derive(Default)]
struct Last {
    delete: bool,
    columns: Option<BTreeMap<String, Cell>>,
    key: Columns,
}

/// The last change of each key, deletes first.
fn reduced(rows: &[(usize, Row)], identities: &[Identity], takes_nulls: bool) -> Vec<Step> {
    let null_key =
        |last: &Last| takes_nulls && last.key.iter().any(|(_, cell)| cell.text.is_none());
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
            // Of two spellings of a key the row has the first, as if they had come one by one.
            Some(columns) => match &mut last.columns {
                Some(known) => {
                    let of_key = |name: &str| row.key.iter().any(|(key, _)| key == name);
                    let others = columns.iter().filter(|(name, _)| !of_key(name));
                    known.extend(others.cloned());
                }
                None => last.columns = Some(columns.iter().cloned().collect()),
            },
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    for (table, last) in &order {
        let null_keys = null_key(last);
        if last.delete || null_keys {
            let what = (true, null_keys);
            add(&mut steps, table, &last.key, last.key.clone(), what);
        }
    }
    let deletes = steps.len();
    let mut inserts = steps.split_off(deletes);
    for (table, last) in order {
        let null_keys = null_key(&last);
        if let Some(columns) = last.columns {
            add(
                &mut inserts,
                table,
                &last.key,
                columns.into_iter().collect(),
                (false, null_keys),
            );
        }
    }
    steps.extend(inserts);
    steps
}

/// Adds a row to the step of its table and columns, wherever that is: keys differ, so order does not matter.
fn add(
    steps: &mut Vec<Step>,
    table: &TableName,
    key: &Columns,
    row: Columns,
    (delete, null_keys): (bool, bool),
) {
    let fits = |step: &&mut Step| {
        let is_same = (step.delete, step.null_keys) == (delete, null_keys);
        &step.table == table && is_same && same_columns(&step.rows[0], &row)
    };
    match steps.iter_mut().find(fits) {
        Some(step) => step.rows.push(row),
        None => steps.push(Step {
            table: table.clone(),
            key: names(key),
            rows: vec![row],
            delete,
            null_keys,
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
                null_keys: false,
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
    let mut used: Vec<(&str, String, &str)> = Vec::new();
    let mut parameters = Vec::new();
    for (place, (column, _)) in step.rows[0].iter().enumerate() {
        let Some(described) = table.columns.get(column) else {
            // A column without a type so far: all its values are NULL, or the table was widened for them.
            let is_key = step.null_keys && step.key.contains(column);
            if !is_key && chunk.iter().all(|row| row[place].1.text.is_none()) {
                continue;
            }
            return Err(missing(&step.table, column));
        };
        used.push((column.as_str(), quote(column), &*described.sql_type));
        let cells = chunk.iter().map(|row| &row[place].1);
        parameters.push(table::sent(column, described, cells, config.decimals)?);
    }
    let from = unnested(used.len());
    let casts: Vec<String> = used
        .iter()
        .enumerate()
        .map(|(place, (_, _, column_type))| cast(&format!("u.c{}", place + 1), column_type))
        .collect();
    let name = step.table.quoted();
    let columns: Vec<&str> = used.iter().map(|(_, column, _)| column.as_str()).collect();
    let sql = if step.delete {
        let conditions: Vec<String> = columns
            .iter()
            .zip(&casts)
            .map(|(column, value)| match step.null_keys {
                // In words that an index is used for.
                true => format!("(t.{column} = {value} OR t.{column} IS NULL AND {value} IS NULL)"),
                false => format!("t.{column} = {value}"),
            })
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
    } else if config.insert_mode == InsertMode::Update {
        update(&name, &columns, &casts, &from, &step.key)
    } else {
        let insert = format!(
            "INSERT INTO {name} ({}) SELECT {} FROM {from}",
            columns.join(", "),
            casts.join(", ")
        );
        match config.insert_mode {
            InsertMode::Insert | InsertMode::Update => insert,
            InsertMode::Upsert if step.null_keys => insert,
            InsertMode::Upsert => {
                let key: Vec<String> = step.key.iter().map(|column| quote(column)).collect();
                let others: Vec<&str> = columns
                    .iter()
                    .copied()
                    .filter(|column| !key.iter().any(|of_key| of_key == column))
                    .collect();
                let leaves_out = |(name, column): (&String, &Column)| {
                    column.is_required && !used.iter().any(|(used, _, _)| used == name)
                };
                if table.columns.iter().any(leaves_out) {
                    let sql = update_or_insert(&name, &columns, &casts, &from, (&key, &others));
                    return Ok((sql, parameters));
                }
                let set: Vec<String> = others
                    .iter()
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

/// Rows that are there take the values; others are passed over.
fn update(name: &str, columns: &[&str], casts: &[String], from: &str, key: &[String]) -> String {
    let key: Vec<String> = key.iter().map(|column| quote(column)).collect();
    let (mut set, mut same) = (Vec::new(), Vec::new());
    for (column, value) in columns.iter().zip(casts) {
        match key.iter().any(|of_key| of_key == column) {
            true => same.push(format!("t.{column} = {value}")),
            false => set.push(format!("{column} = {value}")),
        }
    }
    if set.is_empty() {
        // A record that is nothing but a key changes nothing.
        set.extend(key.first().map(|column| format!("{column} = t.{column}")));
    }
    format!(
        "UPDATE {name} AS t SET {} FROM {from} WHERE {}",
        set.join(", "),
        same.join(" AND ")
    )
}

/// An upsert whose rows leave out columns that may not be NULL: PostgreSQL refuses to insert such a row before it sees
/// that there is one to be updated.
fn update_or_insert(
    name: &str,
    columns: &[&str],
    casts: &[String],
    from: &str,
    (key, others): (&[String], &[&str]),
) -> String {
    let given: Vec<String> = casts
        .iter()
        .zip(columns)
        .map(|(value, column)| format!("{value} AS {column}"))
        .collect();
    let same = |row: &str| -> String {
        let pairs = key
            .iter()
            .map(|column| format!("{row}.{column} = g.{column}"));
        pairs.collect::<Vec<_>>().join(" AND ")
    };
    let set: Vec<String> = others
        .iter()
        .map(|column| format!("{column} = g.{column}"))
        .collect();
    let update = match set.is_empty() {
        true => String::new(),
        false => format!(
            ", updated AS (UPDATE {name} AS t SET {} FROM given AS g WHERE {})",
            set.join(", "),
            same("t")
        ),
    };
    let columns = columns.join(", ");
    // All parts see the table as it was before the statement.
    format!(
        "WITH given AS (SELECT {} FROM {from}){update} INSERT INTO {name} ({columns}) SELECT {columns} FROM given AS g \
         WHERE NOT EXISTS (SELECT FROM {name} AS t WHERE {})",
        given.join(", "),
        same("t")
    )
}
