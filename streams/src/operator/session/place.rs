//! A partition as the operator works on it: in memory, or in the state alone where there is no room for it.
//!
//! Invariant: what is in memory of a partition is all of it, and as the state has it: what changes, changes in both.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::changed::Changed;
use super::index::{Entry, Partition, Session, first_row, parts_of};
use crate::state::row::{push_varint, read_varint};
use crate::state::{ScanOrder, State, StateError};

/// What a session, a row and a partition take in memory beside their bytes, about.
const SESSION_BYTES: usize = 48;
const ROW_BYTES: usize = 64;
const PLACE_BYTES: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) partition: Partition,
    /// `None`: only the state has it.
    held: Option<Held>,
    /// What this epoch has changed in it, where rows leave as they come.
    pub(super) changed: Changed,
    /// The operator knows that something has changed in it.
    pub(super) is_listed: bool,
    /// It had a row in this commit.
    pub(super) is_touched: bool,
    /// Rows of it were forgotten that only the state had: there may be room for it now.
    has_shrunk: bool,
}

/// A partition in memory.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By their start.
    sessions: Vec<Session>,
    /// How often each is there.
    rows: BTreeMap<Vec<u8>, u64>,
    row_bytes: usize,
}

impl Held {
    /// Takes what the state has next of it, in the order of the keys.
    pub(super) fn load(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Session(session) => self.sessions.push(session),
            Entry::Row(row, count) => self.set_count(row, count),
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.row_bytes + self.sessions.len() * SESSION_BYTES
    }

    fn set_count(&mut self, row: &[u8], count: u64) {
        if count == 0 {
            if self.rows.remove(row).is_some() {
                self.row_bytes -= row.len() + ROW_BYTES;
            }
        } else if let Some(known) = self.rows.get_mut(row) {
            *known = count;
        } else {
            self.row_bytes += row.len() + ROW_BYTES;
            self.rows.insert(row.to_vec(), count);
        }
    }

    /// Rows with times from `first` to `last`.
    fn rows(&self, (first, last): (i64, i64)) -> impl Iterator<Item = (&Vec<u8>, &u64)> {
        let (from, to) = (first_row(first), first_row(last.saturating_add(1)));
        let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        self.rows.range::<[u8], _>(bounds)
    }

    fn time_beside(&self, time: i64, order: ScanOrder) -> Result<Option<i64>, StateError> {
        let beside = match order {
            ScanOrder::Ascending => {
                let from = first_row(time.saturating_add(1));
                let bounds = (Bound::Included(&from[..]), Bound::Unbounded);
                self.rows.range::<[u8], _>(bounds).next()
            }
            ScanOrder::Descending => {
                let to = first_row(time);
                let bounds = (Bound::Unbounded, Bound::Excluded(&to[..]));
                self.rows.range::<[u8], _>(bounds).next_back()
            }
        };
        let time = beside.map(|(row, _)| parts_of(row).map(|(time, _)| time));
        time.transpose()
    }

    /// Where the sessions begin that begin after `time`.
    fn behind(&self, time: i64) -> usize {
        self.sessions
            .partition_point(|session| session.start <= time)
    }

    fn put(&mut self, session: Session) {
        let place = self.behind(session.start);
        match place
            .checked_sub(1)
            .map(|before| &mut self.sessions[before])
        {
            Some(known) if known.start == session.start => *known = session,
            _ => self.sessions.insert(place, session),
        }
    }
}

impl Place {
    /// A partition that only the state has.
    pub(super) fn new(partition: Partition) -> Self {
        Self {
            partition,
            ..Self::default()
        }
    }

