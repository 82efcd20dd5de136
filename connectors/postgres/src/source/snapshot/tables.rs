//! Which table is read next, in which pieces, and by which reader.

use std::sync::Arc;
use std::time::Instant;

use connect_api::ConnectError;

use super::{Open, Part, READING, Snapshot, not_taken};
use crate::source::catalog::{self, TableEntry};
use crate::source::lsn::Lsn;
use crate::source::pieces;
use crate::source::reader::{self, Job, Reader};
use crate::source::select::{sample, select};
use crate::source::table::{Shapes, Table};
use crate::source::unhealthy::failed;
use crate::source::view::{KeyPart, Range, Scan};
use crate::source::wire::{Connection, Purpose, WireError, quoted, text};

/// Tables whose progress is told; of more the last ones.
const PARTS_MAX: usize = 100;
/// About so many keys are looked at to share a table among readers.
const SAMPLE_ROWS: f64 = 10_000.0;
/// Bytes of a row, to guess how many a table has that the server never counted.
const ROW_BYTES: u64 = 100;

impl Snapshot {
    /// Gives readers that have nothing to do pieces of the next tables.
    pub(super) async fn assign(&mut self) -> Result<(), ConnectError> {
        while !(self.jobs.is_empty() && self.tables.is_empty()) {
            let Some(idle) = self.idle_reader().await? else {
                return Ok(());
            };
            if self.jobs.is_empty() {
                self.open_next().await?;
            }
            if let Some(job) = self.jobs.pop_front() {
                self.readers[idle].give(job);
            }
        }
        Ok(())
    }

    /// The place of a reader that has nothing to do; a new one while there may be more.
    async fn idle_reader(&mut self) -> Result<Option<usize>, ConnectError> {
        let idle = self.readers.iter().position(|reader| reader.scan.is_none());
        if idle.is_some() || self.readers.len() >= self.readers_max {
            return Ok(idle);
        }
        match self.another_connection().await {
            Ok(connection) => {
                let number = self.readers.len();
                let (renderer, tell) = (Arc::clone(&self.renderer), self.tell.clone());
                let marker = self.marker_between();
                let (reader, run) = Reader::new(number, connection, renderer, marker, tell);
                self.running.spawn(run);
                self.readers.push(reader);
                Ok(Some(number))
            }
            Err(error) if self.readers.is_empty() => Err(not_taken(READING, error)),
            // As fast as it can be.
            Err(error) => {
                self.readers_max = self.readers.len();
                let readers = self.readers_max;
                tracing::warn!(%error, readers, "no more connections read the tables");
                Ok(None)
            }
        }
    }

    async fn another_connection(&self) -> Result<Connection, WireError> {
        let address = &self.shared.config.address;
        let mut connection = Connection::open(address, Purpose::Sql).await?;
        reader::take_snapshot(&mut connection, &self.exported).await?;
        Ok(connection)
    }

