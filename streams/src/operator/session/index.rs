//! Where the sessions and the rows of a partition lie in the state.
//! A row is told by `[time i64][row]`, wherever it is.
//!
//! ```text
//! timer     [operator][vnode][due i64][partition][start i64]               nothing
//! session   [operator][vnode][ff × 8][partition][00][start i64]            [last zigzag][1 = its rows have left, else 0]
//!                                                                         [floor zigzag; not in states of old: the start]
//! row       [operator][vnode][ff × 8][partition][01][time i64][row]        [count varint]
//! ```
//!
//! Times are written so that bytes order as they do. `ff × 8` is a time that never comes, so sessions and rows are no timers.

use std::ops::ControlFlow;

use crate::state::key;
use crate::state::row::{push_varint, push_zigzag, read_varint, read_zigzag};
use crate::state::{ScanOrder, State, StateError, prefix_end};

/// Operator and vnode.
const HEAD_BYTES: usize = 4;
const TIME_BYTES: usize = 8;
const SESSION: u8 = 0;
const ROW: u8 = 1;

/// A session: the times of its first row and its last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Session {
    pub(super) start: i64,
    pub(super) last: i64,
    /// Its rows have left, and are not kept any more.
    pub(super) has_left: bool,
    /// Rows of this time and before do not lengthen it to the front.
    pub(super) floor: i64,
}

impl Session {
    pub(super) fn holds(&self, time: i64) -> bool {
        (self.start..=self.last).contains(&time)
    }

    /// Where it ends.
    pub(super) fn end(&self, gap_us: i64) -> i64 {
        self.last.saturating_add(gap_us)
    }
}

/// Rows, and how often each is there.
pub(super) type Page = Vec<(Vec<u8>, u64)>;

/// The keys of one partition: `[operator][vnode][ff × 8][partition]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition(Vec<u8>);

/// What lies at a key of a partition.
pub(super) enum Entry<'k> {
    Session(Session),
    Row(&'k [u8], u64),
}

/// How often a row is there, as the state has it.
pub(super) fn count_value(count: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(2);
    push_varint(count, &mut value);
    value
}

fn session_value(session: Session) -> Vec<u8> {
    let mut value = Vec::with_capacity(20);
    push_zigzag(session.last, &mut value);
    value.push(u8::from(session.has_left));
    push_zigzag(session.floor, &mut value);
    value
}

/// The first of all rows with this time.
pub(super) fn first_row(time: i64) -> [u8; TIME_BYTES] {
    ((time as u64) ^ (1 << 63)).to_be_bytes()
}

/// The time of a row, and its columns.
pub(super) fn parts_of(row: &[u8]) -> Result<(i64, &[u8]), StateError> {
    Ok((time_at(row, 0)?, &row[TIME_BYTES..]))
}

fn corrupt(reason: &str) -> StateError {
    StateError::Corrupt {
        what: "session",
        reason: reason.to_owned(),
    }
}

fn time_at(key: &[u8], place: usize) -> Result<i64, StateError> {
    let bytes = key.get(place..).and_then(<[u8]>::first_chunk);
    let bytes = bytes.ok_or_else(|| corrupt("its key ends too early"))?;
    Ok((u64::from_be_bytes(*bytes) ^ (1 << 63)) as i64)
}

impl Partition {
    /// That of these encoded columns.
    pub(super) fn new(operator: u16, cells: &[u8]) -> Self {
        let mut prefix = Vec::with_capacity(HEAD_BYTES + TIME_BYTES + cells.len());
        key::start(operator, cells, &mut prefix);
        prefix.extend_from_slice(&[0xff; TIME_BYTES]);
        prefix.extend_from_slice(cells);
        Self(prefix)
    }

