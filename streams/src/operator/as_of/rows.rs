//! The rows of an as-of join as its state has them; see the module above for their keys.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::Changed;
use crate::state::row::{push_varint, read_varint};
use crate::state::{ScanOrder, State, StateError, key, prefix_end};

/// A row without fields: all of them are NULL.
pub(super) const NOTHING: &[u8] = &[0];

/// Where the vnodes of right rows begin.
const RIGHT_VNODES: u16 = 256;

/// A right row of a key.
#[derive(Debug, Clone)]
pub(super) struct RightRow {
    /// Its key in the state behind that of the join's: its time, then its columns.
    pub(super) place: Vec<u8>,
    pub(super) time: i64,
    pub(super) row: Vec<u8>,
}

/// A left row of a key.
pub(super) struct LeftRow {
    pub(super) state_key: Vec<u8>,
    pub(super) time: i64,
    pub(super) row: Vec<u8>,
    pub(super) count: u64,
}

/// A left row that waits.
pub(super) struct Waiting<'a> {
    pub(super) cells: &'a [u8],
    pub(super) time: i64,
    pub(super) row: &'a [u8],
    pub(super) count: u64,
}

pub(super) fn left_prefix(operator: u16, cells: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(cells.len() + 64);
    key::start(operator, cells, &mut prefix);
    prefix.extend_from_slice(cells);
    prefix
}

pub(super) fn right_prefix(operator: u16, cells: &[u8]) -> Vec<u8> {
    let mut prefix = operator.to_be_bytes().to_vec();
    prefix.extend_from_slice(&(RIGHT_VNODES + key::vnode(cells)).to_be_bytes());
    prefix.extend_from_slice(cells);
    prefix
}

pub(super) fn waiting_key(operator: u16, time: i64, cells: &[u8], row: &[u8]) -> Vec<u8> {
    let mut state_key = Vec::with_capacity(cells.len() + row.len() + 12);
    key::start(operator, cells, &mut state_key);
    key::push_i64(time, &mut state_key);
    state_key.extend_from_slice(cells);
    state_key.extend_from_slice(row);
    state_key
}

/// What a left row that waits has behind its count: how long its key is.
pub(super) fn length_of(cells: &[u8]) -> Vec<u8> {
    let mut length = Vec::with_capacity(2);
    push_varint(cells.len() as u64, &mut length);
    length
}

/// A count, and what lies behind it.
pub(super) fn value_of(count: u64, rest: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(rest.len() + 2);
    push_varint(count, &mut value);
    value.extend_from_slice(rest);
    value
}

pub(super) fn count_of(mut value: &[u8]) -> Result<u64, StateError> {
    read_varint(&mut value)
}

pub(super) fn row_of(mut value: &[u8]) -> Result<&[u8], StateError> {
    read_varint(&mut value)?;
    Ok(value)
}

fn corrupt() -> StateError {
    StateError::Corrupt {
        what: "row of an as-of join",
        reason: "its key ends too early".to_owned(),
    }
}

fn time_of(place: &[u8]) -> Result<i64, StateError> {
    let time = place.first_chunk::<8>().ok_or_else(corrupt)?;
    Ok((u64::from_be_bytes(*time) ^ (1 << 63)) as i64)
}

impl<'a> Waiting<'a> {
    pub(super) fn read(state_key: &'a [u8], mut value: &[u8]) -> Result<Self, StateError> {
        let count = read_varint(&mut value)?;
        let length = usize::try_from(read_varint(&mut value)?).map_err(|_| corrupt())?;
        let place = state_key.get(4..).ok_or_else(corrupt)?;
        let rest = place.get(8..).ok_or_else(corrupt)?;
        let (cells, row) = rest.split_at_checked(length).ok_or_else(corrupt)?;
        Ok(Self {
            cells,
            time: time_of(place)?,
            row,
            count,
        })
    }
}

/// Up to `limit` left rows in a range of keys of one prefix.
pub(super) fn lefts(
    state: &State,
    from: &[u8],
    to: &[u8],
    prefix: usize,
    limit: usize,
) -> Result<Vec<LeftRow>, StateError> {
    let mut rows = Vec::new();
    let mut read = |state_key: &[u8], value: &[u8]| {
        let place = state_key.get(prefix..).ok_or_else(corrupt)?;
        rows.push(LeftRow {
            state_key: state_key.to_vec(),
            time: time_of(place)?,
            row: place.get(8..).ok_or_else(corrupt)?.to_vec(),
            count: count_of(value)?,
        });
        Ok(rows.len() < limit)
    };
    visit(state, from, to, ScanOrder::Ascending, &mut read)?;
    Ok(rows)
}

/// The right rows of a key from the last one before `first` to the first one behind `last`.
pub(super) fn between(
    state: &State,
    prefix: &[u8],
    first: &[u8],
    last: &[u8],
) -> Result<Vec<RightRow>, StateError> {
    let at = |place: &[u8]| [prefix, place].concat();
    let mut rows = Vec::new();
    let mut read = |state_key: &[u8], value: &[u8]| {
        let place = state_key.get(prefix.len()..).ok_or_else(corrupt)?;
        rows.push(RightRow {
            place: place.to_vec(),
            time: time_of(place)?,
            row: row_of(value)?.to_vec(),
        });
        Ok(place <= last)
    };
    let from = at(first);
    let mut read_one = |state_key: &[u8], value: &[u8]| read(state_key, value).map(|_| false);
    visit(state, prefix, &from, ScanOrder::Descending, &mut read_one)?;
    visit(
        state,
        &from,
        &prefix_end(prefix),
        ScanOrder::Ascending,
        &mut read,
    )?;
    Ok(rows)
}

/// Takes a key and a value, and says whether it wants more.
type Reads<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StateError> + 'a;

/// Visits entries until `read` says that it has enough.
fn visit(
    state: &State,
    from: &[u8],
    to: &[u8],
    order: ScanOrder,
    read: &mut Reads<'_>,
) -> Result<(), StateError> {
    let mut failed = None;
    state.scan(from, to, order, |state_key, value| {
        match read(state_key, value) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Right rows after some have come or gone among them.
pub(super) fn with<'a>(
    old: &'a [RightRow],
    turned: impl Iterator<Item = (&'a Vec<u8>, &'a Changed)>,
) -> Vec<RightRow> {
    let mut rows: BTreeMap<&[u8], RightRow> = BTreeMap::new();
    for row in old {
        rows.insert(&row.place, row.clone());
    }
    for (place, changed) in turned {
        if changed.now == 0 {
            rows.remove(place.as_slice());
        } else if let Ok(time) = time_of(place) {
            let row = RightRow {
                place: place.clone(),
                time,
                row: changed.row.clone(),
            };
            rows.insert(place, row);
        }
    }
    rows.into_values().collect()
}
