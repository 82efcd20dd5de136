//! A partition as the operator works on it: in memory, or in the state alone where there is no room for it.
//!
//! Invariant: what is in memory of a partition is all of it, and that is what counts: the state has it as it was at the last
//! commit, and gets what has changed since with the next one. What is not in memory changes in the state at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::changed::Changed;
use super::index::{Entry, Partition, Session, count_value, first_row, parts_of};
use crate::state::row::read_varint;
use crate::state::{ScanOrder, State, StateError};

/// What a session, a row and a partition take in memory beside their bytes, about.
const SESSION_BYTES: usize = 48;
const ROW_BYTES: usize = 72;
const PLACE_BYTES: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) partition: Partition,
    /// `None`: only the state has it.
    held: Option<Held>,
    /// What this epoch has changed in it, where rows leave as they come.
    pub(super) changed: Changed,
    /// The cache knows that something of it is to be emitted, and to be written.
    pub(super) is_listed: bool,
    pub(super) waits: bool,
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
    rows: BTreeMap<Vec<u8>, Count>,
    row_bytes: usize,
    /// Starts of the sessions that are not as the state has them.
    unsaved: BTreeSet<i64>,
    /// How many rows have changed since the last commit, some of them twice.
    unsaved_rows: usize,
}

/// How often a row is there.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    now: u64,
    /// In the state.
    saved: u64,
}

impl Held {
    /// Takes what the state has next of it, in the order of the keys.
    pub(super) fn load(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Session(session) => self.sessions.push(session),
            Entry::Row(row, count) => {
                self.row_bytes += row.len() + ROW_BYTES;
                let (now, saved) = (count, count);
                self.rows.insert(row.to_vec(), Count { now, saved });
            }
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.row_bytes + self.sessions.len() * SESSION_BYTES
    }

    fn set_count(&mut self, row: &[u8], count: u64) {
        self.unsaved_rows += 1;
        match self.rows.get_mut(row) {
            Some(known) if count == 0 && known.saved == 0 => {
                self.rows.remove(row);
                self.row_bytes -= row.len() + ROW_BYTES;
            }
            Some(known) => known.now = count,
            None if count == 0 => {}
            None => {
                self.row_bytes += row.len() + ROW_BYTES;
                let known = Count {
                    now: count,
                    saved: 0,
                };
                self.rows.insert(row.to_vec(), known);
            }
        }
    }

    /// Rows with times from `first` to `last`.
    fn rows(&self, (first, last): (i64, i64)) -> impl Iterator<Item = (&Vec<u8>, u64)> {
        let (from, to) = (first_row(first), first_row(last.saturating_add(1)));
        let bounds = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        there(self.rows.range::<[u8], _>(bounds))
    }

    fn time_beside(&self, time: i64, order: ScanOrder) -> Result<Option<i64>, StateError> {
        let beside = match order {
            ScanOrder::Ascending => {
                let from = first_row(time.saturating_add(1));
                let bounds = (Bound::Included(&from[..]), Bound::Unbounded);
                there(self.rows.range::<[u8], _>(bounds)).next()
            }
            ScanOrder::Descending => {
                let to = first_row(time);
                let bounds = (Bound::Unbounded, Bound::Excluded(&to[..]));
                there(self.rows.range::<[u8], _>(bounds).rev()).next()
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
        self.unsaved.insert(session.start);
        let place = self.behind(session.start);
        match place
            .checked_sub(1)
            .map(|before| &mut self.sessions[before])
        {
            Some(known) if known.start == session.start => *known = session,
            _ => self.sessions.insert(place, session),
        }
    }

    fn remove(&mut self, start: i64) {
        self.unsaved.insert(start);
        self.sessions.retain(|session| session.start != start);
    }

    fn session(&self, start: i64) -> Option<Session> {
        let before = self.behind(start).checked_sub(1);
        let session = before.map(|before| self.sessions[before]);
        session.filter(|session| session.start == start)
    }
}

/// Rows that are there, and not only in the state.
fn there<'a>(
    rows: impl Iterator<Item = (&'a Vec<u8>, &'a Count)>,
) -> impl Iterator<Item = (&'a Vec<u8>, u64)> {
    let rows = rows.map(|(row, count)| (row, count.now));
    rows.filter(|(_, now)| *now > 0)
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

    /// How many rows and sessions wait to be written, about.
    pub(super) fn unsaved(&self) -> usize {
        let held = self.held.as_ref();
        held.map_or(0, |held| held.unsaved_rows + held.unsaved.len())
    }

    /// Writes what has changed in memory since the last commit: nobody reads it before it is committed.
    pub(super) fn save(&mut self, state: &mut State) {
        let Some(held) = &mut self.held else { return };
        for start in std::mem::take(&mut held.unsaved) {
            match held.session(start) {
                Some(session) => self.partition.put_last(session, state),
                None => self.partition.remove_last(start, state),
            }
        }
        if std::mem::take(&mut held.unsaved_rows) == 0 {
            return;
        }
        let row_bytes = &mut held.row_bytes;
        held.rows.retain(|row, count| {
            if count.now != count.saved {
                let state_key = self.partition.row_key(row);
                match count.now {
                    0 => state.delete_last(state_key),
                    now => state.put_last(state_key, count_value(now)),
                }
                count.saved = count.now;
            }
            if count.now == 0 {
                *row_bytes -= row.len() + ROW_BYTES;
            }
            count.now > 0
        });
    }

    /// The session that begins at `start`.
    pub(super) fn session(&self, start: i64, state: &State) -> Result<Option<Session>, StateError> {
        let Some(held) = &self.held else {
            return self.partition.session(start, state);
        };
        Ok(held.session(start))
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
        match &mut self.held {
            Some(held) => held.put(session),
            None => self.partition.put(session, state),
        }
    }

    pub(super) fn remove(&mut self, start: i64, state: &mut State) {
        match &mut self.held {
            Some(held) => held.remove(start),
            None => self.partition.remove(start, state),
        }
    }

    /// How often a row is there.
    pub(super) fn count(&self, row: &[u8], state: &State) -> Result<u64, StateError> {
        if let Some(held) = &self.held {
            return Ok(held.rows.get(row).map_or(0, |count| count.now));
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
            return;
        }
        let state_key = self.partition.row_key(row);
        match count {
            0 => state.delete(state_key),
            count => state.put(state_key, count_value(count)),
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
    ) -> Option<impl Iterator<Item = (&Vec<u8>, u64)>> {
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
