//! Reads the chunks of an incremental snapshot, over a connection of its own.
//!
//! ```text
//! tables   listed once, when the snapshot begins or goes on; the publication is brought up to them first
//! chunk    BEGIN REPEATABLE READ; snapshot, end of the log; columns; SELECT … key > last ORDER BY key LIMIT n; COMMIT; a mark
//! ```
//!
//! A chunk holds so many rows as the configuration says, and fewer where rows are large. Tables without a key that changes
//! tell are left for a reading while the stream waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use connect_api::{ConnectError, PartProgress};

use super::Shared;
use super::assemble::CHUNK_MARK;
use super::catalog::{self, Published, TableEntry};
use super::incremental::{Chunk, Incremental, Step};
use super::kind::Types;
use super::pgoutput::{Cell, Tuple};
use super::select::select;
use super::table::{Shapes, Table};
use super::unhealthy::failed;
use super::view::{Range, View};
use super::wire::{Connection, Purpose, Row, WireError, literal, quoted, text};

const READING: &str = "reading a part of a table";
/// A chunk that has more bytes makes the next one smaller.
const CHUNK_BYTES: usize = 8 << 20;
/// How long until a chunk is read again that did not see what went out already.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What is to be done next.
pub(super) enum Next {
    /// Take this chunk.
    Chunk(Chunk),
    /// This went by without rows: a table that is gone, or cannot be read as asked.
    Passed(Step),
    /// Everything was read, but these tables, which have to be read while the stream waits.
    Finished(Vec<TableEntry>),
}

/// The tables that are still to be read.
struct Plan {
    tables: VecDeque<TableEntry>,
    published: Vec<Published>,
    /// Those whose changes do not tell their key.
    unordered: Vec<TableEntry>,
}

/// Reads chunks.
#[derive(Default)]
pub(super) struct Chunks {
    connection: Option<Connection>,
    plan: Option<Plan>,
    types: Types,
    /// Rows of the next chunk.
    size: Option<usize>,
    not_before: Option<Instant>,
    rows: u64,
    began: Option<Instant>,
}

impl Chunks {
    /// Looks at the tables anew before the next chunk.
    pub(super) fn look_again(&mut self) {
        (self.plan, self.rows, self.began) = (None, 0, None);
    }

    /// The connection, or the stream, broke.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
        self.plan = None;
    }

    /// Whether the next chunk may be read now.
    pub(super) fn is_due(&self) -> bool {
        self.not_before.is_none_or(|at| Instant::now() >= at)
    }

    /// The last chunk has to be read again.
    pub(super) fn again(&mut self) {
        self.not_before = Some(Instant::now() + AGAIN_AFTER);
    }

    /// The table that is read is done.
    pub(super) fn table_done(&mut self, name: &str) {
        if let Some(plan) = &mut self.plan {
            plan.tables.retain(|table| full_name(table) != name);
        }
        (self.rows, self.began) = (0, None);
    }

    /// Tables that a signal may stop: those that are still to be read.
    pub(super) fn names(&self) -> Vec<String> {
        let tables = self.plan.iter().flat_map(|plan| &plan.tables);
        tables.map(full_name).collect()
    }

    /// How far the table is that is read.
    pub(super) fn progress(&self) -> Option<PartProgress> {
        let table = self.plan.as_ref()?.tables.front()?;
        Some(PartProgress {
            name: full_name(table),
            rows: self.rows,
            rows_expected: table.rows,
            reading: self.began.map(|began| began.elapsed()),
            done: false,
        })
    }

    /// Closes the connection.
    pub(super) async fn stop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// The next chunk, or what else is next. Dropping the future closes the connection.
    pub(super) async fn next(
        &mut self,
        shared: &Shared,
        incremental: &Incremental,
    ) -> Result<Next, ConnectError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&shared.config.address, Purpose::Sql)
                .await
                .map_err(|error| failed(READING, error))?,
        };
        let next = self.read(&mut connection, shared, incremental).await?;
        self.connection = Some(connection);
        Ok(next)
    }

    async fn read(
        &mut self,
        connection: &mut Connection,
        shared: &Shared,
        incremental: &Incremental,
    ) -> Result<Next, ConnectError> {
        let plan = match self.plan.take() {
            Some(plan) => plan,
            None => plan(connection, shared, incremental).await?,
        };
        let plan = self.plan.insert(plan);
        let Some(entry) = plan.tables.front().cloned() else {
            let unordered = std::mem::take(&mut plan.unordered);
            self.plan = None;
            return Ok(Next::Finished(unordered));
        };
        let published = plan
            .published
            .iter()
            .find(|published| published.table.0 == entry.schema && published.table.1 == entry.name);
        let published = published.cloned();
        self.began.get_or_insert_with(Instant::now);
        let most = shared.config.chunk_size;
        let size = self.size.unwrap_or(most).min(most);
        let read = one_chunk(
            connection,
            shared,
            &entry,
            published.as_ref(),
            incremental,
            size,
            &mut self.types,
        );
        match read.await {
            Ok((chunk, rows, bytes)) => {
                self.rows += rows as u64;
                let large = bytes > CHUNK_BYTES && size > 1;
                self.size = Some(if large {
                    size / 2
                } else {
                    (size * 2).min(most)
                });
                Ok(Next::Chunk(chunk))
            }
            Err(WireError::Server(error)) if is_of_table(&error.code) => {
                let table = full_name(&entry);
                tracing::warn!(table, %error, "a signal's snapshot of a table is given up");
                let rolled = connection.query("ROLLBACK").await;
                rolled.map_err(|error| failed(READING, error))?;
                Ok(Next::Passed(Step::Done(table)))
            }
            Err(error) => Err(failed(READING, error)),
        }
    }
}