    /// What begins all its keys.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.0
    }

    /// The encoded columns.
    pub(super) fn cells(&self) -> &[u8] {
        self.0.get(HEAD_BYTES + TIME_BYTES..).unwrap_or_default()
    }

    /// What lies there: a key of this partition, and its value.
    pub(super) fn entry<'k>(
        &self,
        state_key: &'k [u8],
        mut value: &[u8],
    ) -> Result<Entry<'k>, StateError> {
        match state_key.get(self.0.len()..).and_then(<[u8]>::split_first) {
            Some((&SESSION, start)) => Ok(Entry::Session(read(time_at(start, 0)?, value)?)),
            Some((&ROW, row)) => Ok(Entry::Row(row, read_varint(&mut value)?)),
            _ => Err(corrupt("its key is of no kind")),
        }
    }

    /// That of a timer, and the start of the session that it is for.
    pub(super) fn of_timer(timer: &[u8]) -> Result<(Self, i64), StateError> {
        let start = timer.len().checked_sub(TIME_BYTES);
        let start = start.filter(|start| *start >= HEAD_BYTES + TIME_BYTES);
        let start = start.ok_or_else(|| corrupt("its timer ends too early"))?;
        let mut prefix = timer[..HEAD_BYTES].to_vec();
        prefix.extend_from_slice(&[0xff; TIME_BYTES]);
        prefix.extend_from_slice(&timer[HEAD_BYTES + TIME_BYTES..start]);
        Ok((Self(prefix), time_at(timer, start)?))
    }

    /// The key of a timer for the session that begins at `start`.
    pub(super) fn timer(&self, due: i64, start: i64) -> Vec<u8> {
        let mut timer = self.0[..HEAD_BYTES].to_vec();
        key::push_i64(due, &mut timer);
        timer.extend_from_slice(&self.0[HEAD_BYTES + TIME_BYTES..]);
        key::push_i64(start, &mut timer);
        timer
    }

    fn at(&self, kind: u8, time: i64) -> Vec<u8> {
        let mut state_key = self.0.clone();
        state_key.push(kind);
        key::push_i64(time, &mut state_key);
        state_key
    }

    fn all(&self, kind: u8) -> (Vec<u8>, Vec<u8>) {
        let mut from = self.0.clone();
        from.push(kind);
        let to = prefix_end(&from);
        (from, to)
    }

    pub(super) fn row_key(&self, row: &[u8]) -> Vec<u8> {
        let mut state_key = Vec::with_capacity(self.0.len() + 1 + row.len());
        state_key.extend_from_slice(&self.0);
        state_key.push(ROW);
        state_key.extend_from_slice(row);
        state_key
    }

    pub(super) fn put(&self, session: Session, state: &mut State) {
        state.put(self.at(SESSION, session.start), session_value(session));
    }

    pub(super) fn remove(&self, start: i64, state: &mut State) {
        state.delete(self.at(SESSION, start));
    }

    /// As [`Self::put`], read by nobody before the commit.
    pub(super) fn put_last(&self, session: Session, state: &mut State) {
        state.put_last(self.at(SESSION, session.start), session_value(session));
    }

    /// As [`Self::remove`], read by nobody before the commit.
    pub(super) fn remove_last(&self, start: i64, state: &mut State) {
        state.delete_last(self.at(SESSION, start));
    }

    /// The session that begins at `start`.
    pub(super) fn session(&self, start: i64, state: &State) -> Result<Option<Session>, StateError> {
        let value = state.get(&self.at(SESSION, start))?;
        value.map(|value| read(start, &value)).transpose()
    }

    /// The last session that begins at `time` or before.
    pub(super) fn session_before(
        &self,
        time: i64,
        state: &State,
    ) -> Result<Option<Session>, StateError> {
        let (from, _) = self.all(SESSION);
        let to = self.at(SESSION, time.saturating_add(1));
        self.first(&from, &to, ScanOrder::Descending, state)
    }

    /// The first session that begins after `time`.
    pub(super) fn session_after(
        &self,
        time: i64,
        state: &State,
    ) -> Result<Option<Session>, StateError> {
        let (_, to) = self.all(SESSION);
        let from = self.at(SESSION, time.saturating_add(1));
        self.first(&from, &to, ScanOrder::Ascending, state)
    }

    fn first(
        &self,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        state: &State,
    ) -> Result<Option<Session>, StateError> {
        let mut found = None;
        state.scan(from, to, order, |state_key, value| {
            let start = time_at(state_key, self.0.len() + 1);
            found = Some(start.and_then(|start| read(start, value)));
            ControlFlow::Break(())
        })?;
        found.transpose()
    }

    /// The time of the row nearest to `time` on one side of it, not that time itself.
    pub(super) fn time_beside(
        &self,
        time: i64,
        order: ScanOrder,
        state: &State,
    ) -> Result<Option<i64>, StateError> {
        let (first, end) = self.all(ROW);
        let (from, to) = match order {
            ScanOrder::Ascending => (self.at(ROW, time.saturating_add(1)), end),
            ScanOrder::Descending => (first, self.at(ROW, time)),
        };
        let mut found = None;
        state.scan(&from, &to, order, |state_key, _| {
            found = Some(time_at(state_key, self.0.len() + 1));
            ControlFlow::Break(())
        })?;
        found.transpose()
    }

    /// Whether a row has this time.
    pub(super) fn has_time(&self, time: i64, state: &State) -> Result<bool, StateError> {
        let mut found = false;
        state.scan_prefix(&self.at(ROW, time), ScanOrder::Ascending, |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Up to `limit` rows with times from `first` to `last`, behind the row `behind`; fewer: there are no more.
    pub(super) fn page(
        &self,
        (first, last): (i64, i64),
        behind: Option<&[u8]>,
        limit: usize,
        state: &State,
    ) -> Result<Page, StateError> {
        let from = match behind {
            Some(behind) => [&self.row_key(behind), [0].as_slice()].concat(),
            None => self.at(ROW, first),
        };
        let to = self.at(ROW, last.saturating_add(1));
        let mut page = Page::new();
        let mut failed = None;
        state.scan(&from, &to, ScanOrder::Ascending, |state_key, mut value| {
            match read_varint(&mut value) {
                Ok(count) => page.push((state_key[self.0.len() + 1..].to_vec(), count)),
                Err(error) => failed = Some(error),
            }
            match page.len() < limit && failed.is_none() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        failed.map_or(Ok(page), Err)
    }
}

fn read(start: i64, mut value: &[u8]) -> Result<Session, StateError> {
    let last = read_zigzag(&mut value)?;
    let (has_left, mut value) = match value.split_first() {
        Some((has_left, rest)) => (*has_left == 1, rest),
        None => (false, value),
    };
    let floor = match value.is_empty() {
        true => start,
        false => read_zigzag(&mut value)?,
    };
    Ok(Session {
        start,
        last,
        has_left,
        floor,
    })
}
