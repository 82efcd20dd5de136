//! PURE: incremental snapshots: tables are read in chunks of keys while the stream goes on, and nothing waits for them.
//!
//! ```text
//!  chunk    one short transaction: what it sees (S), the rows behind the last key, the end of the log (high) after S
//!  stream   ── a change by a transaction that S does not see: its key leaves the chunk ── … ── behind high: the rest goes out
//! ```
//!
//! The scheme of DBLog (Andreakis, Papapanagiotou: a watermark based change-data-capture framework), with what the server
//! tells of its snapshots in place of a table of marks.
//!
//! Invariants:
//! 1. No change of the stream is passed over for a chunk.
//! 2. A row of a chunk is as S had it, and goes out behind every change that S sees (they were committed before high) and in
//!    front of every one that it does not see (those took its key out).
//! 3. A chunk whose S does not see a transaction that the stream had delivered before is read again: a commit may be in the
//!    log before others see it, and its change may have gone out already.
//! 4. How far the reading is goes with the rows: after a crash it goes on behind the last key that went out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::envelope::Change;
use super::lsn::Lsn;
use super::pgoutput::Tuple;
use super::signal::Request;
use super::table::Table;
use super::view::{KeyPart, View};

/// Transactions of the stream that are remembered for invariant 3: more are hardly waiting to be seen.
const DELIVERED_MAX: usize = 4096;

/// How far an incremental snapshot is, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incremental {
    /// What was asked for.
    pub(super) request: Request,
    /// Tables (`schema.table`) that are done.
    pub(super) done: Vec<String>,
    /// The table that is read, and its last key that went out.
    pub(super) current: Option<(String, Vec<String>)>,
    /// Nothing is read until it is resumed.
    pub(super) paused: bool,
}

/// What goes out with a row of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A table was read up to this key.
    Upto(String, Vec<String>),
    /// A table was read to its end.
    Done(String),
}

impl Incremental {
    /// One that begins.
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            done: Vec::new(),
            current: None,
            paused: false,
        }
    }

    /// The same, with what another signal asks for: its tables are read, or read again.
    pub(super) fn and(mut self, request: Request) -> Self {
        let again = |name: &str| request.asks(name);
        self.done.retain(|name| !again(name));
        self.current = self.current.filter(|(name, _)| !again(name));
        self.request = self.request.and(request);
        self
    }

    /// Without these tables; all of them where none is named. `None` once nothing is left.
    pub(super) fn without(mut self, tables: &[String], all: &[String]) -> Option<Self> {
        if tables.is_empty() {
            return None;
        }
        let stopped = Request {
            tables: tables.to_vec(),
            ..Request::default()
        };
        for name in all.iter().filter(|name| stopped.asks(name)) {
            self.step(&Step::Done(name.clone()));
        }
        Some(self)
    }

    /// Something went out.
    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Upto(table, key) => self.current = Some((table.clone(), key.clone())),
            Step::Done(table) => {
                self.current = self.current.take().filter(|(name, _)| name != table);
                if !self.done.contains(table) {
                    self.done.push(table.clone());
                }
            }
        }
    }

    /// The key behind which a table is read.
    pub(super) fn behind(&self, table: &str) -> Option<&[String]> {
        let (name, key) = self.current.as_ref()?;
        (name == table).then_some(key.as_slice())
    }

    /// As it is stored.
    pub(super) fn to_json(&self) -> Json {
        let (table, upto) = self.current.clone().unzip();
        json!({
            "request": self.request.to_json(),
            "done": self.done,
            "table": table,
            "upto": upto,
            "paused": self.paused,
        })
    }

    /// As it was stored.
    pub(super) fn from_json(json: &Json) -> Option<Self> {
        let texts = |json: &Json| -> Option<Vec<String>> {
            let texts = json.as_array()?.iter();
            texts.map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let table = json.get("table").and_then(Json::as_str).map(str::to_owned);
        let upto = json.get("upto").and_then(texts);
        Some(Self {
            request: Request::from_json(json.get("request")?)?,
            done: texts(json.get("done")?)?,
            current: table.zip(upto),
            paused: json.get("paused")?.as_bool()?,
        })
    }
}

/// A chunk that waits for the stream to pass it.
pub(super) struct Chunk {
    /// The table.
    pub(super) table: Arc<Table>,
    /// What its transaction saw.
    pub(super) view: View,
    /// Every transaction that it saw was committed before.
    pub(super) high: Lsn,
    /// When it was read, in microseconds since 1970.
    pub(super) at_us: i64,
    /// The last key that was read; `None` for a chunk without rows.
    upto: Option<Vec<String>>,
    /// Whether the table ends with it.
    ends: bool,
    rows: BTreeMap<Vec<KeyPart>, Tuple>,
}

impl Chunk {
    /// A chunk of these rows.
    pub(super) fn new(
        table: Arc<Table>,
        (view, high, at_us): (View, Lsn, i64),
        rows: Vec<Tuple>,
        ends: bool,
    ) -> Self {
        let upto = rows.last().and_then(|row| table.primary_text(row));
        let keyed = |row: Tuple| Some((table.primary_key(&row)?, row));
        let rows = rows.into_iter().filter_map(keyed).collect();
        Self {
            view,
            high,
            at_us,
            upto,
            ends,
            rows,
            table,
        }
    }

    /// A change of the stream: what a transaction did that the chunk does not see is newer than its row.
    pub(super) fn change(&mut self, table: &Table, change: &Change, xid: u32) {
        if !self.is_of(table) || self.view.sees(xid) {
            return;
        }
        let mut remove = |tuple: &Tuple| {
            if let Some(key) = table.primary_key(tuple) {
                self.rows.remove(&key);
            }
        };
        match change {
            Change::Read(_) => {}
            Change::Create(new) => remove(new),
            Change::Update { old, new } => {
                remove(new);
                if let Some(old) = old {
                    remove(&table.old_key_cells(old, new));
                }
            }
            Change::Delete(old) => remove(old.tuple()),
        }
    }

    /// The table was emptied.
    pub(super) fn truncate(&mut self, table: &Table, xid: u32) {
        if self.is_of(table) && !self.view.sees(xid) {
            self.rows.clear();
        }
    }

    fn is_of(&self, table: &Table) -> bool {
        self.table.schema == table.schema && self.table.name == table.name
    }

    /// The rows that are left, each with what goes out with it, and what goes out behind them.
    pub(super) fn out(self) -> (Vec<(Tuple, Option<Step>)>, Option<Step>) {
        let name = self.table.full_name();
        let rows = self.rows.into_values().map(|row| {
            let key = self.table.primary_text(&row);
            let step = key.map(|key| Step::Upto(name.clone(), key));
            (row, step)
        });
        let rows = rows.collect();
        let last = match (self.ends, self.upto) {
            (true, _) => Some(Step::Done(name)),
            (false, upto) => upto.map(|key| Step::Upto(name, key)),
        };
        (rows, last)
    }
}

/// The last transactions of the stream.
#[derive(Debug, Default)]
pub(super) struct Delivered(VecDeque<u32>);

impl Delivered {
    /// One more.
    pub(super) fn push(&mut self, xid: u32) {
        if self.0.len() == DELIVERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(xid);
    }

    /// Whether a snapshot sees all of them; those that it sees are forgotten, because every later one does.
    pub(super) fn are_seen(&mut self, view: &View) -> bool {
        self.0.retain(|xid| !view.sees(*xid));
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
