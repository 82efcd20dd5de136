//! What readers tell: rows on their way, the one that is held back, and the scans behind them.

use std::sync::Arc;

use connect_api::{ConnectError, PollBudget, Record, Rejected};

use super::{Entry, Held, Mark, Open, READING, Snapshot};
use crate::source::pgoutput::Tuple;
use crate::source::reader::{Rendered, Told, What};
use crate::source::unhealthy::failed;
use crate::source::wire::WireError;

impl Snapshot {
    /// Takes in what a reader says.
    pub(super) fn hear(&mut self, told: Told) -> Result<(), ConnectError> {
        let (scan, is_of) = (told.scan, |open: &Open| open.left.contains(&told.scan));
        let Some(place) = self.open.iter().position(is_of) else {
            return Ok(());
        };
        match told.what {
            What::Failed(error) => return Err(self.refused(error, place)),
            What::First(row) => {
                let row = self.came(place, scan, row);
                self.release(row, Last::No);
            }
            What::Rows(rows) => {
                self.counted(place, rows.len());
                for row in rows {
                    self.send(row, scan);
                }
            }
            What::End(last) => {
                if let Some(reader) = self.readers.get_mut(told.reader) {
                    reader.scan = None;
                }
                self.end_piece(place, scan, last);
            }
        }
        Ok(())
    }

    /// A row that is not sent on yet.
    fn came(&mut self, place: usize, scan: usize, row: Tuple) -> Held {
        let is_first = self.rows == 0 && scan == 0;
        self.counted(place, 1);
        let open = &mut self.open[place];
        Held {
            table: Arc::clone(&open.table),
            scan,
            ends: false,
            row,
            is_first,
            is_first_of_table: !std::mem::replace(&mut open.has_begun, true),
        }
    }

    /// Rows of a table came: the one that was held back is not the last one.
    fn counted(&mut self, place: usize, rows: usize) {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        self.rows += rows;
        let name = self.open[place].table.full_name();
        if let Some(part) = self.parts.iter_mut().rfind(|part| part.name == name) {
            part.rows += rows;
        }
        if let Some(held) = self.held.take() {
            self.release(held, Last::OfTable);
        }
    }

    fn end_piece(&mut self, place: usize, scan: usize, last: Option<Tuple>) {
        match last {
            Some(row) => {
                let row = Held {
                    ends: true,
                    ..self.came(place, scan, row)
                };
                if let Some(before) = self.open[place].held.replace(row) {
                    self.release(before, Last::No);
                }
            }
            None => self.end_scan(scan),
        }
        let open = &mut self.open[place];
        open.left.retain(|left| *left != scan);
        if !open.left.is_empty() {
            return;
        }
        let open = self.open.remove(place);
        self.tables_done += 1;
        let name = open.table.full_name();
        if let Some(part) = self.parts.iter_mut().rfind(|part| part.name == name) {
            part.took = Some(part.began.elapsed());
        }
        if let Some(row) = open.held
            && let Some(before) = self.held.replace(row)
        {
            self.release(before, Last::OfTable);
        }
    }

    fn refused(&self, error: WireError, place: usize) -> ConnectError {
        let table = &self.open[place].table;
        match &error {
            WireError::Server(server) if server.code == "42501" => {
                let server = &self.shared.server;
                server.no_select(&table.schema, &table.name)
            }
            // Dropped or renamed behind the snapshot: the next one no longer has it.
            WireError::Server(server)
                if matches!(server.code.as_str(), "42P01" | "42703" | "3F000") =>
            {
                ConnectError::Transient(format!("{READING}: {server}"))
            }
            _ => failed(READING, error),
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(held) = self.held.take() {
            self.release(held, Last::OfAll);
        }
        self.complete = true;
        tracing::info!(rows = self.rows, "the tables are read");
    }

    /// What rows are called that are neither the first nor the last ones.
    pub(super) fn marker_between(&self) -> &'static str {
        match &self.request {
            Some(request) if request.incremental => "incremental",
            _ => "true",
        }
    }

    /// Sends a row on its way that was held back.
    fn release(&mut self, held: Held, last: Last) {
        let between = self.marker_between();
        let marker = match last {
            _ if between != "true" => between,
            Last::OfAll => "last",
            _ if held.is_first => "first",
            Last::OfTable => "last_in_data_collection",
            Last::No if held.is_first_of_table => "first_in_data_collection",
            Last::No => between,
        };
        let rendered = self.renderer.row(&held.table, held.row, marker);
        self.send(rendered, held.scan);
        if held.ends {
            self.end_scan(held.scan);
        }
    }

    fn send(&mut self, row: Rendered, scan: usize) {
        self.queued_bytes += row.bytes;
        self.queue.push_back(Entry {
            record: row.record,
            rejected: row.rejected,
            bytes: row.bytes,
            scan,
            mark: Mark::Row(row.upto),
        });
    }

    /// Behind what is on its way, a scan is done.
    fn end_scan(&mut self, scan: usize) {
        self.queue.push_back(Entry {
            record: None,
            rejected: None,
            bytes: 0,
            scan,
            mark: Mark::End,
        });
    }

    pub(super) fn holds(&self, budget: PollBudget) -> bool {
        self.queue.len() >= budget.records_max || self.queued_bytes >= budget.bytes_max
    }

    pub(super) fn take(&mut self, budget: PollBudget) -> (Vec<Record>, Vec<Rejected>) {
        let mut records = Vec::new();
        let mut rejected = Vec::new();
        let mut bytes = 0;
        while records.len() < budget.records_max && bytes < budget.bytes_max {
            let begins = self
                .queue
                .front()
                .is_some_and(|entry| entry.rejected.is_some());
            if begins && !(records.is_empty() && rejected.is_empty()) {
                break;
            }
            let Some(entry) = self.queue.pop_front() else {
                break;
            };
            bytes += entry.bytes;
            self.queued_bytes -= entry.bytes;
            records.extend(entry.record);
            rejected.extend(entry.rejected);
            if let Some(scan) = self.scans.get_mut(entry.scan) {
                match entry.mark {
                    Mark::Row(upto) => scan.upto = upto,
                    Mark::End => scan.done = true,
                }
            }
        }
        (records, rejected)
    }
}

/// What is behind a row.
enum Last {
    No,
    OfTable,
    OfAll,
}