fn full_name(table: &TableEntry) -> String {
    format!("{}.{}", table.schema, table.name)
}

/// Whether a refusal is about this table, or the signal's condition on it.
fn is_of_table(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    matches!(class, "22" | "25" | "38" | "39" | "42" | "P0")
}

/// The tables that are asked for and not done, the one first that is being read.
async fn plan(
    connection: &mut Connection,
    shared: &Shared,
    incremental: &Incremental,
) -> Result<Plan, ConnectError> {
    let (config, server) = (&shared.config, &shared.server);
    let (all, _) = super::captured(connection, config, config.via_root).await?;
    // Tables that are new to the connector have to be sent, too.
    let asked = |table: &TableEntry| incremental.request.names(&table.schema, &table.name);
    server
        .publication_again(connection, config, &all, asked)
        .await?;
    let via_root = server
        .publishes_via_root(connection, &config.publication)
        .await?;
    let (all, _) = super::captured(connection, config, via_root).await?;
    let published = server.published(connection, &config.publication).await?;
    let is_wanted = |table: &TableEntry| {
        config.capture.table(&table.schema, &table.name)
            && incremental.request.names(&table.schema, &table.name)
            && !incremental.done.contains(&full_name(table))
    };
    let wanted = all.into_iter().filter(is_wanted);
    let (mut tables, unordered): (Vec<_>, Vec<_>) = wanted
        .partition(|table| table.has_key && table.identity != super::pgoutput::Identity::Index);
    let current = incremental.current.as_ref().map(|(name, _)| name);
    tables.sort_by_key(|table| Some(&full_name(table)) != current);
    Ok(Plan {
        tables: tables.into(),
        published,
        unordered,
    })
}

async fn one_chunk(
    connection: &mut Connection,
    shared: &Shared,
    entry: &TableEntry,
    published: Option<&Published>,
    incremental: &Incremental,
    size: usize,
    types: &mut Types,
) -> Result<(Chunk, usize, usize), WireError> {
    let begun = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    connection.query(begun).await?;
    let seen = connection
        .query(
            "SELECT txid_current_snapshot(), pg_current_wal_insert_lsn(), \
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        )
        .await?;
    let seen = seen.first().cloned().unwrap_or_default();
    let view: View = text(&seen, 0).parse().map_err(WireError::Protocol)?;
    let high = text(&seen, 1).parse().map_err(WireError::Protocol)?;
    let at_us = text(&seen, 2).parse().unwrap_or(0);
    let mut columns = catalog::columns(connection, entry.oid).await?;
    if let Some(names) = published.and_then(|published| published.columns.as_ref()) {
        columns.retain(|column| names.contains(&column.column.name));
    }
    catalog::learn_types(connection, &columns, types).await?;
    let shapes = Shapes {
        prefix: &shared.config.prefix,
        capture: &shared.config.capture,
        rendering: shared.envelopes.rendering(),
        types: &*types,
        source: shared.envelopes.source_schema(),
    };
    let table = Table::new(
        &shapes,
        &entry.schema,
        &entry.name,
        entry.identity,
        &columns,
    );
    let names = columns.iter().map(|column| quoted(&column.column.name));
    let names: Vec<String> = names.collect();
    let condition = incremental.request.condition(&entry.schema, &entry.name);
    let filters = published.and_then(|published| published.filter.clone());
    let filters = filters.into_iter().chain(condition);
    let filters: Vec<String> = filters.map(|filter| format!("({filter})")).collect();
    let range = Range {
        behind: incremental
            .behind(&full_name(entry))
            .map(<[String]>::to_vec),
        to: None,
    };
    let sql = select(&shared.config, entry, &table, &names, &range, &filters);
    let rows = connection.query(&format!("{sql} LIMIT {size}")).await?;
    connection.query("COMMIT").await?;
    if shared.server.knows_messages() {
        let mark = format!(
            "SELECT pg_logical_emit_message(false, {}, '')",
            literal(CHUNK_MARK)
        );
        match connection.query(&mark).await {
            // Without it the stream passes the chunk with whatever comes next.
            Ok(_) | Err(WireError::Server(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let (count, ends) = (rows.len(), rows.len() < size);
    let bytes = rows.iter().flatten().flatten().map(bytes::Bytes::len).sum();
    let rows = rows.into_iter().map(tuple).collect();
    let chunk = Chunk::new(std::sync::Arc::new(table), (view, high, at_us), rows, ends);
    Ok((chunk, count, bytes))
}

fn tuple(row: Row) -> Tuple {
    let cell = |value: Option<bytes::Bytes>| value.map_or(Cell::Null, Cell::Text);
    row.into_iter().map(cell).collect()
}