    /// Makes pieces of the next table.
    async fn open_next(&mut self) -> Result<(), ConnectError> {
        let Some(entry) = self.tables.front().cloned() else {
            return Ok(());
        };
        let fail = |error| failed(READING, error);
        let mut columns = catalog::columns(&mut self.connection, entry.oid)
            .await
            .map_err(fail)?;
        let published = self
            .published
            .iter()
            .find(|published| published.table.0 == entry.schema && published.table.1 == entry.name);
        if let Some(names) = published.and_then(|published| published.columns.as_ref()) {
            columns.retain(|column| names.contains(&column.column.name));
        }
        let published_rows = published.and_then(|published| published.filter.clone());
        let asked_rows = self
            .request
            .as_ref()
            .and_then(|request| request.condition(&entry.schema, &entry.name))
            .map(|condition| format!("({condition})"));
        let is_asked = asked_rows.is_some();
        let filters: Vec<String> = published_rows
            .map(|condition| format!("({condition})"))
            .into_iter()
            .chain(asked_rows)
            .collect();
        catalog::learn_types(&mut self.connection, &columns, &mut self.types)
            .await
            .map_err(fail)?;
        let shared = Arc::clone(&self.shared);
        let shapes = Shapes {
            prefix: &shared.config.prefix,
            capture: &shared.config.capture,
            rendering: shared.envelopes.rendering(),
            types: &self.types,
            source: shared.envelopes.source_schema(),
        };
        let table = Table::new(
            &shapes,
            &entry.schema,
            &entry.name,
            entry.identity,
            &columns,
        );
        let names: Vec<String> = columns
            .iter()
            .map(|column| quoted(&column.column.name))
            .collect();
        let (view, high) = match is_asked {
            true => (None, Lsn(0)),
            false => (self.view.clone(), self.high),
        };
        let blank = pieces::blank((&table.schema, &table.name), view, high, is_asked);
        let is_known = |scan: &Scan| scan.is_of(&table.schema, &table.name, is_asked);
        let goes_on = self.scans.iter().any(is_known);
        let ranges = match goes_on || is_asked {
            true => vec![Range::default()],
            false => self.ranges(&entry, &table, &names).await.map_err(fail)?,
        };
        // Nothing is waited for from here on: what is taken up is taken up whole.
        let places = if goes_on {
            let ordered = !table.primary().is_empty();
            pieces::go_on(&mut self.scans, &blank, ordered)
        } else {
            let first = self.scans.len();
            let scan = |range| Scan {
                range,
                ..blank.clone()
            };
            self.scans.extend(ranges.into_iter().map(scan));
            (first..self.scans.len()).collect()
        };
        self.tables.pop_front();
        let table = Arc::new(table);
        let published = match is_asked {
            true => filters.split_last().map_or(&[][..], |(_, others)| others),
            false => &filters,
        };
        for place in &places {
            let range = &self.scans[*place].range;
            let config = &self.shared.config;
            let sql = |filters| select(config, &entry, &table, &names, range, filters);
            self.jobs.push_back(Job {
                scan: *place,
                table: Arc::clone(&table),
                without_condition: is_asked.then(|| format!("{} LIMIT 0", sql(published))),
                sql: sql(&filters),
            });
        }
        let name = table.full_name();
        tracing::info!(table = name, pieces = places.len(), "reading a table");
        if self.parts.len() == PARTS_MAX {
            self.parts.pop_front();
        }
        self.parts.push_back(Part {
            name,
            rows: 0,
            // Nobody knows how many rows are behind a key, or meet a condition.
            rows_expected: entry.rows.filter(|_| !goes_on && filters.is_empty()),
            began: Instant::now(),
            took: None,
        });
        self.open.push(Open {
            table,
            left: places,
            has_begun: false,
            held: None,
        });
        Ok(())
    }

    /// The ranges in which a table is read.
    async fn ranges(
        &mut self,
        entry: &TableEntry,
        table: &Table,
        names: &[String],
    ) -> Result<Vec<Range>, WireError> {
        let whole = vec![Range::default()];
        let config = &self.shared.config;
        let name = table.full_name();
        let has_select = config.selects.iter().any(|(of, _)| *of == name);
        if config.snapshot_threads == 1 || has_select || entry.is_root || table.primary().is_empty()
        {
            return Ok(whole);
        }
        let rows = match entry.rows {
            Some(rows) => rows,
            None => {
                let sql = format!("SELECT pg_relation_size({})", entry.oid);
                let size = self.connection.query(&sql).await?;
                let bytes = size
                    .first()
                    .and_then(|row| text(row, 0).parse::<u64>().ok());
                bytes.unwrap_or(0) / ROW_BYTES
            }
        };
        let mut key = table.primary().iter();
        let by_index = key.all(|(_, type_oid)| KeyPart::is_indexed(*type_oid));
        let wanted = pieces::pieces(rows, config.snapshot_threads, by_index);
        if wanted < 2 {
            return Ok(whole);
        }
        #[expect(clippy::cast_precision_loss, reason = "it is about as many")]
        let percent = (100.0 * SAMPLE_ROWS / rows as f64).min(100.0);
        let sql = sample(entry, table, names, percent);
        let keys = self.connection.query(&sql).await?;
        let keys = keys.iter();
        let keys: Vec<Vec<String>> = keys
            .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
            .collect();
        Ok(pieces::split(&keys, wanted))
    }
}