    /// It is in memory from now on.
    pub(super) fn hold(&mut self, held: Held) {
        self.held = Some(held);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Nothing is there of it, or it is to be looked at anew.
    pub(super) fn is_useless(&self) -> bool {
        match &self.held {
            Some(held) => held.sessions.is_empty() && held.rows.is_empty(),
            None => self.has_shrunk,
        }
    }

    /// What it takes in memory, about.
    pub(super) fn size_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, Held::size_bytes);
        PLACE_BYTES + self.partition.prefix().len() + held
    }

    /// The session that begins at `start`.
    pub(super) fn session(&self, start: i64, state: &State) -> Result<Option<Session>, StateError> {
        let Some(held) = &self.held else {
            return self.partition.session(start, state);
        };
        let before = held.behind(start).checked_sub(1);
        let session = before.map(|before| held.sessions[before]);
        Ok(session.filter(|session| session.start == start))
    }

    /// The last session that begins at `time` or before.
    pub(super) fn session_before(
        &self,
        time: i64,
        state: &State,
    ) -> Result<Option<Session>, StateError> {
        match &self.held {
            Some(held) => {
                let before = held.behind(time).checked_sub(1);
                Ok(before.map(|before| held.sessions[before]))
            }
            None => self.partition.session_before(time, state),
        }
    }

    /// The first session that begins after `time`.
    pub(super) fn session_after(
        &self,
        time: i64,
        state: &State,
    ) -> Result<Option<Session>, StateError> {
        match &self.held {
            Some(held) => Ok(held.sessions.get(held.behind(time)).copied()),
            None => self.partition.session_after(time, state),
        }
    }

    pub(super) fn put(&mut self, session: Session, state: &mut State) {
        if let Some(held) = &mut self.held {
            held.put(session);
        }
        self.partition.put(session, state);
    }

    pub(super) fn remove(&mut self, start: i64, state: &mut State) {
        if let Some(held) = &mut self.held {
            held.sessions.retain(|session| session.start != start);
        }
        self.partition.remove(start, state);
    }

    /// How often a row is there.
    pub(super) fn count(&self, row: &[u8], state: &State) -> Result<u64, StateError> {
        if let Some(held) = &self.held {
            return Ok(held.rows.get(row).copied().unwrap_or(0));
        }
        match state.get(&self.partition.row_key(row))? {
            Some(value) => read_varint(&mut value.as_slice()),
            None => Ok(0),
        }
    }

    /// A row is there so often from now on.
    pub(super) fn set_count(&mut self, row: &[u8], count: u64, state: &mut State) {
        if let Some(held) = &mut self.held {
            held.set_count(row, count);
        }
        let state_key = self.partition.row_key(row);
        if count == 0 {
            state.delete(state_key);
        } else {
            let mut value = Vec::with_capacity(2);
            push_varint(count, &mut value);
            state.put(state_key, value);
        }
    }

    /// The time of the row nearest to `time` on one side of it, not that time itself.
    pub(super) fn time_beside(
        &self,
        time: i64,
        order: ScanOrder,
        state: &State,
    ) -> Result<Option<i64>, StateError> {
        match &self.held {
            Some(held) => held.time_beside(time, order),
            None => self.partition.time_beside(time, order, state),
        }
    }

    /// Whether a row has this time.
    pub(super) fn has_time(&self, time: i64, state: &State) -> Result<bool, StateError> {
        match &self.held {
            Some(held) => Ok(held.rows((time, time)).next().is_some()),
            None => self.partition.has_time(time, state),
        }
    }

    /// Rows with times from the first to the last, where they are in memory.
    pub(super) fn held_rows(
        &self,
        times: (i64, i64),
    ) -> Option<impl Iterator<Item = (&Vec<u8>, &u64)>> {
        self.held.as_ref().map(|held| held.rows(times))
    }

    /// Forgets the rows with times from the first to the last, `limit` at a time where only the state has them.
    pub(super) fn forget_rows(
        &mut self,
        times: (i64, i64),
        limit: usize,
        state: &mut State,
    ) -> Result<(), StateError> {
        if let Some(held) = &mut self.held {
            let rows: Vec<Vec<u8>> = held.rows(times).map(|(row, _)| row.clone()).collect();
            for row in rows {
                held.set_count(&row, 0);
                state.delete(self.partition.row_key(&row));
            }
            return Ok(());
        }
        self.has_shrunk = true;
        loop {
            let page = self.partition.page(times, None, limit, state)?;
            let count = page.len();
            for (row, _) in page {
                state.delete(self.partition.row_key(&row));
            }
            if count < limit {
                return Ok(());
            }
        }
    }
}
